-- How workers find and take jobs.

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
        started_at timestamptz, snoozes int)
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
                b.max_attempts, b.run_at, b.enqueued_at, b.claim, b.started_at, b.snoozes
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
            null::timestamptz, null::timestamptz, null::int, null::timestamptz, null::int;
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
    language plpgsql stable
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off
as $$
begin
    return (
        with mark as materialized (
            select m.kind, m.priority, min(m.at) as at
            from unnest(p_mark_kinds, p_mark_priorities, p_mark_times) as m (kind, priority, at)
            group by m.kind, m.priority
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
            where p_suspects) p);
end $$;

-- For each waiting consumer of a worker: whether there is work for it now, whether some is to run alone, and when there
-- will be work. The marks are those of claim_jobs, with their queues; of several for one place the earliest counts.
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
                    select min(m.at)
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

revoke execute on function
    koppeling.claim_jobs(bigint, bigint, int, text[], int[], timestamptz[], boolean, boolean),
    koppeling.next_priority(text, text[], int, text[], int[], timestamptz[], boolean),
    koppeling.look_for_work(bigint, text[], text[], int[], timestamptz[])
    from public;
