-- A held plan: rewritten by later recomputes, approved or discarded by a person who names the version seen.

-- Brings the lines of the persons in scope up to date; a plan without lines dissolves.
create function koppeling.rewrite_plan(p_plan bigint, p_instance bigint, p_persons bigint[]) returns void
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_changed bigint;
begin
    with wanted as (
        select d.person_id, d.change, d.reason,
               coalesce((
                   select a.cause
                   from (
                       -- Kept apart from the order, or the newest entries of everybody are walked through for each.
                       select a.id, a.cause
                       from koppeling.audit_entry a
                       where a.person_id = d.person_id
                         and a.target_group_id = (select p.target_group_id from koppeling.change_plan p
                                                  where p.id = p_plan)
                       offset 0
                   ) a
                   order by a.id desc
                   limit 1), 'facts') as cause
        from koppeling.claim_difference(p_instance, p_persons) d
        where not d.exempt
    ), gone as (
        delete from koppeling.change_plan_line l
        where l.plan_id = p_plan and (p_persons is null or l.person_id in (select unnest(p_persons)))
          and not exists (select from wanted w where w.person_id = l.person_id)
        returning 1
    ), written as (
        insert into koppeling.change_plan_line as l (plan_id, person_id, change, reason, cause)
        select p_plan, person_id, change, reason, cause from wanted
        on conflict (plan_id, person_id) do update
            set change = excluded.change, reason = excluded.reason, cause = excluded.cause
            where (l.change, l.reason) is distinct from (excluded.change, excluded.reason)
        returning 1
    )
    select (select count(*) from gone) + (select count(*) from written) into v_changed;

    if not exists (select from koppeling.change_plan_line where plan_id = p_plan) then
        update koppeling.change_plan
        set state = 'dissolved', decided_at = koppeling.now(), changed_at = koppeling.now()
        where id = p_plan;
    elsif v_changed > 0 then
        update koppeling.change_plan set version = version + 1, changed_at = koppeling.now() where id = p_plan;
    end if;
end $$;

-- Approves the version that the person saw, and applies it.
create function koppeling.approve_plan(p_plan bigint, p_version int, p_actor text) returns bigint
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_plan     koppeling.change_plan;
    v_instance bigint;
    v_persons  bigint[];
begin
    select * into v_plan from koppeling.change_plan where id = p_plan;
    if not found then
        raise exception 'there is no plan %', p_plan using errcode = 'no_data_found';
    end if;
    perform koppeling.lock_group(v_plan.target_group_id);
    select * into v_plan from koppeling.change_plan where id = p_plan for update;
    if v_plan.state <> 'held' then
        raise exception 'plan % is % already', p_plan, v_plan.state using errcode = 'object_not_in_prerequisite_state';
    end if;
    if v_plan.version <> p_version then
        raise exception 'plan % has changed: you saw version %, it is at version %; look at it again', p_plan,
            p_version, v_plan.version using errcode = 'serialization_failure';
    end if;
    select array_agg(person_id) into v_persons from koppeling.change_plan_line where plan_id = p_plan;
    update koppeling.change_plan
    set state = 'approved', decided_at = koppeling.now(), decided_by = p_actor, changed_at = koppeling.now()
    where id = p_plan;
    update koppeling.connector_instance set activated = true where target_group_id = v_plan.target_group_id
    returning id into v_instance;
    perform koppeling.stage_members(v_instance, koppeling.apply_claims(v_instance, v_persons, false));
    insert into koppeling.audit_entry (target_group_id, kind, new, actor, cause)
    values (v_plan.target_group_id, 'plan.approved',
            jsonb_build_object('plan', p_plan, 'version', p_version, 'persons', cardinality(v_persons)), p_actor,
            'plan ' || p_plan);
    return cardinality(v_persons);
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
