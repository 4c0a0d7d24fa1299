-- Noes that go from one list to another: when a link gets another list, when a list is linked, and, where a deployment
-- is set so, at once.

-- The open complaints, unsubscribes and deletions for good of a group as they hold in whatever list: contact ids mean
-- nothing elsewhere, so what stands at a contact stands at each of its addresses, and at whoever claims it.
create function koppeling.portable_noes(p_group bigint)
    returns table (reason text, address_key text, person_id bigint, source text, occurred_at timestamptz, entry bigint)
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    with said as (
        select s.* from koppeling.open_suppression s
        where s.target_group_id = p_group and s.reason = any (koppeling.binding_noes())
    ), stands as (
        select s.id, m.id as member_id, m.address_key, m.file_key, m.moving_to
        from koppeling.connector_instance i
        join koppeling.audience_member m on m.instance_id = i.id
        join said s on s.contact_id = m.contact_id
        where i.target_group_id = p_group
        union
        select s.id, m.id, m.address_key, m.file_key, m.moving_to
        from koppeling.connector_instance i
        join koppeling.audience_member m on m.instance_id = i.id
        join said s on s.address_key = m.address_key
        where i.target_group_id = p_group
    ), reached as (
        select s.id, s.address_key, s.person_id from said s where s.contact_id is null
        union all
        select s.id, k.key, null
        from stands s
        cross join lateral (values (s.address_key), (s.file_key), (s.moving_to)) k (key)
        where k.key is not null
        union all
        select s.id, null, c.person_id from stands s join koppeling.claim c on c.member_id = s.member_id
    )
    select distinct on (s.reason, r.address_key, r.person_id, s.source)
           s.reason, r.address_key, r.person_id, s.source, s.occurred_at, s.id
    from reached r
    join said s on s.id = r.id
    order by s.reason, r.address_key, r.person_id, s.source, s.occurred_at desc, s.id;
end;

-- Keeps noes from being recorded while it changes where they hold: one link or setting at a time, then every linked
-- group. Whoever is recording a no has recorded it and is seen, or waits and sees what has changed.
create function koppeling.lock_noes() returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    perform from koppeling.deployment for update;
    -- A statement of its own, which sees the link that was waited for.
    perform koppeling.lock_group(g.id)
    from (select g.id from koppeling.target_group g where g.linked order by g.id) g;
end $$;

-- The noes that a deployment can let hold in every list.
create function koppeling.noes_for_all_lists() returns text[]
    language sql immutable parallel safe
    return array['complained', 'unsubscribed'];

-- Whose noes a new link to this list takes over, and which: those of groups that had the list before in any case, on
-- request those of the account's other lists, and what is to hold in every list from any that is linked, or was.
create function koppeling.groups_to_carry_from(p_account bigint, p_list text, p_others boolean)
    returns table (target_group_id bigint, reasons text[])
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select g.target_group_id,
           case when bool_or(g.has_all) then koppeling.binding_noes() else koppeling.noes_for_all_lists() end
    from (
        select f.target_group_id, f.list_id = p_list or p_others and f.account_id = p_account as has_all
        from koppeling.former_link f
        union all
        select i.target_group_id, p_others and i.account_id = p_account from koppeling.connector_instance i
    ) g
    where g.has_all or exists (select from koppeling.deployment d where d.noes_for_all_lists)
    group by g.target_group_id;
end;

-- How many addresses would be barred from a list if it were linked now.
create function koppeling.count_noes_to_carry(p_account bigint, p_list text, p_others boolean) returns bigint
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select count(distinct n.address_key)
    from (
        select koppeling.every_group(), koppeling.binding_noes()
        union all
        select g.target_group_id, g.reasons from koppeling.groups_to_carry_from(p_account, p_list, p_others) g
    ) g (id, reasons)
    cross join lateral koppeling.portable_noes(g.id) n
    where n.reason = any (g.reasons);
end;

-- Lets the open noes of one group, of these reasons, hold in another; in the same, those that stand at contacts hold at
-- their addresses from here on. What is open there already, and as new, is not repeated. Returns how many were added.
create function koppeling.carry_noes(
    p_from bigint, p_to bigint, p_actor text,
    p_reasons text[] default koppeling.binding_noes()) returns bigint
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_carried bigint[];
    v_persons bigint[];
begin
    perform koppeling.lock_group(p_to);
    with carried as (
        insert into koppeling.suppression (
            target_group_id, reason, address_key, person_id, follows, source, occurred_at, detail)
        select p_to, n.reason, n.address_key, n.person_id, n.entry, n.source, n.occurred_at,
               jsonb_build_object('carried', p_from, 'actor', p_actor)
        from koppeling.portable_noes(p_from) n
        where n.reason = any (p_reasons)
          and not exists (
              select from koppeling.open_suppression o
              where o.target_group_id = p_to and o.reason = n.reason and o.address_key = n.address_key
                and o.occurred_at >= n.occurred_at
                -- A user's word stands beside what Mailchimp said.
                and (n.source <> 'user' or o.source = 'user'))
          and not exists (
              select from koppeling.open_suppression o
              where o.target_group_id = p_to and o.reason = n.reason and o.person_id = n.person_id
                and o.occurred_at >= n.occurred_at)
        returning id
    )
    select coalesce(array_agg(id), '{}') into v_carried from carried;
    if v_carried <> '{}' then
        v_persons := koppeling.bind_carried(v_carried);
        perform koppeling.decline_carried(v_carried);
        perform koppeling.rederive(p_to, array(
            select m.person_id from koppeling.membership m
            where m.target_group_id = p_to and m.person_id = any (v_persons)), 'carried', p_actor);
        perform koppeling.stage_carried(v_carried);
    end if;
    return cardinality(v_carried);
end $$;

-- Binds the holders of the addresses at which these entries stand, and the claimants of the contacts there, and has the
-- holders looked for once more after all is committed. Returns everybody whom the entries concern.
create function koppeling.bind_carried(p_entries bigint[]) returns bigint[]
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_holders bigint[] := array(
        select distinct e.person_id
        from koppeling.suppression s
        join koppeling.email_address e on e.address_key = s.address_key
        where s.id = any (p_entries));
    v_claimants bigint[] := koppeling.bind_claimants(array(
        select m.id
        from koppeling.suppression s
        join koppeling.connector_instance i on i.target_group_id = s.target_group_id
        join koppeling.audience_member m on m.instance_id = i.id and m.address_key = s.address_key
        where s.id = any (p_entries)));
begin
    perform koppeling.bind_holders(v_holders);
    insert into koppeling.holder_check (suppression_id)
    select s.id from koppeling.suppression s where s.id = any (p_entries) and s.address_key is not null;
    if found then
        perform koppeling.enqueue(kind => 'group.evaluate');
    end if;
    return v_holders || v_claimants || array(
        select s.person_id from koppeling.suppression s where s.id = any (p_entries) and s.person_id is not null);
end $$;

-- Stages the contacts that must hear what a user recorded, where these entries brought it: whoever it was said of need
-- not be in that group, nor have that address any more.
create function koppeling.stage_carried(p_entries bigint[]) returns void
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
begin
    perform koppeling.stage_members(t.instance_id, t.members)
    from (
        select i.id as instance_id, array_agg(distinct m.id) as members
        from koppeling.suppression s
        join koppeling.connector_instance i on i.target_group_id = s.target_group_id
        cross join lateral koppeling.members_meant(i.id, s.address_key) m (id)
        where s.id = any (p_entries) and s.source = 'user'
        group by i.id
        order by i.target_group_id
    ) t;
end $$;

-- Ends the invitations that these entries came after, as if it had been said to that list.
create function koppeling.decline_carried(p_entries bigint[]) returns void
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
begin
    perform koppeling.decline_invitations(
        c.target_group_id, c.reason, c.address_key, null, array[c.person_id], c.occurred_at, false)
    from (
        select distinct s.target_group_id, s.reason, s.address_key, v.person_id, s.occurred_at
        from koppeling.invitation v
        join koppeling.audience_member m on m.id = v.member_id
        join koppeling.suppression s on s.target_group_id = v.target_group_id
        where v.ended_at is null and s.id = any (p_entries)
          and (s.person_id = v.person_id or s.address_key in (m.address_key, m.file_key)
               or exists (
                   select from koppeling.email_address e
                   where e.person_id = v.person_id and e.address_key = s.address_key))
    ) c;
end $$;

-- Where a complaint or an unsubscribe holds in every list, what is said to one goes to the others by itself.
create function koppeling.note_spreading() returns trigger
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    if not exists (select from koppeling.deployment d where d.noes_for_all_lists) then
        return null;
    end if;
    insert into koppeling.spreading_no (suppression_id)
    select s.id from said s
    where s.reason = any (koppeling.noes_for_all_lists()) and s.contact_id is null
      -- What came from another list, or was said to all, is in all of them already.
      and coalesce((s.detail ->> 'carried')::bigint, s.target_group_id) = s.target_group_id
      and not s.detail ? 'saidTo';
    -- Without a key: nothing waits here for another transaction while the group is locked.
    if found and current_setting('koppeling.noes_spread', true) is distinct from pg_current_xact_id()::text then
        perform koppeling.enqueue(kind => 'group.evaluate');
        perform set_config('koppeling.noes_spread', pg_current_xact_id()::text, true);
    end if;
    return null;
end $$;
create trigger spread after insert on koppeling.suppression
    referencing new table as said for each statement execute function koppeling.note_spreading();

-- Copies what is to hold in every list to the other linked groups, and returns the copies. No group is locked, unless
-- an invitation ends: what else follows is derived by the evaluation that calls this, which locks them in their order.
create function koppeling.spread_noes() returns bigint[]
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_copied bigint[];
begin
    with taken as (
        delete from koppeling.spreading_no where suppression_id = any (array(
            select suppression_id from koppeling.spreading_no order by suppression_id for update skip locked))
        returning suppression_id
    ), said as (
        select distinct on (s.target_group_id, s.reason, s.address_key, s.person_id, s.source) s.*
        from taken t
        join koppeling.open_suppression s on s.id = t.suppression_id
        order by s.target_group_id, s.reason, s.address_key, s.person_id, s.source, s.occurred_at desc
    ), copied as (
        insert into koppeling.suppression (
            target_group_id, reason, address_key, person_id, follows, source, occurred_at, detail)
        select g.id, s.reason, s.address_key, s.person_id, s.id, s.source, s.occurred_at,
               jsonb_build_object('carried', s.target_group_id)
        from said s
        join koppeling.target_group g on g.linked and g.id <> s.target_group_id
        where not exists (
            select from koppeling.open_suppression o
            where o.target_group_id = g.id and o.reason = s.reason
              and o.occurred_at >= s.occurred_at
              and (o.person_id = s.person_id
                   or o.address_key = s.address_key and (s.source <> 'user' or o.source = 'user')))
        returning id
    )
    select coalesce(array_agg(id), '{}') into v_copied from copied;
    if exists (
        select from koppeling.suppression s
        join koppeling.invitation v on v.target_group_id = s.target_group_id and v.ended_at is null
        where s.id = any (v_copied))
    then
        -- Every group, since the evaluation locks more of them after this.
        perform koppeling.lock_group(g.id) from (select g.id from koppeling.target_group g order by g.id) g;
        perform koppeling.decline_carried(v_copied);
    end if;
    if v_copied <> '{}' then
        perform koppeling.request_evaluation(koppeling.bind_carried(v_copied), 'allLists');
    end if;
    return v_copied;
end $$;

-- Lets complaints and unsubscribes hold in every linked list from now on, those that are open too, also of a list that
-- is linked no more, or each in its own again; what was copied stays until it is lifted.
create function koppeling.apply_noes_to_all_lists(p_all boolean, p_actor text) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_to bigint;
    v_from bigint;
    v_carried bigint := 0;
begin
    perform koppeling.lock_noes();
    update koppeling.deployment d set noes_for_all_lists = p_all where d.noes_for_all_lists <> p_all;
    if not found then
        return 0;
    end if;
    insert into koppeling.audit_entry (kind, new, actor, cause)
    values ('deployment.noes', to_jsonb(case when p_all then 'all lists' else 'each list' end), p_actor, 'set');
    if p_all then
        for v_to in select i.target_group_id from koppeling.connector_instance i order by i.target_group_id loop
            for v_from in
                select i.target_group_id from koppeling.connector_instance i where i.target_group_id <> v_to
                union
                select f.target_group_id from koppeling.former_link f where f.target_group_id <> v_to
                order by 1
            loop
                v_carried := v_carried
                    + koppeling.carry_noes(v_from, v_to, p_actor, koppeling.noes_for_all_lists());
            end loop;
        end loop;
    end if;
    return v_carried;
end $$;

-- Holds addresses against the ledger of erasures for one group that was not there when they were given: those of up to
-- p_limit persons after p_after. Returns the last person looked at, or null when there are no more.
create function koppeling.check_group_erasures(p_key bytea, p_group bigint, p_after bigint, p_limit bigint)
    returns bigint
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_pads record := koppeling.hash_pads(p_key);
    v_persons bigint[] := array(
        select distinct e.person_id from koppeling.email_address e
        where e.person_id > p_after order by e.person_id limit p_limit);
    v_given record;
begin
    for v_given in
        select e.person_id, e.address
        from koppeling.email_address e
        join koppeling.erased_hash h on h.subject = 'address' and h.hash = koppeling.keyed_hash(
            v_pads.inner_pad, v_pads.outer_pad, koppeling.address_subject(e.address_key))
        where e.person_id = any (v_persons)
          and exists (select from koppeling.target_group g where g.id = p_group)
        order by e.person_id, e.kind
    loop
        perform koppeling.open_suppression(p_group, 'forgotten', v_given.address, null, array[v_given.person_id],
            'user', koppeling.now(), '{"because": "erased"}');
    end loop;
    return v_persons[cardinality(v_persons)];
end $$;

-- What a new link begins with: the noes that are carried to it, and a look into the ledger of erasures, which only a
-- worker can read. Returns how many entries were carried.
create function koppeling.begin_consent(p_group bigint, p_account bigint, p_list text, p_others boolean, p_actor text)
    returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_carried bigint;
begin
    perform koppeling.lock_noes();
    select coalesce(sum(koppeling.carry_noes(g.target_group_id, p_group, p_actor, g.reasons)), 0) into v_carried
    from koppeling.groups_to_carry_from(p_account, p_list, p_others) g
    where g.target_group_id <> p_group;
    if exists (select from koppeling.erasure) then
        perform koppeling.enqueue_internal('erasure.check', jsonb_build_object('group', p_group),
            key => 'erasure.check.' || p_group, order_key => 'erasure.check');
    end if;
    return v_carried;
end $$;

revoke execute on function
    koppeling.lock_noes(), koppeling.carry_noes(bigint, bigint, text, text[]),
    koppeling.apply_noes_to_all_lists(boolean, text),
    koppeling.check_group_erasures(bytea, bigint, bigint, bigint),
    koppeling.begin_consent(bigint, bigint, text, boolean, text)
from public;
