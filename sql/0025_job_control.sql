-- What is done with jobs that are in the queue: finding the one that waits with a key, cancelling, releasing.

-- The job that waits with a key, if one does.
create function koppeling.waiting_job(p_queue text, p_key text)
    returns table (id bigint, args jsonb, run_at timestamptz)
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select j.id, j.args, j.run_at from koppeling.job j
    where j.queue = p_queue and j.key = p_key and j.state <> 'running';
end;

-- Moves jobs that wait into the history as cancelled; those that run or are finished stay as they are.
create function koppeling.cancel_jobs(p_ids bigint[], p_reason text) returns bigint[]
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_gone koppeling.job[];
begin
    with gone as (
        delete from koppeling.job j where j.id = any (p_ids) and j.state <> 'running' returning j
    )
    select array_agg(g.j) into v_gone from gone g;
    insert into koppeling.job_history (id, enqueued_at, run_at, finished_at, priority, attempt, max_attempts, claim,
        snoozes, outcome, queue, kind, key, key_mode, order_key, limit_key, reason, args)
    select id, enqueued_at, run_at, koppeling.now(), priority, attempt, max_attempts, claim,
        snoozes, 'cancelled', queue, kind, key, key_mode, order_key, limit_key, coalesce(p_reason, 'cancelled'), args
    from unnest(v_gone);
    perform koppeling.open_gates(array_agg(g.queue), array_agg(g.order_key), array_agg(g.limit_key))
    from unnest(v_gone) g
    where num_nonnulls(g.order_key, g.limit_key) > 0
    having count(*) > 0;
    return array(select g.id from unnest(v_gone) g);
end $$;

-- Cancels the job that waits with a key and returns its id; null when none waits.
create function koppeling.cancel_waiting(queue text, key text, reason text) returns bigint
    language sql set search_path = koppeling, pg_temp
    return (select (koppeling.cancel_jobs(array[w.id], reason))[1] from koppeling.waiting_job(queue, key) w);

-- Running jobs that somebody wants cancelled; their workers look here.
create table koppeling.job_cancellation (
    job_id bigint primary key,
    reason text not null,
    requested_at timestamptz not null default koppeling.now()
);

-- Cancels a job: at once when it waits; when it runs, its worker is asked to, and cancels the task it runs in. False
-- when there is no such job any more.
create function koppeling.cancel_job(id bigint, reason text default 'cancelled by a person') returns boolean
    language plpgsql set search_path = koppeling, pg_temp
as $$
#variable_conflict use_column
begin
    loop
        if koppeling.cancel_jobs(array[cancel_job.id], cancel_job.reason) <> '{}' then
            return true;
        end if;
        -- Locked, so that it does not end between this look and the request.
        perform from koppeling.job j where j.id = cancel_job.id for key share;
        if not found then
            return false;
        end if;
        insert into koppeling.job_cancellation (job_id, reason)
        select j.id, coalesce(cancel_job.reason, 'cancelled') from koppeling.job j
        where j.id = cancel_job.id and j.state = 'running'
        on conflict (job_id) do nothing;
        if exists (select from koppeling.job_cancellation c where c.job_id = cancel_job.id) then
            return true;
        end if;
    end loop;
end $$;

-- Lets parked jobs start, and says how many there were.
create function koppeling.release_parked(ids bigint[]) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_queues text[];
    v_count bigint;
begin
    with released as (
        update koppeling.job j set run_at = koppeling.now()
        where j.id = any (ids) and j.state <> 'running' and j.run_at = 'infinity'
        returning j.queue
    )
    select array_agg(distinct r.queue), count(*) into v_queues, v_count from released r;
    perform koppeling.wake(v_queues, null);
    return v_count;
end $$;

-- Of the jobs that a worker runs, those that somebody wants cancelled.
create function koppeling.cancelled_jobs(p_worker bigint) returns table (job_id bigint, reason text)
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select c.job_id, c.reason
    from koppeling.job_cancellation c
    join koppeling.job j on j.id = c.job_id
    where j.worker_id = p_worker and j.state = 'running';
end;

revoke execute on function
    koppeling.cancel_jobs(bigint[], text), koppeling.cancel_waiting(text, text, text),
    koppeling.cancel_job(bigint, text), koppeling.waiting_job(text, text), koppeling.release_parked(bigint[]),
    koppeling.cancelled_jobs(bigint)
    from public;
comment on function koppeling.cancel_job(bigint, text) is
    'Cancels a job, at once when it waits, within a second when it runs; false when there is none.';
