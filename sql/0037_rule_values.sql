-- The values that criteria name: by which words they are found, and shown.

create function koppeling.kind_word(kind text) returns text
    language sql immutable parallel safe
    return case kind when 'personCategory' then 'category' when 'companyCategory' then 'company category' else kind end;

-- The category of this label, "Group / Name", compared without case; null when there is none.
create function koppeling.find_category(label text) returns bigint
    language sql stable parallel safe
    return (
        select k.id
        from koppeling.category_parts(label) p
        join koppeling.category_group g on koppeling.fold(g.name) = koppeling.fold(p.category_group)
        join koppeling.category k on k.category_group_id = g.id and koppeling.fold(k.name) = koppeling.fold(p.name));

-- The company of this label: "Name [source/id]", "source/id", or a name that only one company has. Null when there is
-- none; a company that was merged is the one that it became.
create function koppeling.find_company(label text) returns bigint
    language plpgsql stable
as $$
declare
    v_key text := coalesce(substring(label from '\s\[([^\[]*)\]\s*$'), label);
    v_found bigint[];
begin
    v_found := array(
        select coalesce(c.merged_into, c.id) from koppeling.company c
        where koppeling.fold(c.source) = koppeling.fold(koppeling.clean_text(split_part(v_key, '/', 1)))
            and koppeling.fold(c.external_id)
                = koppeling.fold(koppeling.clean_text(substr(v_key, strpos(v_key, '/') + 1))));
    if v_found = '{}' then
        v_found := array(
            select c.id from koppeling.company c
            where koppeling.fold(c.name) = koppeling.fold(koppeling.clean_text(label)) and c.merged_into is null
            order by c.id limit 2);
    end if;
    if cardinality(v_found) > 1 then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('several companies are named "%s"', label),
            hint = 'Write the one that is meant as "source/id".';
    end if;
    return v_found[1];
end $$;

-- The value of a kind by its label, compared without case; null when there is none.
create function koppeling.find_value(kind text, label text) returns bigint
    language plpgsql stable
as $$
declare
    v_name text := koppeling.fold(koppeling.clean_text(label));
begin
    return case kind
        when 'personCategory' then koppeling.find_category(label)
        when 'company' then koppeling.find_company(label)
        when 'function' then (select v.id from koppeling.job_function v where koppeling.fold(v.name) = v_name)
        when 'department' then (select v.id from koppeling.department v where koppeling.fold(v.name) = v_name)
        when 'companyCategory' then
            (select v.id from koppeling.company_category v where koppeling.fold(v.name) = v_name)
    end;
end $$;

-- The label by which find_value finds it again; null when it is gone.
create function koppeling.value_label(kind text, value_id bigint) returns text
    language plpgsql stable
as $$
begin
    return case kind
        when 'personCategory' then (
            select g.name || ' / ' || v.name
            from koppeling.category v
            join koppeling.category_group g on g.id = v.category_group_id
            where v.id = value_id)
        when 'company' then (
            select format('%s [%s/%s]', n.name, n.source, n.external_id)
            from koppeling.company v
            join koppeling.company n on n.id = coalesce(v.merged_into, v.id)
            where v.id = value_id)
        when 'function' then (select v.name from koppeling.job_function v where v.id = value_id)
        when 'department' then (select v.name from koppeling.department v where v.id = value_id)
        when 'companyCategory' then (select v.name from koppeling.company_category v where v.id = value_id)
    end;
end $$;

create type koppeling.rule_criterion as (position int, kind text, value_id bigint, negated boolean);

-- Rules are lists of criteria: [[{"kind": "function", "value": "Directeur", "negated": false}, ...], ...]. The kind is
-- personCategory when it is not given.
create function koppeling.read_rules(p_rules jsonb) returns koppeling.rule_criterion[]
    language plpgsql stable
as $$
declare
    v_fault text;
    v_read koppeling.rule_criterion[];
    v_unknown record;
begin
    v_fault := case
        when p_rules is null or jsonb_typeof(p_rules) <> 'array' then 'rules must be a list of lists of criteria'
        when jsonb_array_length(p_rules) > 100 then 'a group has at most 100 rules'
        when jsonb_path_exists(p_rules, 'strict $[*] ? (@.type() != "array")') then 'a rule must be a list of criteria'
        when jsonb_path_exists(p_rules, 'strict $[*] ? (@.size() > 100)') then 'a rule has at most 100 criteria'
        when jsonb_path_exists(p_rules, 'strict $[*][*] ? (@.type() != "object")') then 'a criterion must be an object'
        when jsonb_path_exists(p_rules, '$[*][*] ? (!exists(@.value) || @.value.type() != "string")')
            then 'the value of a criterion must be a text'
        when jsonb_path_exists(p_rules, '$[*][*] ? (exists(@.negated) && @.negated.type() != "boolean")')
            then 'negated must be true or false'
        when jsonb_path_exists(p_rules,
            '$[*][*].keyvalue() ? (@.key != "kind" && @.key != "value" && @.key != "negated")')
            then 'a criterion has kind, value and negated'
        when exists (
            select from jsonb_path_query(p_rules, '$[*][*].kind') k
            where k #>> '{}' not in ('function', 'department', 'company', 'personCategory', 'companyCategory'))
            then 'the kind of a criterion is function, department, company, personCategory or companyCategory'
    end;
    if v_fault is not null then
        raise exception using errcode = 'invalid_parameter_value', message = v_fault,
            hint = 'For example: [[{"kind": "function", "value": "Directeur"}, {"value": "Group / Name"}]].';
    end if;
    select array_agg(row(
        r.position, k.kind, koppeling.find_value(k.kind, c.criterion ->> 'value'),
        coalesce((c.criterion ->> 'negated')::boolean, false))::koppeling.rule_criterion) into v_read
    from jsonb_array_elements(p_rules) with ordinality as r (criteria, position)
    cross join jsonb_array_elements(r.criteria) c (criterion)
    cross join lateral (select coalesce(c.criterion ->> 'kind', 'personCategory') as kind) k;

    select k.kind, c.criterion ->> 'value' as value into v_unknown
    from jsonb_array_elements(p_rules) with ordinality as r (criteria, position)
    cross join jsonb_array_elements(r.criteria) c (criterion)
    cross join lateral (select coalesce(c.criterion ->> 'kind', 'personCategory') as kind) k
    where koppeling.find_value(k.kind, c.criterion ->> 'value') is null
    limit 1;
    if found then
        raise exception using errcode = 'no_data_found',
            message = format('there is no %s "%s"', koppeling.kind_word(v_unknown.kind), v_unknown.value),
            hint = case v_unknown.kind
                when 'personCategory' then
                    'Categories are written "Group / Name" and come with the persons who have them.'
                when 'company' then 'Companies are written "source/id", or by a name that only one of them has.'
                else 'It comes with the persons or companies that have it.'
            end;
    end if;
    select n.kind, koppeling.value_label(n.kind, n.value_id) as value into v_unknown
    from unnest(v_read) n group by n.position, n.kind, n.value_id having count(distinct n.negated) > 1 limit 1;
    if found then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('a rule asks for %s "%s" and excludes it', koppeling.kind_word(v_unknown.kind),
                v_unknown.value),
            hint = 'Nobody can match that; take one of the two out.';
    end if;
    return coalesce(v_read, '{}');
end $$;

-- The rules of a group in the form that save_rules takes; a value that is gone is null.
create function koppeling.rules_json(p_group bigint) returns jsonb
    language sql stable
    return (
        select coalesce(jsonb_agg(r.criteria order by r.position), '[]')
        from (
            select r.position, coalesce(
                jsonb_agg(
                    jsonb_build_object('kind', c.kind, 'value', c.value, 'negated', c.negated)
                    order by c.negated, c.kind, c.value, c.id) filter (where c.id is not null), '[]') as criteria
            from koppeling.rule r
            left join (
                select c.*, koppeling.value_label(c.kind, c.value_id) as value from koppeling.criterion c
            ) c on c.rule_id = r.id
            where r.target_group_id = p_group
            group by r.id
        ) r);

-- What persons have, of every kind that a criterion can ask for.
create view koppeling.person_value as
select c.person_id, 'personCategory' as kind, c.category_id as value_id from koppeling.person_category c
union all
select p.person_id, 'function', p.job_function_id from koppeling.position p where p.job_function_id is not null
union all
select p.person_id, 'department', p.department_id from koppeling.position p where p.department_id is not null
union all
select p.person_id, 'company', p.company_id from koppeling.position p where p.company_id is not null
union all
select p.person_id, 'company', c.id
from koppeling.position p
join koppeling.company c on c.merged_into = p.company_id
union all
select p.person_id, 'companyCategory', k.company_category_id
from koppeling.position p
join koppeling.company_in_category k on k.company_id = p.company_id;
