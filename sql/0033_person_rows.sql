-- Writing persons: JSON, jobs and CSV all end in put_person_rows, which works on a set.

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

-- The rows with the ids of their persons and categories, by rising person. Who was merged is the survivor.
create function koppeling.resolve_persons(p_rows koppeling.person_input[], p_categories jsonb)
    returns koppeling.person_input[]
    language sql volatile set plan_cache_mode = force_custom_plan
as $$
    select coalesce(array_agg(row(
        r.line, r.source, r.external_id, r.given_name, r.initials, r.prefixes, r.family_name, r.gender,
        r.email_kinds, r.addresses, r.categories, r.positions, r.fields, coalesce(p.merged_into, p.id),
        array(select distinct (p_categories ->> c)::bigint from unnest(r.categories) c))::koppeling.person_input
        order by coalesce(p.merged_into, p.id)), '{}')
    from unnest(p_rows) r
    join koppeling.person p on koppeling.fold(p.source) = koppeling.fold(r.source)
        and koppeling.fold(p.external_id) = koppeling.fold(r.external_id)
$$;

-- A position of a person, by the numbers of what it names.
create type koppeling.position_row as (
    person_id bigint,
    job_function_id bigint,
    department_id bigint,
    company_id bigint
);

-- What makes two positions of a person the same: nothing is as good as nothing.
create function koppeling.position_values(job_function bigint, department bigint, company bigint) returns bigint[]
    language sql immutable parallel safe
    return array[coalesce(job_function, 0), coalesce(department, 0), coalesce(company, 0)];

-- Makes the functions, departments and companies that these positions name and that are not there yet. A company is
-- named by its id; one that nobody put yet is called by it.
create function koppeling.make_position_values(p_rows koppeling.person_input[]) returns void
    language plpgsql set plan_cache_mode = force_custom_plan
as $$
begin
    insert into koppeling.job_function (name)
    select distinct on (koppeling.fold(i.job_function)) i.job_function
    from (select distinct i.job_function from unnest(p_rows) r cross join unnest(r.positions) i) i
    where i.job_function is not null and not exists (
        select from koppeling.job_function f where koppeling.fold(f.name) = koppeling.fold(i.job_function))
    order by koppeling.fold(i.job_function), i.job_function
    on conflict do nothing;

    insert into koppeling.department (name)
    select distinct on (koppeling.fold(i.department)) i.department
    from (select distinct i.department from unnest(p_rows) r cross join unnest(r.positions) i) i
    where i.department is not null and not exists (
        select from koppeling.department d where koppeling.fold(d.name) = koppeling.fold(i.department))
    order by koppeling.fold(i.department), i.department
    on conflict do nothing;

    insert into koppeling.company (source, external_id, name)
    select distinct on (koppeling.fold(i.source), koppeling.fold(i.company)) i.source, i.company, i.company
    from (select distinct r.source, i.company from unnest(p_rows) r cross join unnest(r.positions) i) i
    where i.company is not null and not exists (
        select from koppeling.company c
        where koppeling.fold(c.source) = koppeling.fold(i.source)
            and koppeling.fold(c.external_id) = koppeling.fold(i.company) offset 0)
    order by koppeling.fold(i.source), koppeling.fold(i.company), i.company
    on conflict do nothing;
end $$;

-- The positions of these persons, each once, after make_position_values. Who names a merged company means the other.
create function koppeling.resolve_positions(p_rows koppeling.person_input[]) returns koppeling.position_row[]
    language sql volatile set plan_cache_mode = force_custom_plan
as $$
    select coalesce(array_agg(distinct row(
        r.person_id, f.id, d.id, coalesce(c.merged_into, c.id))::koppeling.position_row), '{}')
    from unnest(p_rows) r
    cross join unnest(r.positions) i
    left join koppeling.job_function f on koppeling.fold(f.name) = koppeling.fold(i.job_function)
    left join koppeling.department d on koppeling.fold(d.name) = koppeling.fold(i.department)
    left join koppeling.company c on koppeling.fold(c.source) = koppeling.fold(r.source)
        and koppeling.fold(c.external_id) = koppeling.fold(i.company)
$$;

-- Writes what persons have who were made just now. Nobody else can know them yet, so there is nothing to conflict with,
-- which is dear to look for.
create function koppeling.fill_persons(p_rows koppeling.person_input[], p_positions koppeling.position_row[])
    returns void
    language plpgsql set plan_cache_mode = force_custom_plan
as $$
begin
    if p_rows = '{}' then
        return;
    end if;
    insert into koppeling.email_address (person_id, kind, address)
    select r.person_id, g.kind, g.address
    from unnest(p_rows) r
    cross join unnest(r.email_kinds, r.addresses) g (kind, address)
    where g.address is not null;
    insert into koppeling.person_category (person_id, category_id)
    select r.person_id, c
    from unnest(p_rows) r
    cross join unnest(r.category_ids) c
    where 'categories' = any (r.fields);
    insert into koppeling.position (person_id, job_function_id, department_id, company_id)
    select v.person_id, v.job_function_id, v.department_id, v.company_id from unnest(p_positions) v;
end $$;

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
    v_positions koppeling.position_row[] := '{}';
    v_new bigint[];
    v_touched bigint[];
begin
    select made, ids into categories_made, v_categories
    from koppeling.make_categories(array(select distinct c from unnest(p_rows) r cross join unnest(r.categories) c));

    if exists (select from unnest(p_rows) r where cardinality(r.positions) > 0) then
        perform koppeling.make_position_values(p_rows);
    end if;

    with made as (
        insert into koppeling.person (source, external_id, given_name, initials, prefixes, family_name, gender)
        select r.source, r.external_id, r.given_name, r.initials, r.prefixes, r.family_name,
            coalesce(koppeling.gender_value(r.gender), 'unknown')
        from unnest(p_rows) r
        -- Each is looked up, by offset: a join would sort everybody there is for every piece of a file.
        where not exists (
            select from koppeling.person p
            where koppeling.fold(p.source) = koppeling.fold(r.source)
                and koppeling.fold(p.external_id) = koppeling.fold(r.external_id) offset 0)
        order by koppeling.fold(r.source), koppeling.fold(r.external_id)
        on conflict (koppeling.fold(source), koppeling.fold(external_id)) do nothing
        returning id
    )
    select coalesce(array_agg(id), '{}') into v_new from made;
    created := cardinality(v_new);

    v_rows := koppeling.resolve_persons(p_rows, v_categories);
    if exists (select from unnest(p_rows) r where cardinality(r.positions) > 0) then
        v_positions := koppeling.resolve_positions(v_rows);
    end if;

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
            union all
            select v.person_id, true
            from unnest(v_positions) v
            join unnest(v_old) r on r.person_id = v.person_id and 'positions' = any (r.fields)
            where not exists (
                select from koppeling.position o
                where o.person_id = v.person_id
                    and koppeling.position_values(o.job_function_id, o.department_id, o.company_id)
                        = koppeling.position_values(v.job_function_id, v.department_id, v.company_id))
            union all
            select r.person_id, true
            from unnest(v_old) r
            join koppeling.position o on o.person_id = r.person_id
            where 'positions' = any (r.fields) and not exists (
                select from unnest(v_positions) v
                where v.person_id = o.person_id
                    and koppeling.position_values(o.job_function_id, o.department_id, o.company_id)
                        = koppeling.position_values(v.job_function_id, v.department_id, v.company_id))
        ) t
        group by t.person_id
    ) d;
    changed := cardinality(v_touched);
    -- By rising id, so that two puts of the same persons wait for each other instead of deadlocking.
    -- Who was erased meanwhile gets nothing back.
    v_touched := array(
        select p.id
        from (select p.id, p.state from koppeling.person p
              where p.id = any (v_touched) order by p.id for no key update) p
        where p.state <> 'erased');
    if exists (select from koppeling.person p where p.id = any (v_touched) and p.merged_into is not null) then
        raise exception using errcode = 'serialization_failure',
            message = 'a person was merged into another one meanwhile', hint = 'Put the persons again.';
    end if;

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
    from unnest(v_old) r
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
    from unnest(v_old) r
    cross join unnest(r.category_ids) c
    where r.person_id = any (v_touched) and 'categories' = any (r.fields)
    order by r.person_id, c
    on conflict do nothing;

    delete from koppeling.position o
    using unnest(v_old) r
    where o.person_id = r.person_id and r.person_id = any (v_touched)
        and 'positions' = any (r.fields) and not exists (
            select from unnest(v_positions) v
            where v.person_id = o.person_id
                and koppeling.position_values(o.job_function_id, o.department_id, o.company_id)
                    = koppeling.position_values(v.job_function_id, v.department_id, v.company_id));
    insert into koppeling.position (person_id, job_function_id, department_id, company_id)
    select v.person_id, v.job_function_id, v.department_id, v.company_id
    from unnest(v_positions) v
    where v.person_id = any (v_touched) and v.person_id <> all (v_new)
    order by v.person_id, v.job_function_id, v.department_id, v.company_id
    on conflict do nothing;
    perform koppeling.fill_persons(array(select r from unnest(v_rows) r where r.person_id = any (v_new)),
        array(select v from unnest(v_positions) v where v.person_id = any (v_new)));
    if exists (
        select from unnest(v_positions) v join koppeling.company c on c.id = v.company_id
        where c.merged_into is not null)
    then
        raise exception using errcode = 'serialization_failure',
            message = 'a company was merged into another one meanwhile', hint = 'Put the persons again.';
    end if;
end $$;
