-- A held plan: rewritten by later recomputes, approved or discarded by a person who names the version seen.

-- Brings the lines of these persons up to date. Returns how many lines changed, and those persons whose changes no plan
-- holds.
create function koppeling.rewrite_lines(
    p_plan bigint, p_instance bigint, p_persons bigint[], p_by_hand boolean, out changed bigint, out exempt bigint[])
    language plpgsql
    -- No scan of the lines, which would meet all those that are being written.
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan set enable_seqscan = off
as $$
declare
    v_cause text := koppeling.plan_cause();
begin
    with differing as materialized (
        select d.person_id, d.change, d.reason, d.emptied, d.exempt
        from koppeling.claim_difference(p_instance, p_persons, p_by_hand) d
    ), gone as (
        -- By their numbers: joined with the lines, all those that were written before would be read.
        delete from koppeling.change_plan_line l
        where l.plan_id = p_plan and l.person_id = any (array(
            select unnest(p_persons) except select d.person_id from differing d where not d.exempt))
        returning 1
    ), written as (
        insert into koppeling.change_plan_line as l (plan_id, person_id, change, reason, cause, fields)
        select p_plan, d.person_id, d.change, d.reason, v_cause, d.emptied from differing d where not d.exempt
        on conflict (plan_id, person_id) do update
            set change = excluded.change, reason = excluded.reason, cause = excluded.cause, fields = excluded.fields
            where (l.change, l.reason, l.fields) is distinct from (excluded.change, excluded.reason, excluded.fields)
        returning 1
    )
    select (select count(*) from gone) + (select count(*) from written),
           array(select d.person_id from differing d where d.exempt)
    into changed, exempt;
end $$;

-- What the lines that are written now are put down to.
create function koppeling.plan_cause() returns text
    language sql stable
    return coalesce(nullif(current_setting('koppeling.cause', true), ''), 'facts');

-- After lines were rewritten: a plan without lines dissolves, one of which some changed has a new version.
create function koppeling.settle_plan(p_plan bigint, p_changed bigint) returns void
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan set enable_seqscan = off
as $$
begin
    if koppeling.plan_cause() = 'rules' then
        update koppeling.change_plan p
        set rules_entry = (select max(a.id) from koppeling.audit_entry a
                           where a.target_group_id = p.target_group_id and a.kind = 'rules')
        where p.id = p_plan and p.rules_entry is null
          and exists (select from koppeling.change_plan_line l where l.plan_id = p_plan and l.cause = 'rules');
    end if;
    if not exists (select from koppeling.change_plan_line where plan_id = p_plan) then
        update koppeling.change_plan
        set state = 'dissolved', decided_at = koppeling.now(), changed_at = koppeling.now()
        where id = p_plan;
    elsif p_changed > 0 then
        update koppeling.change_plan set version = version + 1, changed_at = koppeling.now() where id = p_plan;
    end if;
end $$;

-- The held plan, locked together with its group, in the version that the person saw.
create function koppeling.require_held_plan(p_plan bigint, p_version int) returns koppeling.change_plan
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
declare
    v_plan koppeling.change_plan;
begin
    select * into v_plan from koppeling.change_plan where id = p_plan;
    if not found then
        raise exception using errcode = 'no_data_found', message = format('there is no plan %s', p_plan),
            hint = 'List the plans to see their numbers.';
    end if;
    perform koppeling.lock_group(v_plan.target_group_id);
    select * into v_plan from koppeling.change_plan where id = p_plan for update;
    if v_plan.state <> 'held' then
        raise exception using errcode = 'KS001', message = format('plan %s is %s already', p_plan, v_plan.state),
            hint = 'List the plans to see which are held.';
    end if;
    if v_plan.version is distinct from p_version then
        raise exception using errcode = 'KS001', message = format(
            'plan %s has changed: you saw version %s, it is at version %s', p_plan, p_version, v_plan.version),
            hint = 'Look at it again, and name the version that you see then.';
    end if;
    return v_plan;
end $$;

-- Approves the version that the person saw. A small plan is applied at once, a large one by workers, piece by piece.
-- Returns how many persons it concerns.
create function koppeling.approve_plan(p_plan bigint, p_version int, p_actor text) returns bigint
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
declare
    v_plan    koppeling.change_plan := koppeling.require_held_plan(p_plan, p_version);
    v_persons bigint;
begin
    if exists (select from koppeling.change_plan p
               where p.target_group_id = v_plan.target_group_id and p.state = 'approved') then
        raise exception using errcode = 'KS001',
            message = format('an earlier plan of the group is still being applied: plan %s has to wait', p_plan),
            hint = 'Approve it when that one is applied.';
    end if;
    select count(*) into v_persons from koppeling.change_plan_line where plan_id = p_plan;
    update koppeling.change_plan
    set state = 'approved', decided_at = koppeling.now(), decided_by = p_actor, changed_at = koppeling.now()
    where id = p_plan;
    update koppeling.connector_instance set activated = true where target_group_id = v_plan.target_group_id;
    insert into koppeling.audit_entry (target_group_id, kind, new, actor, cause)
    values (v_plan.target_group_id, 'plan.approved',
            jsonb_build_object('plan', p_plan, 'version', p_version, 'persons', v_persons), p_actor, 'plan ' || p_plan);
    if koppeling.apply_plan(p_plan, 250) then
        perform koppeling.enqueue_internal('plan.apply', jsonb_build_object('plan', p_plan), key => 'plan-' || p_plan,
            priority => -10);
    end if;
    return v_persons;
end $$;

-- The persons of a plan's next lines, read along its index whatever the statistics say: the plan is new.
create function koppeling.next_persons(p_plan bigint, p_after bigint, p_lines int) returns bigint[]
    language sql stable
    set search_path = koppeling, pg_temp set enable_seqscan = off set enable_bitmapscan = off
    return array(
        select l.person_id
        from koppeling.change_plan_line l
        where l.plan_id = p_plan and l.person_id > p_after
        order by l.person_id
        limit p_lines);

-- Applies the next lines of an approved plan; true when there may be more.
create function koppeling.apply_plan(p_plan bigint, p_lines int) returns boolean
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_plan     koppeling.change_plan;
    v_instance bigint;
    v_persons  bigint[];
    v_applied  record;
    v_is_last  boolean;
begin
    perform koppeling.lock_group(p.target_group_id) from koppeling.change_plan p where p.id = p_plan;
    select * into v_plan from koppeling.change_plan where id = p_plan for update;
    if not found or v_plan.state <> 'approved' then
        return false;
    end if;
    v_persons := koppeling.next_persons(p_plan, v_plan.applied_through, p_lines);
    v_is_last := cardinality(v_persons) < p_lines;
    if cardinality(v_persons) > 0 then
        select id into strict v_instance from koppeling.connector_instance
        where target_group_id = v_plan.target_group_id;
        -- Only what was approved: for who changed since, it was decided when that happened.
        select * into v_applied
        from koppeling.apply_claims(v_instance, koppeling.changes_due(v_instance, v_persons, true, false));
        perform koppeling.stage_members(v_instance, v_applied.touched, v_applied.made);
    end if;
    update koppeling.change_plan
    set applied_through = coalesce(v_persons[cardinality(v_persons)], applied_through),
        state = case when v_is_last then 'applied' else state end, changed_at = koppeling.now()
    where id = p_plan;
    return not v_is_last;
end $$;

create view koppeling.plans as
select p.id, g.name as target_group, p.state, p.version, p.held_because, n.joins, n.leaves, n.emptied,
       p.created_at, p.changed_at, p.decided_at, p.decided_by
from koppeling.change_plan p
join koppeling.target_group g on g.id = p.target_group_id
cross join lateral (
    select count(*) filter (where l.change = 'join') as joins, count(*) filter (where l.change = 'leave') as leaves,
           count(*) filter (where l.change = 'empty') as emptied
    from koppeling.change_plan_line l
    where l.plan_id = p.id
) n;
grant select on koppeling.plans to koppeling_reader;
