-- From memberships to claims: the difference, the brake that may hold it, and what is applied.

-- Who should have a claim on a contact of this instance's list: active, with an address of the group's kind.
create function koppeling.wanted_claims(p_instance bigint, p_persons bigint[])
    returns table (person_id bigint, address text, address_key text, fields jsonb, manual boolean)
    -- Planned for each call: with persons named only they are looked at, else everybody at once.
    language plpgsql stable
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    v_wants_position boolean := exists (
        select from koppeling.merge_field t
        where t.instance_id = p_instance and t.source in ('function', 'department', 'company'));
    v_takes_all boolean := not exists (select from koppeling.training_address);
    v_genders jsonb := (
        select jsonb_object_agg(g.gender, jsonb_build_object('text', g.text, 'title', g.title))
        from koppeling.gender_text g
        where g.instance_id = p_instance);
begin
    return query
    select m.person_id, e.address, e.address_key, f.fields, m.via = 'manual'
    from koppeling.connector_instance i
    join koppeling.target_group g on g.id = i.target_group_id
    join koppeling.membership m on m.target_group_id = g.id and m.status = 'active'
    join koppeling.person p on p.id = m.person_id
    join koppeling.email_address e on e.person_id = m.person_id and e.kind = g.email_kind
    -- The position that was given first; nobody's is looked for where no field wants it.
    left join lateral (
        select n.name as function, d.name as department, k.name as company
        from koppeling.position o
        left join koppeling.job_function n on n.id = o.job_function_id
        left join koppeling.department d on d.id = o.department_id
        left join koppeling.company k on k.id = o.company_id
        where o.person_id = p.id
        order by o.id
        limit 1
    ) o on v_wants_position
    cross join lateral (
        select coalesce(jsonb_object_agg(t.tag, koppeling.merge_text(case t.source
                   when 'first_name' then koppeling.first_name(p.given_name, p.initials)
                   when 'last_name' then koppeling.last_name(p.prefixes, p.family_name)
                   when 'given_name' then p.given_name
                   when 'initials' then p.initials
                   when 'prefixes' then p.prefixes
                   when 'family_name' then p.family_name
                   when 'gender' then v_genders -> p.gender ->> 'text'
                   when 'salutation' then koppeling.salutation(v_genders -> p.gender ->> 'title', p.given_name,
                                                               p.initials, p.prefixes, p.family_name)
                   when 'function' then o.function
                   when 'department' then o.department
                   when 'company' then o.company
               end)), '{}') as fields
        from koppeling.merge_field t
        where t.instance_id = i.id
    ) f
    where i.id = p_instance and (p_persons is null or m.person_id = any (p_persons))
      and (v_takes_all or koppeling.address_allowed(e.address_key));
end $$;

-- What would change between the claims there are and those there should be. `change` as a plan names it, or `edit`.
-- An exempt one is never held: a person's own no, an erasure, a change by hand, what a plan that is being applied says.
create function koppeling.claim_difference(p_instance bigint, p_persons bigint[])
    returns table (person_id bigint, change text, exempt boolean, reason text, address text, address_key text,
                   fields jsonb, manual boolean, member_id bigint, readdressed boolean)
    language plpgsql stable
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
begin
    return query
    with had as (
        select c.* from koppeling.claim c
        where c.instance_id = p_instance and (p_persons is null or c.person_id = any (p_persons))
    ), difference as (
        select coalesce(w.person_id, h.person_id) as person_id,
               case
                   when h.person_id is null then 'join'
                   when w.person_id is null then 'leave'
                   when exists (select from jsonb_each_text(h.fields) f
                                where f.value <> '' and coalesce(w.fields ->> f.key, '') = '') then 'empty'
                   else 'edit'
               end as change,
               w.address, w.address_key, w.fields, w.manual, h.member_id,
               h.person_id is not null and w.address_key <> h.address_key as readdressed
        from koppeling.wanted_claims(p_instance, p_persons) w
        full join had h on h.person_id = w.person_id
        where (h.address_key, h.fields, h.manual) is distinct from (w.address_key, w.fields, w.manual)
          -- Nothing follows from an address before it is known that nobody erased had it.
          and not exists (select from koppeling.erasure_check q where q.person_id = coalesce(w.person_id, h.person_id))
    )
    select d.person_id, d.change,
           a.person_id is not null or case d.change
               when 'join' then d.manual and i.activated
               when 'leave' then coalesce(m.reasons[1], '') in ('erased', 'complained', 'unsubscribed', 'cleaned',
                                                               'forgotten', 'removedInMailchimp', 'manual')
               else d.change = 'edit'
           end,
           case d.change
               when 'join' then coalesce(m.via, 'rule')
               when 'leave' then case when m.status = 'active' then 'noAddress'
                                      else coalesce(m.reasons[1], 'ruleNoLongerMatches') end
               else 'fields'
           end,
           d.address, d.address_key, d.fields, d.manual, d.member_id, d.readdressed
    from difference d
    join koppeling.connector_instance i on i.id = p_instance
    left join koppeling.membership m
        on m.target_group_id = i.target_group_id and m.person_id = d.person_id
           and (p_persons is null or m.person_id = any (p_persons))
    left join (
        select l.person_id, l.change
        from koppeling.change_plan p
        join koppeling.change_plan_line l on l.plan_id = p.id and l.person_id > p.applied_through
        where p.state = 'approved'
          and p.target_group_id = (select i.target_group_id from koppeling.connector_instance i where i.id = p_instance)
          and (p_persons is null or l.person_id = any (p_persons))
    ) a on a.person_id = d.person_id and a.change = d.change;
end $$;

-- The audience member that stands for an address: the contact there, else one that moves there, else one that the
-- person file knew there; made when there is none.
create function koppeling.member_for(p_instance bigint, p_address text, p_key text) returns bigint
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
declare
    v_member bigint;
begin
    select m.id into v_member
    from koppeling.audience_member m
    where m.instance_id = p_instance
      and (m.address_key = p_key or m.moving_to = p_key or m.file_key = p_key and m.status <> 'absent')
    order by m.address_key = p_key desc, m.moving_to = p_key desc nulls last, m.id
    limit 1;
    if v_member is null then
        insert into koppeling.audience_member (instance_id, address, address_key)
        values (p_instance, p_address, p_key)
        returning id into v_member;
    end if;
    return v_member;
end $$;
create index audience_member_file on koppeling.audience_member (instance_id, file_key)
    where file_key is not null;

-- The person file's address changed: the claim goes where that address is, or the contact moves along.
-- Returns the members whose needs may have changed.
create function koppeling.readdress_claim(p_instance bigint, p_person bigint, p_address text, p_key text)
    returns setof bigint
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
declare
    v_own    koppeling.audience_member;
    v_other  bigint;
    v_shared boolean;
begin
    select m.* into strict v_own
    from koppeling.claim c
    join koppeling.audience_member m on m.id = c.member_id
    where c.instance_id = p_instance and c.person_id = p_person
    for update of m;
    update koppeling.claim set address = p_address, address_key = p_key
    where instance_id = p_instance and person_id = p_person;

    v_shared := exists (select from koppeling.claim c where c.member_id = v_own.id and c.person_id <> p_person);
    if p_key = v_own.address_key and not v_shared then
        -- Back to where the contact already is: nothing has to move.
        update koppeling.audience_member set moving_to = null, file_key = p_key
        where id = v_own.id and intent is distinct from 'moving';
        return next v_own.id;
        return;
    end if;
    select m.id into v_other
    from koppeling.audience_member m
    where m.instance_id = p_instance and m.id <> v_own.id
      and (m.address_key = p_key or m.moving_to = p_key)
      and (m.status <> 'absent' or m.intent is not null or m.moving_to = p_key
           or exists (select from koppeling.claim c where c.member_id = m.id))
    order by m.address_key = p_key desc
    limit 1;
    if v_other is null and not v_shared and v_own.ownership in ('created', 'adopted')
        and v_own.status = 'subscribed'
    then
        update koppeling.audience_member set moving_to = p_key where id = v_own.id;
    else
        v_other := coalesce(v_other, koppeling.member_for(p_instance, p_address, p_key));
        update koppeling.claim set member_id = v_other where instance_id = p_instance and person_id = p_person;
        return next v_other;
    end if;
    return next v_own.id;
end $$;

-- A claim stands at the contact of its address, or goes with the one that is known by it or moves there. Those of these
-- members that lost their contact to another's move, or share one that so cannot move, go to their own address.
-- Returns the members that they came to.
create function koppeling.settle_claims(p_instance bigint, p_members bigint[]) returns bigint[]
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
declare
    v_strays bigint[];
    v_came bigint[];
begin
    -- Once its call may be under way a move is not called back: who stays behind is settled when it is recorded.
    update koppeling.audience_member m set moving_to = null
    where m.id = any (p_members) and m.moving_to is not null and m.intent is distinct from 'moving'
      and exists (select from koppeling.claim c where c.member_id = m.id and c.address_key <> m.moving_to);
    -- One by one: a plan that was made while there were few would go through all claims for each.
    v_strays := array(
        select c.person_id
        from unnest(p_members) g (id)
        cross join lateral (select * from koppeling.audience_member m where m.id = g.id offset 0) m
        cross join lateral (select * from koppeling.claim c where c.member_id = m.id offset 0) c
        where c.address_key <> m.address_key and m.moving_to is null and c.address_key is distinct from m.file_key);
    if v_strays = '{}' then
        return v_strays;
    end if;
    with settled as (
        update koppeling.claim c set member_id = koppeling.member_for(p_instance, c.address, c.address_key)
        where c.instance_id = p_instance and c.person_id = any (v_strays)
        returning c.member_id
    )
    select coalesce(array_agg(distinct member_id), '{}') into v_came from settled;
    return v_came;
end $$;

create type koppeling.claim_change as (
    person_id bigint, change text, address text, address_key text, fields jsonb, manual boolean, member_id bigint,
    readdressed boolean
);

-- Applies what differs: all of it, or only what no plan may hold. Returns the members whose needs may have changed.
create function koppeling.apply_claims(p_instance bigint, p_persons bigint[], p_exempt_only boolean)
    returns bigint[]
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_changes koppeling.claim_change[];
    v_touched bigint[] := '{}';
    v_more    bigint[];
begin
    select coalesce(array_agg(row (d.person_id, d.change, d.address, d.address_key, d.fields, d.manual,
                                   d.member_id, d.readdressed)::koppeling.claim_change), '{}')
    into v_changes
    from koppeling.claim_difference(p_instance, p_persons) d
    where d.exempt or not p_exempt_only;

    with gone as (
        delete from koppeling.claim c
        using unnest(v_changes) d
        where d.change = 'leave' and c.instance_id = p_instance and c.person_id = d.person_id
        returning c.member_id
    )
    select coalesce(array_agg(distinct member_id), '{}') into v_touched from gone;

    -- Members for the addresses nobody has seen yet, in one go; most claims find theirs by its address, the rest by
    -- where it moves or came from.
    insert into koppeling.audience_member (instance_id, address, address_key)
    select distinct on (d.address_key) p_instance, d.address, d.address_key
    from unnest(v_changes) d
    where d.change = 'join'
      and not exists (select from koppeling.audience_member m
                      where m.instance_id = p_instance and m.moving_to = d.address_key)
      and not exists (select from koppeling.audience_member m
                      where m.instance_id = p_instance and m.file_key = d.address_key and m.status <> 'absent')
    order by d.address_key, d.person_id
    on conflict (instance_id, address_key) do nothing;
    with joined as (
        insert into koppeling.claim (instance_id, person_id, member_id, address, address_key, fields, manual)
        select p_instance, d.person_id,
               coalesce(m.id, koppeling.member_for(p_instance, d.address, d.address_key)), d.address, d.address_key,
               d.fields, d.manual
        from unnest(v_changes) d
        left join koppeling.audience_member m on m.instance_id = p_instance and m.address_key = d.address_key
        where d.change = 'join'
        order by d.person_id
        returning member_id
    )
    select v_touched || coalesce(array_agg(distinct member_id), '{}') into v_touched from joined;

    with edited as (
        update koppeling.claim c set fields = d.fields, manual = d.manual,
               address = case when d.readdressed then c.address else d.address end
        from unnest(v_changes) d
        where d.change in ('edit', 'empty') and c.instance_id = p_instance and c.person_id = d.person_id
        returning c.member_id
    )
    select v_touched || coalesce(array_agg(distinct member_id), '{}') into v_touched from edited;

    -- One after the other: the second of two who swap addresses must see what the first one took.
    select coalesce(array_agg(r.member_id), '{}') into v_more
    from (select * from unnest(v_changes) d where d.change in ('edit', 'empty') and d.readdressed
          order by d.person_id) d
    cross join lateral koppeling.readdress_claim(p_instance, d.person_id, d.address, d.address_key) r (member_id);
    return v_touched || v_more;
end $$;

-- Why the brake would hold these changes, or null.
create function koppeling.brake(p_instance bigint, p_joins bigint, p_removals bigint) returns text
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
declare
    i          koppeling.connector_instance;
    v_joins    bigint;
    v_removals bigint;
    v_claims   bigint;
begin
    if p_joins + p_removals = 0 then
        return null;
    end if;
    select * into i from koppeling.connector_instance where id = p_instance;
    if not i.activated then
        return 'first activation';
    end if;
    select p_joins + coalesce(sum(u.joins), 0), p_removals + coalesce(sum(u.removals), 0) into v_joins, v_removals
    from koppeling.unapproved_change u
    where u.target_group_id = i.target_group_id and u.at > koppeling.now() - interval '1 day';
    if p_removals > 0 and v_removals > i.removals_cap then
        return format('%s removals within a day, more than %s', v_removals, i.removals_cap);
    elsif p_joins > 0 and v_joins > i.joins_cap then
        return format('%s joins within a day, more than %s', v_joins, i.joins_cap);
    elsif (p_removals > 0 and v_removals > i.removals_count) or (p_joins > 0 and v_joins > i.joins_count) then
        -- Not before it matters: counting a large list takes longer than all the rest.
        select count(*) into v_claims from koppeling.claim c where c.instance_id = p_instance;
        if p_removals > 0 and v_removals > greatest(i.removals_count, i.removals_share * v_claims) then
            return format('%s removals within a day of %s members', v_removals, v_claims);
        elsif p_joins > 0 and v_joins > greatest(i.joins_count, i.joins_share * v_claims) then
            return format('%s joins within a day with %s members', v_joins, v_claims);
        end if;
    end if;
    return null;
end $$;

-- Stages the contacts that must hear the no that a user recorded of these persons: also where nobody claims them.
create function koppeling.stage_told(p_instance bigint, p_persons bigint[]) returns void
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_members bigint[];
begin
    v_members := array(
        select distinct m.id
        from koppeling.connector_instance i
        join koppeling.open_suppression s
            on s.target_group_id = i.target_group_id and s.source = 'user' and s.address_key is not null
        join koppeling.email_address e on e.address_key = s.address_key
        join koppeling.audience_member m on m.instance_id = i.id and m.address_key = s.address_key
        where i.id = p_instance and m.status in ('subscribed', 'pending') and e.person_id = any (p_persons));
    if cardinality(v_members) > 0 then
        perform koppeling.stage_members(p_instance, v_members);
    end if;
end $$;

-- Every writer of memberships ends here: claims follow, or wait in a plan; then actions are staged.
create or replace function koppeling.membership_changed(p_group bigint, p_persons bigint[]) returns void
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_instance bigint;
    v_plan     bigint;
    v_joins    bigint;
    v_removals bigint;
    v_because  text;
begin
    select id into v_instance from koppeling.connector_instance where target_group_id = p_group;
    if not found then
        return;
    end if;
    perform koppeling.lock_group(p_group);
    select count(*) filter (where change = 'join'), count(*) filter (where change in ('leave', 'empty'))
    into v_joins, v_removals
    from koppeling.claim_difference(v_instance, p_persons)
    where not exempt;
    select id into v_plan from koppeling.change_plan where target_group_id = p_group and state = 'held' for update;
    if v_plan is null then
        v_because := koppeling.brake(v_instance, v_joins, v_removals);
        if v_because is not null then
            insert into koppeling.change_plan (target_group_id, held_because) values (p_group, v_because)
            returning id into v_plan;
        end if;
    end if;
    if v_plan is null then
        perform koppeling.stage_members(v_instance, koppeling.apply_claims(v_instance, p_persons, false));
        if v_joins + v_removals > 0 then
            insert into koppeling.unapproved_change (target_group_id, joins, removals)
            values (p_group, v_joins, v_removals);
        end if;
    else
        perform koppeling.rewrite_plan(v_plan, v_instance, p_persons);
        perform koppeling.stage_members(v_instance, koppeling.apply_claims(v_instance, p_persons, true));
    end if;
    perform koppeling.stage_told(v_instance, p_persons);
end $$;
