-- How workers say what became of jobs, and how jobs go back into the queue.

-- The wait after the given number of failures.
create function koppeling.retry_delay(p_attempt int, p_base interval, p_cap interval) returns interval
    language sql volatile parallel safe
    return least(p_cap, p_base * (2 ^ least(p_attempt - 1, 40))) * (0.5 + random() / 2);

-- What is final about a job that ends so: null when it goes back into the queue, else the outcome and the reason.
create function koppeling.final_outcome(job koppeling.job, outcome text, note text)
    returns table (final text, reason text)
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select case
            when outcome in ('done', 'rejected', 'cancelled') then outcome
            when c.job_id is not null then 'cancelled'
            when outcome = 'died' and job.alone and job.deaths >= 3 then 'rejected'
            when outcome in ('retry', 'died') and job.attempt >= job.max_attempts then 'rejected'
        end,
        case
            when outcome = 'done' then null
            when outcome in ('rejected', 'cancelled') then coalesce(note, 'no reason given')
            when c.job_id is not null then c.reason
            when outcome = 'died' and job.alone and job.deaths >= 3 then
                'poison: its worker died three times while it ran alone'
            else coalesce(note, 'no reason given')
                || ' (attempt ' || job.attempt || ' of ' || job.max_attempts || ')'
        end
    from (select) one
    left join koppeling.job_cancellation c on c.job_id = job.id;
end;

-- Says what became of jobs: done, retry, snooze, released, died, rejected or cancelled, each with what is to be noted
-- (the result of a done one as JSON, else an error or a reason) and, for retry and snooze, the seconds to wait (by the
-- kind's policy when null). Only claims that still hold count; their ids are returned.
create function koppeling.complete_jobs(
    p_worker bigint, p_ids bigint[], p_claims int[], p_outcomes text[], p_notes text[], p_delays double precision[]
) returns bigint[]
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off
as $$
declare
    v_now timestamptz := koppeling.now();
    v_ids bigint[];
    v_back bigint[];
    v_gates record;
begin
    if array_position(p_outcomes, 'done') is not null and p_outcomes <@ array['done'] then
        -- By far the most: nothing is to be judged. Only a running job has a worker; the condition is written such that
        -- no index over workers serves it, for the planner would think it the better one.
        with gone as (
            delete from koppeling.job j
            using unnest(p_ids, p_claims, p_notes) as g (id, claim, note)
            where j.id = g.id and j.claim = g.claim and j.worker_id is not distinct from p_worker
            returning j.id, j.enqueued_at, j.run_at, j.started_at, j.priority, j.attempt, j.max_attempts, j.claim,
                j.snoozes, j.queue, j.kind, j.key, j.key_mode, j.order_key, j.limit_key, j.args, g.note
        ), kept as (
            insert into koppeling.job_history (id, enqueued_at, run_at, started_at, finished_at, worker_id, priority,
                attempt, max_attempts, claim, snoozes, outcome, queue, kind, key, key_mode, order_key, limit_key,
                args, result)
            select id, enqueued_at, run_at, started_at, v_now, p_worker, priority, attempt, max_attempts, claim,
                snoozes, 'done', queue, kind, key, key_mode, order_key, limit_key, args, note::jsonb
            from gone
        )
        select array_agg(g.id),
            array_agg(g.queue) filter (where g.order_key is not null or g.limit_key is not null) as queues,
            array_agg(g.order_key) filter (where g.order_key is not null or g.limit_key is not null) as order_keys,
            array_agg(g.limit_key) filter (where g.order_key is not null or g.limit_key is not null) as limit_keys
        into v_gates
        from gone g;
        v_ids := v_gates.array_agg;
        if exists (select from koppeling.job_cancellation) then
            delete from koppeling.job_cancellation c where c.job_id = any (v_ids);
        end if;
    else
        with given as materialized (
            select * from unnest(p_ids, p_claims, p_outcomes, p_notes) as g (id, claim, outcome, note)
        ), held as materialized (
            select j as job, g.outcome, g.note
            from given g
            join koppeling.job j on j.id = g.id
            where j.claim = g.claim and j.worker_id is not distinct from p_worker
            for update of j
        ), judged as materialized (
            select h.job, h.note, f.final, f.reason
            from held h
            cross join lateral koppeling.final_outcome(h.job, h.outcome, h.note) f
        ), gone as (
            delete from koppeling.job j using judged h where j.id = (h.job).id and h.final is not null
        ), kept as (
            insert into koppeling.job_history (id, enqueued_at, run_at, started_at, finished_at, worker_id, priority,
                attempt, max_attempts, claim, snoozes, outcome, queue, kind, key, key_mode, order_key, limit_key,
                reason, args, result)
            select (job).id, (job).enqueued_at, (job).run_at, (job).started_at, v_now, (job).worker_id,
                (job).priority, (job).attempt, (job).max_attempts, (job).claim, (job).snoozes, final, (job).queue,
                (job).kind, (job).key, (job).key_mode, (job).order_key, (job).limit_key, reason, (job).args,
                case when final = 'done' then note::jsonb end
            from judged
            where final is not null
        )
        select array_agg((h.job).id) as ids,
            array_agg((h.job).id) filter (where h.final is null) as back,
            array_agg((h.job).queue) filter (where (h.job).order_key is not null or (h.job).limit_key is not null)
                as queues,
            array_agg((h.job).order_key) filter (where (h.job).order_key is not null or (h.job).limit_key is not null)
                as order_keys,
            array_agg((h.job).limit_key) filter (where (h.job).order_key is not null or (h.job).limit_key is not null)
                as limit_keys
        into v_gates
        from judged h;
        v_ids := v_gates.ids;
        v_back := v_gates.back;
        if v_back is not null then
            perform koppeling.return_jobs(v_back, p_ids, p_outcomes, p_notes, p_delays, v_now);
        end if;
        if v_ids is not null then
            delete from koppeling.job_cancellation c
            where c.job_id = any (v_ids) and c.job_id <> all (coalesce(v_back, '{}'));
        end if;
    end if;
    if v_gates.queues is not null then
        perform koppeling.open_gates(v_gates.queues, v_gates.order_keys, v_gates.limit_keys);
    end if;
    return coalesce(v_ids, '{}');
end $$;

-- Puts running jobs back into the queue, as the outcome of each says, and notes the attempts that ended.
create function koppeling.return_jobs(
    p_back bigint[], p_ids bigint[], p_outcomes text[], p_notes text[], p_delays double precision[], p_now timestamptz
) returns void
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off
as $$
declare
    v_keyed koppeling.job[];
    v_queues text[];
    v_kinds text[];
begin
    with back as materialized (
        select j as job, g.outcome, g.note,
            case g.outcome
                when 'retry' then p_now + coalesce(make_interval(secs => g.delay),
                    koppeling.retry_delay(j.attempt, coalesce(k.retry_base, '2 seconds'),
                        coalesce(k.retry_cap, '1 hour')))
                when 'snooze' then p_now + make_interval(secs => coalesce(g.delay, 0))
                else j.run_at
            end as next_at
        from unnest(p_ids, p_outcomes, p_notes, p_delays) as g (id, outcome, note, delay)
        join koppeling.job j on j.id = g.id
        left join koppeling.job_kind k on k.kind = j.kind
        where g.id in (select b from unnest(p_back) b)
    ), tried as (
        insert into koppeling.job_attempt (job_id, claim, attempt, worker_id, started_at, ended_at, outcome, error)
        select (job).id, (job).claim, (job).attempt, (job).worker_id, (job).started_at, p_now,
            case outcome when 'retry' then 'retried' when 'snooze' then 'snoozed' else outcome end, note
        from back
    ), placed as materialized (
        select koppeling.as_waiting(r.job, r.next_at, r.outcome, r.note) as job from back r
    ), updated as (
        update koppeling.job j
        set state = (p.job).state, worker_id = null, consumer_id = null, started_at = null, run_at = (p.job).run_at,
            attempt = (p.job).attempt, snoozes = (p.job).snoozes, deaths = (p.job).deaths, alone = false,
            error = (p.job).error
        from placed p
        where j.id = (p.job).id and j.key is null
    )
    select array_agg(p.job) filter (where (p.job).key is not null), array_agg(distinct (p.job).queue),
        array_agg(distinct (p.job).kind)
    into v_keyed, v_queues, v_kinds
    from placed p;
    if v_keyed is not null then
        perform koppeling.fold_back(v_keyed);
    end if;
    perform koppeling.wake(v_queues, v_kinds);
end $$;

-- A running job as it will be when it waits again.
create function koppeling.as_waiting(job koppeling.job, next_at timestamptz, outcome text, note text)
    returns koppeling.job
    language plpgsql immutable set search_path = koppeling, pg_temp
as $$
begin
    if outcome = 'died' then
        -- The first time it may have been any of those that ran beside it.
        job.deaths := case when job.alone then job.deaths + 1 else greatest(job.deaths, 1) end;
    elsif job.alone and outcome <> 'released' then
        -- It ran alone, and its worker lives.
        job.deaths := 0;
    end if;
    job.state := case when job.deaths > 0 then 'suspect' when outcome in ('retry', 'snooze') then 'ready'
        else 'returned' end;
    job.alone := false;
    job.worker_id := null;
    job.consumer_id := null;
    job.started_at := null;
    job.run_at := next_at;
    if outcome in ('snooze', 'released') then
        job.attempt := job.attempt - 1;
        job.snoozes := job.snoozes + case when outcome = 'snooze' then 1 else 0 end;
    else
        job.error := note;
    end if;
    return job;
end $$;

-- Puts jobs with keys back into the queue. Where another waits with the key by now, that one takes over: it becomes
-- due when either was, and with mode append it has the args of both in the order of their numbers. With mode replace the
-- newest counts, also when the one that waits is the older one, which ran beside it and came back before it.
create function koppeling.fold_back(p_jobs koppeling.job[]) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_jobs koppeling.job[];
    v_rest koppeling.job[] := p_jobs;
    v_replaced record;
begin
    delete from koppeling.job j where j.id = any (array(select b.id from unnest(p_jobs) b));
    -- Of several with one key the newest goes first, so that the older ones fold into it: a round for each.
    while v_rest is not null loop
        select array_agg(r.job order by (r.job).queue, (r.job).key) filter (where r.place = 1),
            array_agg(r.job) filter (where r.place > 1)
        into v_jobs, v_rest
        from (select b as job, row_number() over (partition by b.queue, b.key order by b.id desc) as place
              from unnest(v_rest) b) r;
        -- What an older one stood before or took up is free when it gets the keys of a newer one.
        select array_agg(w.queue) as queues, array_agg(w.order_key) as order_keys, array_agg(w.limit_key) as limit_keys
        into v_replaced
        from unnest(v_jobs) b
        join koppeling.job w on w.queue = b.queue and w.key = b.key and w.state <> 'running'
        where w.id < b.id and b.key_mode = 'replace' and num_nonnulls(w.order_key, w.limit_key) > 0;
        insert into koppeling.job as waiting
        select b.* from unnest(v_jobs) b
        on conflict (queue, key) where state <> 'running' and key is not null do update
        set (kind, args, run_at, priority, attempt, max_attempts, deaths, error, key_mode, order_key, limit_key, state,
            blocked_by) = (
            select f.kind, f.args, f.run_at, f.priority, f.attempt, f.max_attempts, f.deaths, f.error, f.key_mode,
                f.order_key, f.limit_key, f.state, f.blocked_by
            from koppeling.folded(waiting, excluded) f);
        if v_replaced.queues is not null then
            perform koppeling.open_gates(v_replaced.queues, v_replaced.order_keys, v_replaced.limit_keys);
        end if;
        insert into koppeling.job_history (id, enqueued_at, run_at, finished_at, priority, attempt, max_attempts,
            claim, snoozes, outcome, queue, kind, key, key_mode, order_key, limit_key, reason, args)
        select b.id, b.enqueued_at, b.run_at, koppeling.now(), b.priority, b.attempt, b.max_attempts, b.claim,
            b.snoozes, 'cancelled', b.queue, b.kind, b.key, b.key_mode, b.order_key, b.limit_key,
            'folded into job ' || w.id || coalesce(' after: ' || b.error, ''), b.args
        from unnest(v_jobs) b
        join koppeling.job w on w.queue = b.queue and w.key = b.key and w.state <> 'running'
        where w.id <> b.id;
    end loop;
end $$;

-- A job that waits with a key as it is after another with the key came back and was folded into it.
create function koppeling.folded(waiting koppeling.job, back koppeling.job) returns koppeling.job
    language plpgsql immutable set search_path = koppeling, pg_temp
as $$
declare
    newer koppeling.job := case when waiting.id > back.id then waiting else back end;
    older koppeling.job := case when waiting.id > back.id then back else waiting end;
begin
    if newer.key_mode <> 'replace' then
        if waiting.state = 'ready' and back.run_at < waiting.run_at then
            waiting.state := 'returned';
        end if;
        waiting.run_at := least(waiting.run_at, back.run_at);
        if newer.key_mode = 'append' and newer.kind = older.kind
            and jsonb_typeof(newer.args) = 'array' and jsonb_typeof(older.args) = 'array' then
            waiting.args := older.args || newer.args;
            waiting.key_mode := 'append';
        end if;
    elsif newer.id = back.id then
        waiting.kind := back.kind;
        waiting.args := back.args;
        waiting.run_at := back.run_at;
        waiting.priority := least(waiting.priority, back.priority);
        waiting.attempt := back.attempt;
        waiting.max_attempts := back.max_attempts;
        waiting.deaths := back.deaths;
        waiting.error := back.error;
        waiting.key_mode := back.key_mode;
        waiting.order_key := back.order_key;
        waiting.limit_key := back.limit_key;
        waiting.state := case when waiting.deaths > 0 then 'suspect' else 'returned' end;
        waiting.blocked_by := null;
    end if;
    return waiting;
end $$;

revoke execute on function
    koppeling.complete_jobs(bigint, bigint[], int[], text[], text[], double precision[]),
    koppeling.return_jobs(bigint[], bigint[], text[], text[], double precision[], timestamptz),
    koppeling.as_waiting(koppeling.job, timestamptz, text, text),
    koppeling.final_outcome(koppeling.job, text, text),
    koppeling.fold_back(koppeling.job[]), koppeling.folded(koppeling.job, koppeling.job)
    from public;
