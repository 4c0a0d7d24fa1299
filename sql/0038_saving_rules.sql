-- Saving the rules of a group, in one piece and only over the version that the author saw.

-- Replaces the rules, given as read_rules takes them. A rule that asks for nothing matches nearly everybody and must be
-- confirmed. Returns the new version and how many memberships changed.
create function koppeling.save_rules(
    p_group bigint, p_version int, p_rules jsonb, p_confirmed boolean, p_actor text,
    out version int, out changed bigint)
    language plpgsql
as $$
declare
    v_old jsonb;
    v_new koppeling.rule_criterion[];
    v_rule record;
    v_matches bigint;
begin
    perform koppeling.lock_group(p_group);
    perform koppeling.begin_pass();
    update koppeling.target_group g set rules_version = g.rules_version + 1
    where g.id = p_group and g.rules_version = p_version
    returning g.rules_version into version;
    if version is null then
        raise exception using errcode = 'KS001',
            message = 'the rules were changed by somebody else meanwhile; nothing was saved',
            hint = 'Read them again and repeat the change.';
    end if;
    v_old := koppeling.rules_json(p_group);
    v_new := koppeling.read_rules(p_rules);

    -- A rule that keeps its place keeps its id, so that the memberships it explains need not be written again.
    insert into koppeling.rule (target_group_id, position)
    select p_group, n from generate_series(1, jsonb_array_length(p_rules)) n
    on conflict (target_group_id, position) do nothing;
    delete from koppeling.rule r where r.target_group_id = p_group and r.position > jsonb_array_length(p_rules);
    delete from koppeling.criterion c using koppeling.rule r where c.rule_id = r.id and r.target_group_id = p_group;
    insert into koppeling.criterion (rule_id, kind, value_id, negated)
    select distinct r.id, n.kind, n.value_id, n.negated
    from unnest(v_new) n
    join koppeling.rule r on r.target_group_id = p_group and r.position = n.position;

    for v_rule in
        select r.id, r.position from koppeling.rule r
        where r.target_group_id = p_group and not p_confirmed
            and exists (select from koppeling.criterion c where c.rule_id = r.id)
            and not exists (select from koppeling.criterion c where c.rule_id = r.id and not c.negated)
        order by r.position
    loop
        select count(*) into v_matches
        from koppeling.persons_matching(
            array(select c from koppeling.criterion c where c.rule_id = v_rule.id), null);
        raise exception using errcode = 'KC001',
            message = format('rule %s only excludes and so matches nearly everybody: %s persons', v_rule.position,
                v_matches),
            hint = 'Add something that a person must have, or confirm that this is meant.';
    end loop;

    insert into koppeling.audit_entry (target_group_id, kind, old, new, actor, cause)
    values (p_group, 'rules', v_old, koppeling.rules_json(p_group), p_actor, 'rules');
    changed := koppeling.refresh_memberships(p_group, null, 'rules', p_actor);
end $$;

-- A value that a rule names stays. The argument is the kind.
create function koppeling.keep_used_value() returns trigger
    language plpgsql
as $$
declare
    v_rules text;
begin
    select string_agg(distinct format('"%s" rule %s', g.name, r.position), ', ') into v_rules
    from koppeling.criterion c
    join koppeling.rule r on r.id = c.rule_id
    join koppeling.target_group g on g.id = r.target_group_id
    where c.kind = tg_argv[0] and c.value_id = old.id;
    if v_rules is not null then
        raise exception using errcode = 'restrict_violation',
            message = format('%s "%s" is used by %s', koppeling.kind_word(tg_argv[0]), old.name, v_rules),
            hint = 'Take it out of those rules first.';
    end if;
    return old;
end $$;
create trigger keep_used before delete on koppeling.category
    for each row execute function koppeling.keep_used_value('personCategory');
create trigger keep_used before delete on koppeling.job_function
    for each row execute function koppeling.keep_used_value('function');
create trigger keep_used before delete on koppeling.department
    for each row execute function koppeling.keep_used_value('department');
create trigger keep_used before delete on koppeling.company
    for each row execute function koppeling.keep_used_value('company');
create trigger keep_used before delete on koppeling.company_category
    for each row execute function koppeling.keep_used_value('companyCategory');

-- When each group was last looked at in full, and how many memberships were not what their facts amount to.
create table koppeling.group_check (
    target_group_id bigint primary key references koppeling.target_group on delete cascade,
    checked_at timestamptz not null,
    -- At the last look, and at all of them.
    defects bigint not null,
    all_defects bigint not null
);
grant select on koppeling.group_check to koppeling_reader;

-- Looks at everybody in one snapshot and holds nobody up; a difference at a person who waits for no evaluation is a
-- defect, which is mended and counted. Returns how many there were.
create function koppeling.check_group(p_group bigint) returns bigint
    language plpgsql
as $$
declare
    v_rules bigint := case when koppeling.check_rules(p_group) then p_group end;
    -- Null: everybody. A member by a rule, against whom nothing stands, is right when the match is.
    v_doubtful bigint[];
    v_persons bigint[];
begin
    if v_rules is null or koppeling.matches_are_noted(p_group) then
        v_doubtful := array(
            select m.person_id from koppeling.membership m
            where m.target_group_id = p_group
                and (m.via is distinct from 'rule' or m.override <> 'none' or not m.rule_match)
            union
            select m.person_id
            from (
                select o.person_id from koppeling.open_reasons(p_group, true, null) o
                union all
                select p.id from koppeling.person p where p.state <> 'active'
            ) barred
            join koppeling.membership m on m.target_group_id = p_group and m.person_id = barred.person_id);
    end if;
    select coalesce(array_agg(d.person_id), '{}') into v_persons
    from koppeling.membership_differences(p_group, v_rules, v_doubtful, null) d
    where not exists (select from koppeling.evaluation_request q where q.person_id = d.person_id)
        and not exists (
            select from koppeling.holder_check h
            join koppeling.suppression s on s.id = h.suppression_id
            join koppeling.email_address e on e.address_key = s.address_key
            where e.person_id = d.person_id);
    if cardinality(v_persons) > 0 then
        perform koppeling.refresh_memberships(p_group, v_persons, 'check', 'check');
    end if;
    insert into koppeling.group_check as c (target_group_id, checked_at, defects, all_defects)
    select g.id, koppeling.now(), cardinality(v_persons), cardinality(v_persons)
    from koppeling.target_group g where g.id = p_group
    on conflict (target_group_id) do update
    set checked_at = excluded.checked_at, defects = excluded.defects, all_defects = c.all_defects + excluded.defects;
    return cardinality(v_persons);
end $$;

insert into koppeling.job_kind (kind, public, description) values
    ('group.check', true, 'Looks at every group in full; what it finds to be wrong is mended and counted as a defect.')
on conflict (kind) do nothing;

-- The nightly look, unless somebody has planned it already, or otherwise.
create function koppeling.plan_group_checks() returns void
    language plpgsql
as $$
begin
    if not exists (select from koppeling.job_schedule s where s.name = 'group.check') then
        perform koppeling.put_schedule(
            'group.check', '17 3 * * *', 'group.check', key => 'check', order_key => 'check');
    end if;
end $$;
