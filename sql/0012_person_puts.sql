-- Putting persons: SQL, jobs and CSV all end in put_person_rows, which works on a set.

-- One person as it comes in. fields names what is present: what is absent stays as it is. E-mail addresses are given
-- by kind, a null one is cleared; 'emails' among the fields clears those that are not given. person_id and
-- category_ids are filled in by put_person_rows.
create type koppeling.person_input as (
    line bigint,
    source text,
    external_id text,
    given_name text,
    initials text,
    prefixes text,
    family_name text,
    gender text,
    email_kinds text[],
    addresses text[],
    categories text[],
    fields text[],
    person_id bigint,
    category_ids bigint[]
);

-- Every text composed, trimmed and single-spaced; a kind folded; a gender in our words, or as it came.
create function koppeling.clean_persons(p_rows koppeling.person_input[]) returns koppeling.person_input[]
    language sql immutable parallel safe
as $$
    select coalesce(array_agg(row(
        r.line, koppeling.clean_text(r.source), koppeling.clean_text(r.external_id),
        koppeling.clean_text(r.given_name), koppeling.clean_text(r.initials), koppeling.clean_text(r.prefixes),
        koppeling.clean_text(r.family_name),
        coalesce(koppeling.gender_value(koppeling.clean_text(r.gender)), koppeling.clean_text(r.gender)),
        array(
            select coalesce(koppeling.fold(koppeling.clean_text(k)), '')
            from unnest(r.email_kinds) with ordinality as u (k, n) order by n),
        array(select koppeling.clean_text(a) from unnest(r.addresses) with ordinality as u (a, n) order by n),
        array(
            select distinct coalesce(koppeling.clean_text(c), '')
            from unnest(r.categories) c),
        r.fields, null, null)::koppeling.person_input order by r.line), '{}')
    from unnest(p_rows) r
$$;

-- "Group / Name" in its two parts; a part that is missing is null.
create function koppeling.category_parts(label text, out category_group text, out name text)
    language sql immutable parallel safe
    return (
        case when strpos(label, '/') > 0 then koppeling.clean_text(split_part(label, '/', 1)) end,
        case when strpos(label, '/') > 0 then koppeling.clean_text(substr(label, strpos(label, '/') + 1)) end);

-- What is wrong with cleaned persons, by line and field.
create function koppeling.person_faults(p_rows koppeling.person_input[])
    returns table (line bigint, field text, message text)
    language sql immutable parallel safe
as $$
    select r.line, f.field, f.message
    from unnest(p_rows) r
    cross join lateral (
        select * from (values
            ('source', case
                when r.source is null then 'is missing'
                when length(r.source) > 100 then 'is longer than 100 characters' end),
            ('id', case
                when r.external_id is null then 'is missing'
                when length(r.external_id) > 200 then 'is longer than 200 characters' end),
            ('given_name', case when length(r.given_name) > 200 then 'is longer than 200 characters' end),
            ('initials', case when length(r.initials) > 200 then 'is longer than 200 characters' end),
            ('prefixes', case when length(r.prefixes) > 200 then 'is longer than 200 characters' end),
            ('family_name', case when length(r.family_name) > 200 then 'is longer than 200 characters' end),
            ('gender', case
                when r.gender is not null and koppeling.gender_value(r.gender) is null
                then 'must be male, female, other or unknown (man, vrouw, anders, onbekend)' end)
        ) scalar (field, message)
        union all
        select 'emails.' || e.kind, coalesce(
            case
                when e.kind = '' then 'has no kind'
                when length(e.kind) > 50 then 'has a kind of over 50 characters'
                when cardinality(array_positions(r.email_kinds, e.kind)) > 1 then 'is given twice' end,
            koppeling.address_fault(e.address))
        from unnest(r.email_kinds, r.addresses) e (kind, address)
        union all
        select 'categories', case
            when length(c) > 200 then 'is longer than 200 characters'
            when c !~ '^[^/]*[^/ ][^/]*/ *[^ ]' then format('"%s" must be written as "Group / Name"', c) end
        from unnest(r.categories) c
    ) f
    where f.message is not null
$$;

-- Makes the categories that these labels name and that are not there yet; returns all their ids by label.
create function koppeling.make_categories(p_labels text[], out made bigint, out ids jsonb)
    language plpgsql
as $$
begin
    insert into koppeling.category_group (name)
    select distinct on (koppeling.fold(p.category_group)) p.category_group
    from unnest(p_labels) l
    cross join lateral koppeling.category_parts(l) p
    where not exists (
        select from koppeling.category_group g where koppeling.fold(g.name) = koppeling.fold(p.category_group))
    order by koppeling.fold(p.category_group), p.category_group
    on conflict do nothing;

    insert into koppeling.category (category_group_id, name)
    select distinct on (g.id, koppeling.fold(p.name)) g.id, p.name
    from unnest(p_labels) l
    cross join lateral koppeling.category_parts(l) p
    join koppeling.category_group g on koppeling.fold(g.name) = koppeling.fold(p.category_group)
    where not exists (
        select from koppeling.category k
        where k.category_group_id = g.id and koppeling.fold(k.name) = koppeling.fold(p.name))
    order by g.id, koppeling.fold(p.name), p.name
    on conflict do nothing;
    get diagnostics made = row_count;

    select coalesce(jsonb_object_agg(l, k.id), '{}') into ids
    from unnest(p_labels) l
    cross join lateral koppeling.category_parts(l) p
    join koppeling.category_group g on koppeling.fold(g.name) = koppeling.fold(p.category_group)
    join koppeling.category k on k.category_group_id = g.id and koppeling.fold(k.name) = koppeling.fold(p.name);
end $$;

-- The rows with the ids of their persons and categories, by rising person.
create function koppeling.resolve_persons(p_rows koppeling.person_input[], p_categories jsonb)
    returns koppeling.person_input[]
    language sql volatile set plan_cache_mode = force_custom_plan
as $$
    select coalesce(array_agg(row(
        r.line, r.source, r.external_id, r.given_name, r.initials, r.prefixes, r.family_name, r.gender,
        r.email_kinds, r.addresses, r.categories, r.fields, p.id,
        array(select distinct (p_categories ->> c)::bigint from unnest(r.categories) c))::koppeling.person_input
        order by p.id), '{}')
    from unnest(p_rows) r
    join koppeling.person p on koppeling.fold(p.source) = koppeling.fold(r.source)
        and koppeling.fold(p.external_id) = koppeling.fold(r.external_id)
$$;

-- Puts cleaned, faultless rows of different persons. Returns the persons whose facts changed so that they must be
-- evaluated: another spelling of the same address changes none.
create function koppeling.put_person_rows(
    p_rows koppeling.person_input[], out created bigint, out changed bigint, out categories_made bigint,
    out evaluate bigint[])
    language plpgsql set plan_cache_mode = force_custom_plan
as $$
declare
    v_rows koppeling.person_input[];
    v_old koppeling.person_input[];
    v_categories jsonb;
    v_new bigint[];
    v_touched bigint[];
begin
    select made, ids into categories_made, v_categories
    from koppeling.make_categories(array(select distinct c from unnest(p_rows) r cross join unnest(r.categories) c));

    with made as (
        insert into koppeling.person (source, external_id, given_name, initials, prefixes, family_name, gender)
        select r.source, r.external_id, r.given_name, r.initials, r.prefixes, r.family_name,
            coalesce(koppeling.gender_value(r.gender), 'unknown')
        from unnest(p_rows) r
        where not exists (
            select from koppeling.person p
            where koppeling.fold(p.source) = koppeling.fold(r.source)
                and koppeling.fold(p.external_id) = koppeling.fold(r.external_id))
        order by koppeling.fold(r.source), koppeling.fold(r.external_id)
        on conflict (koppeling.fold(source), koppeling.fold(external_id)) do nothing
        returning id
    )
    select coalesce(array_agg(id), '{}') into v_new from made;
    created := cardinality(v_new);

    v_rows := koppeling.resolve_persons(p_rows, v_categories);

    v_old := array(select r from unnest(v_rows) r where r.person_id <> all (v_new));

    select coalesce(array_agg(d.person_id), '{}'), coalesce(array_agg(d.person_id) filter (where d.matters), '{}')
    into v_touched, evaluate
    from (
        select t.person_id, bool_or(t.matters) as matters
        from (
            select person_id, true as matters from unnest(v_new) person_id
            union all
            select r.person_id, true
            from unnest(v_old) r
            join koppeling.person p on p.id = r.person_id
            where 'given_name' = any (r.fields) and r.given_name is distinct from p.given_name
                or 'initials' = any (r.fields) and r.initials is distinct from p.initials
                or 'prefixes' = any (r.fields) and r.prefixes is distinct from p.prefixes
                or 'family_name' = any (r.fields) and r.family_name is distinct from p.family_name
                or 'gender' = any (r.fields) and coalesce(koppeling.gender_value(r.gender), 'unknown') <> p.gender
            union all
            select r.person_id, a.address_key is distinct from koppeling.address_key(g.address)
            from unnest(v_old) r
            cross join unnest(r.email_kinds, r.addresses) g (kind, address)
            left join koppeling.email_address a on a.person_id = r.person_id and a.kind = g.kind
            where a.address is distinct from g.address
            union all
            select r.person_id, true
            from unnest(v_old) r
            join koppeling.email_address a on a.person_id = r.person_id and a.kind <> all (r.email_kinds)
            where 'emails' = any (r.fields)
            union all
            select r.person_id, true
            from unnest(v_old) r
            cross join unnest(r.category_ids) c
            left join koppeling.person_category pc on pc.person_id = r.person_id and pc.category_id = c
            where 'categories' = any (r.fields) and pc.person_id is null
            union all
            select r.person_id, true
            from unnest(v_old) r
            join koppeling.person_category pc
                on pc.person_id = r.person_id and pc.category_id <> all (r.category_ids)
            where 'categories' = any (r.fields)
        ) t
        group by t.person_id
    ) d;
    changed := cardinality(v_touched);
    -- By rising id, so that two puts of the same persons wait for each other instead of deadlocking.
    perform from koppeling.person p where p.id = any (v_touched) order by p.id for no key update;

    update koppeling.person p
    set given_name = case when 'given_name' = any (r.fields) then r.given_name else p.given_name end,
        initials = case when 'initials' = any (r.fields) then r.initials else p.initials end,
        prefixes = case when 'prefixes' = any (r.fields) then r.prefixes else p.prefixes end,
        family_name = case when 'family_name' = any (r.fields) then r.family_name else p.family_name end,
        gender = case when 'gender' = any (r.fields)
            then coalesce(koppeling.gender_value(r.gender), 'unknown') else p.gender end,
        changed_at = koppeling.now()
    from unnest(v_old) r
    where p.id = r.person_id and p.id = any (v_touched);

    delete from koppeling.email_address a
    using unnest(v_old) r
    where a.person_id = r.person_id and r.person_id = any (v_touched)
        and case
            when a.kind = any (r.email_kinds) then r.addresses[array_position(r.email_kinds, a.kind)] is null
            else 'emails' = any (r.fields)
        end;
    insert into koppeling.email_address as a (person_id, kind, address)
    select r.person_id, g.kind, g.address
    from unnest(v_rows) r
    cross join unnest(r.email_kinds, r.addresses) g (kind, address)
    where r.person_id = any (v_touched) and g.address is not null
    order by r.person_id, g.kind
    on conflict (person_id, kind) do update set address = excluded.address where a.address <> excluded.address;

    delete from koppeling.person_category pc
    using unnest(v_old) r
    where pc.person_id = r.person_id and r.person_id = any (v_touched)
        and 'categories' = any (r.fields) and pc.category_id <> all (r.category_ids);
    insert into koppeling.person_category (person_id, category_id)
    select r.person_id, c
    from unnest(v_rows) r
    cross join unnest(r.category_ids) c
    where r.person_id = any (v_touched) and 'categories' = any (r.fields)
    order by r.person_id, c
    on conflict do nothing;
end $$;

-- What is wrong with the shape of persons as JSON, by place and field.
create function koppeling.person_shape_faults(p_persons jsonb)
    returns table (line bigint, field text, message text)
    language sql immutable parallel safe
as $$
    select p.line, f.field, f.message
    from jsonb_array_elements(p_persons) with ordinality as p (person, line)
    cross join lateral (
        select null as field, 'must be an object' as message where jsonb_typeof(p.person) <> 'object'
        union all
        select v.field, case
            when v.field in ('source', 'given_name', 'initials', 'prefixes', 'family_name', 'gender') then
                case when jsonb_typeof(v.value) not in ('string', 'null') then 'must be a text or null' end
            when v.field = 'id' then
                case when jsonb_typeof(v.value) not in ('string', 'number') then 'must be a text' end
            when v.field = 'emails' then case
                when jsonb_typeof(v.value) not in ('object', 'null') then 'must be an object of addresses by kind'
                when jsonb_path_exists(v.value, '$.* ? (@.type() != "string" && @.type() != "null")')
                then 'must hold texts or nulls only' end
            when v.field = 'categories' then case
                when jsonb_typeof(v.value) not in ('array', 'null') then 'must be a list'
                when jsonb_typeof(v.value) = 'array'
                    and jsonb_path_exists(v.value, '$[*] ? (@.type() != "string")') then 'must hold texts only' end
            else 'is not known; a person has source, id, given_name, initials, prefixes, family_name, gender, '
                'emails and categories'
        end
        from jsonb_each(case jsonb_typeof(p.person) when 'object' then p.person else '{}' end) v (field, value)
    ) f
    where f.message is not null
$$;

create function koppeling.persons_from_json(p_persons jsonb) returns koppeling.person_input[]
    language sql immutable parallel safe
as $$
    select koppeling.clean_persons(array_agg(row(
        p.line, p.person ->> 'source', p.person ->> 'id', p.person ->> 'given_name', p.person ->> 'initials',
        p.person ->> 'prefixes', p.person ->> 'family_name', p.person ->> 'gender',
        coalesce(e.kinds, '{}'), coalesce(e.addresses, '{}'),
        array(select jsonb_array_elements_text(
            case jsonb_typeof(p.person -> 'categories') when 'array' then p.person -> 'categories' else '[]' end)),
        array(
            select f.field from jsonb_object_keys(p.person) f (field)
            where f.field <> 'emails' or jsonb_typeof(p.person -> 'emails') = 'null'),
        null, null)::koppeling.person_input))
    from jsonb_array_elements(p_persons) with ordinality as p (person, line)
    cross join lateral (
        select array_agg(v.kind order by v.kind) as kinds, array_agg(v.address order by v.kind) as addresses
        from jsonb_each_text(
            case jsonb_typeof(p.person -> 'emails') when 'object' then p.person -> 'emails' else '{}' end)
            v (kind, address)
    ) e
$$;

-- What put_persons and put_person do; the message of a fault says which person it is when there may be several.
create function koppeling.accept_persons(p_persons jsonb, p_numbered boolean) returns void
    language plpgsql
as $$
declare
    v_fault record;
    v_rows koppeling.person_input[];
    v_round koppeling.person_input[];
    v_place int := 0;
    v_done record;
    v_evaluate bigint[] := '{}';
begin
    select * into v_fault from koppeling.person_shape_faults(p_persons) order by line limit 1;
    if not found then
        v_rows := koppeling.persons_from_json(p_persons);
        select * into v_fault from koppeling.person_faults(v_rows) order by line limit 1;
    end if;
    if found then
        raise exception using errcode = 'invalid_parameter_value', column = coalesce(v_fault.field, ''),
            message = concat_ws(' ', case when p_numbered then format('person %s:', v_fault.line) else 'person:' end,
                'field "' || v_fault.field || '"', v_fault.message);
    end if;
    -- A person who is given more than once is put in that order, the later over the earlier.
    loop
        v_place := v_place + 1;
        select array_agg(p.person) into v_round
        from (
            select r as person, row_number() over (
                partition by koppeling.fold(r.source), koppeling.fold(r.external_id) order by r.line) as place
            from unnest(v_rows) r
        ) p
        where p.place = v_place;
        exit when v_round is null;
        select * into v_done from koppeling.put_person_rows(v_round);
        v_evaluate := v_evaluate || v_done.evaluate;
    end loop;
    perform koppeling.request_evaluation(v_evaluate, 'put');
end $$;

-- Adds and changes persons; a fault in any of them changes nothing. Returns how many were given.
create function koppeling.put_persons(persons jsonb) returns bigint
    language plpgsql security definer set search_path = koppeling, pg_temp
as $$
begin
    if persons is null or jsonb_typeof(persons) <> 'array' then
        raise exception using errcode = 'invalid_parameter_value', message = 'persons must be a list',
            hint = 'Give a JSON array of persons, or use put_person for one.';
    end if;
    perform koppeling.accept_persons(persons, true);
    return jsonb_array_length(persons);
end $$;

-- Adds or changes one person; returns its id.
create function koppeling.put_person(person jsonb) returns bigint
    language plpgsql security definer set search_path = koppeling, pg_temp
as $$
begin
    perform koppeling.accept_persons(jsonb_build_array(person), false);
    return koppeling.require_person(person ->> 'source', person ->> 'id');
end $$;
