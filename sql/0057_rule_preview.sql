-- What rules would do to a group, before they are saved.

-- The first without the second.
create function koppeling.array_without(p_these bigint[], p_those bigint[]) returns bigint[]
    language plpgsql immutable parallel safe set plan_cache_mode = force_custom_plan set work_mem = '64MB'
as $$
begin
    if p_these = '{}' or p_those = '{}' then
        return p_these;
    end if;
    -- In the list of columns, or they would be stored once more before they are joined.
    return array(
        select t.person_id from (select unnest(p_these) as person_id) t
        where not exists (select from (select unnest(p_those) as person_id) o where o.person_id = t.person_id));
end $$;

-- What these rules, given as save_rules takes them, would do to the group; nothing is written. With persons given only
-- they are looked at, which is what an estimate is made of. rules: whom each matches, and how many it makes in all.
create function koppeling.preview_rules(p_group bigint, p_rules jsonb, p_persons bigint[] default null) returns jsonb
    language plpgsql stable set plan_cache_mode = force_custom_plan set work_mem = '64MB'
as $$
declare
    v_read koppeling.rule_criterion[] := koppeling.read_rules(p_rules);
    v_rules jsonb := '[]';
    v_criteria koppeling.criterion[];
    v_asked koppeling.criteria_values;
    v_not koppeling.criteria_values;
    -- Eight bytes a person; in arrays, whose length the planner knows.
    v_matching bigint[];
    v_found bigint[] := '{}';
    v_noted bigint[];
    v_new bigint[];
    v_plain bigint[];
    v_doubtful bigint[];
begin
    for v_position in 1..jsonb_array_length(p_rules) loop
        v_criteria := array(
            select row(null, null, c.kind, c.value_id, c.negated)::koppeling.criterion
            from unnest(v_read) c where c.position = v_position);
        v_asked := koppeling.criteria_values(v_criteria, false);
        v_not := koppeling.criteria_values(v_criteria, true);
        v_matching := array(
            select h.person_id from koppeling.persons_having(v_asked, v_not, p_persons is null, p_persons) h
            where koppeling.can_match(v_criteria, v_asked));
        v_found := v_found || koppeling.array_without(v_matching, v_found);
        v_rules := v_rules || jsonb_build_object(
            'rule', v_position, 'matches', cardinality(v_matching), 'total', cardinality(v_found));
    end loop;

    -- Only who matches now and did not, or the other way round, can join or leave.
    v_noted := array(
        select m.person_id from koppeling.membership m
        where m.target_group_id = p_group and m.rule_match
            and (p_persons is null or m.person_id = any (p_persons)));
    v_new := koppeling.array_without(v_found, v_noted);
    -- Of whom nothing is known that could stand against it, joins.
    v_plain := koppeling.array_without(v_new, array(
        select m.person_id from koppeling.membership m where m.target_group_id = p_group and not m.rule_match
        union all
        select o.person_id from koppeling.open_reasons(p_group, p_persons is null, p_persons) o
        union all
        select p.id from koppeling.person p where p.state <> 'active'));
    v_doubtful := case when cardinality(v_plain) < cardinality(v_new)
        then koppeling.array_without(v_new, v_plain) else '{}' end;
    if cardinality(v_found) - cardinality(v_new) < cardinality(v_noted) then
        v_doubtful := v_doubtful || koppeling.array_without(v_noted, v_found);
    end if;

    return (
        with suppressed as (
            select o.person_id, o.reasons from koppeling.open_reasons(p_group, p_persons is null, p_persons) o
        ), looked_at as (
            select person_id, coalesce(h.status, '') = 'active' as was, coalesce(d.status, '') = 'active' as becomes
            from unnest(v_doubtful) u (person_id)
            left join (select * from koppeling.membership m where m.target_group_id = p_group) h using (person_id)
            left join suppressed o using (person_id)
            left join (select p.id as person_id, p.state from koppeling.person p where p.state <> 'active') b
                using (person_id)
            cross join lateral koppeling.derive_status(
                not coalesce(h.rule_match, false), coalesce(h.override, 'none'), coalesce(b.state, 'active'),
                coalesce(o.reasons, '{}'), coalesce(h.ever_member, false)) d
        ), moved as materialized (
            select l.person_id, case when l.becomes then 'join' else 'leave' end as change
            from looked_at l where l.was <> l.becomes
        )
        select jsonb_build_object(
            'rules', v_rules,
            'matches', cardinality(v_found),
            'joins', cardinality(v_plain) + (select count(*) from moved where change = 'join'),
            'leaves', (select count(*) from moved where change = 'leave'),
            'unsubscribed', (
                select count(*) from unnest(v_found) f (person_id) join suppressed s using (person_id)
                where s.reasons && koppeling.binding_noes()),
            'sample', coalesce((
                select jsonb_agg(jsonb_build_object(
                    'change', t.change, 'source', p.source, 'id', p.external_id,
                    'name', btrim(koppeling.first_name(p.given_name, p.initials) || ' '
                        || koppeling.last_name(p.prefixes, p.family_name))) order by t.change, p.id)
                from (
                    (select j.person_id, 'join' as change
                     from (select unnest(v_plain) as person_id
                           union all
                           select m.person_id from moved m where m.change = 'join') j
                     order by j.person_id limit 5)
                    union all
                    (select m.person_id, m.change from moved m where m.change = 'leave'
                     order by m.person_id limit 5)
                ) t
                join koppeling.person p on p.id = t.person_id), '[]'),
            'estimated', p_persons is not null));
end $$;

-- The same at a glance: some thousand persons out of chance stand for all.
create function koppeling.estimate_rules(p_group bigint, p_rules jsonb) returns jsonb
    language plpgsql
as $$
declare
    v_most bigint := (select coalesce(max(p.id), 1) from koppeling.person p);
    v_drawn bigint[] := array(
        select distinct 1 + floor(random() * v_most)::bigint from generate_series(1, least(5000, v_most * 3)));
    v_seen jsonb := koppeling.preview_rules(p_group, p_rules,
        array(select p.id from koppeling.person p where p.id = any (v_drawn)));
    v_scale float8 := v_most::float8 / cardinality(v_drawn);
begin
    return v_seen || jsonb_build_object(
        'rules', (
            select coalesce(jsonb_agg(r || jsonb_build_object(
                'matches', round((r -> 'matches')::int * v_scale),
                'total', round((r -> 'total')::int * v_scale))), '[]')
            from jsonb_array_elements(v_seen -> 'rules') r),
        'matches', round((v_seen -> 'matches')::int * v_scale), 'joins', round((v_seen -> 'joins')::int * v_scale),
        'leaves', round((v_seen -> 'leaves')::int * v_scale),
        'unsubscribed', round((v_seen -> 'unsubscribed')::int * v_scale));
end $$;
