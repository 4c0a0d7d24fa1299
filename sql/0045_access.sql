-- Why a person is, or is not, on a list, now or at any moment that the audit reaches; and all that is held on a person.

-- What a rule asks for, in words.
create function koppeling.rule_text(p_rule bigint) returns text
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
begin
    return (
        select string_agg(case when c.negated then 'not ' else '' end || koppeling.value_label(c.kind, c.value_id),
            ', ' order by c.negated, c.id)
        from koppeling.criterion c
        where c.rule_id = p_rule);
end $$;

-- The entries of a group's ledger that stand at a person, at an address she holds, or at a contact she claims, and that
-- were open at a moment.
create function koppeling.binding_entries(p_group bigint, p_person bigint, p_at timestamptz)
    returns setof koppeling.suppression
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select s.*
    from koppeling.suppression s
    where s.target_group_id = p_group and s.recorded_at <= p_at
        and s.id in (
            select o.id from koppeling.suppression o where o.person_id = p_person
            union all
            select o.id from koppeling.email_address e
            join koppeling.suppression o on o.address_key = e.address_key
            where e.person_id = p_person
            union all
            select o.id from koppeling.claim c
            join koppeling.audience_member m on m.id = c.member_id
            join koppeling.suppression o on o.target_group_id = p_group and o.contact_id = m.contact_id
            where c.person_id = p_person)
        and not exists (
            select from koppeling.suppression_lift l where l.suppression_id = s.id and l.lifted_at <= p_at);
end;

-- The facts of a membership, the ledger that binds the person, and the last changes: now, or as they were at a moment.
create function koppeling.explain_membership(p_group bigint, p_person bigint, p_at timestamptz default null)
    returns jsonb
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
declare
    v_at timestamptz := coalesce(p_at, 'infinity');
    v_facts jsonb;
begin
    if p_at is null then
        select jsonb_build_object(
            'status', m.status, 'via', m.via, 'reasons', m.reasons, 'rule_match', m.rule_match,
            'rule', m.matched_rule_id, 'override', m.override, 'ever_member', m.ever_member)
        into v_facts
        from koppeling.membership m
        where m.target_group_id = p_group and m.person_id = p_person;
    else
        -- A hand's decision that changed no status has an entry of its own.
        select coalesce(a.new, '{}') || a.facts || jsonb_build_object('override', coalesce((
                select o.new from koppeling.audit_entry o
                where o.person_id = p_person and o.target_group_id = p_group and o.kind = 'override' and o.at <= p_at
                order by o.id desc limit 1), '"none"'))
        into v_facts
        from koppeling.audit_entry a
        where a.person_id = p_person and a.target_group_id = p_group and a.kind = 'status' and a.at <= p_at
        order by a.id desc
        limit 1;
    end if;
    return jsonb_build_object(
        'at', case when p_at is not null then koppeling.iso8601(p_at) end,
        'status', v_facts -> 'status', 'via', v_facts -> 'via',
        'reasons', coalesce(nullif(v_facts -> 'reasons', 'null'), '[]'),
        'rule_match', coalesce((v_facts -> 'rule_match')::boolean, false),
        'matched_rule', (select r.position from koppeling.rule r where r.id = (v_facts ->> 'rule')::bigint),
        'rule_text', koppeling.rule_text((v_facts ->> 'rule')::bigint),
        'override', coalesce(v_facts ->> 'override', 'none'),
        'ever_member', coalesce((v_facts -> 'ever_member')::boolean or v_facts ->> 'status' = 'active', false),
        'is_pending', p_at is null and exists (
            select from koppeling.evaluation_request q where q.person_id = p_person
            union all
            select from koppeling.erasure_check q where q.person_id = p_person),
        'suppressions', coalesce((
            select jsonb_agg(jsonb_build_object(
                'reason', s.reason, 'source', s.source, 'occurred_at', koppeling.iso8601(s.occurred_at),
                'actor', s.detail ->> 'actor',
                'stands_at', case when s.person_id is not null then 'person'
                                  when s.contact_id is not null then 'contact' else 'address' end)
                order by s.id)
            from koppeling.binding_entries(p_group, p_person, v_at) s), '[]'),
        'changes', coalesce((
            select jsonb_agg(jsonb_build_object(
                'at', koppeling.iso8601(a.at), 'kind', a.kind, 'old', a.old, 'new', a.new,
                'actor', a.actor, 'cause', a.cause) order by a.id desc)
            from (
                select * from koppeling.audit_entry a
                where a.person_id = p_person and (a.target_group_id = p_group or a.target_group_id is null)
                    and a.at <= v_at
                order by a.id desc limit 20
            ) a), '[]'));
end $$;

-- What a linked group's list has of a person: the contact as it is known, what holds it back, the last actions, and the
-- last hooks. Null when the group is linked to no list.
create function koppeling.explain_delivery(p_group bigint, p_person bigint, p_at timestamptz default null)
    returns jsonb
    language plpgsql stable set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_at timestamptz := coalesce(p_at, 'infinity');
    v_instance koppeling.connector_instance;
    v_account koppeling.mailchimp_account;
    v_group koppeling.target_group;
    v_address koppeling.email_address;
    v_member koppeling.audience_member;
    v_is_claimed boolean;
begin
    select * into v_group from koppeling.target_group where id = p_group;
    select * into v_instance from koppeling.connector_instance where target_group_id = p_group;
    if not found then
        return null;
    end if;
    select * into v_account from koppeling.mailchimp_account where id = v_instance.account_id;
    select * into v_address from koppeling.email_address where person_id = p_person and kind = v_group.email_kind;
    select m.* into v_member
    from koppeling.claim c
    join koppeling.audience_member m on m.id = c.member_id
    where c.instance_id = v_instance.id and c.person_id = p_person;
    v_is_claimed := found;
    if not v_is_claimed then
        select * into v_member from koppeling.audience_member
        where instance_id = v_instance.id and address_key = v_address.address_key;
    end if;
    return jsonb_build_object(
        'instance', v_instance.name, 'is_enabled', v_instance.enabled, 'paused_reason', v_instance.paused_reason,
        'off_because', koppeling.deployment_fault(),
        'account', v_account.name, 'is_authenticated', v_account.authenticated,
        'is_held_out', v_address.id is not null and not koppeling.address_allowed(v_address.address_key),
        'is_dry_run', v_instance.dry_run,
        'is_activated', v_instance.activated, 'last_pull_at', koppeling.iso8601(v_instance.last_pull_at),
        'invitation', (
            select koppeling.invitation_json(v.id) from koppeling.invitation v
            where v.person_id = p_person and v.instance_id = v_instance.id and v.requested_at <= v_at
            order by v.id desc limit 1),
        'email_kind', v_group.email_kind, 'address', v_address.address, 'is_claimed', v_is_claimed,
        'plan', (
            select jsonb_build_object(
                'plan', p.id, 'change', l.change, 'reason', l.reason, 'held_because', p.held_because)
            from koppeling.change_plan p
            join koppeling.change_plan_line l on l.plan_id = p.id and l.person_id = p_person
            where p.target_group_id = p_group and p.state = 'held'),
        'contact', case when v_member.id is not null then jsonb_build_object(
            'address', v_member.address, 'contact_id', v_member.contact_id,
            'status', coalesce(v_member.status, 'unknown'), 'ownership', v_member.ownership,
            'last_changed', koppeling.iso8601(v_member.last_changed),
            'seen_at', koppeling.iso8601(v_member.observed_at),
            'note', v_member.note, 'intent', v_member.intent, 'fields', v_member.applied_fields) end,
        'actions', coalesce((
            select jsonb_agg(jsonb_build_object(
                'job', j.id, 'action', j.args ->> 'action',
                'state', case when j.state in ('ready', 'scheduled', 'blocked') then 'staged'
                              when j.state = 'cancelled' then 'superseded' else j.state end,
                'waits_for', case when j.state = 'parked' then case when exists (
                    select from koppeling.task t
                    where t.kind = 'oscillation' and t.instance_id = v_instance.id
                        and (t.detail ->> 'member')::bigint = v_member.id
                        and (t.done_at is null or t.created_at >= j.enqueued_at))
                    then 'oscillation' else 'template' end end,
                'at', koppeling.iso8601(coalesce(j.finished_at, j.started_at, j.enqueued_at)),
                'reason', j.reason) order by j.id desc)
            from koppeling.newest_jobs(10, queue => koppeling.instance_queue(v_instance.id),
                key => koppeling.member_key(v_member.id)) j
            where v_member.id is not null and j.enqueued_at <= v_at), '[]'),
        'hooks', coalesce((
            select jsonb_agg(jsonb_build_object(
                'type', w.body ->> 'type', 'received_at', koppeling.iso8601(w.received_at),
                'processed_at', koppeling.iso8601(w.processed_at)) order by w.id desc)
            from (
                select r.* from (
                    select * from koppeling.webhook_inbox i
                    where i.instance_id = v_instance.id and i.received_at <= v_at
                    order by i.id desc limit 10000) r
                where koppeling.address_key(r.body #>> '{data,email}') in (v_member.address_key, v_address.address_key)
                order by r.id desc limit 5
            ) w), '[]'));
end $$;

-- Why a person is, or is not, a member of a group and on its list: everything that bears on it.
create function koppeling.why(
    source text, external_id text, p_group text, p_at timestamptz default null) returns jsonb
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
declare
    v_person bigint := koppeling.require_person(source, external_id);
    v_group bigint := (
        select g.id from koppeling.target_group g where koppeling.fold(g.name) = koppeling.fold(p_group));
begin
    if v_group is null then
        raise exception using errcode = 'no_data_found', message = format('there is no target group "%s"', p_group),
            hint = 'List the groups to see their names.';
    end if;
    return koppeling.explain_membership(v_group, v_person, p_at)
        || jsonb_build_object('person', koppeling.person_json(v_person),
            'delivery', koppeling.explain_delivery(v_group, v_person, p_at));
end $$;

-- All that is held on a person, for whoever asks what that is: the person file, memberships, consent, contacts and
-- their actions, plans, tasks, the audit, jobs that carry her, and hooks; and the records that were merged into hers.
create function koppeling.export_person(source text, external_id text) returns jsonb
    language plpgsql stable set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_person bigint := koppeling.require_person(source, external_id);
    -- She, and the records that were merged into hers.
    v_records bigint[] := array(
        select p.id from koppeling.person p where p.id = v_person or p.merged_into = v_person);
    v_identities text[] := array(
        select koppeling.identity_subject(p.source, p.external_id) from koppeling.person p where p.id = any (v_records));
    v_keys text[] := array(select e.address_key from koppeling.email_address e where e.person_id = v_person);
    v_members bigint[] := array(select koppeling.contacts_of(v_person, v_keys));
begin
    return jsonb_build_object(
        'exported_at', koppeling.iso8601(koppeling.now()),
        'person', koppeling.person_json(v_person) || (
            select jsonb_build_object('created_at', koppeling.iso8601(p.created_at),
                'changed_at', koppeling.iso8601(p.changed_at))
            from koppeling.person p where p.id = v_person),
        'merged', coalesce((
            select jsonb_agg(koppeling.person_json(p.id) || jsonb_build_object(
                'created_at', koppeling.iso8601(p.created_at), 'changed_at', koppeling.iso8601(p.changed_at))
                order by p.id)
            from koppeling.person p where p.merged_into = v_person), '[]'),
        'memberships', coalesce((
            select jsonb_agg(jsonb_build_object(
                'group', g.name, 'status', m.status, 'via', m.via, 'reasons', m.reasons, 'override', m.override,
                'overridden_by', m.overridden_by, 'rule_match', m.rule_match, 'ever_member', m.ever_member,
                'changed_at', koppeling.iso8601(m.changed_at)) order by g.name)
            from koppeling.membership m
            join koppeling.target_group g on g.id = m.target_group_id
            where m.person_id = v_person), '[]'),
        'consent', coalesce((
            select jsonb_agg(jsonb_build_object(
                'group', g.name, 'reason', s.reason, 'source', s.source,
                'at', case when s.person_id is not null then 'person' when s.contact_id is not null then 'contact'
                           else 'address' end,
                'occurred_at', koppeling.iso8601(s.occurred_at), 'recorded_at', koppeling.iso8601(s.recorded_at),
                'detail', s.detail, 'lifted_at', koppeling.iso8601(l.lifted_at), 'lifted_by', l.source) order by s.id)
            from koppeling.suppression s
            -- It may have been deleted since: what was said stays.
            left join koppeling.target_group g on g.id = s.target_group_id
            left join koppeling.suppression_lift l on l.suppression_id = s.id
            where s.id in (select koppeling.suppressions_of(v_person, v_keys))), '[]'),
        'invitations', coalesce((
            select jsonb_agg(koppeling.invitation_json(v.id) || jsonb_build_object('group', g.name) order by v.id)
            from koppeling.invitation v
            join koppeling.target_group g on g.id = v.target_group_id
            where v.person_id = v_person), '[]'),
        'contacts', coalesce((
            select jsonb_agg(jsonb_build_object(
                'instance', i.name, 'list', i.list_name, 'address', m.address, 'contact_id', m.contact_id,
                'status', m.status, 'ownership', m.ownership, 'fields', m.applied_fields, 'note', m.note,
                'opted_in_at', koppeling.iso8601(m.opted_in_at), 'last_changed', koppeling.iso8601(m.last_changed),
                'actions', coalesce((
                    select jsonb_agg(jsonb_build_object(
                        'action', j.args ->> 'action', 'state', j.state,
                        'enqueued_at', koppeling.iso8601(j.enqueued_at),
                        'finished_at', koppeling.iso8601(j.finished_at), 'reason', j.reason) order by j.id)
                    from koppeling.newest_jobs(100, queue => koppeling.instance_queue(i.id),
                        key => koppeling.member_key(m.id)) j), '[]')) order by i.name, m.id)
            from koppeling.audience_member m
            join koppeling.connector_instance i on i.id = m.instance_id
            where m.id = any (v_members)), '[]'),
        'plans', coalesce((
            select jsonb_agg(jsonb_build_object(
                'plan', l.plan_id, 'state', p.state, 'change', l.change, 'reason', l.reason, 'cause', l.cause)
                order by l.plan_id)
            from koppeling.change_plan_line l
            join koppeling.change_plan p on p.id = l.plan_id
            where l.person_id = v_person), '[]'),
        'tasks', coalesce((
            select jsonb_agg(koppeling.in_utc(row_to_json(t))::jsonb - 'person_id' order by t.id) from koppeling.task t
            where t.person_id = v_person), '[]'),
        'audit', coalesce((
            select jsonb_agg(jsonb_build_object(
                'source', p.source, 'external_id', p.external_id,
                'at', koppeling.iso8601(a.at), 'group', g.name, 'kind', a.kind, 'old', a.old, 'new', a.new,
                'facts', a.facts, 'actor', a.actor, 'cause', a.cause) order by a.id)
            from koppeling.audit_entry a
            join koppeling.person p on p.id = a.person_id
            left join koppeling.target_group g on g.id = a.target_group_id
            where a.person_id = any (v_records)), '[]'),
        'jobs', coalesce((
            select jsonb_agg(jsonb_build_object(
                'job', j.id, 'state', j.state, 'enqueued_at', koppeling.iso8601(j.enqueued_at), 'person', a.person)
                order by j.id)
            from koppeling.jobs j
            cross join lateral jsonb_array_elements(
                case jsonb_typeof(j.args) when 'array' then j.args else jsonb_build_array(j.args) end) a (person)
            where j.kind = 'persons.put'
                and koppeling.without_persons(a.person, v_identities, v_keys) = '[]'), '[]'),
        'hooks', coalesce((
            select jsonb_agg(jsonb_build_object(
                'instance', i.name, 'received_at', koppeling.iso8601(w.received_at), 'body', w.body) order by w.id)
            from koppeling.webhook_inbox w
            join koppeling.connector_instance i on i.id = w.instance_id
            where koppeling.address_key(w.body #>> '{data,email}') = any (v_keys)), '[]'));
end $$;

revoke execute on function
    koppeling.why(text, text, text, timestamptz), koppeling.export_person(text, text)
from public;
