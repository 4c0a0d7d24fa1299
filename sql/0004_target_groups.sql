-- Target groups: rules over what persons have, and the memberships that follow from them.

create table koppeling.target_group (
    id bigint generated always as identity primary key,
    name text not null check (length(name) between 1 and 200),
    -- Which of a person's addresses is written to; set when the group is linked.
    email_kind text check (email_kind <> '' and email_kind = koppeling.fold(email_kind)),
    linked boolean not null default false,
    rules_version int not null default 1 check (rules_version > 0),
    -- False while a rule refers to something that is gone: then nobody joins or leaves by the rules.
    valid boolean not null default true,
    created_at timestamptz not null default koppeling.now(),
    constraint linked_has_email_kind check (not linked or email_kind is not null)
);
create unique index target_group_name on koppeling.target_group (koppeling.fold(name));

create table koppeling.rule (
    id bigint generated always as identity primary key,
    target_group_id bigint not null references koppeling.target_group on delete cascade,
    position int not null check (position > 0),
    unique (target_group_id, position)
);

create table koppeling.criterion (
    id bigint generated always as identity primary key,
    rule_id bigint not null references koppeling.rule on delete cascade,
    kind text not null
        check (kind in ('function', 'department', 'company', 'personCategory', 'companyCategory')),
    value_id bigint not null,
    negated boolean not null default false,
    unique (rule_id, kind, value_id)
);
create index criterion_by_value on koppeling.criterion (kind, value_id);

-- A person in a group. The facts are rule_match, override and ever_member; status, via and reasons are derived from
-- them. Nobody who was ever active loses the row: it is the tombstone.
create table koppeling.membership (
    target_group_id bigint not null references koppeling.target_group,
    person_id bigint not null,
    matched_rule_id bigint,
    changed_at timestamptz not null default koppeling.now(),
    rule_match boolean not null default false,
    ever_member boolean not null default false,
    override text not null default 'none' check (override in ('none', 'include', 'exclude')),
    overridden_by text,
    status text not null check (status in ('active', 'inactive')),
    via text check (via in ('manual', 'rule')),
    reasons text[] not null default '{}',
    primary key (target_group_id, person_id),
    constraint active_says_how check ((status = 'active') = (via is not null)),
    constraint inactive_says_why check ((status = 'inactive') = (cardinality(reasons) > 0)),
    constraint active_was_member check (status <> 'active' or ever_member)
);
create index membership_by_person on koppeling.membership (person_id);
create index membership_by_status on koppeling.membership (target_group_id, status, person_id);
-- All but the many who are members just because a rule matches.
create index membership_not_plain on koppeling.membership (target_group_id, person_id)
    where via is distinct from 'rule' or override <> 'none' or not rule_match;

create table koppeling.audit_entry (
    id bigint generated always as identity primary key,
    at timestamptz not null default koppeling.now(),
    target_group_id bigint,
    person_id bigint,
    kind text not null,
    old jsonb,
    new jsonb,
    facts jsonb,
    actor text not null,
    cause text not null
);
create index audit_entry_by_person on koppeling.audit_entry (person_id, target_group_id, id);
create index audit_entry_by_group on koppeling.audit_entry (target_group_id, id);

-- One writer per group: whoever changes its memberships or its ledger takes this first, several groups by rising id.
create function koppeling.lock_group(p_group bigint) returns void
    language sql volatile
    begin atomic
        select pg_advisory_xact_lock(hashtextextended('koppeling.target_group.' || p_group, 0));
    end;

-- Says, until the transaction ends, that a group is passed in full: rules, or what follows from them, are on their way
-- that an evaluation of single persons cannot see yet.
create function koppeling.begin_pass() returns void
    language sql volatile
    begin atomic
        select pg_advisory_xact_lock_shared(hashtextextended('koppeling.pass', 0));
    end;

-- Whether any group is passed in full just now.
create function koppeling.is_passing() returns boolean
    language plpgsql volatile
as $$
begin
    if pg_try_advisory_lock(hashtextextended('koppeling.pass', 0)) then
        perform pg_advisory_unlock(hashtextextended('koppeling.pass', 0));
        return false;
    end if;
    return true;
end $$;

-- What the memberships of these persons mean for others is somebody else's business, who replaces this function.
-- By hand: somebody decided about these very persons, and not about many by a rule or an import.
create function koppeling.membership_changed(p_group bigint, p_persons bigint[], p_by_hand boolean default false)
    returns void
    language plpgsql
as $$
begin
    return;
end $$;

-- The status of a membership as a pure function of its facts. A null status: there is none.
create function koppeling.derive_status(
    rule_match boolean, override text, person_state text, open_reasons text[], ever_member boolean)
    returns table (status text, via text, reasons text[])
    language sql immutable parallel safe
as $$
    select
        case
            when cardinality(b.blockers) = 0 and w.wanted then 'active'
            when ever_member or w.wanted or override = 'exclude' then 'inactive'
        end,
        case when cardinality(b.blockers) = 0 and w.wanted then
            case override when 'include' then 'manual' else 'rule' end
        end,
        case
            when cardinality(b.blockers) > 0 and (ever_member or w.wanted or override = 'exclude') then b.blockers
            when ever_member and not w.wanted then array['ruleNoLongerMatches']
            else array[]::text[]
        end
    from
        (select override = 'include' or (override = 'none' and rule_match) as wanted) w,
        (select array_remove(array[
            case person_state when 'erased' then 'erased' when 'archived' then 'archived' end,
            case when 'complained' = any (open_reasons) then 'complained' end,
            case when 'unsubscribed' = any (open_reasons) then 'unsubscribed' end,
            case when 'cleaned' = any (open_reasons) then 'cleaned' end,
            case when 'forgotten' = any (open_reasons) then 'forgotten' end,
            case when 'removedInMailchimp' = any (open_reasons) then 'removedInMailchimp' end,
            case when override = 'exclude' then 'manual' end], null) as blockers) b
$$;

-- Evaluates the rules, derives the memberships of these persons (null: of everybody) and writes what differs.
-- Returns the persons whose status, via or reasons changed. p_override is a hand's decision on p_persons.
create function koppeling.derive_memberships(
    p_group bigint, p_persons bigint[], p_cause text, p_actor text, p_override text default null) returns bigint[]
    language plpgsql set plan_cache_mode = force_generic_plan
as $$
declare
    v_rules bigint;
    v_changed bigint[];
begin
    perform koppeling.lock_group(p_group);
    -- For whoever is told next what these memberships mean.
    perform set_config('koppeling.cause', p_cause, true);
    if p_persons is null then
        perform koppeling.begin_pass();
    end if;
    v_rules := case when koppeling.check_rules(p_group) then p_group end;
    with differing as (
        select * from koppeling.membership_differences(p_group, v_rules, p_persons, p_override)
    ), gone as (
        -- By their numbers: joined with the whole group, of which the planner may know nothing yet, it is quadratic.
        delete from koppeling.membership m
        where m.target_group_id = p_group
            and m.person_id = any (array(select d.person_id from differing d where d.status is null))
    ), written as (
        insert into koppeling.membership as m (
            target_group_id, person_id, matched_rule_id, rule_match, ever_member, override, overridden_by,
            status, via, reasons)
        select
            p_group, d.person_id, d.rule_id, d.rule_match, d.ever_member or d.status = 'active', d.override,
            case when p_override in ('include', 'exclude') then p_actor end, d.status, d.via, d.reasons
        from differing d
        where d.status is not null
        on conflict (target_group_id, person_id) do update set
            matched_rule_id = excluded.matched_rule_id,
            rule_match = excluded.rule_match,
            ever_member = m.ever_member or excluded.ever_member,
            override = case when p_override is null then m.override else excluded.override end,
            overridden_by = case when p_override is null then m.overridden_by else excluded.overridden_by end,
            status = excluded.status,
            via = excluded.via,
            reasons = excluded.reasons,
            changed_at = case
                when (m.status, m.via, m.reasons) is distinct from (excluded.status, excluded.via, excluded.reasons)
                then excluded.changed_at
                else m.changed_at
            end
    ), audited as (
        insert into koppeling.audit_entry (target_group_id, person_id, kind, old, new, facts, actor, cause)
        select
            p_group, d.person_id, 'status',
            case when d.old_status is not null then
                jsonb_build_object('status', d.old_status, 'via', d.old_via, 'reasons', d.old_reasons) end,
            case when d.status is not null then
                jsonb_build_object('status', d.status, 'via', d.via, 'reasons', d.reasons) end,
            jsonb_build_object(
                'rule_match', d.rule_match, 'rule', d.rule_id, 'override', d.override, 'person', d.state,
                'suppressions', coalesce(d.open_reasons, '{}'), 'ever_member', d.ever_member),
            p_actor, p_cause
        from differing d
        where d.changed
    )
    select array_agg(d.person_id) into v_changed from differing d where d.changed;
    return coalesce(v_changed, '{}');
end $$;

-- The same, and lets the connector know; returns how many changed.
create function koppeling.refresh_memberships(p_group bigint, p_persons bigint[], p_cause text, p_actor text)
    returns bigint
    language plpgsql
as $$
declare
    v_changed bigint[] := koppeling.derive_memberships(p_group, p_persons, p_cause, p_actor);
begin
    if cardinality(v_changed) > 0 then
        perform koppeling.membership_changed(p_group, v_changed);
    end if;
    return cardinality(v_changed);
end $$;

-- A hand's decision: add (include), remove (exclude), or leave it to the rules (none). Never lifts a suppression.
-- Of who was merged it holds for the survivor.
create function koppeling.set_override(p_group bigint, p_person bigint, p_override text, p_actor text) returns void
    language plpgsql
as $$
declare
    v_person bigint := koppeling.lock_person(p_person);
    v_old text;
begin
    if p_override is null or p_override not in ('none', 'include', 'exclude') then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('override "%s" is not known', p_override), hint = 'It is none, include or exclude.';
    end if;
    if not exists (select from koppeling.person p where p.id = v_person)
        or not exists (select from koppeling.target_group g where g.id = p_group)
    then
        raise exception using errcode = 'no_data_found',
            message = format('there is no person %s or no target group %s', p_person, p_group);
    end if;
    perform koppeling.lock_group(p_group);
    v_old := coalesce((
        select m.override from koppeling.membership m
        where m.target_group_id = p_group and m.person_id = v_person), 'none');
    if v_old = p_override then
        return;
    end if;
    insert into koppeling.audit_entry (target_group_id, person_id, kind, old, new, actor, cause)
    values (p_group, v_person, 'override', to_jsonb(v_old), to_jsonb(p_override), p_actor, 'by hand');
    perform koppeling.derive_memberships(p_group, array[v_person], 'by hand', p_actor, p_override);
    perform koppeling.membership_changed(p_group, array[v_person], true);
end $$;
