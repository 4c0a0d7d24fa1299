-- The link as people see it.

-- Actions: jobs that bring one contact in line. Nobody's address is in a job: the contact is named here only.
create view koppeling.actions as
select j.id, i.name as instance, j.args ->> 'action' as action,
       case when j.state in ('ready', 'scheduled', 'blocked') then 'staged'
            when j.state = 'cancelled' then 'superseded'
            -- Something was carried out at the contact since, or waits to be.
            when j.state = 'rejected' and (
                m.acted_at > j.finished_at
                or exists (select from koppeling.job w
                           where w.queue = j.queue and w.order_key = j.order_key and w.id <> j.id))
                then 'superseded'
            else j.state end as state,
       m.id as member_id, m.address as contact, m.status as contact_status, j.reason, j.attempt, j.snoozes,
       j.enqueued_at, j.run_at, j.started_at, j.finished_at, j.worker
from koppeling.jobs j
join koppeling.connector_instance i on koppeling.instance_queue(i.id) = j.queue
left join koppeling.audience_member m on m.id = (j.args ->> 'member')::bigint
where j.kind = 'action';
comment on view koppeling.actions is
    'What is to be carried out in Mailchimp and what was. States: staged, parked, running, done, rejected, superseded.';

create view koppeling.audience_members as
select m.id, i.name as instance, m.address, m.contact_id, coalesce(m.status, 'unknown') as status, m.ownership,
       m.archived_by_us, m.intent, m.note, m.last_changed, m.observed_at,
       (select count(*) from koppeling.claim c where c.member_id = m.id) as claims
from koppeling.audience_member m
join koppeling.connector_instance i on i.id = m.instance_id;
comment on view koppeling.audience_members is 'What each linked list is known to hold, and how many persons claim it.';

-- A lease that has run out counts for as long as its worker gives signs of life.
create view koppeling.permits as
select p.resource, p.holder, w.name as worker, p.call_started_at, p.expires_at
from koppeling.permit p
left join koppeling.worker w
    on w.id = p.worker_id and w.ended_at is null and w.heartbeat_at > koppeling.now() - interval '15 seconds'
where p.expires_at > koppeling.now() or w.id is not null;
comment on view koppeling.permits is 'What is under way under a permit, and on whose behalf.';

-- The permits of each account's login: how many calls may be under way, how many are, and who waits for one.
create view koppeling.account_permits as
select a.id as account_id, coalesce(b.budget, 6) as budget,
       coalesce(koppeling.allowed_permits(b, koppeling.now()), 6) as allowed_now,
       (select count(*) from koppeling.permits p where p.resource = a.permit_resource) as calls_in_flight,
       (select count(*) from koppeling.permit_wait w
        where w.resource = a.permit_resource and w.seen_at > koppeling.now() - interval '1 second') as waiting,
       case when koppeling.allowed_permits(b, koppeling.now()) < b.budget
            then b.lowered_at + make_interval(mins => b.budget - b.allowed) end as throttled_until
from koppeling.mailchimp_account a
left join koppeling.permit_budget b on b.resource = a.permit_resource;
comment on view koppeling.account_permits is
    'How many calls of each account may be under way at once, over all workers and instances.';

create view koppeling.account_status as
select a.id, a.name as account, a.data_centre, a.login_id, a.credential_kind as credential, a.authenticated,
       (select count(*) from koppeling.connector_instance i where i.account_id = a.id) as instances,
       p.budget, p.allowed_now, p.calls_in_flight, p.waiting, p.throttled_until, a.created_at, a.renewed_at
from koppeling.mailchimp_account a
join koppeling.account_permits p on p.account_id = a.id;
comment on view koppeling.account_status is 'Each connected account, without its credential.';

-- Why no instance works here: this is another deployment than was confirmed; null while it is not. With the rights of
-- its owner, since it is part of a view for readers.
create function koppeling.deployment_fault() returns text
    language plpgsql stable security definer set search_path = koppeling, pg_temp
as $$
begin
    return (
        select format('this is not the deployment that was confirmed (%s): look whether this database may send to these '
                      'lists, then run koppeling environment confirm', d.changed)
        from koppeling.deployment d where d.changed is not null);
end $$;

create view koppeling.instance_status as
select i.id, i.name as instance, a.name as account, i.list_name, g.name as target_group, a.authenticated, i.enabled,
       i.dry_run, i.activated, i.paused_reason, koppeling.deployment_fault() as off_because, i.last_pull_at,
       i.last_sweep_at,
       (select count(*) from koppeling.claim c where c.instance_id = i.id) as claims,
       (select count(*) from koppeling.job j
        where j.queue = koppeling.instance_queue(i.id) and j.kind = 'action' and j.run_at < 'infinity') as open_actions,
       (select count(*) from koppeling.job j
        where j.queue = koppeling.instance_queue(i.id) and j.kind = 'action' and j.run_at = 'infinity')
           as parked_actions,
       (select count(*) from koppeling.job_history h
        where h.queue = koppeling.instance_queue(i.id) and h.outcome = 'rejected'
          and h.finished_at > koppeling.now() - interval '1 day') as rejected_today,
       p.calls_in_flight,
       (select count(*) from koppeling.task t where t.instance_id = i.id and t.done_at is null) as open_tasks,
       p.budget, p.allowed_now,
       (select count(*) from koppeling.permits o
        where o.resource = a.permit_resource and o.holder = koppeling.instance_queue(i.id)) as own_calls_in_flight,
       exists (select from koppeling.permit_wait w
               where w.resource = a.permit_resource and w.holder = koppeling.instance_queue(i.id)
                 and w.seen_at > koppeling.now() - interval '1 second') as waits_for_permit,
       p.throttled_until, i.reactivate_on_resubscribe, i.keeps_adopted as keep_adopted
from koppeling.connector_instance i
join koppeling.mailchimp_account a on a.id = i.account_id
join koppeling.account_permits p on p.account_id = a.id
join koppeling.target_group g on g.id = i.target_group_id;
comment on view koppeling.instance_status is
    'Each instance with its two flags, what it is doing, and the permits of its account''s login.';

create view koppeling.tasks as
select t.id, t.kind, case when t.done_at is null then 'open' else 'done' end as state, i.name as instance,
       g.name as target_group, t.person_id,
       nullif(concat_ws(' ', nullif(koppeling.first_name(p.given_name, p.initials), ''),
                        koppeling.last_name(p.prefixes, p.family_name)), '') as person,
       p.source, p.external_id, e.address, m.address as contact, t.detail, t.created_at, t.done_at, t.done_by
from koppeling.task t
left join koppeling.connector_instance i on i.id = t.instance_id
left join koppeling.target_group g on g.id = t.target_group_id
left join koppeling.person p on p.id = t.person_id
-- Where the group writes to her, and where the contact is that the task tells of.
left join koppeling.email_address e on e.person_id = p.id and e.kind = g.email_kind
left join koppeling.audience_member m on m.id = (t.detail ->> 'member')::bigint;
comment on view koppeling.tasks is 'What only a person can settle.';

create view koppeling.rejected_reasons as
select i.id as instance_id, i.name as instance, h.args ->> 'action' as action, h.reason, count(*) as actions,
       max(h.finished_at) as latest
from koppeling.connector_instance i
join koppeling.job_history h
    on h.queue = koppeling.instance_queue(i.id) and h.outcome = 'rejected' and h.kind = 'action'
group by i.id, h.args ->> 'action', h.reason;
comment on view koppeling.rejected_reasons is
    'Why actions were rejected, and how many for each reason: run_rejected_actions runs them again.';

grant select on koppeling.account_permits, koppeling.account_status, koppeling.actions, koppeling.audience_members,
    koppeling.instance_status, koppeling.permits,
    koppeling.rejected_reasons, koppeling.tasks to koppeling_reader;

-- Runs these actions: those that wait for a person, and those that were rejected. What is to be done is decided anew.
create function koppeling.run_actions(p_actions bigint[], p_actor text default session_user) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_parked bigint[] := array(
        select j.id from koppeling.job j
        where j.id = any (p_actions) and j.kind = 'action' and j.run_at = 'infinity');
    v_rejected bigint[] := array(
        select h.id from koppeling.job_history h
        where h.id = any (p_actions) and h.kind = 'action' and h.outcome = 'rejected'
        order by h.id
        for update skip locked);
begin
    if p_actions <> '{}' and not exists (
        select from koppeling.job j where j.id = any (p_actions) and j.kind = 'action'
        union all
        select from koppeling.job_history h where h.id = any (p_actions) and h.kind = 'action')
    then
        raise exception using errcode = 'no_data_found',
            message = format('there is no action %s', array_to_string(p_actions, ', ')),
            hint = 'List the actions to see their numbers.';
    end if;
    -- Whoever looked at it has seen what the task was about.
    update koppeling.task t set done_at = koppeling.now()
    from koppeling.job j
    join koppeling.claim c on c.member_id = (j.args ->> 'member')::bigint
    where j.id = any (v_parked) and t.kind = 'oscillation' and t.done_at is null
      and t.instance_id = c.instance_id and t.person_id = c.person_id;
    insert into koppeling.audit_entry (target_group_id, kind, new, actor, cause)
    select i.target_group_id, 'actions.run', jsonb_build_object('actions', count(*)), p_actor, 'by hand'
    from (
        select j.queue from koppeling.job j where j.id = any (v_parked)
        union all
        select h.queue from koppeling.job_history h where h.id = any (v_rejected)
    ) r
    join koppeling.connector_instance i on koppeling.instance_queue(i.id) = r.queue
    group by i.target_group_id;
    perform koppeling.retry_job(r) from unnest(v_rejected) r;
    return koppeling.release_parked(v_parked) + cardinality(v_rejected);
end $$;

-- Runs all that wait for a person in an instance, or all of one template.
create function koppeling.run_waiting_actions(
    p_instance text, p_action text default null, p_actor text default session_user) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_queue text := koppeling.instance_queue(koppeling.require_instance(p_instance));
begin
    return koppeling.run_actions(array(
        select j.id from koppeling.job j
        where j.queue = v_queue and j.kind = 'action' and j.run_at = 'infinity'
          and (p_action is null or j.args ->> 'action' = p_action)), p_actor);
end $$;

-- Runs again what an instance rejected for this reason, whole and as it was said; ten thousand at a time, the oldest
-- first. Call it again while it returns as many.
create function koppeling.run_rejected_actions(
    p_instance text, p_reason text, p_action text default null, p_actor text default session_user) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_queue text := koppeling.instance_queue(koppeling.require_instance(p_instance));
begin
    return koppeling.run_actions(array(
        select h.id from koppeling.job_history h
        where h.queue = v_queue and h.outcome = 'rejected' and h.kind = 'action' and h.reason = p_reason
          and (p_action is null or h.args ->> 'action' = p_action)
        order by h.finished_at, h.id
        limit 10000), p_actor);
end $$;

-- What somebody decides about an instance stands in the audit, unless it is so already.
create function koppeling.note_instance(
    p_instance bigint, p_kind text, p_old jsonb, p_new jsonb, p_actor text) returns void
    language sql set search_path = koppeling, pg_temp
begin atomic
    insert into koppeling.audit_entry (target_group_id, kind, old, new, actor, cause)
    select i.target_group_id, p_kind, p_old, p_new, coalesce(p_actor, session_user), 'by hand'
    from koppeling.connector_instance i
    where i.id = p_instance and p_old is distinct from p_new;
end;

-- Notes that an instance is about to be turned on or off; turning it on also ends its pause.
create function koppeling.note_enabled(p_instance bigint, p_enabled boolean, p_actor text) returns void
    language sql set search_path = koppeling, pg_temp
begin atomic
    select koppeling.note_instance(i.id, 'instance.enabled',
        to_jsonb(i.enabled and not (p_enabled and i.paused_reason is not null)), to_jsonb(p_enabled), p_actor)
    from koppeling.connector_instance i where i.id = p_instance;
end;

-- Turns a setting of an instance on or off: dryRun, which only shows what would be done; reactivateOnResubscribe, by
-- which whoever signs up again in Mailchimp after a no is let back in; keepAdopted, by which whoever was in the list
-- before us stays there when he leaves the group.
create function koppeling.switch_instance(p_instance bigint, p_setting text, p_on boolean, p_actor text) returns void
    language sql set search_path = koppeling, pg_temp
begin atomic
    select koppeling.note_instance(i.id, 'instance.' || p_setting,
        to_jsonb(case p_setting
            when 'dryRun' then i.dry_run
            when 'reactivateOnResubscribe' then i.reactivate_on_resubscribe
            when 'keepAdopted' then i.keeps_adopted end),
        to_jsonb(p_on), p_actor)
    from koppeling.connector_instance i where i.id = p_instance;
    update koppeling.connector_instance i
    set dry_run = case p_setting when 'dryRun' then p_on else i.dry_run end,
        reactivate_on_resubscribe = case p_setting
            when 'reactivateOnResubscribe' then p_on else i.reactivate_on_resubscribe end,
        keeps_adopted = case p_setting when 'keepAdopted' then p_on else i.keeps_adopted end
    where i.id = p_instance;
    -- What was put off because nothing is sent need not wait any longer.
    update koppeling.job j set run_at = koppeling.now()
    where p_setting = 'dryRun' and not p_on
        and j.queue = koppeling.instance_queue(p_instance) and j.kind in ('action', 'erase')
        and j.state in ('ready', 'returned') and j.run_at > koppeling.now()
        and j.run_at <= koppeling.now() + interval '5 minutes';
end;

-- Makes a template automatic or manual, or with null removes it. Says whether there is one to remove.
create function koppeling.set_template(p_instance bigint, p_action text, p_mode text, p_actor text) returns boolean
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_old text := (
        select case when t.automatic then 'automatic' else 'manual' end
        from koppeling.action_template t where t.instance_id = p_instance and t.action = p_action);
begin
    if p_mode is null then
        delete from koppeling.action_template t where t.instance_id = p_instance and t.action = p_action;
    else
        insert into koppeling.action_template (instance_id, action, automatic)
        values (p_instance, p_action, p_mode = 'automatic')
        on conflict (instance_id, action) do update set automatic = excluded.automatic;
    end if;
    perform koppeling.note_instance(p_instance, 'template.' || p_action, to_jsonb(v_old), to_jsonb(p_mode), p_actor);
    return coalesce(p_mode, v_old) is not null;
end $$;

-- A group acts on all three occasions, or its instance is off.
create function koppeling.keep_template() returns trigger
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_instance text := (
        select i.name from koppeling.connector_instance i where i.id = old.instance_id and i.enabled);
begin
    if v_instance is not null then
        raise exception using errcode = 'restrict_violation',
            message = format('instance "%s" is on, and needs its template %s', v_instance, old.action),
            hint = 'Turn it off first, or make the template manual.';
    end if;
    return old;
end $$;
create trigger keep_template before delete on koppeling.action_template
    for each row execute function koppeling.keep_template();

create function koppeling.require_templates() returns trigger
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_missing text := (
        select string_agg(a, ', ' order by a) from unnest(array['create', 'delete', 'update']) a
        where not exists (select from koppeling.action_template t where t.instance_id = new.id and t.action = a));
begin
    if v_missing is not null then
        raise exception using errcode = 'restrict_violation',
            message = format('instance "%s" lacks the template %s', new.name, v_missing),
            hint = 'Make it automatic or manual, then turn the instance on.';
    end if;
    return new;
end $$;
create trigger require_templates before update of enabled on koppeling.connector_instance
    for each row when (new.enabled and not old.enabled) execute function koppeling.require_templates();

-- The task about a group whose rules name something that is gone, until they no longer do.
create function koppeling.tell_validity() returns trigger
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    if new.valid then
        update koppeling.task set done_at = koppeling.now()
        where kind = 'groupInvalid' and target_group_id = new.id and done_at is null;
    else
        insert into koppeling.task (kind, instance_id, target_group_id, detail)
        select 'groupInvalid', i.id, new.id, '{}'
        from (select) one
        left join koppeling.connector_instance i on i.target_group_id = new.id
        on conflict do nothing;
    end if;
    return null;
end $$;
create trigger tell_validity after update of valid on koppeling.target_group
    for each row when (new.valid <> old.valid) execute function koppeling.tell_validity();

-- Says that these tasks are settled. Returns how many of them were open.
create function koppeling.finish_tasks(p_tasks bigint[], p_actor text default session_user) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_done bigint;
    v_unknown bigint;
begin
    select u into v_unknown from unnest(p_tasks) u
    where not exists (select from koppeling.task t where t.id = u) limit 1;
    if found then
        raise exception using errcode = 'no_data_found', message = format('there is no task %s', v_unknown),
            hint = 'List the tasks to see their numbers.';
    end if;
    update koppeling.task t set done_at = koppeling.now(), done_by = p_actor
    where t.id = any (p_tasks) and t.done_at is null;
    get diagnostics v_done = row_count;
    return v_done;
end $$;

revoke execute on function
    koppeling.note_instance(bigint, text, jsonb, jsonb, text), koppeling.note_enabled(bigint, boolean, text),
    koppeling.switch_instance(bigint, text, boolean, text),
    koppeling.set_template(bigint, text, text, text),
    koppeling.run_actions(bigint[], text), koppeling.run_waiting_actions(text, text, text),
    koppeling.run_rejected_actions(text, text, text, text), koppeling.finish_tasks(bigint[], text)
from public;
