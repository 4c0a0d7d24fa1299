-- Two records of one person, or of one company, become one: the other record stays as a pointer to the survivor. And
-- values that get another name.

-- What stands at the other record of a person goes to the survivor: the survivor's own facts stay, gaps are filled.
create function koppeling.move_person_facts(p_survivor bigint, p_other bigint) returns void
    language plpgsql set plan_cache_mode = force_custom_plan
as $$
declare
    v_address record;
    v_kind text;
    v_number int;
begin
    update koppeling.person s
    set given_name = coalesce(s.given_name, o.given_name),
        initials = coalesce(s.initials, o.initials),
        -- Prefixes belong to their family name.
        prefixes = case
            when s.family_name is null or koppeling.fold(s.family_name) = koppeling.fold(o.family_name)
            then coalesce(s.prefixes, o.prefixes) else s.prefixes end,
        family_name = coalesce(s.family_name, o.family_name),
        gender = case s.gender when 'unknown' then o.gender else s.gender end,
        changed_at = koppeling.now()
    from koppeling.person o
    where s.id = p_survivor and o.id = p_other;

    for v_address in
        select a.id, a.kind, a.address_key from koppeling.email_address a where a.person_id = p_other order by a.kind
    loop
        v_kind := v_address.kind;
        v_number := 1;
        while exists (
            select from koppeling.email_address a where a.person_id = p_survivor and a.kind = v_kind)
        loop
            v_number := v_number + 1;
            v_kind := v_address.kind || ' ' || v_number;
        end loop;
        -- A second address of a kind is kept under another one: a no that is said there is hers.
        if v_number = 1 or not exists (
            select from koppeling.email_address a
            where a.person_id = p_survivor and a.address_key = v_address.address_key)
        then
            update koppeling.email_address set person_id = p_survivor, kind = v_kind where id = v_address.id;
        end if;
    end loop;
    delete from koppeling.email_address where person_id = p_other;

    insert into koppeling.person_category (person_id, category_id)
    select p_survivor, c.category_id from koppeling.person_category c where c.person_id = p_other
    order by c.category_id
    on conflict do nothing;
    delete from koppeling.person_category where person_id = p_other;
    insert into koppeling.position (person_id, job_function_id, department_id, company_id)
    select p_survivor, o.job_function_id, o.department_id, o.company_id
    from koppeling.position o where o.person_id = p_other
    on conflict do nothing;
    delete from koppeling.position where person_id = p_other;
end $$;

-- Of two decisions of hands the stricter: exclude, then include, then none. Nobody archived is included.
create function koppeling.stricter_override(a text, b text, person_state text) returns text
    language sql immutable parallel safe
    return case
        when 'exclude' in (a, b) then 'exclude'
        when 'include' in (a, b) and person_state = 'active' then 'include'
        else 'none'
    end;

-- Whatever was said no to stays said, and a hand's decision stays made.
create function koppeling.move_consent(p_survivor bigint, p_other bigint, p_actor text) returns void
    language plpgsql set plan_cache_mode = force_custom_plan
as $$
begin
    insert into koppeling.suppression (
        target_group_id, reason, person_id, file_key, follows, source, occurred_at, detail)
    select distinct on (s.target_group_id, s.reason, s.file_key)
        s.target_group_id, s.reason, p_survivor, s.file_key, s.id, s.source, s.occurred_at, '{"because": "merge"}'
    from koppeling.open_suppression s
    where s.person_id = p_other and not exists (
        select from koppeling.open_suppression o
        where o.target_group_id = s.target_group_id and o.reason = s.reason and o.person_id = p_survivor
            and o.file_key is not distinct from s.file_key
            and koppeling.covers(o.occurred_at, s.reason, s.occurred_at))
    order by s.target_group_id, s.reason, s.file_key, s.occurred_at desc, s.id;

    with decided as (
        select
            o.target_group_id, coalesce(s.override, 'none') as old,
            koppeling.stricter_override(coalesce(s.override, 'none'), o.override, p.state) as new
        from koppeling.membership o
        join koppeling.person p on p.id = p_survivor
        left join koppeling.membership s on s.target_group_id = o.target_group_id and s.person_id = p_survivor
        where o.person_id = p_other
    )
    insert into koppeling.audit_entry (target_group_id, person_id, kind, old, new, actor, cause)
    select d.target_group_id, p_survivor, 'override', to_jsonb(d.old), to_jsonb(d.new), p_actor, 'merge'
    from decided d
    where d.old <> d.new;

    insert into koppeling.audit_entry (target_group_id, person_id, kind, new, actor, cause)
    select
        o.target_group_id, p_survivor, 'status',
        jsonb_build_object('status', o.status, 'via', o.via, 'reasons', o.reasons), p_actor, 'merge'
    from koppeling.membership o
    where o.person_id = p_other and not exists (
        select from koppeling.membership s
        where s.target_group_id = o.target_group_id and s.person_id = p_survivor);
    insert into koppeling.membership as m (
        target_group_id, person_id, matched_rule_id, rule_match, ever_member, override, overridden_by, status, via,
        reasons)
    select
        o.target_group_id, p_survivor, o.matched_rule_id, o.rule_match, o.ever_member,
        koppeling.stricter_override('none', o.override, p.state), o.overridden_by, o.status, o.via, o.reasons
    from koppeling.membership o
    join koppeling.person p on p.id = p_survivor
    where o.person_id = p_other
    order by o.target_group_id
    on conflict (target_group_id, person_id) do update set
        ever_member = m.ever_member or excluded.ever_member,
        overridden_by = case
            when koppeling.stricter_override(m.override, excluded.override, 'active') = m.override
            then m.overridden_by else excluded.overridden_by end,
        override = koppeling.stricter_override(m.override, excluded.override, 'active');
    update koppeling.membership set override = 'none', overridden_by = null
    where person_id = p_other and override <> 'none';
    perform koppeling.move_invitations(p_survivor, p_other);
end $$;

-- The survivor claims the contact that the other record did, unless she claims one of her own. Returns the contacts
-- that must be looked at.
create function koppeling.move_claim(p_group bigint, p_survivor bigint, p_other bigint) returns bigint[]
    language plpgsql
as $$
declare
    v_instance bigint := (select i.id from koppeling.connector_instance i where i.target_group_id = p_group);
    v_member bigint;
begin
    update koppeling.claim c set person_id = p_survivor
    where c.instance_id = v_instance and c.person_id = p_other and not exists (
        select from koppeling.claim s where s.instance_id = v_instance and s.person_id = p_survivor)
    returning c.member_id into v_member;
    if not found then
        delete from koppeling.claim c where c.instance_id = v_instance and c.person_id = p_other
        returning c.member_id into v_member;
    end if;
    return array_remove(array[v_member], null);
end $$;

-- Merges the other record of a person into the survivor's. Claims go over without a delete and a create; of what binds
-- either the stricter holds. A put of the other identity is the survivor's from now on. Returns the survivor's number;
-- a second time changes nothing.
create function koppeling.merge_persons(
    survivor_source text, survivor_id text, other_source text, other_id text, p_actor text default session_user)
    returns bigint
    language plpgsql security definer set search_path = koppeling, pg_temp
as $$
declare
    v_survivor bigint := koppeling.require_person(survivor_source, survivor_id);
    v_other bigint := koppeling.require_person(other_source, other_id);
    v_groups bigint[];
    v_group bigint;
    v_members bigint[];
    v_was jsonb;
begin
    if v_survivor = v_other then
        if koppeling.fold(koppeling.clean_text(survivor_source)) = koppeling.fold(koppeling.clean_text(other_source))
            and koppeling.fold(koppeling.clean_text(survivor_id)) = koppeling.fold(koppeling.clean_text(other_id))
        then
            raise exception using errcode = 'invalid_parameter_value',
                message = 'a person cannot be merged into herself', hint = 'Name two different ones.';
        end if;
        return v_survivor;
    end if;
    -- In the order of everybody who takes these: persons, requests, groups.
    perform from koppeling.person p where p.id in (v_survivor, v_other) order by p.id for no key update;
    if exists (
        select from koppeling.person p
        where p.id in (v_survivor, v_other) and (p.merged_into is not null or p.state = 'erased'))
    then
        raise exception using errcode = 'serialization_failure',
            message = 'one of the two was merged or erased meanwhile', hint = 'Look at both and try again.';
    end if;
    perform koppeling.request_evaluation(array[v_survivor, v_other], 'merge');
    v_groups := array(
        select m.target_group_id from koppeling.membership m where m.person_id in (v_survivor, v_other)
        union
        select s.target_group_id from koppeling.suppression s where s.person_id = v_other
        union
        select i.target_group_id from koppeling.claim c join koppeling.connector_instance i on i.id = c.instance_id
        where c.person_id in (v_survivor, v_other)
        order by 1);
    foreach v_group in array v_groups loop
        perform koppeling.lock_group(v_group);
    end loop;

    v_was := koppeling.person_json(v_other);
    perform koppeling.move_person_facts(v_survivor, v_other);
    perform koppeling.move_consent(v_survivor, v_other, p_actor);
    update koppeling.person set state = 'archived', merged_into = v_survivor, changed_at = koppeling.now()
    where id = v_other;
    update koppeling.person set merged_into = v_survivor where merged_into = v_other;
    insert into koppeling.audit_entry (person_id, kind, old, new, actor, cause) values
        (v_other, 'merge', v_was, jsonb_build_object('into', v_survivor), p_actor, 'merge'),
        (v_survivor, 'merge', null, jsonb_build_object('from', v_other), p_actor, 'merge');

    foreach v_group in array v_groups loop
        v_members := koppeling.move_claim(v_group, v_survivor, v_other);
        perform koppeling.derive_memberships(v_group, array[v_survivor, v_other], 'merge', p_actor);
        perform koppeling.membership_changed(v_group, array[v_survivor, v_other]);
        if cardinality(v_members) > 0 then
            perform koppeling.stage_members(i.id, v_members)
            from koppeling.connector_instance i where i.target_group_id = v_group;
        end if;
    end loop;

    update koppeling.task t set person_id = v_survivor
    where t.person_id = v_other and t.done_at is null and not exists (
        select from koppeling.task s
        where s.kind = t.kind and s.instance_id is not distinct from t.instance_id and s.person_id = v_survivor
            and s.done_at is null);
    update koppeling.task t set done_at = koppeling.now() where t.person_id = v_other and t.done_at is null;
    return v_survivor;
end $$;

-- Merges a company into the survivor: its positions, its categories and the rules that ask for it go over, and whoever
-- has a position there is evaluated. Returns the survivor's number; a second time changes nothing.
create function koppeling.merge_companies(
    survivor_source text, survivor_id text, other_source text, other_id text, p_actor text default session_user)
    returns bigint
    language plpgsql security definer set search_path = koppeling, pg_temp
as $$
declare
    v_survivor bigint := koppeling.require_company(survivor_source, survivor_id);
    v_other bigint := koppeling.require_company(other_source, other_id);
    v_group bigint;
    v_rules text;
    v_old jsonb;
begin
    if v_survivor = v_other then
        if koppeling.fold(koppeling.clean_text(survivor_source)) = koppeling.fold(koppeling.clean_text(other_source))
            and koppeling.fold(koppeling.clean_text(survivor_id)) = koppeling.fold(koppeling.clean_text(other_id))
        then
            raise exception using errcode = 'invalid_parameter_value',
                message = 'a company cannot be merged into itself', hint = 'Name two different ones.';
        end if;
        return v_survivor;
    end if;
    perform from koppeling.company c where c.id in (v_survivor, v_other) order by c.id for no key update;
    -- Waits for those who are giving a position there, and lets nobody begin.
    perform from koppeling.company c where c.id = v_other for update;
    if exists (
        select from koppeling.company c where c.id in (v_survivor, v_other) and c.merged_into is not null)
    then
        raise exception using errcode = 'serialization_failure',
            message = 'one of the two was merged meanwhile', hint = 'Look at both and try again.';
    end if;
    perform koppeling.note_value_changes('company', array[v_survivor, v_other], 'companies merged');
    for v_group in
        select distinct r.target_group_id
        from koppeling.criterion c
        join koppeling.rule r on r.id = c.rule_id
        where c.kind = 'company' and c.value_id = v_other
        order by r.target_group_id
    loop
        perform koppeling.lock_group(v_group);
    end loop;
    select string_agg(format('"%s" rule %s', g.name, r.position), ', ' order by g.name, r.position) into v_rules
    from koppeling.criterion c
    join koppeling.criterion s on s.rule_id = c.rule_id and s.kind = 'company' and s.value_id = v_survivor
    join koppeling.rule r on r.id = c.rule_id
    join koppeling.target_group g on g.id = r.target_group_id
    where c.kind = 'company' and c.value_id = v_other and s.negated <> c.negated;
    if v_rules is not null then
        raise exception using errcode = 'restrict_violation',
            message = format('one of the companies is asked for and the other excluded by %s', v_rules),
            hint = 'Take one of them out of those rules first.';
    end if;
    for v_group in
        select distinct r.target_group_id
        from koppeling.criterion c
        join koppeling.rule r on r.id = c.rule_id
        where c.kind = 'company' and c.value_id = v_other
        order by r.target_group_id
    loop
        v_old := koppeling.rules_json(v_group);
        delete from koppeling.criterion c
        using koppeling.rule r, koppeling.criterion s
        where r.id = c.rule_id and r.target_group_id = v_group and c.kind = 'company' and c.value_id = v_other
            and s.rule_id = c.rule_id and s.kind = 'company' and s.value_id = v_survivor;
        update koppeling.criterion c set value_id = v_survivor
        from koppeling.rule r
        where r.id = c.rule_id and r.target_group_id = v_group and c.kind = 'company' and c.value_id = v_other;
        update koppeling.target_group g set rules_version = g.rules_version + 1 where g.id = v_group;
        insert into koppeling.audit_entry (target_group_id, kind, old, new, actor, cause)
        values (v_group, 'rules', v_old, koppeling.rules_json(v_group), p_actor, 'companies merged');
    end loop;

    insert into koppeling.position (person_id, job_function_id, department_id, company_id)
    select o.person_id, o.job_function_id, o.department_id, v_survivor
    from koppeling.position o where o.company_id = v_other
    order by o.person_id
    on conflict do nothing;
    delete from koppeling.position where company_id = v_other;
    insert into koppeling.company_in_category (company_id, company_category_id)
    select v_survivor, i.company_category_id from koppeling.company_in_category i where i.company_id = v_other
    on conflict do nothing;
    delete from koppeling.company_in_category where company_id = v_other;
    update koppeling.company set merged_into = v_survivor, changed_at = koppeling.now()
    where id = v_other or merged_into = v_other;
    return v_survivor;
end $$;

-- Gives a value another name; nobody moves, since rules and persons refer to it by its number. A function or department
-- is also what a merge field may say: whoever has it is looked at again. Returns its number.
create function koppeling.rename_value(p_kind text, p_old text, p_new text) returns bigint
    language plpgsql security definer set search_path = koppeling, pg_temp
as $$
declare
    v_old text := koppeling.clean_text(p_old);
    v_new text := koppeling.clean_text(p_new);
    v_group bigint;
    v_parts record;
    v_value bigint;
begin
    select * into v_parts from koppeling.category_parts(v_new);
    if p_kind is null or p_kind not in ('function', 'department', 'personCategory', 'companyCategory') then
        raise exception using errcode = 'invalid_parameter_value', message = format('kind "%s" is not known', p_kind),
            hint = 'It is function, department, personCategory or companyCategory; a company is put with another name.';
    end if;
    if v_new is null or length(v_new) > 200
        or p_kind = 'personCategory' and num_nulls(v_parts.category_group, v_parts.name) > 0
    then
        raise exception using errcode = 'invalid_parameter_value', message = format('"%s" is not a name', p_new),
            hint = 'A name has 1 to 200 characters; a category of persons is written "Group / Name".';
    end if;
    if p_kind = 'function' then
        update koppeling.job_function set name = v_new where koppeling.fold(name) = koppeling.fold(v_old)
        returning id into v_value;
    elsif p_kind = 'department' then
        update koppeling.department set name = v_new where koppeling.fold(name) = koppeling.fold(v_old)
        returning id into v_value;
    elsif p_kind = 'companyCategory' then
        update koppeling.company_category set name = v_new where koppeling.fold(name) = koppeling.fold(v_old)
        returning id into v_value;
    else
        insert into koppeling.category_group (name) values (v_parts.category_group) on conflict do nothing;
        select g.id into v_group from koppeling.category_group g
        where koppeling.fold(g.name) = koppeling.fold(v_parts.category_group);
        update koppeling.category set name = v_parts.name, category_group_id = v_group
        where id = koppeling.find_category(v_old)
        returning id into v_value;
    end if;
    if v_value is null then
        raise exception using errcode = 'no_data_found', message = format('there is no %s "%s"', p_kind, p_old),
            hint = 'Values come with the persons and companies that have them.';
    end if;
    if p_kind in ('function', 'department') then
        perform koppeling.note_value_changes(p_kind, array[v_value], 'renamed');
    end if;
    return v_value;
exception when unique_violation then
    raise exception using errcode = 'restrict_violation', message = format('there is a %s "%s" already', p_kind, v_new),
        hint = 'A rename never merges two values; choose another name.';
end $$;

revoke execute on function
    koppeling.merge_persons(text, text, text, text, text), koppeling.merge_companies(text, text, text, text, text),
    koppeling.rename_value(text, text, text)
from public;
grant execute on function
    koppeling.merge_persons(text, text, text, text, text), koppeling.merge_companies(text, text, text, text, text),
    koppeling.rename_value(text, text, text)
to koppeling_writer;
