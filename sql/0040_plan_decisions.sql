-- What a person sees of a plan, discarding one, and the thresholds beyond which changes are held.

create index audit_entry_rules on koppeling.audit_entry (target_group_id, id) where kind = 'rules';

create view koppeling.plan_lines as
select l.plan_id as plan, l.person_id as person, p.source, p.external_id as id,
       concat_ws(' ', nullif(koppeling.first_name(p.given_name, p.initials), ''),
                 koppeling.last_name(p.prefixes, p.family_name)) as name,
       e.address, l.change, l.reason, l.cause,
       case when l.change = 'join' then (
           select r.position from koppeling.membership m
           join koppeling.rule r on r.id = m.matched_rule_id
           where m.target_group_id = c.target_group_id and m.person_id = l.person_id) end as rule,
       array_to_string(l.fields, ', ') as fields
from koppeling.change_plan_line l
join koppeling.change_plan c on c.id = l.plan_id
join koppeling.target_group g on g.id = c.target_group_id
join koppeling.person p on p.id = l.person_id
left join koppeling.email_address e on e.person_id = l.person_id and e.kind = g.email_kind;
comment on view koppeling.plan_lines is
    'Who would join or leave by a plan, why, by which rule, and what brought it about.';

create view koppeling.plan_causes as
select l.plan_id as plan, l.cause, l.change, l.reason, count(*) as persons
from koppeling.change_plan_line l
group by l.plan_id, l.cause, l.change, l.reason;
comment on view koppeling.plan_causes is 'What brought the lines of each plan about, and how many they are.';
grant select on koppeling.plan_lines, koppeling.plan_causes to koppeling_reader;

-- Discards the version that the person saw, if rules alone caused it: the rules of before are put back. What facts
-- caused is corrected where the facts are. Returns how many lines are left, for what changed meanwhile.
create function koppeling.discard_plan(p_plan bigint, p_version int, p_actor text) returns bigint
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
declare
    v_plan  koppeling.change_plan := koppeling.require_held_plan(p_plan, p_version);
    v_facts text;
    v_rules jsonb;
    v_left  bigint;
begin
    select string_agg(format('%s by %s', c.persons, c.cause), ', ' order by c.persons desc, c.cause) into v_facts
    from (
        select l.cause, count(*) as persons from koppeling.change_plan_line l
        where l.plan_id = p_plan and l.cause <> 'rules'
        group by l.cause
        order by 2 desc
        limit 5
    ) c;
    if v_facts is not null or v_plan.rules_entry is null then
        raise exception using errcode = 'restrict_violation',
            message = format('plan %s is not of the rules'' making: %s', p_plan, v_facts),
            hint = 'Correct the facts, by a put, an import or the mapping, and the plan follows; or approve it.';
    end if;
    select coalesce(a.old, '[]') into strict v_rules from koppeling.audit_entry a where a.id = v_plan.rules_entry;
    perform koppeling.save_rules(v_plan.target_group_id,
        (select g.rules_version from koppeling.target_group g where g.id = v_plan.target_group_id), v_rules, true,
        p_actor);
    insert into koppeling.audit_entry (target_group_id, kind, new, actor, cause)
    values (v_plan.target_group_id, 'plan.discarded',
            jsonb_build_object('plan', p_plan, 'version', p_version), p_actor, 'plan ' || p_plan);
    select count(*) into v_left from koppeling.change_plan_line l where l.plan_id = p_plan;
    if v_left = 0 then
        update koppeling.change_plan
        set state = 'discarded', decided_at = koppeling.now(), decided_by = p_actor, changed_at = koppeling.now()
        where id = p_plan;
    end if;
    return v_left;
end $$;

create view koppeling.plan_thresholds as
select g.id as target_group_id, g.name as target_group, i.removals_count, i.removals_share, i.removals_cap,
       i.joins_count, i.joins_share, i.joins_cap
from koppeling.connector_instance i
join koppeling.target_group g on g.id = i.target_group_id;
comment on view koppeling.plan_thresholds is
    'Changes are held beyond the larger of count and share, and beyond the cap, within a day.';
grant select on koppeling.plan_thresholds to koppeling_reader;

-- Sets thresholds of a linked group: {"removals_count", "removals_share", "removals_cap", "joins_count", "joins_share",
-- "joins_cap"}; those that are not named stay. What is held already stays held.
create function koppeling.set_thresholds(p_group text, p_thresholds jsonb, p_actor text default session_user)
    returns void
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
declare
    v_old koppeling.plan_thresholds;
    v_bad text;
begin
    select t.* into v_old from koppeling.plan_thresholds t
    where koppeling.fold(t.target_group) = koppeling.fold(p_group);
    if not found then
        raise exception using errcode = 'no_data_found', message = format('no linked target group "%s"', p_group),
            hint = 'List the groups to see their names; only those of an instance have thresholds.';
    end if;
    select t.key into v_bad
    from jsonb_each(p_thresholds) t
    where case
        when t.key in ('removals_share', 'joins_share')
        then jsonb_typeof(t.value) <> 'number' or not (t.value)::numeric between 0 and 1
        when t.key in ('removals_count', 'removals_cap', 'joins_count', 'joins_cap')
        then jsonb_typeof(t.value) <> 'number' or not (t.value)::numeric between 0 and 1000000000
             or (t.value)::numeric % 1 <> 0
        else true end
    limit 1;
    if found then
        raise exception using errcode = 'invalid_parameter_value', column = v_bad,
            message = format('threshold "%s" is not known, or has no such value', v_bad),
            hint = 'Counts and caps are whole numbers from 0; shares are from 0 to 1.';
    end if;
    perform koppeling.lock_group(v_old.target_group_id);
    update koppeling.connector_instance i
    set removals_count = coalesce((p_thresholds ->> 'removals_count')::int, i.removals_count),
        removals_share = coalesce((p_thresholds ->> 'removals_share')::numeric, i.removals_share),
        removals_cap = coalesce((p_thresholds ->> 'removals_cap')::int, i.removals_cap),
        joins_count = coalesce((p_thresholds ->> 'joins_count')::int, i.joins_count),
        joins_share = coalesce((p_thresholds ->> 'joins_share')::numeric, i.joins_share),
        joins_cap = coalesce((p_thresholds ->> 'joins_cap')::int, i.joins_cap)
    where i.target_group_id = v_old.target_group_id;
    insert into koppeling.audit_entry (target_group_id, kind, old, new, actor, cause)
    values (v_old.target_group_id, 'thresholds', to_jsonb(v_old), p_thresholds, p_actor, 'by hand');
end $$;

revoke execute on function
    koppeling.require_held_plan(bigint, int), koppeling.approve_plan(bigint, int, text),
    koppeling.discard_plan(bigint, int, text), koppeling.set_thresholds(text, jsonb, text)
from public;
