-- From memberships to claims: the brake that may hold what differs, and what is applied.

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

-- The claimants' move cannot be made: the old address is left, and each claim goes to the new one.
create function koppeling.replace_contact(p_member bigint) returns void
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
declare
    v_instance bigint;
    v_touched  bigint[];
begin
    update koppeling.audience_member set moving_to = null where id = p_member
    returning instance_id into v_instance;
    with moved as (
        update koppeling.claim c
        set member_id = koppeling.member_for(v_instance, c.address, c.address_key)
        from koppeling.audience_member m
        where c.member_id = p_member and m.id = p_member and c.address_key <> m.address_key
        returning c.member_id
    )
    select coalesce(array_agg(distinct member_id), '{}') into v_touched from moved;
    perform koppeling.stage_members(v_instance, v_touched || p_member);
end $$;

create type koppeling.claim_change as (
    person_id bigint, change text, address text, address_key text, fields jsonb, manual boolean, member_id bigint,
    readdressed boolean
);

-- Applies these changes. Returns the members whose needs may have changed, and those that were made, of whom nothing is
-- known but that they are claimed.
create function koppeling.apply_claims(
    p_instance bigint, p_changes koppeling.claim_change[], out touched bigint[], out made bigint[])
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    -- Apart, so that the planner knows how many there are of each.
    v_joins  koppeling.claim_change[] := array(select c from unnest(p_changes) c where c.change = 'join');
    v_edits  koppeling.claim_change[] := array(select c from unnest(p_changes) c where c.change in ('edit', 'empty'));
    v_leaves bigint[] := array(select c.person_id from unnest(p_changes) c where c.change = 'leave');
begin
    with gone as (
        delete from koppeling.claim c
        using unnest(v_leaves) l (person_id)
        where c.instance_id = p_instance and c.person_id = l.person_id
        returning c.member_id
    )
    select coalesce(array_agg(distinct member_id), '{}') into touched from gone;

    select touched || j.known, j.made into touched, made from koppeling.join_claims(p_instance, v_joins) j;

    with edited as (
        update koppeling.claim c set fields = d.fields, manual = d.manual,
               address = case when d.readdressed then c.address else d.address end
        from unnest(v_edits) d
        where c.instance_id = p_instance and c.person_id = d.person_id
        returning c.member_id
    )
    select touched || coalesce(array_agg(distinct member_id), '{}') into touched from edited;

    -- One after the other: the second of two who swap addresses must see what the first one took.
    select touched || coalesce(array_agg(r.member_id), '{}') into touched
    from (select * from unnest(v_edits) d where d.readdressed order by d.person_id) d
    cross join lateral koppeling.readdress_claim(p_instance, d.person_id, d.address, d.address_key) r (member_id);
end $$;

-- Makes the claims of those who join: most find their member by its address, the rest by where it moves or came from.
-- Members for the addresses that nobody has seen yet are made in one go. Returns the members, those apart.
create function koppeling.join_claims(
    p_instance bigint, p_joins koppeling.claim_change[], out known bigint[], out made bigint[])
    language plpgsql
    -- The planner thinks that few are made; a nested loop over them would be quadratic. No list is read through, even
    -- one that was small a moment ago.
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan set enable_nestloop = off
    set enable_seqscan = off
as $$
begin
    if p_joins = '{}' then
        known := '{}';
        made := '{}';
        return;
    end if;
    with wanting as materialized (
        select d.*,
               (select m.id from koppeling.audience_member m
                where m.instance_id = p_instance and m.address_key = d.address_key) as member
        from unnest(p_joins) d
    ), made as (
        insert into koppeling.audience_member (instance_id, address, address_key)
        select distinct on (d.address_key) p_instance, d.address, d.address_key
        from wanting d
        where d.member is null
          -- By offset each is looked up through its index: statistics may be older than the whole list.
          and not exists (select from koppeling.audience_member m
                          where m.instance_id = p_instance and m.moving_to = d.address_key offset 0)
          and not exists (select from koppeling.audience_member m
                          where m.instance_id = p_instance and m.file_key = d.address_key and m.status <> 'absent'
                          offset 0)
        order by d.address_key, d.person_id
        on conflict (instance_id, address_key) do nothing
        returning id, address_key
    ), joined as (
        insert into koppeling.claim (instance_id, person_id, member_id, address, address_key, fields, manual)
        select p_instance, d.person_id,
               coalesce(d.member, n.id, koppeling.member_for(p_instance, d.address, d.address_key)),
               d.address, d.address_key, d.fields, d.manual
        from wanting d
        left join made n on n.address_key = d.address_key
        order by d.person_id
        returning member_id
    )
    select coalesce((select array_agg(n.id) from made n), '{}'),
           array(select distinct j.member_id from joined j except select n.id from made n)
    into made, known;
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
        -- Not before it matters, and no further: counting a large list takes longer than all the rest.
        select count(*) into v_claims
        from (select from koppeling.claim c where c.instance_id = p_instance
              limit ceil(greatest(v_removals, v_joins) / nullif(least(i.removals_share, i.joins_share), 0))) c;
        if p_removals > 0 and v_removals > greatest(i.removals_count, i.removals_share * v_claims) then
            return format('%s removals within a day of %s members', v_removals, v_claims);
        elsif p_joins > 0 and v_joins > greatest(i.joins_count, i.joins_share * v_claims) then
            return format('%s joins within a day with %s members', v_joins, v_claims);
        end if;
    end if;
    return null;
end $$;

-- Stages the contacts that must hear the no that a user recorded of these persons, and those whose archive waits for
-- somebody although they said no: also where nobody claims them.
create function koppeling.stage_told(p_instance bigint, p_persons bigint[]) returns void
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
declare
    v_members bigint[] := koppeling.told_members(p_instance, p_persons)
        || koppeling.parked_refusals(p_instance, p_persons);
begin
    if cardinality(v_members) > 0 then
        perform koppeling.stage_members(p_instance, v_members);
    end if;
end $$;

-- The contacts that an address means: the one there, and those that left it inside Mailchimp or are to get it.
create function koppeling.members_meant(p_instance bigint, p_key text) returns setof bigint
    language sql stable -- and without settings: it becomes part of its caller's statement
begin atomic
    select m.id from koppeling.audience_member m where m.instance_id = p_instance and m.address_key = p_key
    union all
    select m.id from koppeling.audience_member m where m.instance_id = p_instance and m.file_key = p_key
    union all
    select m.id from koppeling.audience_member m where m.instance_id = p_instance and m.moving_to = p_key;
end;

-- The contacts at addresses of these persons that must hear a no which a user recorded.
create function koppeling.told_members(p_instance bigint, p_persons bigint[]) returns bigint[]
    language plpgsql stable
    -- Each person through his addresses, whatever the statistics say: nearly nobody said no. Planned once.
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
begin
    return array(
        select distinct m.id
        from koppeling.connector_instance i
        cross join unnest(p_persons) g (id)
        cross join lateral (select * from koppeling.email_address e where e.person_id = g.id offset 0) e
        cross join lateral (
            select * from koppeling.open_suppression s where s.address_key = e.address_key offset 0
        ) s
        cross join lateral koppeling.members_meant(i.id, s.address_key) n (id)
        join koppeling.audience_member m on m.id = n.id
        where i.id = p_instance and s.target_group_id = i.target_group_id and s.source = 'user'
            -- What a call under way will have made of it is not known yet.
            and (m.status in ('subscribed', 'pending') or m.intent is not null));
end $$;

-- Everybody whose claim there is, or might be: whoever has one, is in the group, or stands in its plan.
create function koppeling.claim_candidates(p_group bigint, p_instance bigint) returns bigint[]
    language sql stable set search_path = koppeling, pg_temp
    return array(
        select m.person_id from koppeling.membership m where m.target_group_id = p_group and m.status = 'active'
        union
        select c.person_id from koppeling.claim c where c.instance_id = p_instance
        union
        select l.person_id
        from koppeling.change_plan p
        join koppeling.change_plan_line l on l.plan_id = p.id
        where p.target_group_id = p_group and p.state = 'held');

-- Every writer of memberships ends here: claims follow, or wait in a plan; then actions are staged. Null: everybody.
-- What somebody changed by hand is never held, nor is a no or an erasure.
create or replace function koppeling.membership_changed(
    p_group bigint, p_persons bigint[], p_by_hand boolean default false) returns void
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_instance bigint;
    v_persons  bigint[];
    v_some     bigint[];
    v_last     int := 0;
    v_plan     bigint;
    v_is_new   boolean := false;
    v_joins    bigint := 0;
    v_removals bigint := 0;
    v_because  text;
    v_held     record;
    v_lines    record;
    v_changed  bigint := 0;
    v_exempt   bigint[] := '{}';
    v_applied  record;
begin
    select id into v_instance from koppeling.connector_instance where target_group_id = p_group;
    if not found then
        return;
    end if;
    perform koppeling.lock_group(p_group);
    v_persons := case when p_persons is null then koppeling.claim_candidates(p_group, v_instance)
                      else array(select distinct unnest(p_persons)) end;
    select id into v_plan from koppeling.change_plan where target_group_id = p_group and state = 'held' for update;
    -- Some at a time: counted until the brake would hold what was counted so far, and from then on written to the plan.
    while v_last < cardinality(v_persons) loop
        v_some := v_persons[v_last + 1:v_last + 5000];
        v_last := v_last + cardinality(v_some);
        if v_plan is null then
            v_held := koppeling.count_held(v_instance, v_some, p_by_hand);
            v_joins := v_joins + v_held.joins;
            v_removals := v_removals + v_held.removals;
            v_because := koppeling.brake(v_instance, v_joins, v_removals);
            if v_because is null then
                continue;
            end if;
            insert into koppeling.change_plan (target_group_id, held_because) values (p_group, v_because)
            returning id into v_plan;
            v_is_new := true;
            v_some := v_persons[:v_last];
        end if;
        v_lines := koppeling.rewrite_lines(v_plan, v_instance, v_some, p_by_hand);
        v_changed := v_changed + v_lines.changed;
        v_exempt := v_exempt || v_lines.exempt;
    end loop;
    if v_plan is null then
        v_exempt := v_persons;
        if v_joins + v_removals > 0 then
            insert into koppeling.unapproved_change (target_group_id, joins, removals)
            values (p_group, v_joins, v_removals);
        end if;
    else
        perform koppeling.settle_plan(v_plan, v_changed);
    end if;
    if v_is_new then
        update koppeling.change_plan p
        set held_because = coalesce((
            select koppeling.brake(v_instance, count(*) filter (where l.change = 'join'),
                                   count(*) filter (where l.change <> 'join'))
            from koppeling.change_plan_line l where l.plan_id = p.id), p.held_because)
        where p.id = v_plan;
    end if;
    select * into v_applied
    from koppeling.apply_claims(
        v_instance, koppeling.changes_due(v_instance, v_exempt, v_plan is not null, p_by_hand));
    perform koppeling.stage_members(v_instance, v_applied.touched, v_applied.made);
    perform koppeling.stage_told(v_instance, p_persons);
end $$;
