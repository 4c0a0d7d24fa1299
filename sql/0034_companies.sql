-- Companies and the other values of positions: put, merged, renamed; and whom that reaches.

-- Values whose facts changed: whoever has a position there is evaluated. They are looked for after this is committed,
-- because a position may be given meanwhile in a transaction that cannot see the change, and that it cannot see.
create table koppeling.value_change (
    kind text not null check (kind in ('function', 'department', 'company')),
    value_id bigint not null,
    cause text not null,
    primary key (kind, value_id)
);

create function koppeling.note_value_changes(p_kind text, p_values bigint[], p_cause text) returns void
    language plpgsql
as $$
begin
    if coalesce(cardinality(p_values), 0) = 0 then
        return;
    end if;
    insert into koppeling.value_change (kind, value_id, cause)
    select p_kind, v, p_cause from unnest(p_values) v group by v order by v
    on conflict (kind, value_id) do update set cause = excluded.cause;
    perform koppeling.enqueue(kind => 'group.evaluate', key => 'evaluate', order_key => 'evaluate');
end $$;

-- Requests the evaluation of everybody whom the noted changes reach.
create function koppeling.spread_value_changes() returns void
    language plpgsql
as $$
begin
    if not exists (select from koppeling.value_change) then
        return;
    end if;
    with taken as (
        delete from koppeling.value_change v
        using (select kind, value_id from koppeling.value_change order by kind, value_id for update skip locked) t
        where v.kind = t.kind and v.value_id = t.value_id
        returning v.*
    ), reached as (
        select o.person_id, t.cause from taken t join koppeling.position o on o.company_id = t.value_id
        where t.kind = 'company'
        union all
        select o.person_id, t.cause from taken t join koppeling.position o on o.job_function_id = t.value_id
        where t.kind = 'function'
        union all
        select o.person_id, t.cause from taken t join koppeling.position o on o.department_id = t.value_id
        where t.kind = 'department'
    )
    insert into koppeling.evaluation_request (person_id, cause)
    select r.person_id, min(r.cause) from reached r group by r.person_id order by r.person_id
    on conflict (person_id) do update
    set cause = excluded.cause, requested_at = excluded.requested_at, after_pass = false;
end $$;

-- One company as it comes in; fields names what is present. company_id is filled in by put_company_rows.
create type koppeling.company_input as (
    line bigint,
    source text,
    external_id text,
    name text,
    categories text[],
    fields text[],
    company_id bigint
);

create function koppeling.clean_companies(p_rows koppeling.company_input[]) returns koppeling.company_input[]
    language sql immutable parallel safe
as $$
    select coalesce(array_agg(row(
        r.line, koppeling.clean_text(r.source), koppeling.clean_text(r.external_id), koppeling.clean_text(r.name),
        array(select distinct coalesce(koppeling.clean_text(c), '') from unnest(r.categories) c),
        r.fields, null)::koppeling.company_input order by r.line), '{}')
    from unnest(p_rows) r
$$;

-- What is wrong with cleaned companies, by line and field.
create function koppeling.company_faults(p_rows koppeling.company_input[])
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
            ('name', case when length(r.name) > 200 then 'is longer than 200 characters' end)
        ) scalar (field, message)
        union all
        select 'categories', case
            when c = '' then 'must not hold an empty name'
            when length(c) > 200 then 'is longer than 200 characters' end
        from unnest(r.categories) c
    ) f
    where f.message is not null
$$;

-- Puts cleaned, faultless rows of different companies. Returns those that were there and whose facts changed: nobody
-- can have a position at a new one.
create function koppeling.put_company_rows(
    p_rows koppeling.company_input[], out created bigint, out touched bigint[], out categories_made bigint)
    language plpgsql set plan_cache_mode = force_custom_plan
as $$
declare
    v_rows koppeling.company_input[];
    v_new bigint[];
begin
    insert into koppeling.company_category (name)
    select distinct on (koppeling.fold(c)) c
    from unnest(p_rows) r
    cross join unnest(r.categories) c
    where not exists (
        select from koppeling.company_category k where koppeling.fold(k.name) = koppeling.fold(c))
    order by koppeling.fold(c), c
    on conflict do nothing;
    get diagnostics categories_made = row_count;

    with made as (
        insert into koppeling.company (source, external_id, name)
        select r.source, r.external_id, coalesce(r.name, r.external_id)
        from unnest(p_rows) r
        where not exists (
            select from koppeling.company c
            where koppeling.fold(c.source) = koppeling.fold(r.source)
                and koppeling.fold(c.external_id) = koppeling.fold(r.external_id) offset 0)
        order by koppeling.fold(r.source), koppeling.fold(r.external_id)
        on conflict do nothing
        returning id
    )
    select coalesce(array_agg(id), '{}') into v_new from made;
    created := cardinality(v_new);

    v_rows := array(
        select row(
            r.line, r.source, r.external_id, r.name, r.categories, r.fields,
            coalesce(c.merged_into, c.id))::koppeling.company_input
        from unnest(p_rows) r
        join koppeling.company c on koppeling.fold(c.source) = koppeling.fold(r.source)
            and koppeling.fold(c.external_id) = koppeling.fold(r.external_id));

    -- By rising id, so that two puts of the same companies wait for each other.
    perform from koppeling.company c
    where c.id = any (array(select r.company_id from unnest(v_rows) r)) order by c.id for no key update;

    with renamed as (
        update koppeling.company c
        set name = coalesce(r.name, c.external_id), changed_at = koppeling.now()
        from unnest(v_rows) r
        where c.id = r.company_id and 'name' = any (r.fields) and c.name <> coalesce(r.name, c.external_id)
        returning c.id
    ), wanted as (
        select r.company_id, k.id as company_category_id
        from unnest(v_rows) r
        cross join unnest(r.categories) l
        join koppeling.company_category k on koppeling.fold(k.name) = koppeling.fold(l)
        where 'categories' = any (r.fields)
    ), taken as (
        delete from koppeling.company_in_category i
        using unnest(v_rows) r
        where i.company_id = r.company_id and 'categories' = any (r.fields) and not exists (
            select from wanted w
            where w.company_id = i.company_id and w.company_category_id = i.company_category_id)
        returning i.company_id
    ), given as (
        insert into koppeling.company_in_category (company_id, company_category_id)
        select distinct w.company_id, w.company_category_id from wanted w
        on conflict do nothing
        returning company_id
    )
    select coalesce(array_agg(t.id), '{}') into touched
    from (
        select id from renamed union select company_id from taken union select company_id from given
    ) t
    where t.id <> all (v_new);
end $$;

-- What is wrong with the shape of companies as JSON, by place and field.
create function koppeling.company_shape_faults(p_companies jsonb)
    returns table (line bigint, field text, message text)
    language sql immutable parallel safe
as $$
    select p.line, f.field, f.message
    from jsonb_array_elements(p_companies) with ordinality as p (company, line)
    cross join lateral (
        select null as field, 'must be an object' as message where jsonb_typeof(p.company) <> 'object'
        union all
        select v.field, case
            when v.field in ('source', 'name') then
                case when jsonb_typeof(v.value) not in ('string', 'null') then 'must be a text or null' end
            when v.field = 'id' then
                case when jsonb_typeof(v.value) not in ('string', 'number') then 'must be a text' end
            when v.field = 'categories' then case
                when jsonb_typeof(v.value) not in ('array', 'null') then 'must be a list'
                when jsonb_typeof(v.value) = 'array'
                    and jsonb_path_exists(v.value, '$[*] ? (@.type() != "string")') then 'must hold texts only' end
            else 'is not known; a company has source, id, name and categories'
        end
        from jsonb_each(case jsonb_typeof(p.company) when 'object' then p.company else '{}' end) v (field, value)
    ) f
    where f.message is not null
$$;

-- What put_companies and put_company do; the message of a fault says which company it is when there may be several.
create function koppeling.accept_companies(p_companies jsonb, p_numbered boolean) returns void
    language plpgsql
as $$
declare
    v_fault record;
    v_rows koppeling.company_input[];
    v_round koppeling.company_input[];
    v_place int := 0;
    v_touched bigint[] := '{}';
begin
    select * into v_fault from koppeling.company_shape_faults(p_companies) order by line limit 1;
    if not found then
        select koppeling.clean_companies(array_agg(row(
            p.line, p.company ->> 'source', p.company ->> 'id', p.company ->> 'name',
            array(select jsonb_array_elements_text(case jsonb_typeof(p.company -> 'categories')
                when 'array' then p.company -> 'categories' else '[]' end)),
            array(select jsonb_object_keys(p.company)), null)::koppeling.company_input))
        into v_rows
        from jsonb_array_elements(p_companies) with ordinality as p (company, line);
        select * into v_fault from koppeling.company_faults(v_rows) order by line limit 1;
    end if;
    if found then
        raise exception using errcode = 'invalid_parameter_value', column = coalesce(v_fault.field, ''),
            message = concat_ws(' ', case when p_numbered then format('company %s:', v_fault.line) else 'company:' end,
                'field "' || v_fault.field || '"', v_fault.message);
    end if;
    -- A company that is given more than once is put in that order, the later over the earlier.
    loop
        v_place := v_place + 1;
        select array_agg(p.company) into v_round
        from (
            select r as company, row_number() over (
                partition by coalesce(
                    coalesce(m.merged_into, m.id)::text,
                    koppeling.fold(r.source) || e'\x1f' || koppeling.fold(r.external_id))
                order by r.line) as place
            from unnest(v_rows) r
            left join koppeling.company m on koppeling.fold(m.source) = koppeling.fold(r.source)
                and koppeling.fold(m.external_id) = koppeling.fold(r.external_id)
        ) p
        where p.place = v_place;
        exit when v_round is null;
        v_touched := v_touched || (koppeling.put_company_rows(v_round)).touched;
    end loop;
    perform koppeling.note_value_changes('company', v_touched, 'put company');
end $$;

-- Adds and changes companies; a fault in any of them changes nothing. Returns how many were given.
create function koppeling.put_companies(companies jsonb) returns bigint
    language plpgsql security definer set search_path = koppeling, pg_temp
as $$
begin
    if companies is null or jsonb_typeof(companies) <> 'array' then
        raise exception using errcode = 'invalid_parameter_value', message = 'companies must be a list',
            hint = 'Give a JSON array of companies, or use put_company for one.';
    end if;
    perform koppeling.accept_companies(companies, true);
    return jsonb_array_length(companies);
end $$;

-- The id of a company by its identity, which is compared without case; null when there is none. Who was merged is the
-- survivor.
create function koppeling.find_company(source text, external_id text) returns bigint
    language sql stable parallel safe
    return (
        select coalesce(c.merged_into, c.id) from koppeling.company c
        where koppeling.fold(c.source) = koppeling.fold(koppeling.clean_text(find_company.source))
            and koppeling.fold(c.external_id) = koppeling.fold(koppeling.clean_text(find_company.external_id)));

-- The same, but an error that names the identity when there is none.
create function koppeling.require_company(source text, external_id text) returns bigint
    language plpgsql stable
as $$
declare
    v_company bigint := koppeling.find_company(source, external_id);
begin
    if v_company is null then
        raise exception using errcode = 'no_data_found',
            message = format('there is no company with source "%s" and id "%s"', source, external_id),
            hint = 'Put the company first, or check the source and the id.';
    end if;
    return v_company;
end $$;

-- Adds or changes one company; returns its id.
create function koppeling.put_company(company jsonb) returns bigint
    language plpgsql security definer set search_path = koppeling, pg_temp
as $$
begin
    perform koppeling.accept_companies(jsonb_build_array(company), false);
    return koppeling.require_company(company ->> 'source', company ->> 'id');
end $$;

-- A company as JSON, with its categories and how many persons have a position there.
create function koppeling.company_json(p_company bigint) returns jsonb
    language sql stable
    return (
        select jsonb_build_object(
            'id', c.id, 'source', c.source, 'external_id', c.external_id, 'name', c.name,
            'categories', coalesce((
                select jsonb_agg(k.name order by k.name)
                from koppeling.company_in_category i
                join koppeling.company_category k on k.id = i.company_category_id
                where i.company_id = c.id), '[]'),
            'persons', (
                select count(distinct o.person_id) from koppeling.position o where o.company_id = c.id))
        from koppeling.company c
        where c.id = p_company);

revoke execute on function koppeling.put_company(jsonb), koppeling.put_companies(jsonb) from public;
grant execute on function koppeling.put_company(jsonb), koppeling.put_companies(jsonb) to koppeling_writer;

-- Judges the next lines of a file of companies and puts them, as import_person_chunk does.
create function koppeling.import_company_chunk(
    p_after bigint, p_size bigint, p_source text, p_fields text[], p_put boolean,
    out last_line bigint, out seen bigint, out faults bigint, out put bigint, out created bigint, out changed bigint,
    out categories_made bigint)
    language plpgsql set plan_cache_mode = force_custom_plan
as $$
declare
    v_rows koppeling.company_input[];
    v_done record;
begin
    select
        max(c.line), count(*),
        array_agg(row(
            c.line, coalesce(c.source, p_source), c.external_id, c.name,
            koppeling.cell_labels(c.categories),
            p_fields, null)::koppeling.company_input) filter (where c.fault is null)
    into last_line, seen, v_rows
    from (select * from import_row i where i.line > p_after order by i.line limit p_size) c;

    v_rows := koppeling.clean_companies(v_rows);
    with found as (
        select * from koppeling.company_faults(v_rows)
    ), noted as (
        insert into import_fault (line, field, message) select * from found
    )
    select count(distinct f.line) into faults
    from found f
    where not exists (select from import_fault known where known.line = f.line);

    put := 0;
    if p_put then
        v_rows := array(
            select r from unnest(v_rows) r
            where not exists (select from import_fault f where f.line = r.line));
        select * into v_done from koppeling.put_company_rows(v_rows);
        put := cardinality(v_rows);
        created := v_done.created;
        changed := cardinality(v_done.touched);
        categories_made := v_done.categories_made;
        insert into import_change (id) select unnest(v_done.touched);
    end if;
end $$;
