-- A no and the contact at which it was said: whom it binds besides the holders of the address, and what it sets going.

-- Who goes with the contact that said no, or that stands at an address of which it was said: who claims it, and who
-- holds the address that the person file knows it by, which the contact left inside Mailchimp; unless another contact
-- stands there by now, which then is theirs.
create function koppeling.followers(p_group bigint, p_key text, p_contact text) returns bigint[]
    language sql stable set search_path = koppeling, pg_temp
    return array(
        with stands as materialized (
            select m.id, m.instance_id, m.file_key
            from koppeling.connector_instance i
            join koppeling.audience_member m on m.instance_id = i.id and m.address_key = p_key
            where i.target_group_id = p_group
            union
            select m.id, m.instance_id, m.file_key
            from koppeling.connector_instance i
            join koppeling.audience_member m on m.instance_id = i.id and m.contact_id = p_contact
            where i.target_group_id = p_group
        )
        select c.person_id from stands s join koppeling.claim c on c.member_id = s.id
        union
        select e.person_id from stands s join koppeling.email_address e on e.address_key = s.file_key
        where not exists (
            select from koppeling.audience_member o
            where o.instance_id = s.instance_id and o.address_key = s.file_key and o.status <> 'absent'));

-- Binds whoever claims one of these contacts to each open no that stands at it, or at its address. Returns whom it
-- bound; their memberships are still to be derived.
create function koppeling.bind_claimants(p_members bigint[]) returns bigint[]
    language plpgsql
    -- Each member through its index, whatever the statistics say: nearly none has anything open.
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
declare
    v_bound bigint[];
begin
    with claimed as (
        select i.target_group_id, c.person_id, m.contact_id, m.address_key
        from unnest(p_members) g (id)
        cross join lateral (select * from koppeling.claim c where c.member_id = g.id offset 0) c
        cross join lateral (select * from koppeling.audience_member m where m.id = g.id offset 0) m
        join koppeling.connector_instance i on i.id = m.instance_id
    ), bound as (
        insert into koppeling.suppression (
            target_group_id, reason, person_id, follows, source, occurred_at, detail)
        select distinct on (s.target_group_id, s.reason, c.person_id)
            s.target_group_id, s.reason, c.person_id, s.id, s.source, s.occurred_at, '{"because": "contact"}'
        from claimed c
        cross join lateral (
            select o.* from koppeling.open_suppression o
            where o.target_group_id = c.target_group_id and o.contact_id = c.contact_id
            union all
            select o.* from koppeling.open_suppression o
            where o.target_group_id = c.target_group_id and o.address_key = c.address_key
        ) s
        where s.reason = any (koppeling.binding_noes())
            and not exists (
                select from koppeling.open_suppression o
                where o.target_group_id = s.target_group_id and o.reason = s.reason and o.person_id = c.person_id
                    and koppeling.covers(o.occurred_at, s.reason, s.occurred_at))
        order by s.target_group_id, s.reason, c.person_id, s.occurred_at desc, s.id
        returning person_id
    )
    select coalesce(array_agg(distinct b.person_id), '{}') into v_bound from bound b;
    return v_bound;
end $$;

-- The contacts of these persons, which an address of theirs means, whose archive is parked although they said no.
create function koppeling.parked_refusals(p_instance bigint, p_persons bigint[]) returns bigint[]
    language plpgsql stable set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_group bigint := (
        select i.target_group_id
        from koppeling.connector_instance i
        join koppeling.action_template t on t.instance_id = i.id and t.action = 'delete' and not t.automatic
        where i.id = p_instance);
    v_refusing bigint[];
begin
    if v_group is null then
        return '{}';
    end if;
    v_refusing := array(
        select r.person_id from koppeling.open_reasons(v_group, p_persons is null, p_persons) r
        where r.reasons && koppeling.binding_noes());
    return array(
        select distinct m.id
        from koppeling.email_address e
        cross join lateral koppeling.members_meant(p_instance, e.address_key) m (id)
        join koppeling.job j on j.queue = koppeling.instance_queue(p_instance) and j.key = koppeling.member_key(m.id)
            and j.state <> 'running' and j.args ->> 'action' = 'delete' and j.run_at = 'infinity'
        where e.person_id = any (v_refusing));
end $$;
