-- Rules: who has what they ask for. Each rule is one statement, planned with its values, so that a rule costs about
-- what somebody would have written by hand for it.

-- The values that the criteria of a rule ask for, or, negated, ask not to be there; and how many categories, categories
-- of companies, and things of a position itself these are.
create type koppeling.criteria_values as (
    categories bigint[], functions bigint[], departments bigint[], companies bigint[], company_categories bigint[],
    tags int, circles int, seats int, placed boolean
);

create function koppeling.criteria_values(p_criteria koppeling.criterion[], p_negated boolean)
    returns koppeling.criteria_values
    language plpgsql stable parallel safe set plan_cache_mode = force_generic_plan
as $$
begin
    return (
        select row(
            v.categories, v.functions, v.departments, v.companies, v.company_categories,
            cardinality(v.categories), cardinality(v.company_categories), n.seats,
            n.seats + cardinality(v.company_categories) > 0)::koppeling.criteria_values
        from (
            select
                coalesce(array_agg(distinct c.value_id) filter (where c.kind = 'personCategory'), '{}') as categories,
                coalesce(array_agg(distinct c.value_id) filter (where c.kind = 'function'), '{}') as functions,
                coalesce(array_agg(distinct c.value_id) filter (where c.kind = 'department'), '{}') as departments,
                coalesce(array_agg(distinct coalesce(o.merged_into, c.value_id)) filter (where c.kind = 'company'),
                    '{}') as companies,
                coalesce(array_agg(distinct c.value_id) filter (where c.kind = 'companyCategory'),
                    '{}') as company_categories
            from unnest(p_criteria) c
            left join koppeling.company o on c.kind = 'company' and o.id = c.value_id
            where c.negated = p_negated
        ) v
        cross join lateral (select cardinality(v.functions || v.departments || v.companies) as seats) n);
end $$;

-- Who has all that is asked for and nothing that must not be there; of everybody when p_all is true, and else of
-- p_persons. To be called with variables: then it becomes part of that statement, and where this is planned anew each
-- time, what is not asked for falls away. p_all is by itself for statements whose plan is kept: with "false" written
-- there, persons are looked up. What is asked of a function, a department, a company and its categories holds at one and
-- the same position; what must not be there is at none, and is one list, because each of several would be joined, empty
-- ones too. Counts are compared by >=, and cannot be more: of an = the planner believes that hardly anybody passes.
create function koppeling.persons_having(
    p_asked koppeling.criteria_values, p_not koppeling.criteria_values, p_all boolean,
    p_persons bigint[])
    returns table (person_id bigint)
    language sql stable parallel safe
as $$
    with placed as not materialized (
        select o.person_id
        from koppeling.position o
        where p_asked.placed and p_asked.circles = 0
            and (p_all or o.person_id = any (p_persons))
            and (cardinality(p_asked.functions) = 0 or o.job_function_id = p_asked.functions[1])
            and (cardinality(p_asked.departments) = 0 or o.department_id = p_asked.departments[1])
            and (cardinality(p_asked.companies) = 0 or o.company_id = p_asked.companies[1])
        union all
        select o.person_id
        from koppeling.position o
        join (
            select i.company_id from koppeling.company_in_category i
            where i.company_category_id = any (p_asked.company_categories)
            group by i.company_id having count(*) >= p_asked.circles
        ) k on k.company_id = o.company_id
        where p_asked.circles > 0
            and (p_all or o.person_id = any (p_persons))
            and (cardinality(p_asked.functions) = 0 or o.job_function_id = p_asked.functions[1])
            and (cardinality(p_asked.departments) = 0 or o.department_id = p_asked.departments[1])
            and (cardinality(p_asked.companies) = 0 or o.company_id = p_asked.companies[1])
    ), tagged as not materialized (
        select t.person_id
        from koppeling.person_category t
        where p_asked.tags = 1 and t.category_id = p_asked.categories[1]
            and (p_all or t.person_id = any (p_persons))
        union all
        select t.person_id
        from koppeling.person_category t
        where p_asked.tags > 1 and t.category_id = any (p_asked.categories)
            and (p_all or t.person_id = any (p_persons))
        group by t.person_id having count(*) >= p_asked.tags
    )
    select m.person_id
    from (
        select t.person_id from tagged t where not p_asked.placed
        union all
        select t.person_id from tagged t where p_asked.placed and t.person_id in (select o.person_id from placed o)
        union all
        select distinct o.person_id from placed o where p_asked.tags = 0
        union all
        select p.id from koppeling.person p
        where p_asked.tags = 0 and not p_asked.placed and (p_all or p.id = any (p_persons))
    ) m
    where not exists (
        select from (
            select n.person_id
            from koppeling.person_category n
            where p_not.tags > 0 and n.category_id = any (p_not.categories)
                and (p_all or n.person_id = any (p_persons))
            union all
            select n.person_id
            from koppeling.position n
            where p_not.seats > 0
                and (n.job_function_id = any (p_not.functions) or n.department_id = any (p_not.departments)
                    or n.company_id = any (p_not.companies))
                and (p_all or n.person_id = any (p_persons))
            union all
            select n.person_id
            from koppeling.position n
            join koppeling.company_in_category k on k.company_id = n.company_id
            where p_not.circles > 0 and k.company_category_id = any (p_not.company_categories)
                and (p_all or n.person_id = any (p_persons))
        ) n
        where n.person_id = m.person_id)
$$;

-- Whether anybody can have what is asked for: something is, and one position has one of each.
create function koppeling.can_match(p_criteria koppeling.criterion[], p_asked koppeling.criteria_values)
    returns boolean
    language sql immutable parallel safe
as $$
    select coalesce(cardinality(p_criteria), 0) > 0 and cardinality(p_asked.functions) <= 1
        and cardinality(p_asked.departments) <= 1 and cardinality(p_asked.companies) <= 1
$$;

-- Whether these persons are so few that looking each up by a plan that is kept costs less than planning anew. Null,
-- which stands for everybody, is not.
create function koppeling.are_few(p_persons bigint[]) returns boolean
    language sql immutable parallel safe
    return coalesce(cardinality(p_persons) <= 100, false);

-- Who of a few persons has all that is asked for and nothing that must not be there.
create function koppeling.few_having(
    p_asked koppeling.criteria_values, p_not koppeling.criteria_values, p_persons bigint[])
    returns table (person_id bigint)
    language plpgsql stable parallel safe set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
    return query select h.person_id from koppeling.persons_having(p_asked, p_not, false, p_persons) h;
end $$;

-- Who has all that these criteria, of one rule, ask for; of everybody when p_persons is null. No criteria: nobody.
create function koppeling.persons_matching(p_criteria koppeling.criterion[], p_persons bigint[])
    returns table (person_id bigint)
    language plpgsql stable parallel safe set plan_cache_mode = force_custom_plan set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
    v_asked koppeling.criteria_values := koppeling.criteria_values(p_criteria, false);
    v_not koppeling.criteria_values := koppeling.criteria_values(p_criteria, true);
begin
    if not koppeling.can_match(p_criteria, v_asked) then
        return;
    elsif koppeling.are_few(p_persons) then
        return query select person_id from koppeling.few_having(v_asked, v_not, p_persons);
    else
        return query select person_id from koppeling.persons_having(v_asked, v_not, p_persons is null, p_persons);
    end if;
end $$;

-- Who matches the rules of a group, each with the first rule that does; of everybody when p_persons is null.
create function koppeling.rule_matches(p_group bigint, p_persons bigint[])
    returns table (person_id bigint, rule_id bigint)
    language sql stable parallel safe
as $$
    select distinct on (m.person_id) m.person_id, r.id
    from koppeling.rule r
    cross join lateral koppeling.persons_matching(
        array(select c from koppeling.criterion c where c.rule_id = r.id), p_persons) m
    where r.target_group_id = p_group
    order by m.person_id, r.position
$$;

-- Whether whom the rules match is who is noted to match, and by the same rule: told by how many they are and a sum of
-- hashes, so that nobody need be compared with anybody.
create function koppeling.matches_are_noted(p_group bigint) returns boolean
    language plpgsql stable set plan_cache_mode = force_custom_plan set work_mem = '64MB'
as $$
declare
    v_rules bigint[] := array(select r.id from koppeling.rule r where r.target_group_id = p_group);
    -- A rule that is alone becomes part of the statement.
    v_only bigint := case when cardinality(v_rules) = 1 then v_rules[1] end;
    v_criteria koppeling.criterion[] := array(select c from koppeling.criterion c where c.rule_id = v_only);
    v_asked koppeling.criteria_values := koppeling.criteria_values(v_criteria, false);
    v_not koppeling.criteria_values := koppeling.criteria_values(v_criteria, true);
begin
    return (
        select (m.number, m.hashes) is not distinct from (n.number, n.hashes)
        from (
            select count(*) as number, sum(hashint8extended(a.person_id, a.rule_id)) as hashes
            from (
                select h.person_id, v_only as rule_id from koppeling.persons_having(v_asked, v_not, true, null) h
                where v_only is not null and koppeling.can_match(v_criteria, v_asked)
                union all
                select r.person_id, r.rule_id from koppeling.rule_matches(p_group, null) r where v_only is null
            ) a
        ) m
        cross join (
            select count(*) as number, sum(hashint8extended(s.person_id, s.matched_rule_id)) as hashes
            from koppeling.membership s
            where s.target_group_id = p_group and s.rule_match
        ) n);
end $$;

-- Notes whether every value the rules name is still there, and returns it.
create function koppeling.check_rules(p_group bigint) returns boolean
    language plpgsql set plan_cache_mode = force_generic_plan
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
