-- A file: staged by COPY, judged and put in chunks, all in one transaction of the importing session.

-- The items of a cell that holds a list, cleaned; e'\x1f' stands between those of cells that were put together.
create function koppeling.clean_labels(cell text) returns text[]
    language sql immutable parallel safe
    return array(
        select distinct koppeling.clean_text(t) from unnest(string_to_array(translate(cell, ';|', e'\x1f\x1f'), e'\x1f')) t
        where koppeling.clean_text(t) is not null);

-- The same: a plain text is taken apart as it is.
create function koppeling.cell_labels(cell text) returns text[]
    language sql immutable parallel safe
    return case
        when cell is null then '{}'
        when koppeling.is_plain(cell) then array_remove(regexp_split_to_array(cell, ' ?[;|] ?'), '')
        else koppeling.clean_labels(cell)
    end;

create function koppeling.clean_positions(job_functions text, departments text, companies text)
    returns koppeling.position_input[]
    language sql immutable parallel safe
    return array(
        select row(koppeling.clean_text(f), koppeling.clean_text(d), koppeling.clean_text(c))::koppeling.position_input
        from unnest(string_to_array(job_functions, e'\x1f'), string_to_array(departments, e'\x1f'),
            string_to_array(companies, e'\x1f')) u (f, d, c)
        where koppeling.clean_text(concat(f, d, c)) is not null);

-- The positions of cells: most have one, of plain texts.
create function koppeling.cell_positions(job_functions text, departments text, companies text)
    returns koppeling.position_input[]
    language sql immutable parallel safe
    return case
        when num_nonnulls(job_functions, departments, companies) = 0 then '{}'
        when (job_functions is null or koppeling.is_plain(job_functions))
            and (departments is null or koppeling.is_plain(departments))
            and (companies is null or koppeling.is_plain(companies))
        then array[row(job_functions, departments, companies)::koppeling.position_input]
        else koppeling.clean_positions(job_functions, departments, companies)
    end;

create function koppeling.clean_addresses(cell text) returns text[]
    language sql immutable parallel safe
    return array(
        select koppeling.clean_text(a)
        from unnest(string_to_array(cell, e'\x1f', '')) with ordinality as u (a, n) order by n);

-- The addresses of a row, one for each kind; an empty one is null.
create function koppeling.cell_addresses(cell text) returns text[]
    language sql immutable parallel safe
    return case when koppeling.is_plain(cell) then array[cell] else koppeling.clean_addresses(cell) end;

-- Makes the session's own tables, which are gone with the transaction. A file fills the columns that it has.
create function koppeling.begin_import() returns void
    language plpgsql
as $$
begin
    create temporary table import_row (
        line bigint primary key,
        source text,
        external_id text,
        name text,
        given_name text,
        initials text,
        prefixes text,
        family_name text,
        gender text,
        addresses text,
        categories text,
        job_function text,
        department text,
        company text,
        anonymised text,
        fault text
    ) on commit drop;
    -- Of a list: whose it is, and the first line of hers.
    create temporary table import_list (line bigint primary key, person text, first bigint) on commit drop;
    create temporary table import_fault (line bigint, field text, message text) on commit drop;
    create index on import_fault (line);
    create temporary table import_change (id bigint) on commit drop;
end $$;

-- The lines that name somebody, by what makes two names the same.
create function koppeling.import_names(p_source text)
    returns table (line bigint, source text, external_id text)
    language plpgsql
as $$
#variable_conflict use_column
begin
    return query
    select i.line, coalesce(koppeling.fold(koppeling.clean_text(coalesce(i.source, p_source))), ''),
        coalesce(koppeling.fold(koppeling.clean_text(i.external_id)), '')
    from import_row i
    where i.fault is null and i.external_id is not null;
end $$;

-- After the COPY: what the reader found wrong with whole lines, and whoever stands in the file twice.
create function koppeling.judge_import(p_kind text, p_source text) returns void
    language plpgsql
as $$
begin
    -- What of it is asked about: the rest would take as long as judging it.
    analyze import_row (line, source, external_id, anonymised, fault);
    insert into import_fault (line, field, message)
    select i.line, null, i.fault from import_row i where i.fault is not null;
    insert into import_fault (line, field, message)
    select i.line, 'anonymised', 'must be yes or no (ja, nee)'
    from import_row i where i.anonymised is not null and koppeling.cell_boolean(i.anonymised) is null;
    if p_kind in ('positions', 'categories') then
        perform koppeling.judge_list_import(p_source);
        return;
    end if;
    insert into import_fault (line, field, message)
    select n.line, 'id', format('is the same %s as line %s',
        case p_kind when 'companies' then 'company' else 'person' end, d.first)
    from (
        -- Hardly ever any: whoever stands there twice is found by counting, not by sorting the file.
        select n.source, n.external_id, min(n.line) as first
        from koppeling.import_names(p_source) n
        group by n.source, n.external_id
        having count(*) > 1
    ) d
    join koppeling.import_names(p_source) n
        on n.source = d.source and n.external_id = d.external_id and n.line > d.first;
    insert into import_fault (line, field, message)
    select d.line, 'id', format('was merged with line %s; keep one of the two', d.first)
    from (
        select n.line, min(n.line) over (partition by n.id) as first
        from koppeling.import_merged(p_kind, p_source) n
    ) d
    where d.line > d.first and not exists (select from import_fault f where f.line = d.line);
end $$;

-- The lines that name a record which was merged, or into which another was.
create function koppeling.import_merged(p_kind text, p_source text) returns table (line bigint, id bigint)
    language plpgsql
as $$
#variable_conflict use_column
begin
    if not exists (select from koppeling.person p where p.merged_into is not null)
        and not exists (select from koppeling.company c where c.merged_into is not null)
    then
        return;
    end if;
    return query
    select i.line, m.into_id
    from (
        select p.source, p.external_id, coalesce(p.merged_into, p.id) as into_id
        from koppeling.person p
        where p_kind = 'persons' and (p.merged_into is not null
            or p.id in (select o.merged_into from koppeling.person o where o.merged_into is not null))
        union all
        select c.source, c.external_id, coalesce(c.merged_into, c.id)
        from koppeling.company c
        where p_kind = 'companies' and (c.merged_into is not null
            or c.id in (select o.merged_into from koppeling.company o where o.merged_into is not null))
    ) m
    join import_row i
        on koppeling.fold(koppeling.clean_text(coalesce(i.source, p_source))) = koppeling.fold(m.source)
        and koppeling.fold(koppeling.clean_text(i.external_id)) = koppeling.fold(m.external_id)
    where i.fault is null;
end $$;

-- A file of positions or categories, several lines a person: everybody must be there, and whoever has one faulty line
-- is left out whole, or the list would lose what stands on it. The lines of each become one.
create function koppeling.judge_list_import(p_source text) returns void
    language plpgsql
as $$
declare
    v_bad record;
begin
    select i.line, i.fault into v_bad from import_row i where i.fault is not null order by i.line limit 1;
    if found then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('line %s: %s', v_bad.line, v_bad.fault),
            hint = 'Mend the line: nobody can tell whose list it belongs to, so that no list is complete.';
    end if;
    insert into import_list (line, person, first)
    select n.line, n.person, min(n.line) over (partition by n.person)
    from (
        select i.line, coalesce(
            coalesce(p.merged_into, p.id)::text,
            koppeling.fold(koppeling.clean_text(coalesce(i.source, p_source))) || e'\x1f'
                || koppeling.fold(koppeling.clean_text(i.external_id)), i.line::text) as person
        from import_row i
        left join koppeling.person p
            on koppeling.fold(p.source) = koppeling.fold(koppeling.clean_text(coalesce(i.source, p_source)))
            and koppeling.fold(p.external_id) = koppeling.fold(koppeling.clean_text(i.external_id))
    ) n;
    insert into import_fault (line, field, message)
    select i.line, 'id', 'names nobody; put the person first'
    from import_row i
    where i.fault is null and koppeling.clean_text(i.external_id) is not null
        and koppeling.clean_text(coalesce(i.source, p_source)) is not null
        and koppeling.find_person(coalesce(i.source, p_source), i.external_id) is null;
    insert into import_fault (line, field, message)
    select i.line, f.field, f.message
    from import_row i
    cross join lateral koppeling.person_faults(koppeling.clean_persons(array[row(
        i.line, coalesce(i.source, p_source), i.external_id, null, null, null, null, null, '{}', '{}',
        koppeling.cell_labels(i.categories), koppeling.cell_positions(i.job_function, i.department, i.company),
        '{}', null, null)::koppeling.person_input])) f
    where i.fault is null;
    create index on import_list (first);
    analyze import_list;
    insert into import_fault (line, field, message)
    select o.line, null, format('belongs to the same person as line %s, which has faults', min(l.line))
    from (select distinct f.line from import_fault f) f
    join import_list l on l.line = f.line
    join import_list o on o.first = l.first
    where not exists (select from import_fault x where x.line = o.line)
    group by o.line;

    create temporary table import_whole on commit drop as
    select l.first as line, (array_agg(coalesce(i.source, p_source) order by i.line))[1] as source,
        (array_agg(i.external_id order by i.line))[1] as external_id,
        string_agg(i.categories, e'\x1f' order by i.line) as categories,
        string_agg(coalesce(i.job_function, ''), e'\x1f' order by i.line) as job_function,
        string_agg(coalesce(i.department, ''), e'\x1f' order by i.line) as department,
        string_agg(coalesce(i.company, ''), e'\x1f' order by i.line) as company
    from import_list l
    join import_row i on i.line = l.line
    where not exists (select from import_fault f where f.line = l.line)
    group by l.first;
    truncate import_row;
    insert into import_row (line, source, external_id, categories, job_function, department, company)
    select line, source, external_id, categories, job_function, department, company from import_whole;
    analyze import_row;
end $$;

-- Judges the next lines and, when asked to, puts those that are free of faults. seen counts the lines, faults those
-- that had none so far, put what was put; last_line is null after the last.
create function koppeling.import_person_chunk(
    p_after bigint, p_size bigint, p_source text, p_kinds text[], p_fields text[], p_put boolean,
    out last_line bigint, out seen bigint, out faults bigint, out put bigint, out created bigint, out changed bigint,
    out categories_made bigint, out anonymised bigint)
    language plpgsql set plan_cache_mode = force_custom_plan
as $$
declare
    v_kinds text[] := array(
        select coalesce(koppeling.fold(koppeling.clean_text(k)), '')
        from unnest(p_kinds) with ordinality as u (k, n) order by n);
    v_rows koppeling.person_input[];
    v_done record;
begin
    -- Cleaned on the way, column by column: what clean_persons would do to the arrays costs several times as much.
    select
        max(c.line), count(*),
        coalesce(array_agg(
            case when c.anonymised is not null and koppeling.cell_boolean(c.anonymised) then
                koppeling.anonymised_input(
                    c.line, koppeling.clean_text(coalesce(c.source, p_source)), koppeling.clean_text(c.external_id))
            else
                row(
                    c.line, koppeling.clean_text(coalesce(c.source, p_source)), koppeling.clean_text(c.external_id),
                    koppeling.clean_text(c.given_name), koppeling.clean_text(c.initials),
                    koppeling.clean_text(c.prefixes), koppeling.clean_text(c.family_name),
                    coalesce(koppeling.gender_value(koppeling.clean_text(c.gender)), koppeling.clean_text(c.gender)),
                    v_kinds, koppeling.cell_addresses(c.addresses), koppeling.cell_labels(c.categories),
                    koppeling.cell_positions(c.job_function, c.department, c.company),
                    p_fields, null, null)::koppeling.person_input
            end) filter (where c.fault is null), '{}')
    into last_line, seen, v_rows
    from (select * from import_row i where i.line > p_after order by i.line limit p_size) c;

    with found as (
        select * from koppeling.person_faults(v_rows)
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
        anonymised := cardinality(v_rows);
        v_rows := koppeling.take_anonymised(v_rows);
        anonymised := anonymised - cardinality(v_rows);
        select * into v_done from koppeling.put_person_rows(v_rows);
        put := cardinality(v_rows);
        created := v_done.created;
        changed := v_done.changed - v_done.created;
        categories_made := v_done.categories_made;
        insert into import_change (id) select unnest(v_done.evaluate);
    end if;
end $$;

-- Lets the persons whose facts changed, or who have a position at a company that did, be evaluated; the cause names
-- the file.
create function koppeling.finish_import(p_kind text, p_cause text) returns void
    language plpgsql
as $$
begin
    if p_kind = 'companies' then
        perform koppeling.note_value_changes('company', array(select c.id from import_change c), p_cause);
    else
        perform koppeling.request_evaluation(array(select c.id from import_change c), p_cause);
    end if;
end $$;
