-- Persons as they come in: cleaned, judged, and put from JSON. What is written is the next file's: put_person_rows.

-- A position as it comes in; the company is named by its id in the source of the person.
create type koppeling.position_input as (
    job_function text,
    department text,
    company text
);

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
    positions koppeling.position_input[],
    fields text[],
    person_id bigint,
    category_ids bigint[]
);

-- Every text composed, trimmed and single-spaced; a kind folded; a gender in our words, or as it came; no position that
-- says nothing.
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
        array(
            select row(koppeling.clean_text(i.job_function), koppeling.clean_text(i.department),
                koppeling.clean_text(i.company))::koppeling.position_input
            from unnest(r.positions) i
            where koppeling.clean_text(concat(i.job_function, i.department, i.company)) is not null),
        r.fields, null, null)::koppeling.person_input order by r.line), '{}')
    from unnest(p_rows) r
$$;

-- "Group / Name" in its two parts; a part that is missing is null.
create function koppeling.category_parts(label text, out category_group text, out name text)
    language sql immutable parallel safe
    return (
        case when strpos(label, '/') > 0 then koppeling.clean_text(split_part(label, '/', 1)) end,
        case when strpos(label, '/') > 0 then koppeling.clean_text(substr(label, strpos(label, '/') + 1)) end);

-- Whether a cleaned person surely has no fault: seen in a tenth of the time that it takes to say which one. In sum
-- nothing is longer than one text may be, and an address has none of the letters that need a closer look.
create function koppeling.is_faultless(r koppeling.person_input) returns boolean
    language sql stable parallel safe
    return coalesce(
        length(r.source) <= 100 and length(r.external_id) <= 200
        and length(concat(r.given_name, r.initials, r.prefixes, r.family_name)) <= 200
        and (r.gender is null or r.gender in ('male', 'female', 'other', 'unknown'))
        and (cardinality(r.email_kinds) = 0
             or cardinality(r.email_kinds) = 1 and length(r.email_kinds[1]) between 1 and 50
                and (r.addresses[1] is null
                     or length(r.addresses[1]) <= 100
                        and r.addresses[1] ~ '^[A-Za-z0-9_+-]+([.][A-Za-z0-9_+-]+)*@([A-Za-z0-9-]+[.])+[A-Za-z]{2,}$'
                        and strpos(r.addresses[1], '@') <= 65
                        and length(r.addresses[1]) - strpos(r.addresses[1], '@') <= 63))
        and (r.categories = '{}'
             or length(array_to_string(r.categories, e'\x1f')) <= 200
                and array_to_string(r.categories, e'\x1f') || e'\x1f' ~
                    '^([^/\u0001-\u0020]+( [^/\u0001-\u0020]+)* ?/ ?[^\u0001-\u0020]+( [^\u0001-\u0020]+)*\u001f)+$')
        and (r.positions = '{}' or length(array_to_string(r.positions, ' ')) <= 200), false);

-- What is wrong with cleaned persons, by line and field.
create function koppeling.person_faults(p_rows koppeling.person_input[])
    returns table (line bigint, field text, message text)
    language sql immutable parallel safe
as $$
    select r.line, f.field, f.message
    from (select * from unnest(p_rows) r where not koppeling.is_faultless(r)) r
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
        from (select distinct c from unnest(r.categories) c) c
        union all
        select 'positions.' || v.field, 'is longer than 200 characters'
        from unnest(r.positions) i
        cross join lateral (
            values ('function', i.job_function), ('department', i.department), ('company', i.company)
        ) v (field, value)
        where length(v.value) > 200
    ) f
    where f.message is not null
$$;

-- What is wrong with the shape of a list of positions, or null.
create function koppeling.position_shape_fault(p_positions jsonb) returns text
    language sql immutable parallel safe
    return (
        select f.message
        from jsonb_array_elements(case jsonb_typeof(p_positions) when 'array' then p_positions else '[]' end) i
        cross join lateral (
            select case
                when jsonb_typeof(i) <> 'object' then 'must hold objects only'
                when exists (
                    select from jsonb_object_keys(i) k where k not in ('function', 'department', 'company'))
                then 'must hold function, department and company only'
                when exists (
                    select from jsonb_each(i) v where jsonb_typeof(v.value) not in ('string', 'number', 'null'))
                then 'must hold texts or nulls only'
                when koppeling.clean_text(concat(i ->> 'function', i ->> 'department', i ->> 'company')) is null
                then 'must have a function, a department or a company in each'
            end as message
        ) f
        where f.message is not null
        limit 1);

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
            when v.field = 'anonymised' then
                case when jsonb_typeof(v.value) not in ('boolean', 'null') then 'must be true or false' end
            when v.field = 'emails' then case
                when jsonb_typeof(v.value) not in ('object', 'null') then 'must be an object of addresses by kind'
                when jsonb_path_exists(v.value, '$.* ? (@.type() != "string" && @.type() != "null")')
                then 'must hold texts or nulls only' end
            when v.field = 'categories' then case
                when jsonb_typeof(v.value) not in ('array', 'null') then 'must be a list'
                when jsonb_typeof(v.value) = 'array'
                    and jsonb_path_exists(v.value, '$[*] ? (@.type() != "string")') then 'must hold texts only' end
            when v.field = 'positions' then case
                when jsonb_typeof(v.value) not in ('array', 'null') then 'must be a list'
                else koppeling.position_shape_fault(v.value) end
            else 'is not known; a person has source, id, given_name, initials, prefixes, family_name, gender, '
                'emails, categories, positions and anonymised'
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
            select row(i ->> 'function', i ->> 'department', i ->> 'company')::koppeling.position_input
            from jsonb_array_elements(
                case jsonb_typeof(p.person -> 'positions') when 'array' then p.person -> 'positions' else '[]' end) i),
        array(
            select f.field from jsonb_object_keys(p.person) f (field)
            where case f.field when 'emails' then jsonb_typeof(p.person -> 'emails') = 'null'
                               when 'anonymised' then p.person -> 'anonymised' = 'true' else true end),
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
    p_persons := koppeling.bare_anonymised(p_persons);
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
    v_rows := koppeling.take_anonymised(v_rows);
    -- A person who is given more than once is put in that order, the later over the earlier.
    loop
        v_place := v_place + 1;
        select array_agg(p.person) into v_round
        from (
            select r as person, row_number() over (
                partition by coalesce(
                    coalesce(m.merged_into, m.id)::text,
                    koppeling.fold(r.source) || e'\x1f' || koppeling.fold(r.external_id))
                order by r.line) as place
            from unnest(v_rows) r
            left join koppeling.person m on koppeling.fold(m.source) = koppeling.fold(r.source)
                and koppeling.fold(m.external_id) = koppeling.fold(r.external_id)
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

-- Adds or changes one person; returns its id, or null for somebody anonymised who is not there.
create function koppeling.put_person(person jsonb) returns bigint
    language plpgsql security definer set search_path = koppeling, pg_temp
as $$
begin
    perform koppeling.accept_persons(jsonb_build_array(person), false);
    if person -> 'anonymised' = 'true' then
        return koppeling.find_person(person ->> 'source', person ->> 'id');
    end if;
    return koppeling.require_person(person ->> 'source', person ->> 'id');
end $$;
