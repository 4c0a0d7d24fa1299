-- Saving the rules of a group, in one piece and only over the version that the author saw.

-- Rules are lists of criteria: [[{"value": "Mailingen / Nieuwsbrief", "negated": false}, ...], ...]. A rule that asks
-- for nothing matches nearly everybody and must be confirmed. Returns the new version and how many memberships changed.
create function koppeling.save_rules(
    p_group bigint, p_version int, p_rules jsonb, p_confirmed boolean, p_actor text,
    out version int, out changed bigint)
    language plpgsql
as $$
declare
    v_old jsonb;
    v_unknown text;
    v_rule record;
    v_matches bigint;
begin
    perform koppeling.lock_group(p_group);
    update koppeling.target_group g set rules_version = g.rules_version + 1
    where g.id = p_group and g.rules_version = p_version
    returning g.rules_version into version;
    if version is null then
        raise exception using errcode = 'KS001',
            message = 'the rules were changed by somebody else meanwhile; nothing was saved',
            hint = 'Read them again and repeat the change.';
    end if;
    v_old := koppeling.rules_json(p_group);

    select c.criterion ->> 'value' into v_unknown
    from jsonb_array_elements(p_rules) r (criteria)
    cross join jsonb_array_elements(r.criteria) c (criterion)
    where koppeling.find_category(c.criterion ->> 'value') is null
    limit 1;
    if found then
        raise exception using errcode = 'no_data_found', message = format('there is no category "%s"', v_unknown),
            hint = 'Categories are written "Group / Name" and come with the persons who have them.';
    end if;

    -- A rule that keeps its place keeps its id, so that the memberships it explains need not be written again.
    insert into koppeling.rule (target_group_id, position)
    select p_group, n from generate_series(1, jsonb_array_length(p_rules)) n
    on conflict (target_group_id, position) do nothing;
    delete from koppeling.rule r where r.target_group_id = p_group and r.position > jsonb_array_length(p_rules);
    delete from koppeling.criterion c using koppeling.rule r where c.rule_id = r.id and r.target_group_id = p_group;
    insert into koppeling.criterion (rule_id, kind, value_id, negated)
    select distinct
        r.id, 'personCategory', koppeling.find_category(c.criterion ->> 'value'),
        coalesce((c.criterion ->> 'negated')::boolean, false)
    from jsonb_array_elements(p_rules) with ordinality as d (criteria, position)
    join koppeling.rule r on r.target_group_id = p_group and r.position = d.position
    cross join jsonb_array_elements(d.criteria) c (criterion);

    for v_rule in
        select r.id, r.position from koppeling.rule r
        where r.target_group_id = p_group and not p_confirmed
            and exists (select from koppeling.criterion c where c.rule_id = r.id)
            and not exists (select from koppeling.criterion c where c.rule_id = r.id and not c.negated)
        order by r.position
    loop
        select count(*) into v_matches from koppeling.rule_matches(p_group, null) m where m.rule_id = v_rule.id;
        raise exception using errcode = 'KC001',
            message = format('rule %s only excludes and so matches nearly everybody: %s persons', v_rule.position, v_matches),
            hint = 'Add something that a person must have, or confirm that this is meant.';
    end loop;

    insert into koppeling.audit_entry (target_group_id, kind, old, new, actor, cause)
    values (p_group, 'rules', v_old, koppeling.rules_json(p_group), p_actor, 'rules');
    changed := koppeling.refresh_memberships(p_group, null, 'rules', p_actor);
end $$;

-- The category of this label, "Group / Name", compared without case; null when there is none.
create function koppeling.find_category(label text) returns bigint
    language sql stable parallel safe
    return (
        select k.id
        from koppeling.category_parts(label) p
        join koppeling.category_group g on koppeling.fold(g.name) = koppeling.fold(p.category_group)
        join koppeling.category k on k.category_group_id = g.id and koppeling.fold(k.name) = koppeling.fold(p.name));

-- The rules of a group in the form that save_rules takes; a value that is gone is null.
create function koppeling.rules_json(p_group bigint) returns jsonb
    language sql stable
    return (
        select coalesce(jsonb_agg(r.criteria order by r.position), '[]')
        from (
            select r.position, coalesce(
                jsonb_agg(
                    jsonb_build_object('kind', c.kind, 'value', g.name || ' / ' || k.name, 'negated', c.negated)
                    order by c.negated, g.name, k.name, c.id) filter (where c.id is not null), '[]') as criteria
            from koppeling.rule r
            left join koppeling.criterion c on c.rule_id = r.id
            left join koppeling.category k on c.kind = 'personCategory' and k.id = c.value_id
            left join koppeling.category_group g on g.id = k.category_group_id
            where r.target_group_id = p_group
            group by r.id
        ) r);

-- A category that a rule asks for stays.
create function koppeling.keep_used_category() returns trigger
    language plpgsql
as $$
declare
    v_groups text;
begin
    select string_agg(distinct format('"%s" rule %s', g.name, r.position), ', ') into v_groups
    from koppeling.criterion c
    join koppeling.rule r on r.id = c.rule_id
    join koppeling.target_group g on g.id = r.target_group_id
    where c.kind = 'personCategory' and c.value_id = old.id;
    if v_groups is not null then
        raise exception using errcode = 'restrict_violation',
            message = format('category "%s" is used by %s', old.name, v_groups),
            hint = 'Take it out of those rules first.';
    end if;
    return old;
end $$;
create trigger keep_used before delete on koppeling.category
    for each row execute function koppeling.keep_used_category();
