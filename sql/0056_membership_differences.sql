-- What differs between memberships and what their facts amount to: of everybody, or of persons named.

create type koppeling.membership_difference as (
    person_id bigint, state text, open_reasons text[], old_status text, old_via text, old_reasons text[],
    rule_match boolean, rule_id bigint, override text, ever_member boolean, status text, via text, reasons text[],
    changed boolean
);

-- What differs between the memberships of these persons, or of everybody when p_all is true, and what their facts
-- amount to, all from one snapshot; changed: in status, via or reasons. p_rules is the group, or null: as the rules
-- found last time. p_all is by itself for statements whose plan is kept: with "false" written there, persons are looked
-- up. In SQL without settings, so that it becomes part of its caller's statement.
create function koppeling.differences_among(
    p_group bigint, p_rules bigint, p_all boolean, p_persons bigint[], p_override text)
    returns setof koppeling.membership_difference
    language sql stable
as $$
    with matched as (
        select * from koppeling.rule_matches(p_rules, p_persons)
    ), held as (
        select m.* from koppeling.membership m
        where m.target_group_id = p_group and (p_all or m.person_id = any (p_persons))
    ), chosen as (
        select unnest(p_persons) as person_id where p_override is not null
    ), barred as (
        -- Hardly anybody: the rest of the persons are active, and are not read.
        select p.id as person_id, p.state from koppeling.person p
        where p.state <> 'active' and (p_all or p.id = any (p_persons))
    ), facts as (
        select
            person_id, coalesce(b.state, 'active') as state, o.reasons as open_reasons,
            h.status as old_status, h.via as old_via, h.reasons as old_reasons,
            h.rule_match as old_match, h.matched_rule_id as old_rule, h.override as old_override,
            coalesce(case when p_rules is null then h.rule_match else m.rule_id is not null end, false) as rule_match,
            case when p_rules is null then h.matched_rule_id else m.rule_id end as rule_id,
            coalesce(p_override, h.override, 'none') as override,
            coalesce(h.ever_member, false) as ever_member
        from held h full join matched m using (person_id) full join chosen using (person_id)
        left join barred b using (person_id)
        left join koppeling.open_reasons(p_group, p_all, p_persons) o using (person_id)
        -- Most are members by the same rule as before, and nothing stands against it: they stay so.
        where p_override is not null
            or (h.via, h.override, h.matched_rule_id) is distinct from
                ('rule', 'none', case when p_rules is null then h.matched_rule_id else m.rule_id end)
            or not h.rule_match or num_nonnulls(b.state, o.reasons) > 0
    )
    select
        f.person_id, f.state, f.open_reasons, f.old_status, f.old_via, f.old_reasons, f.rule_match, f.rule_id,
        f.override, f.ever_member, d.status, d.via, d.reasons,
        (d.status, d.via, coalesce(d.reasons, '{}')) is distinct from
            (f.old_status, f.old_via, coalesce(f.old_reasons, '{}'))
    from facts f
    cross join lateral koppeling.derive_status(
        f.rule_match, f.override, f.state, coalesce(f.open_reasons, '{}'), f.ever_member) d
    where (d.status, d.via, coalesce(d.reasons, '{}'), f.override, f.rule_match, f.rule_id) is distinct from
        (f.old_status, f.old_via, coalesce(f.old_reasons, '{}'), coalesce(f.old_override, 'none'),
            coalesce(f.old_match, false), f.old_rule)
$$;

-- The same of a few persons.
create function koppeling.differences_among_few(
    p_group bigint, p_rules bigint, p_persons bigint[], p_override text)
    returns setof koppeling.membership_difference
    language plpgsql stable set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
begin
    return query select * from koppeling.differences_among(p_group, p_rules, false, p_persons, p_override);
end $$;

-- The same of few or many; of everybody when p_persons is null.
create function koppeling.membership_differences(
    p_group bigint, p_rules bigint, p_persons bigint[], p_override text)
    returns setof koppeling.membership_difference
    language plpgsql stable set plan_cache_mode = force_custom_plan set work_mem = '64MB'
as $$
begin
    if koppeling.are_few(p_persons) then
        return query select * from koppeling.differences_among_few(p_group, p_rules, p_persons, p_override);
    else
        return query
        select * from koppeling.differences_among(p_group, p_rules, p_persons is null, p_persons, p_override);
    end if;
end $$;
