-- The queue as people see it, and what they may do with single jobs.

-- Makes a rejected or cancelled job ready again, with all its attempts before it. Returns its id, or the id of the
-- job that waits with its key by now.
create function koppeling.retry_job(id bigint) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
#variable_conflict use_column
declare
    v_old koppeling.job_history;
    v_job koppeling.job;
begin
    delete from koppeling.job_history h
    where h.id = retry_job.id and h.outcome in ('rejected', 'cancelled')
    returning h.* into v_old;
    if not found then
        raise exception using errcode = '22023', message = format(
            'id: %s is not the number of a rejected or cancelled job', retry_job.id);
    end if;
    if v_old.started_at is not null then
        insert into koppeling.job_attempt (job_id, claim, attempt, worker_id, started_at, ended_at, outcome, error)
        values (v_old.id, v_old.claim, v_old.attempt, v_old.worker_id, v_old.started_at, v_old.finished_at,
            v_old.outcome, v_old.reason);
    end if;
    v_job := koppeling.new_job(v_old.id, v_old.kind, v_old.args, v_old.queue, v_old.key, v_old.key_mode,
        v_old.order_key, v_old.limit_key, koppeling.now(), v_old.priority, v_old.max_attempts, v_old.enqueued_at);
    v_job.claim := v_old.claim;
    v_job.snoozes := v_old.snoozes;
    v_job.error := v_old.reason;
    if v_job.key is null then
        insert into koppeling.job select v_job.*;
    else
        perform koppeling.fold_back(array[v_job]);
    end if;
    perform koppeling.wake(array[v_job.queue], array[v_job.kind]);
    return coalesce((select w.id from koppeling.waiting_job(v_job.queue, v_job.key) w), v_job.id);
end $$;

create view koppeling.jobs as
select j.id,
    case
        when j.state in ('running', 'blocked') then j.state
        when j.run_at = 'infinity' then 'parked'
        when j.run_at > koppeling.now() then 'scheduled'
        else 'ready'
    end as state,
    j.queue, j.kind, j.key, j.order_key, j.limit_key, j.priority, j.attempt, j.max_attempts, j.snoozes,
    j.enqueued_at, j.run_at, j.started_at, null::timestamptz as finished_at, w.name as worker, j.error as reason,
    j.args, null::jsonb as result, j.blocked_by
from koppeling.job j
left join koppeling.worker w on w.id = j.worker_id
union all
select h.id, h.outcome, h.queue, h.kind, h.key, h.order_key, h.limit_key, h.priority, h.attempt, h.max_attempts,
    h.snoozes, h.enqueued_at, h.run_at, h.started_at, h.finished_at, w.name, h.reason, h.args, h.result, null
from koppeling.job_history h
left join koppeling.worker w on w.id = h.worker_id;

create view koppeling.job_attempts as
select a.job_id, a.attempt, a.worker_id, w.name as worker, a.started_at, a.ended_at, a.outcome, a.error
from koppeling.job_attempt a
left join koppeling.worker w on w.id = a.worker_id
union all
select h.id, h.attempt, h.worker_id, w.name, h.started_at, h.finished_at, h.outcome, h.reason
from koppeling.job_history h
left join koppeling.worker w on w.id = h.worker_id
where h.started_at is not null
union all
select j.id, j.attempt, j.worker_id, w.name, j.started_at, null, 'running', null
from koppeling.job j
left join koppeling.worker w on w.id = j.worker_id
where j.worker_id is not null;

create view koppeling.queue_status as
select j.queue, j.kind,
    count(*) filter (where j.state not in ('running', 'blocked') and j.run_at <= n.now) as ready,
    count(*) filter (where j.state not in ('running', 'blocked') and j.run_at > n.now and j.run_at < 'infinity')
        as scheduled,
    count(*) filter (where j.run_at = 'infinity') as parked,
    count(*) filter (where j.state = 'running') as running,
    min(j.run_at) filter (where j.state not in ('running', 'blocked') and j.run_at <= n.now) as oldest_ready_at,
    count(*) filter (where j.state <> 'running' and j.error is not null) as retrying,
    count(*) filter (where j.state = 'blocked') as blocked
from koppeling.job j
cross join (select koppeling.now() as now offset 0) n
group by j.queue, j.kind;

create view koppeling.workers as
select w.id, w.name, w.host, w.pid, w.version, w.started_at, w.heartbeat_at, w.ended_at,
    coalesce(w.ending, case when w.heartbeat_at < koppeling.now() - interval '15 seconds' then 'silent'
        else 'alive' end) as state,
    (select count(*) from koppeling.job j where j.state = 'running' and j.worker_id = w.id) as running
from koppeling.worker w;

grant select on koppeling.jobs, koppeling.job_attempts, koppeling.queue_status, koppeling.workers to koppeling_reader;
-- Makes rejected jobs ready again that match all that is given, the oldest first, and says how many. Call it again
-- while it returns max_jobs.
create function koppeling.retry_rejected(
    queue text default null, kind text default null, reason text default null,
    rejected_since timestamptz default null, rejected_until timestamptz default null, max_jobs int default 1000
) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
#variable_conflict use_column
declare
    v_id bigint;
    v_count bigint := 0;
begin
    for v_id in
        select h.id from koppeling.job_history h
        where h.outcome = 'rejected'
            and (retry_rejected.queue is null or h.queue = retry_rejected.queue)
            and (retry_rejected.kind is null or h.kind = retry_rejected.kind)
            and (retry_rejected.reason is null or position(lower(retry_rejected.reason) in lower(h.reason)) > 0)
            and (retry_rejected.rejected_since is null or h.finished_at >= retry_rejected.rejected_since)
            and (retry_rejected.rejected_until is null or h.finished_at < retry_rejected.rejected_until)
        order by h.finished_at, h.id
        limit least(retry_rejected.max_jobs, 10000)
        for update skip locked
    loop
        perform koppeling.retry_job(v_id);
        v_count := v_count + 1;
    end loop;
    return v_count;
end $$;

revoke execute on function koppeling.retry_job(bigint),
    koppeling.retry_rejected(text, text, text, timestamptz, timestamptz, int) from public;
comment on function koppeling.retry_rejected(text, text, text, timestamptz, timestamptz, int) is
    'Makes rejected jobs ready again that match what is given, the oldest first; returns how many.';

comment on view koppeling.jobs is
    'All jobs: waiting, running and finished ones. Ask by id or state, or with newest_jobs.';
comment on column koppeling.jobs.id is 'Its number: later ones are larger.';
comment on column koppeling.jobs.state is
    'ready: may start; scheduled: not before run_at; parked: until a person releases it; blocked: see blocked_by; running; and finished ones: done, rejected, cancelled.';
comment on column koppeling.jobs.blocked_by is
    'order: an earlier job with its order_key is not finished; limit: as many run or started as its limit_key allows; pause: its key is paused.';
comment on column koppeling.jobs.queue is 'Where it waits.';
comment on column koppeling.jobs.kind is 'What is to be done: a row of job_kind.';
comment on column koppeling.jobs.key is 'At most one job with it waits in a queue: others are absorbed.';
comment on column koppeling.jobs.order_key is 'Jobs with it run one after another, in the order of their ids.';
comment on column koppeling.jobs.limit_key is 'Jobs with it share a limit, where one is set.';
comment on column koppeling.jobs.priority is 'Lower ones first.';
comment on column koppeling.jobs.attempt is
    'Attempts begun that count; with max_attempts of them failed it is rejected.';
comment on column koppeling.jobs.max_attempts is 'How many attempts may fail.';
comment on column koppeling.jobs.snoozes is 'How often a handler put it off; that does not count as an attempt.';
comment on column koppeling.jobs.enqueued_at is 'Since when it exists.';
comment on column koppeling.jobs.run_at is 'Not before this moment; infinity is parked.';
comment on column koppeling.jobs.started_at is 'When its latest run began; null when it waits, or never ran.';
comment on column koppeling.jobs.finished_at is
    'When it became done, rejected or cancelled; from then on it is kept as long as job_retention says.';
comment on column koppeling.jobs.worker is 'The worker that has it, or had it last.';
comment on column koppeling.jobs.reason is 'Why it was rejected or cancelled, or the last error of one that waits.';
comment on column koppeling.jobs.args is 'What it is about.';
comment on column koppeling.jobs.result is 'What the handler answered.';

comment on view koppeling.job_attempts is 'Every attempt at every job, and which worker made it.';
comment on column koppeling.job_attempts.job_id is 'The job.';
comment on column koppeling.job_attempts.attempt is
    'The how manieth that counts; one that was given back or put off has the number of the next.';
comment on column koppeling.job_attempts.worker_id is 'The worker that made it.';
comment on column koppeling.job_attempts.worker is 'The name of that worker.';
comment on column koppeling.job_attempts.started_at is 'When it began.';
comment on column koppeling.job_attempts.ended_at is
    'When it ended, or when its worker was found dead; null while it runs.';
comment on column koppeling.job_attempts.outcome is
    'retried, snoozed, released (by a stopping worker), died (its worker did), rejected, cancelled, done or running.';
comment on column koppeling.job_attempts.error is 'What went wrong, or why it ended.';

comment on view koppeling.queue_status is 'What lies in each queue, by kind.';
comment on column koppeling.queue_status.queue is 'The queue.';
comment on column koppeling.queue_status.kind is 'The kind of jobs.';
comment on column koppeling.queue_status.ready is 'How many may start.';
comment on column koppeling.queue_status.scheduled is 'How many wait for their time.';
comment on column koppeling.queue_status.parked is 'How many wait for a person to release them.';
comment on column koppeling.queue_status.running is 'How many run.';
comment on column koppeling.queue_status.blocked is 'How many wait behind an order, a limit or a pause.';
comment on column koppeling.queue_status.oldest_ready_at is 'Since when the oldest job that could run waits.';
comment on column koppeling.queue_status.retrying is 'How many of those that wait have failed before.';

comment on view koppeling.workers is 'Processes that work or have worked.';
comment on column koppeling.workers.id is 'Its number: a process gets a new one each time it registers.';
comment on column koppeling.workers.name is 'What it is called; not unique.';
comment on column koppeling.workers.host is 'The machine it runs on.';
comment on column koppeling.workers.pid is 'The number of its process there.';
comment on column koppeling.workers.version is 'The release it belongs to.';
comment on column koppeling.workers.started_at is 'When it registered.';
comment on column koppeling.workers.heartbeat_at is 'Its last sign of life; it gives one every 5 s.';
comment on column koppeling.workers.ended_at is 'When it stopped, or was found dead.';
comment on column koppeling.workers.state is 'alive, silent (no sign of life for 15 s), stopped or died.';
comment on column koppeling.workers.running is 'How many jobs it has.';
comment on function koppeling.retry_job(bigint) is 'Makes a rejected or cancelled job ready again.';
