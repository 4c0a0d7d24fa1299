-- The link as people see it.

-- Actions: jobs that bring one contact in line. Nobody's address is in a job: the contact is named here only.
create view koppeling.actions as
select j.id, i.name as instance, j.args ->> 'action' as action,
       case when j.state in ('ready', 'scheduled', 'blocked') then 'staged'
            when j.state = 'cancelled' then 'superseded'
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

create view koppeling.instance_status as
select i.id, i.name as instance, a.name as account, i.list_name, g.name as target_group, a.authenticated, i.enabled,
       i.activated, i.paused_reason, i.last_pull_at, i.last_sweep_at,
       (select count(*) from koppeling.claim c where c.instance_id = i.id) as claims,
       (select count(*) from koppeling.job j
        where j.queue = koppeling.instance_queue(i.id) and j.kind = 'action' and j.run_at < 'infinity') as open_actions,
       (select count(*) from koppeling.job j
        where j.queue = koppeling.instance_queue(i.id) and j.kind = 'action' and j.run_at = 'infinity')
           as parked_actions,
       (select count(*) from koppeling.job_history h
        where h.queue = koppeling.instance_queue(i.id) and h.outcome = 'rejected'
          and h.finished_at > koppeling.now() - interval '1 day') as rejected_today,
       (select count(*) from koppeling.permit p
        where p.resource = 'mailchimp:' || a.data_centre || ':' || a.login_id and p.expires_at > koppeling.now())
           as calls_in_flight,
       (select count(*) from koppeling.task t where t.instance_id = i.id and t.done_at is null) as open_tasks
from koppeling.connector_instance i
join koppeling.mailchimp_account a on a.id = i.account_id
join koppeling.target_group g on g.id = i.target_group_id;
comment on view koppeling.instance_status is 'Each instance with its two flags and what it is doing.';

create view koppeling.plan_lines as
select l.plan_id as plan, l.person_id as person,
       concat_ws(' ', nullif(koppeling.first_name(p.given_name, p.initials), ''),
                 koppeling.last_name(p.prefixes, p.family_name)) as name,
       l.change, l.reason, l.cause
from koppeling.change_plan_line l
join koppeling.person p on p.id = l.person_id;
comment on view koppeling.plan_lines is 'Who would join or leave by a plan, why, and what brought it about.';

create view koppeling.tasks as
select t.id, t.kind, i.name as instance, g.name as target_group, t.person_id, t.detail, t.created_at, t.done_at
from koppeling.task t
left join koppeling.connector_instance i on i.id = t.instance_id
left join koppeling.target_group g on g.id = t.target_group_id;
comment on view koppeling.tasks is 'What only a person can settle.';

grant select on koppeling.actions, koppeling.audience_members, koppeling.instance_status, koppeling.plan_lines,
    koppeling.tasks to koppeling_reader;

-- Runs actions that wait because their template is manual: these, or all of an instance.
create function koppeling.run_parked(p_actions bigint[], p_instance text) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    return koppeling.release_parked(array(
        select j.id
        from koppeling.job j
        where j.kind = 'action' and j.run_at = 'infinity'
          and (j.id = any (p_actions)
               or j.queue in (select koppeling.instance_queue(i.id) from koppeling.connector_instance i
                              where i.name = p_instance or i.id::text = p_instance))));
end $$;
revoke execute on function koppeling.run_parked(bigint[], text) from public;
