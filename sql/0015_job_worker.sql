-- What workers call: to register, to take jobs, to say what became of them, and to take over from dead ones.

create function koppeling.register_worker(p_name text, p_host text, p_pid int, p_version text) returns bigint
    language sql set search_path = koppeling, pg_temp
begin atomic
    insert into koppeling.worker (name, host, pid, version) values (p_name, p_host, p_pid, p_version) returning id;
end;

create function koppeling.register_consumer(p_worker bigint, p_queue text, p_kinds text[]) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_consumer bigint;
begin
    insert into koppeling.job_kind (kind) select k from unnest(p_kinds) k order by k on conflict do nothing;
    insert into koppeling.consumer (worker_id, queue, kinds)
    select w.id, p_queue, p_kinds from koppeling.worker w where w.id = p_worker and w.ended_at is null
    returning id into v_consumer;
    return v_consumer;
end $$;

-- Takes the next jobs for a consumer: by priority, then by run_at, then by id. Raises KQ001 when the consumer is not
-- registered (any more): its worker was declared dead, or the server has crashed.
--
-- The plan must not depend on what the table looked like when it was made: a queue is empty at one moment and full at
-- the next. So it is fixed: the index in its order, nothing else.
create function koppeling.claim_jobs(p_worker bigint, p_consumer bigint, p_limit int)
    returns table (id bigint, queue text, kind text, args jsonb, key text, order_key text, priority int, attempt int,
        max_attempts int, run_at timestamptz, enqueued_at timestamptz, claim int)
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := koppeling.now();
    v_consumer koppeling.consumer;
    v_priority int := -10001;
    v_left int := p_limit;
    v_count int;
begin
    select c.* into v_consumer
    from koppeling.consumer c
    join koppeling.worker w on w.id = c.worker_id
    where c.id = p_consumer and c.worker_id = p_worker and w.ended_at is null;
    if not found then
        raise exception using errcode = 'KQ001', message = format('consumer %s is not registered', p_consumer);
    end if;
    while v_left > 0 loop
        select min(p.priority) into v_priority
        from unnest(v_consumer.kinds) k
        cross join lateral (
            select j.priority from koppeling.job j
            where j.state = 'ready' and j.queue = v_consumer.queue and j.kind = k and j.priority > v_priority
            order by j.priority
            limit 1) p;
        exit when v_priority is null;
        return query
        with picked as materialized (
            select p.id
            from unnest(v_consumer.kinds) k
            cross join lateral (
                select j.id, j.run_at from koppeling.job j
                where j.state = 'ready' and j.queue = v_consumer.queue and j.kind = k and j.priority = v_priority
                    and j.run_at <= v_now
                    and (j.order_key is null
                        or not exists (
                            select from koppeling.job b
                            where b.queue = j.queue and b.order_key = j.order_key and b.id < j.id
                                and b.run_at < 'infinity')
                        and not exists (
                            select from koppeling.job b
                            where b.queue = j.queue and b.order_key = j.order_key and b.state = 'running'))
                order by j.run_at, j.id
                limit v_left
                for update skip locked) p
            order by p.run_at, p.id
            limit v_left
        ), begun as (
            update koppeling.job j
            set state = 'running', worker_id = p_worker, consumer_id = p_consumer, started_at = v_now,
                attempt = j.attempt + 1, claim = j.claim + 1
            where j.id = any (array(select p.id from picked p))
            returning j.*
        )
        select b.id, b.queue, b.kind, b.args, b.key, b.order_key, b.priority, b.attempt, b.max_attempts, b.run_at,
            b.enqueued_at, b.claim
        from begun b
        order by b.run_at, b.id;
        get diagnostics v_count = row_count;
        v_left := v_left - v_count;
    end loop;
    -- Whoever found nothing is notified of what comes next; whoever found something looks again by itself.
    if v_consumer.waiting <> (v_left = p_limit) then
        update koppeling.consumer c set waiting = not v_consumer.waiting where c.id = p_consumer;
    end if;
end $$;

-- For each waiting consumer of a worker: whether there is work for it now, and when there will be.
create function koppeling.look_for_work(p_worker bigint)
    returns table (consumer_id bigint, is_due boolean, next_at timestamptz)
    language plpgsql stable
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off
as $$
declare
    v_now timestamptz := koppeling.now();
    v_consumer record;
    v_kind text;
    v_priority int;
    v_due boolean;
    v_next timestamptz;
begin
    for v_consumer in
        select c.queue, c.kinds, array_agg(c.id) as ids from koppeling.consumer c
        where c.worker_id = p_worker and c.waiting group by c.queue, c.kinds
    loop
        v_due := false;
        v_next := 'infinity';
        foreach v_kind in array v_consumer.kinds loop
            v_priority := -10001;
            loop
                select j.priority into v_priority from koppeling.job j
                where j.state = 'ready' and j.queue = v_consumer.queue and j.kind = v_kind and j.priority > v_priority
                order by j.priority
                limit 1;
                exit when not found;
                v_due := v_due or exists (
                    select from koppeling.job j
                    where j.state = 'ready' and j.queue = v_consumer.queue and j.kind = v_kind
                        and j.priority = v_priority and j.run_at <= v_now);
                v_next := least(v_next, (
                    select j.run_at from koppeling.job j
                    where j.state = 'ready' and j.queue = v_consumer.queue and j.kind = v_kind
                        and j.priority = v_priority and j.run_at > v_now
                    order by j.run_at
                    limit 1));
            end loop;
        end loop;
        return query select c, v_due, nullif(v_next, 'infinity') from unnest(v_consumer.ids) c;
    end loop;
end $$;

-- The wait after the given number of failures.
create function koppeling.retry_delay(p_attempt int, p_base interval, p_cap interval) returns interval
    language sql volatile parallel safe
    return least(p_cap, p_base * (2 ^ least(p_attempt - 1, 40))) * (0.5 + random() / 2);

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
    v_queues text[];
    v_keyed koppeling.job[];
begin
    with given as materialized (
        select * from unnest(p_ids, p_claims, p_outcomes, p_notes, p_delays) as g (id, claim, outcome, note, delay)
    ), held as materialized (
        select j as job, g.note,
            case when g.outcome in ('retry', 'died') and j.attempt >= j.max_attempts then 'rejected'
                else g.outcome end as outcome,
            case when g.outcome in ('retry', 'died') and j.attempt >= j.max_attempts
                then coalesce(g.note, 'no reason given') || ' (attempt ' || j.attempt || ' of ' || j.max_attempts || ')'
                else g.note end as reason,
            case g.outcome
                when 'retry' then v_now + coalesce(make_interval(secs => g.delay),
                    koppeling.retry_delay(j.attempt, coalesce(k.retry_base, '2 seconds'),
                        coalesce(k.retry_cap, '1 hour')))
                when 'snooze' then v_now + make_interval(secs => coalesce(g.delay, 0))
                else j.run_at
            end as next_at
        from given g
        join koppeling.job j on j.id = g.id
        left join koppeling.job_kind k on k.kind = j.kind
        where j.claim = g.claim and j.worker_id = p_worker and j.state = 'running'
        for update of j
    ), finished as (
        delete from koppeling.job j using held h
        where j.id = (h.job).id and h.outcome in ('done', 'rejected', 'cancelled')
    ), kept as (
        insert into koppeling.job_history (id, enqueued_at, run_at, started_at, finished_at, worker_id, priority,
            attempt, max_attempts, claim, snoozes, outcome, queue, kind, key, key_mode, order_key, limit_key, reason,
            args, result)
        select (job).id, (job).enqueued_at, (job).run_at, (job).started_at, v_now, (job).worker_id, (job).priority,
            (job).attempt, (job).max_attempts, (job).claim, (job).snoozes, outcome, (job).queue, (job).kind,
            (job).key, (job).key_mode, (job).order_key, (job).limit_key,
            case when outcome <> 'done' then coalesce(reason, 'no reason given') end, (job).args,
            case when outcome = 'done' then note::jsonb end
        from held
        where outcome in ('done', 'rejected', 'cancelled')
    ), tried as (
        insert into koppeling.job_attempt (job_id, claim, attempt, worker_id, started_at, ended_at, outcome, error)
        select (job).id, (job).claim, (job).attempt, p_worker, (job).started_at, v_now,
            case outcome when 'retry' then 'retried' when 'snooze' then 'snoozed' else outcome end, note
        from held
        where outcome in ('retry', 'snooze', 'released', 'died')
    ), returned as (
        update koppeling.job j
        set state = 'ready', worker_id = null, consumer_id = null, started_at = null, run_at = h.next_at,
            attempt = j.attempt - case when h.outcome in ('snooze', 'released') then 1 else 0 end,
            snoozes = j.snoozes + case when h.outcome = 'snooze' then 1 else 0 end,
            error = case when h.outcome in ('retry', 'died') then h.note else j.error end
        from held h
        where j.id = (h.job).id and j.key is null and h.outcome in ('retry', 'snooze', 'released', 'died')
    )
    select array_agg((h.job).id),
        -- Others may wait for what goes back, and for what waited behind a finished one.
        array_agg(distinct (h.job).queue) filter (where h.outcome in ('retry', 'snooze', 'released', 'died')
            or (h.job).order_key is not null and exists (
                select from koppeling.job s
                where s.queue = (h.job).queue and s.order_key = (h.job).order_key and s.id > (h.job).id)),
        array_agg(koppeling.as_ready(h.job, h.next_at, h.outcome, h.note) order by (h.job).queue, (h.job).key)
            filter (where (h.job).key is not null and h.outcome in ('retry', 'snooze', 'released', 'died'))
    into v_ids, v_queues, v_keyed
    from held h;
    if v_keyed is not null then
        perform koppeling.fold_back(v_keyed);
    end if;
    if v_queues is not null then
        perform koppeling.wake(v_queues, null);
    end if;
    return coalesce(v_ids, '{}');
end $$;

-- A running job as it will be when it waits again.
create function koppeling.as_ready(job koppeling.job, next_at timestamptz, outcome text, note text)
    returns koppeling.job
    language plpgsql immutable set search_path = koppeling, pg_temp
as $$
begin
    job.state := 'ready';
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
-- due when either was, and with mode append it has the args of both, those of the one that comes back first. With
-- mode replace it stays as it is: the newest counts.
create function koppeling.fold_back(p_jobs koppeling.job[]) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    delete from koppeling.job j where j.id = any (array(select b.id from unnest(p_jobs) b));
    insert into koppeling.job as waiting
    select b.* from unnest(p_jobs) b order by b.queue, b.key
    on conflict (queue, key) where state = 'ready' and key is not null do update
    set args = case
            when waiting.key_mode = 'append' and jsonb_typeof(excluded.args) = 'array'
                and jsonb_typeof(waiting.args) = 'array' and waiting.kind = excluded.kind
            then excluded.args || waiting.args else waiting.args end,
        run_at = case when waiting.key_mode = 'replace' then waiting.run_at
            else least(waiting.run_at, excluded.run_at) end;
    insert into koppeling.job_history (id, enqueued_at, run_at, finished_at, priority, attempt, max_attempts, claim,
        snoozes, outcome, queue, kind, key, key_mode, order_key, limit_key, reason, args)
    select b.id, b.enqueued_at, b.run_at, koppeling.now(), b.priority, b.attempt, b.max_attempts, b.claim, b.snoozes,
        'cancelled', b.queue, b.kind, b.key, b.key_mode, b.order_key, b.limit_key,
        'folded into job ' || w.id || coalesce(' after: ' || b.error, ''), b.args
    from unnest(p_jobs) b
    join koppeling.job w on w.queue = b.queue and w.key = b.key and w.state = 'ready'
    where w.id <> b.id;
end $$;

-- Gives back what runs under a worker's name, or under one consumer of it.
create function koppeling.abandon_jobs(p_worker bigint, p_consumer bigint, p_outcome text, p_note text)
    returns bigint
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_ids bigint[];
    v_claims int[];
begin
    select array_agg(j.id), array_agg(j.claim) into v_ids, v_claims
    from koppeling.job j
    where j.state = 'running' and j.worker_id = p_worker and (p_consumer is null or j.consumer_id = p_consumer);
    if v_ids is null then
        return 0;
    end if;
    return cardinality(koppeling.complete_jobs(p_worker, v_ids, v_claims,
        array_fill(p_outcome, array[cardinality(v_ids)]), array_fill(p_note, array[cardinality(v_ids)]), null));
end $$;

-- Ends a worker, and gives back what it had without counting an attempt.
create function koppeling.stop_worker(p_worker bigint) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    delete from koppeling.consumer c where c.worker_id = p_worker;
    update koppeling.worker w set ended_at = koppeling.now(), ending = 'stopped'
    where w.id = p_worker and w.ended_at is null;
    return koppeling.abandon_jobs(p_worker, null, 'released', 'its worker stopped');
end $$;

-- A worker's sign of life; it takes over from those that give none. False when this one was declared dead meanwhile.
create function koppeling.beat(p_worker bigint, p_dead_after interval) returns table (is_alive boolean, rescued bigint)
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_now timestamptz := koppeling.now();
    v_before timestamptz;
    v_dead bigint;
begin
    rescued := 0;
    select w.heartbeat_at into v_before from koppeling.worker w where w.id = p_worker and w.ended_at is null
    for no key update;
    is_alive := found;
    if is_alive then
        update koppeling.worker w set heartbeat_at = v_now where w.id = p_worker;
    end if;
    -- Whoever was itself out of touch cannot tell whether the others are dead or the database was.
    if not is_alive or v_before < v_now - p_dead_after then
        return next;
        return;
    end if;
    update koppeling.worker w set ended_at = v_now, ending = 'died'
    where w.id in (
        select d.id from koppeling.worker d
        where d.ended_at is null and d.heartbeat_at < v_now - p_dead_after
        for update skip locked);
    if found then
        delete from koppeling.consumer c
        where not exists (select from koppeling.worker w where w.id = c.worker_id and w.ended_at is null);
    end if;
    -- Not only of those just declared dead: one of them may have claimed at that very moment.
    for v_dead in
        with recursive holder as (
            (select j.worker_id from koppeling.job j where j.state = 'running' order by j.worker_id limit 1)
            union all
            select (select j.worker_id from koppeling.job j
                    where j.state = 'running' and j.worker_id > h.worker_id
                    order by j.worker_id limit 1)
            from holder h where h.worker_id is not null
        )
        select h.worker_id from holder h
        where h.worker_id is not null
            and not exists (select from koppeling.worker w where w.id = h.worker_id and w.ended_at is null)
    loop
        rescued := rescued + koppeling.abandon_jobs(v_dead, null, 'died', 'its worker died');
    end loop;
    return next;
end $$;

revoke execute on function
    koppeling.register_worker(text, text, int, text), koppeling.register_consumer(bigint, text, text[]),
    koppeling.claim_jobs(bigint, bigint, int), koppeling.look_for_work(bigint),
    koppeling.complete_jobs(bigint, bigint[], int[], text[], text[], double precision[]),
    koppeling.fold_back(koppeling.job[]), koppeling.abandon_jobs(bigint, bigint, text, text),
    koppeling.stop_worker(bigint), koppeling.beat(bigint, interval)
    from public;
