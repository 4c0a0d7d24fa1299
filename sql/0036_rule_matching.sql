-- Rules: who has what they ask for. Each rule is one statement, planned with its values, so that a rule costs about
-- what somebody would have written by hand for it.

-- The values that the criteria of a rule ask for, or, negated, ask not to be there.
create type koppeling.criteria_values as (
    categories bigint[], functions bigint[], departments bigint[], companies bigint[], company_categories bigint[]
);

create function koppeling.criteria_values(p_criteria koppeling.criterion[], p_negated boolean)
    returns koppeling.criteria_values
    language plpgsql stable
as $$
begin
    return (
        select row(
            coalesce(array_agg(distinct c.value_id) filter (where c.kind = 'personCategory'), '{}'),
            coalesce(array_agg(distinct c.value_id) filter (where c.kind = 'function'), '{}'),
            coalesce(array_agg(distinct c.value_id) filter (where c.kind = 'department'), '{}'),
            coalesce(array_agg(distinct coalesce(o.merged_into, c.value_id)) filter (where c.kind = 'company'), '{}'),
            coalesce(array_agg(distinct c.value_id) filter (where c.kind = 'companyCategory'), '{}')
        )::koppeling.criteria_values
        from unnest(p_criteria) c
        left join koppeling.company o on c.kind = 'company' and o.id = c.value_id
        where c.negated = p_negated);
end $$;

-- Who has all that these criteria, of one rule, ask for; of everybody when p_persons is null. No criteria: nobody.
-- What is asked of a function, a department, a company and its categories holds at one and the same position; what must
-- not be there is at none. With the values known to the planner, what is not asked for falls away. Counts are compared
-- by >=, and cannot be more: of an = the planner believes that hardly anybody passes.
create function koppeling.persons_matching(p_criteria koppeling.criterion[], p_persons bigint[])
    returns table (person_id bigint)
    language plpgsql stable set plan_cache_mode = force_custom_plan set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
    v_asked koppeling.criteria_values := koppeling.criteria_values(p_criteria, false);
    v_not koppeling.criteria_values := koppeling.criteria_values(p_criteria, true);
    v_tags int := cardinality(v_asked.categories);
    v_circles int := cardinality(v_asked.company_categories);
    v_placed boolean := v_circles > 0
        or cardinality(v_asked.functions || v_asked.departments || v_asked.companies) > 0;
begin
    -- One position has one of each: to ask for two of them is to ask for nobody.
    if coalesce(cardinality(p_criteria), 0) = 0 or cardinality(v_asked.functions) > 1
        or cardinality(v_asked.departments) > 1 or cardinality(v_asked.companies) > 1
    then
        return;
    end if;

    return query
    with placed as not materialized (
        select o.person_id
        from koppeling.position o
        where v_placed and v_circles = 0
            and (p_persons is null or o.person_id = any (p_persons))
            and (cardinality(v_asked.functions) = 0 or o.job_function_id = v_asked.functions[1])
            and (cardinality(v_asked.departments) = 0 or o.department_id = v_asked.departments[1])
            and (cardinality(v_asked.companies) = 0 or o.company_id = v_asked.companies[1])
        union all
        select o.person_id
        from koppeling.position o
        join (
            select i.company_id from koppeling.company_in_category i
            where i.company_category_id = any (v_asked.company_categories)
            group by i.company_id having count(*) >= v_circles
        ) k on k.company_id = o.company_id
        where v_circles > 0
            and (p_persons is null or o.person_id = any (p_persons))
            and (cardinality(v_asked.functions) = 0 or o.job_function_id = v_asked.functions[1])
            and (cardinality(v_asked.departments) = 0 or o.department_id = v_asked.departments[1])
            and (cardinality(v_asked.companies) = 0 or o.company_id = v_asked.companies[1])
    ), tagged as not materialized (
        select t.person_id
        from koppeling.person_category t
        where v_tags = 1 and t.category_id = v_asked.categories[1]
            and (p_persons is null or t.person_id = any (p_persons))
        union all
        select t.person_id
        from koppeling.person_category t
        where v_tags > 1 and t.category_id = any (v_asked.categories)
            and (p_persons is null or t.person_id = any (p_persons))
        group by t.person_id having count(*) >= v_tags
    )
    select m.person_id
    from (
        select t.person_id from tagged t where not v_placed
        union all
        select t.person_id from tagged t where v_placed and t.person_id in (select o.person_id from placed o)
        union all
        select distinct o.person_id from placed o where v_tags = 0
        union all
        select p.id from koppeling.person p
        where v_tags = 0 and not v_placed and (p_persons is null or p.id = any (p_persons))
    ) m
    where not exists (
            select from koppeling.person_category n
            where cardinality(v_not.categories) > 0
                and n.person_id = m.person_id and n.category_id = any (v_not.categories))
        and not exists (
            select from koppeling.position n
            where cardinality(v_not.functions || v_not.departments || v_not.companies) > 0 and n.person_id = m.person_id
                and (n.job_function_id = any (v_not.functions) or n.department_id = any (v_not.departments)
                    or n.company_id = any (v_not.companies)))
        and not exists (
            select from koppeling.position n
            join koppeling.company_in_category k on k.company_id = n.company_id
            where cardinality(v_not.company_categories) > 0
                and n.person_id = m.person_id and k.company_category_id = any (v_not.company_categories));
end $$;

-- Who matches the rules of a group, each with the first rule that does; of everybody when p_persons is null.
create function koppeling.rule_matches(p_group bigint, p_persons bigint[])
    returns table (person_id bigint, rule_id bigint)
    language sql stable
as $$
    select distinct on (m.person_id) m.person_id, r.id
    from koppeling.rule r
    cross join lateral koppeling.persons_matching(
        array(select c from koppeling.criterion c where c.rule_id = r.id), p_persons) m
    where r.target_group_id = p_group
    order by m.person_id, r.position
$$;

-- Notes whether every value the rules name is still there, and returns it.
create function koppeling.check_rules(p_group bigint) returns boolean
    language plpgsql
as $$
declare
    v_valid boolean := not exists (
        select from koppeling.rule r
        join koppeling.criterion c on c.rule_id = r.id
        where r.target_group_id = p_group
            and koppeling.value_label(c.kind, c.value_id) is null);
begin
    update koppeling.target_group set valid = v_valid where id = p_group and valid <> v_valid;
    return v_valid;
end $$;
