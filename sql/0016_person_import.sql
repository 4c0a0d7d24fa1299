-- A file of persons: staged by COPY, judged and put in chunks, all in one transaction of the importing session.

-- Makes the session's own tables, which are gone with the transaction.
create function koppeling.begin_person_import() returns void
    language plpgsql
as $$
begin
    create temporary table person_import (
        line bigint primary key,
        source text,
        external_id text,
        given_name text,
        initials text,
        prefixes text,
        family_name text,
        gender text,
        addresses text,
        categories text,
        fault text
    ) on commit drop;
    create temporary table person_import_fault (line bigint, field text, message text) on commit drop;
    create index on person_import_fault (line);
    create temporary table person_import_change (person_id bigint) on commit drop;
end $$;

-- After the COPY: what the reader found wrong with whole lines, and persons who stand in the file twice.
create function koppeling.judge_person_import(p_source text) returns void
    language plpgsql
as $$
begin
    analyze person_import;
    insert into person_import_fault (line, field, message)
    select i.line, null, i.fault from person_import i where i.fault is not null
    union all
    select d.line, 'id', format('is the same person as line %s', d.first)
    from (
        select i.line, min(i.line) over (
            partition by koppeling.fold(koppeling.clean_text(coalesce(i.source, p_source))),
                koppeling.fold(koppeling.clean_text(i.external_id))) as first
        from person_import i
        where i.fault is null and i.external_id is not null
    ) d
    where d.line > d.first;
end $$;

-- Judges the next lines and, when asked to, puts those that are free of faults. faults counts the lines that had none
-- so far; last_line is null after the last.
create function koppeling.import_person_chunk(
    p_after bigint, p_size bigint, p_source text, p_kinds text[], p_fields text[], p_put boolean,
    out last_line bigint, out persons bigint, out faults bigint, out created bigint, out changed bigint,
    out categories_made bigint)
    language plpgsql set plan_cache_mode = force_custom_plan
as $$
declare
    v_rows koppeling.person_input[];
    v_done record;
begin
    select
        max(c.line),
        array_agg(row(
            c.line, coalesce(c.source, p_source), c.external_id, c.given_name, c.initials, c.prefixes, c.family_name,
            c.gender, p_kinds, string_to_array(c.addresses, e'\x1f', ''),
            array(
                select t from regexp_split_to_table(c.categories, '[;|]') t
                where koppeling.clean_text(t) is not null),
            p_fields, null, null)::koppeling.person_input) filter (where c.fault is null)
    into last_line, v_rows
    from (select * from person_import i where i.line > p_after order by i.line limit p_size) c;
    persons := coalesce(cardinality(v_rows), 0);

    v_rows := koppeling.clean_persons(v_rows);
    with found as (
        select * from koppeling.person_faults(v_rows)
    ), noted as (
        insert into person_import_fault (line, field, message) select * from found
    )
    select count(distinct f.line) into faults
    from found f
    where not exists (select from person_import_fault known where known.line = f.line);

    if p_put then
        select * into v_done from koppeling.put_person_rows(array(
            select r from unnest(v_rows) r
            where not exists (select from person_import_fault f where f.line = r.line)));
        created := v_done.created;
        changed := v_done.changed - v_done.created;
        categories_made := v_done.categories_made;
        insert into person_import_change (person_id) select unnest(v_done.evaluate);
    end if;
end $$;

-- Lets the persons whose facts changed be evaluated; the cause names the file.
create function koppeling.finish_person_import(p_cause text) returns void
    language plpgsql
as $$
begin
    perform koppeling.request_evaluation(array(select c.person_id from person_import_change c), p_cause);
end $$;
