-- Archiving a person, looking at persons and memberships, and who may do what.

-- Archives a person: out of every group, and not back in by an old decision to add by hand.
create function koppeling.archive_person(
    source text, external_id text, p_actor text default session_user) returns bigint
    language plpgsql security definer set search_path = koppeling, pg_temp
as $$
declare
    v_person bigint := koppeling.lock_person(koppeling.require_person(source, external_id));
begin
    update koppeling.person set state = 'archived', changed_at = koppeling.now()
    where id = v_person and state = 'active';
    if not found then
        return v_person;
    end if;
    insert into koppeling.audit_entry (person_id, kind, old, new, actor, cause)
    values (v_person, 'person', '"active"', '"archived"', p_actor, 'archive');
    with included as (
        select m.target_group_id from koppeling.membership m
        where m.person_id = v_person and m.override = 'include'
        order by m.target_group_id
        for no key update
    ), dropped as (
        update koppeling.membership m set override = 'none', overridden_by = null
        from included i
        where m.target_group_id = i.target_group_id and m.person_id = v_person
        returning m.target_group_id
    )
    insert into koppeling.audit_entry (target_group_id, person_id, kind, old, new, actor, cause)
    select d.target_group_id, v_person, 'override', '"include"', '"none"', p_actor, 'archive' from dropped d;
    perform koppeling.request_evaluation(array[v_person], 'archive', true);
    return v_person;
end $$;

-- Makes an archived person active again; putting one does not.
create function koppeling.reactivate_person(
    source text, external_id text, p_actor text default session_user) returns bigint
    language plpgsql security definer set search_path = koppeling, pg_temp
as $$
declare
    v_person bigint := koppeling.lock_person(koppeling.require_person(source, external_id));
begin
    update koppeling.person set state = 'active', changed_at = koppeling.now()
    where id = v_person and state = 'archived';
    if found then
        insert into koppeling.audit_entry (person_id, kind, old, new, actor, cause)
        values (v_person, 'person', '"archived"', '"active"', p_actor, 'reactivate');
        perform koppeling.request_evaluation(array[v_person], 'reactivate', true);
    end if;
    return v_person;
end $$;

-- Who is in which group, in what state and why; the first reason is the one to show.
create view koppeling.target_group_members as
select
    m.target_group_id, g.name as target_group, m.person_id, p.source, p.external_id,
    koppeling.first_name(p.given_name, p.initials) as first_name,
    koppeling.last_name(p.prefixes, p.family_name) as last_name,
    e.address, m.status, m.via, m.reasons[1] as reason, m.reasons, m.override, m.rule_match, m.changed_at
from koppeling.membership m
join koppeling.target_group g on g.id = m.target_group_id
join koppeling.person p on p.id = m.person_id
left join koppeling.email_address e on e.person_id = m.person_id and e.kind = g.email_kind;

-- A person as JSON, with addresses, categories and positions.
create function koppeling.person_json(p_person bigint) returns jsonb
    language sql stable
    return (
        select jsonb_build_object(
            'id', p.id, 'source', p.source, 'external_id', p.external_id, 'given_name', p.given_name,
            'initials', p.initials, 'prefixes', p.prefixes, 'family_name', p.family_name, 'gender', p.gender,
            'state', p.state,
            'emails', coalesce((
                select jsonb_object_agg(e.kind, e.address) from koppeling.email_address e where e.person_id = p.id), '{}'),
            'categories', coalesce((
                select jsonb_agg(g.name || ' / ' || k.name order by g.name, k.name)
                from koppeling.person_category c
                join koppeling.category k on k.id = c.category_id
                join koppeling.category_group g on g.id = k.category_group_id
                where c.person_id = p.id), '[]'),
            'positions', coalesce((
                select jsonb_agg(jsonb_build_object(
                    'function', f.name, 'department', d.name, 'company', c.external_id, 'company_name', c.name)
                    order by c.name, d.name, f.name)
                from koppeling.position o
                left join koppeling.job_function f on f.id = o.job_function_id
                left join koppeling.department d on d.id = o.department_id
                left join koppeling.company c on c.id = o.company_id
                where o.person_id = p.id), '[]'))
        from koppeling.person p
        where p.id = p_person);

-- How a moment is told outside: RFC 3339 in UTC, with milliseconds, whatever the time zone of the session.
create function koppeling.iso8601(moment timestamptz) returns text
    language sql immutable parallel safe
    return case when isfinite(moment) then to_char(moment at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
                else moment::text end;

-- A row as JSON, its moments told as above: they are the columns whose names end so.
create function koppeling.in_utc(p_row json) returns json
    language sql immutable parallel safe
    return (
        select ('{' || string_agg(to_json(e.key)::text || ':' || case
                when e.key ~ '_(at|until)$|^(latest|tick)$' and json_typeof(e.value) = 'string'
                then to_json(koppeling.iso8601((e.value #>> '{}')::timestamptz))::text
                else e.value::text end, ',' order by e.place) || '}')::json
        from json_each(p_row) with ordinality as e (key, value, place));

grant select on koppeling.target_group_members to koppeling_reader;

revoke execute on function
    koppeling.put_person(jsonb), koppeling.put_persons(jsonb),
    koppeling.archive_person(text, text, text), koppeling.reactivate_person(text, text, text)
from public;
grant execute on function
    koppeling.put_person(jsonb), koppeling.put_persons(jsonb),
    koppeling.archive_person(text, text, text), koppeling.reactivate_person(text, text, text)
to koppeling_writer;
