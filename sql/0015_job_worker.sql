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
-- registered (any more): its worker was declared dead, or the server has crashed. A row of nulls says that nothing was
-- found so far, and that there is more to look at.
--
-- The marks say, per kind and priority, since when jobs that are simply ready need to be looked at: those before were
-- claimed. The entries that they left in the index are in the way until they are vacuumed away, and that may take long
-- while some other session holds an old snapshot. Jobs whose enqueueing was committed long after it was done lie before
-- the marks; so a consumer now and then claims without any.
--
-- With p_suspects the jobs are those that ran when their worker died; p_alone says that nothing else will run in the
-- worker's process beside them.
--
-- The plan must not depend on what the table looked like when it was made: a queue is empty at one moment and full at
-- the next. So it is fixed: the index in its order, nothing else.
create function koppeling.claim_jobs(
    p_worker bigint, p_consumer bigint, p_limit int, p_mark_kinds text[] default '{}',
    p_mark_priorities int[] default '{}', p_mark_times timestamptz[] default '{}',
    p_suspects boolean default false, p_alone boolean default false
) returns table (id bigint, queue text, kind text, args jsonb, key text, order_key text, limit_key text, priority int,
        attempt int, max_attempts int, run_at timestamptz, enqueued_at timestamptz, claim int,
        started_at timestamptz)
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := koppeling.now();
    v_consumer koppeling.consumer;
    v_kinds text[];
    v_priority int := -10001;
    v_left int := p_limit;
    v_passes int := 0;
    v_found int;
    v_ids bigint[];
    v_tids tid[];
    v_started bigint[];
    v_gated boolean;
    v_keyed_pause boolean;
    v_is_cut boolean := false;
    v_is_full boolean := false;
begin
    select c.* into v_consumer
    from koppeling.consumer c
    join koppeling.worker w on w.id = c.worker_id
    where c.id = p_consumer and c.worker_id = p_worker and w.ended_at is null;
    if not found then
        raise exception using errcode = 'KQ001', message = format('consumer %s is not registered', p_consumer);
    end if;
    v_kinds := koppeling.open_kinds(v_consumer.queue, v_consumer.kinds);
    v_keyed_pause := exists (select from koppeling.job_pause p where p.key is not null);
    perform koppeling.open_limits(v_now);
    loop
        exit when v_left = 0;
        v_priority := koppeling.next_priority(v_consumer.queue, v_kinds, v_priority, p_mark_kinds, p_mark_priorities,
            p_mark_times, p_suspects);
        exit when v_priority is null;
        loop
            v_passes := v_passes + 1;
            with fresh as materialized (
                select p.*
                from unnest(v_kinds) k
                left join unnest(p_mark_kinds, p_mark_priorities, p_mark_times) as m (kind, priority, at)
                    on m.kind = k and m.priority = v_priority
                cross join lateral (
                    select j.id, j.ctid as tid, j.run_at, j.order_key is not null or j.limit_key is not null as is_gated
                    from koppeling.job j
                    where j.state = 'ready' and j.queue = v_consumer.queue and j.kind = k and j.priority = v_priority
                        and j.run_at >= coalesce(m.at, '-infinity') and j.run_at <= v_now
                    order by j.run_at, j.id
                    limit v_left
                    for update skip locked) p
                where not p_suspects
            ), returned as materialized (
                select p.*
                from unnest(v_kinds) k
                cross join lateral (
                    select j.id, j.ctid, j.run_at, j.order_key is not null or j.limit_key is not null
                    from koppeling.job j
                    where j.state = 'returned' and j.queue = v_consumer.queue and j.kind = k
                        and j.priority = v_priority and j.run_at <= v_now
                    order by j.run_at, j.id
                    limit v_left
                    for update skip locked) p
                where not p_suspects
            ), suspect as materialized (
                select p.*
                from unnest(v_kinds) k
                cross join lateral (
                    select j.id, j.ctid, j.run_at, j.order_key is not null or j.limit_key is not null
                    from koppeling.job j
                    where j.state = 'suspect' and j.queue = v_consumer.queue and j.kind = k
                        and j.priority = v_priority and j.run_at <= v_now
                    order by j.run_at, j.id
                    limit v_left
                    for update skip locked) p
                where p_suspects
            )
            select array_agg(p.id), array_agg(p.tid), coalesce(bool_or(p.is_gated), false), count(*)
            into v_ids, v_tids, v_gated, v_found
            from (
                select * from (table fresh union all table returned union all table suspect) p
                order by p.run_at, p.id
                limit v_left) p;
            exit when v_found = 0;
            v_started := v_ids;
            if v_gated or v_keyed_pause then
                v_started := koppeling.pass_gates(v_consumer.queue, v_ids, v_now);
                v_tids := array(
                    select p.tid from unnest(v_ids, v_tids) as p (id, tid)
                    where p.id in (select s from unnest(v_started) s));
            end if;
            -- They are locked, so they are where they were found.
            return query
            with begun as (
                update koppeling.job j
                set state = 'running', worker_id = p_worker, consumer_id = p_consumer, started_at = v_now,
                    attempt = j.attempt + 1, claim = j.claim + 1, alone = p_alone
                where j.ctid = any (v_tids)
                returning j.*
            )
            select b.id, b.queue, b.kind, b.args, b.key, b.order_key, b.limit_key, b.priority, b.attempt,
                b.max_attempts, b.run_at, b.enqueued_at, b.claim, b.started_at
            from begun b
            order by b.run_at, b.id;
            -- When there may be more of this priority: content with what there is; or once more, as long as that gets
            -- jobs out of the way.
            v_is_cut := v_found = v_left and v_started = '{}';
            v_is_full := v_found = v_left;
            v_left := v_left - cardinality(v_started);
            exit when not v_is_cut or v_passes = 20 or not exists (
                select from koppeling.job j where j.id = any (v_ids) and j.state = 'blocked');
        end loop;
        exit when v_is_full;
    end loop;
    if v_left = p_limit and v_is_cut then
        return query select null::bigint, null, null, null::jsonb, null, null, null, null::int, null::int, null::int,
            null::timestamptz, null::timestamptz, null::int, null::timestamptz;
    -- Whoever found nothing is notified of what comes next; whoever found something looks again by itself.
    elsif v_consumer.waiting <> (v_left = p_limit) and not p_suspects then
        update koppeling.consumer c set waiting = not v_consumer.waiting where c.id = p_consumer;
    end if;
end $$;

-- The most urgent priority after the given one at which jobs of a queue wait, as far as the marks do not say that they
-- were claimed. A kind's marks cut its index into ranges: each runs from a mark to the next mark's priority.
create function koppeling.next_priority(
    p_queue text, p_kinds text[], p_after int, p_mark_kinds text[], p_mark_priorities int[],
    p_mark_times timestamptz[], p_suspects boolean
) returns int
    language sql stable
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off
begin atomic
    with mark as materialized (
        select * from unnest(p_mark_kinds, p_mark_priorities, p_mark_times) as m (kind, priority, at)
        union all
        select k, -10001, '-infinity' from unnest(p_kinds) k
    ), span as materialized (
        select m.kind, greatest(m.priority, p_after + 1) as low,
            case when m.priority > p_after then m.at else '-infinity' end as since,
            lead(m.priority, 1, 10001) over (partition by m.kind order by m.priority) as high
        from mark m
    )
    select min(p.priority)
    from (
        select p.priority
        from span s
        cross join lateral (
            select j.priority from koppeling.job j
            where j.state = 'ready' and j.queue = p_queue and j.kind = s.kind
                and (j.priority, j.run_at) >= (s.low, s.since) and j.priority < s.high
            order by j.priority, j.run_at
            limit 1) p
        where not p_suspects and s.low < s.high and s.kind in (select k from unnest(p_kinds) k)
        union all
        select p.priority
        from unnest(p_kinds) k
        cross join lateral (
            select j.priority from koppeling.job j
            where j.state = 'returned' and j.queue = p_queue and j.kind = k and j.priority > p_after
            order by j.priority
            limit 1) p
        where not p_suspects
        union all
        select p.priority
        from unnest(p_kinds) k
        cross join lateral (
            select j.priority from koppeling.job j
            where j.state = 'suspect' and j.queue = p_queue and j.kind = k and j.priority > p_after
            order by j.priority
            limit 1) p
        where p_suspects) p;
end;

-- For each waiting consumer of a worker: whether there is work for it now, whether some is to run alone, and when there
-- will be work. The marks are those of claim_jobs, with their queues.
create function koppeling.look_for_work(
    p_worker bigint, p_mark_queues text[] default '{}', p_mark_kinds text[] default '{}',
    p_mark_priorities int[] default '{}', p_mark_times timestamptz[] default '{}'
) returns table (consumer_id bigint, is_due boolean, is_suspicious boolean, next_at timestamptz)
    language plpgsql volatile
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off
as $$
declare
    v_now timestamptz := koppeling.now();
    v_consumer record;
    v_kind text;
    v_kinds text[];
    v_priority int;
    v_since timestamptz;
    v_opens timestamptz := koppeling.open_limits(v_now);
    v_due boolean;
    v_next timestamptz;
begin
    for v_consumer in
        select c.queue, c.kinds, array_agg(c.id) as ids
        from koppeling.consumer c
        where c.worker_id = p_worker and c.waiting
        group by c.queue, c.kinds
    loop
        v_due := false;
        v_next := coalesce(v_opens, 'infinity');
        v_kinds := koppeling.open_kinds(v_consumer.queue, v_consumer.kinds);
        foreach v_kind in array v_kinds loop
            v_priority := -10001;
            loop
                v_priority := koppeling.next_priority(v_consumer.queue, array[v_kind], v_priority, m.kinds,
                        m.priorities, m.times, false)
                    from (select coalesce(array_agg(m.kind), '{}') as kinds,
                              coalesce(array_agg(m.priority), '{}') as priorities,
                              coalesce(array_agg(m.at), '{}') as times
                          from unnest(p_mark_queues, p_mark_kinds, p_mark_priorities, p_mark_times)
                              as m (queue, kind, priority, at)
                          where m.queue = v_consumer.queue and m.kind = v_kind) m;
                exit when v_priority is null;
                v_since := coalesce((
                    select m.at
                    from unnest(p_mark_queues, p_mark_kinds, p_mark_priorities, p_mark_times)
                        as m (queue, kind, priority, at)
                    where m.queue = v_consumer.queue and m.kind = v_kind and m.priority = v_priority), '-infinity');
                v_due := v_due or exists (
                    select from koppeling.job j
                    where j.state = 'ready' and j.queue = v_consumer.queue and j.kind = v_kind
                        and j.priority = v_priority and j.run_at >= v_since and j.run_at <= v_now)
                    or exists (
                    select from koppeling.job j
                    where j.state = 'returned' and j.queue = v_consumer.queue and j.kind = v_kind
                        and j.priority = v_priority and j.run_at <= v_now);
                v_next := least(v_next, (
                    select j.run_at from koppeling.job j
                    where j.state = 'ready' and j.queue = v_consumer.queue and j.kind = v_kind
                        and j.priority = v_priority and j.run_at > v_now
                    order by j.run_at
                    limit 1), (
                    select j.run_at from koppeling.job j
                    where j.state = 'returned' and j.queue = v_consumer.queue and j.kind = v_kind
                        and j.priority = v_priority and j.run_at > v_now
                    order by j.run_at
                    limit 1));
            end loop;
        end loop;
        return query
        select c, v_due, exists (
                select from unnest(v_kinds) k
                cross join lateral (
                    select from koppeling.job j
                    where j.state = 'suspect' and j.queue = v_consumer.queue and j.kind = k
                        and j.run_at <= v_now limit 1) s),
            nullif(v_next, 'infinity')
        from unnest(v_consumer.ids) c;
    end loop;
end $$;

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
-- due when either was, and with mode append it has the args of both, those of the one that comes back first. With
-- mode replace it stays as it is: the newest counts.
create function koppeling.fold_back(p_jobs koppeling.job[]) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_jobs koppeling.job[];
    v_rest koppeling.job[] := p_jobs;
begin
    delete from koppeling.job j where j.id = any (array(select b.id from unnest(p_jobs) b));
    -- Of several with one key the newest goes first, so that the older ones fold into it: a round for each.
    while v_rest is not null loop
        select array_agg(r.job order by (r.job).queue, (r.job).key) filter (where r.place = 1),
            array_agg(r.job) filter (where r.place > 1)
        into v_jobs, v_rest
        from (select b as job, row_number() over (partition by b.queue, b.key order by b.id desc) as place
              from unnest(v_rest) b) r;
        insert into koppeling.job as waiting
        select b.* from unnest(v_jobs) b
        on conflict (queue, key) where state <> 'running' and key is not null do update
        set args = case
                when waiting.key_mode = 'append' and jsonb_typeof(excluded.args) = 'array'
                    and jsonb_typeof(waiting.args) = 'array' and waiting.kind = excluded.kind
                then excluded.args || waiting.args else waiting.args end,
            run_at = case when waiting.key_mode = 'replace' then waiting.run_at
                else least(waiting.run_at, excluded.run_at) end,
            state = case when waiting.state = 'ready' and waiting.key_mode <> 'replace'
                    and excluded.run_at < waiting.run_at then 'returned' else waiting.state end;
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
    -- What is locked is being completed at this moment, perhaps by a connection whose other end is gone. The next call
    -- finds it; whoever waited for it here would keep everybody's signs of life waiting.
    select array_agg(j.id), array_agg(j.claim) into v_ids, v_claims
    from (select j.id, j.claim from koppeling.job j
          where j.state = 'running' and j.worker_id = p_worker and (p_consumer is null or j.consumer_id = p_consumer)
          for update skip locked) j;
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

-- A worker's sign of life; it takes over from those that give none. Says whether it is alive still in the eyes of the
-- others, how many jobs it took over, and for which of its consumers there are suspect jobs.
create function koppeling.beat(p_worker bigint, p_dead_after interval)
    returns table (is_alive boolean, rescued bigint, suspicious bigint[])
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
    -- Not only of those just declared dead: one of them may have claimed at that very moment. No statement of a worker
    -- takes longer than ten minutes.
    for v_dead in
        select w.id from koppeling.worker w where w.ended_at > v_now - interval '10 minutes'
    loop
        rescued := rescued + koppeling.abandon_jobs(v_dead, null, 'died', 'its worker died');
    end loop;
    suspicious := array(
        select c.id from koppeling.consumer c
        where c.worker_id = p_worker and exists (
            select from unnest(koppeling.open_kinds(c.queue, c.kinds)) k
            cross join lateral (
                select from koppeling.job j
                where j.state = 'suspect' and j.queue = c.queue and j.kind = k and j.run_at <= v_now limit 1) s));
    return next;
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
    koppeling.register_worker(text, text, int, text), koppeling.register_consumer(bigint, text, text[]),
    koppeling.claim_jobs(bigint, bigint, int, text[], int[], timestamptz[], boolean, boolean),
    koppeling.look_for_work(bigint, text[], text[], int[], timestamptz[]),
    koppeling.complete_jobs(bigint, bigint[], int[], text[], text[], double precision[]),
    koppeling.return_jobs(bigint[], bigint[], text[], text[], double precision[], timestamptz),
    koppeling.fold_back(koppeling.job[]), koppeling.abandon_jobs(bigint, bigint, text, text),
    koppeling.stop_worker(bigint), koppeling.beat(bigint, interval), koppeling.cancelled_jobs(bigint)
    from public;
