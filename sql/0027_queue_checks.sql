-- What always holds in the queue, as a query that may be asked while it works.

-- Looks whether what must hold does: a row for each invariant, with how many things violate it and one of them. All of
-- it is one snapshot. What concerns single jobs is looked at for the latest numbers only, so that it stays cheap when
-- the history is large.
--
-- Whoever is at it has a minute to put things right: a worker is found dead within 20 s, a job taken within 10. Where
-- it is not known since when something is wrong, it may be about to be put right: what matters is what is found again
-- half a minute later.
create function koppeling.check_queue(numbers_back bigint default 100000)
    returns table (invariant text, violations bigint, example text)
    language plpgsql stable
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    v_now timestamptz := koppeling.now();
    v_late timestamptz := v_now - interval '1 minute';
    v_first bigint := (select s.last_value - check_queue.numbers_back from koppeling.job_id_seq s);
    v_attempts_since timestamptz := (
        select t.kept_since from koppeling.history_tables() t where t.parent = 'job_attempt');
begin
    return query
    select 'in_one_place', count(*), 'job ' || min(j.id) || ' is unfinished, and finished as well'
    from koppeling.job j
    join koppeling.job_history h on h.id = j.id and h.id > v_first
    where j.id > v_first;

    return query
    select 'finished_once', count(*), 'job ' || min(d.id) || ' is in the history more than once'
    from (select h.id from koppeling.job_history h where h.id > v_first group by h.id having count(*) > 1) d;

    -- A job is handed out as often as it has attempts; a running one has one that is not over.
    return query
    select 'claims_accounted_for', count(*),
        min(format('job %s was handed out %s times and has %s attempts', j.id, j.claim, j.attempts))
    from (
        select j.id, j.claim, coalesce(a.ended, 0) + j.last as attempts
        from (
            select h.id, h.claim, h.enqueued_at, (h.started_at is not null)::int as last
            from koppeling.job_history h where h.id > v_first
            union all
            select j.id, j.claim, j.enqueued_at, (j.state = 'running')::int from koppeling.job j where j.id > v_first
        ) j
        left join (
            select a.job_id, count(*) as ended from koppeling.job_attempt a where a.job_id > v_first group by a.job_id
        ) a on a.job_id = j.id
        where j.enqueued_at > v_attempts_since
    ) j
    where j.attempts <> j.claim;

    return query
    select 'running_has_a_live_worker', count(*), min(format('job %s runs in the name of worker %s', j.id, j.worker_id))
    from koppeling.job j
    left join koppeling.worker w on w.id = j.worker_id
    where j.state = 'running' and j.started_at < v_late
        and (w.id is null or w.ended_at < v_late or w.heartbeat_at < v_late);

    return query
    select 'one_running_per_order_key', count(*), min(format('order key %s of queue %s', d.order_key, d.queue))
    from (
        select j.queue, j.order_key from koppeling.job j
        where j.state = 'running' and j.order_key is not null
        group by j.queue, j.order_key having count(*) > 1
    ) d;

    -- Those that ran before a limit was lowered may go on. When that was is not known of a limit with a rate.
    return query
    select 'limits_are_kept', count(*),
        min(format('%s jobs run under limit %s, which allows %s', l.running, l.limit_key, l.concurrency))
    from (
        select l.limit_key, l.concurrency, (
            select count(*) from koppeling.job j
            where j.limit_key = l.limit_key and j.state = 'running'
                and (l.rate is not null or j.started_at >= l.filled_at)) as running
        from koppeling.job_limit l
        where l.concurrency is not null
    ) l
    where l.running > l.concurrency;

    return query
    select 'blocked_jobs_are_held', count(*), min(format('job %s is blocked by %s, but nothing holds it', d.id, d.by))
    from (
        select f.id, 'its order' as by
        from (select distinct b.queue, b.order_key from koppeling.job b where b.blocked_by = 'order' limit 1000) k
        cross join lateral (
            select j.id, j.blocked_by from koppeling.job j
            where j.queue = k.queue and j.order_key = k.order_key and j.run_at < 'infinity'
            order by j.id limit 1) f
        where f.blocked_by = 'order' and not exists (
            select from koppeling.job r
            where r.queue = k.queue and r.order_key = k.order_key and r.state = 'running')
        union all
        select f.id, 'its limit'
        from (select distinct b.limit_key from koppeling.job b where b.blocked_by = 'limit' limit 1000) k
        cross join lateral (
            select j.id from koppeling.job j where j.limit_key = k.limit_key and j.blocked_by = 'limit' limit 1) f
        left join koppeling.job_limit l on l.limit_key = k.limit_key
        where l.limit_key is null or koppeling.room_under(l) > 0 and (l.opens_at is null or l.opens_at < v_late)
        union all
        select b.id, 'a pause'
        from (select * from koppeling.job j where j.blocked_by = 'pause' limit 10000) b
        where not exists (
            select from koppeling.job_pause p
            where p.key in (b.key, b.order_key, b.limit_key)
                and (p.queue is null or p.queue = b.queue) and (p.kind is null or p.kind = b.kind))
    ) d;

    -- The first thousand of each kind will do.
    return query
    select 'due_jobs_are_taken', count(*), min(format('job %s is due since %s', d.id, d.run_at))
    from (
        select distinct c.queue, k as kind
        from koppeling.consumer c
        join koppeling.worker w on w.id = c.worker_id and w.ended_at is null and w.heartbeat_at >= v_late
        cross join unnest(koppeling.open_kinds(c.queue, c.kinds)) k
        where c.waiting
    ) c
    cross join lateral (
        (select j.id, j.run_at, j.queue, j.order_key from koppeling.job j
         where j.state = 'ready' and j.queue = c.queue and j.kind = c.kind and j.run_at < v_late
             and j.enqueued_at < v_late
         order by j.priority, j.run_at
         limit 1000)
        union all
        (select j.id, j.run_at, j.queue, j.order_key from koppeling.job j
         where j.state = 'returned' and j.queue = c.queue and j.kind = c.kind and j.run_at < v_late
         order by j.priority, j.run_at
         limit 1000)
    ) d
    where d.order_key is null or not exists (
        select from koppeling.job b
        where b.queue = d.queue and b.order_key = d.order_key and b.run_at < 'infinity'
            and (b.id < d.id or b.state = 'running'));

    return query
    select 'schedules_are_on_time', count(*), min(format('schedule %s was due at %s', s.name, s.next_at))
    from koppeling.job_schedule s
    where s.next_at < v_late;

    return query
    select 'consumers_have_a_worker', count(*), min(format('consumer %s of worker %s', c.id, c.worker_id))
    from koppeling.consumer c
    left join koppeling.worker w on w.id = c.worker_id
    where w.id is null or w.ended_at < v_late;

    return query
    select 'history_days_are_made', count(*), min(t.parent || ' has no partition for tomorrow')
    from koppeling.history_tables() t
    where not exists (
        select from koppeling.history_partitions() p
        where p.parent = t.parent and p.starts_at <= v_now + interval '1 day' and p.ends_at > v_now + interval '1 day');

    return query
    select 'history_lies_in_its_days', count(*), min(r.moment || ' in a default partition')
    from (
        (select 'a job that finished at ' || h.finished_at as moment from koppeling.job_done_rest h limit 1000)
        union all
        (select 'a job that finished at ' || h.finished_at from koppeling.job_rejected_rest h limit 1000)
        union all
        (select 'a job that finished at ' || h.finished_at from koppeling.job_cancelled_rest h limit 1000)
        union all
        (select 'an attempt that ended at ' || a.ended_at from koppeling.job_attempt_rest a limit 1000)
    ) r;

    return query
    select 'history_is_pruned', count(*), min(p.partition)
    from koppeling.history_partitions() p
    join koppeling.history_tables() t on t.parent = p.parent
    where p.ends_at <= t.kept_since - interval '1 day';
end $$;

revoke execute on function koppeling.check_queue(bigint) from public;
comment on function koppeling.check_queue(bigint) is
    'Looks whether what must hold in the queue does: a row for each invariant. Of single jobs, at the latest numbers.';
