-- What holds jobs back: the order of a key, limits, and pauses.
--
-- A claim that meets a job which may not start blocks it: the job leaves the indices that claims walk along, so that it
-- is met once and not by every claim. Whatever lets it start again opens the gate: it makes blocked jobs returned.
-- So that none stays blocked, a claim blocks a job only while it holds a lock on what stands in its way (the job before
-- it, one that runs under the limit, the pause): who takes that away waits for the claim to end, and then sees the job.

-- Limits per limit_key, over all workers and queues.
create table koppeling.job_limit (
    limit_key text primary key check (length(limit_key) between 1 and 500),
    -- At most so many run at once.
    concurrency int check (concurrency > 0),
    -- At most so many start in a period: a bucket that holds as many tokens and fills up in that time.
    rate int check (rate > 0),
    period interval check (period > '0 seconds'),
    tokens double precision not null default 0 check (tokens >= 0),
    filled_at timestamptz not null default koppeling.now(),
    -- When blocked jobs are to be looked at again, for no other job's end tells that there are tokens.
    opens_at timestamptz,
    constraint limits_something check (concurrency is not null or rate is not null),
    constraint rate_has_a_period check ((rate is null) = (period is null)),
    constraint opens_for_tokens check (opens_at is null or rate is not null)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500);
create index job_limit_opens on koppeling.job_limit (opens_at) where opens_at is not null;

-- What is paused: jobs to which all apply that are given. A key is a job's key, order_key or limit_key.
create table koppeling.job_pause (
    id bigint generated always as identity primary key,
    queue text check (queue <> ''),
    kind text check (kind <> ''),
    key text check (key <> ''),
    reason text,
    paused_at timestamptz not null default koppeling.now(),
    constraint pauses_something check (num_nonnulls(queue, kind, key) > 0),
    constraint paused_once unique nulls not distinct (queue, kind, key)
);

-- Those of the kinds that are not paused in a queue. In PL/pgSQL, as all that is called for every claim: it keeps its
-- plans, and a function in SQL is planned again at each call.
create function koppeling.open_kinds(p_queue text, p_kinds text[]) returns text[]
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
begin
    return (
        select coalesce(array_agg(k), '{}') from unnest(p_kinds) k
        where not exists (
            select from koppeling.job_pause p
            where p.key is null and (p.queue is null or p.queue = p_queue) and (p.kind is null or p.kind = k)));
end $$;

-- The tokens of a limit at a moment; infinity when it limits no rate.
create function koppeling.tokens_at(l koppeling.job_limit, at timestamptz) returns double precision
    language sql immutable parallel safe
    return case when l.rate is null then 'infinity' else least(l.rate::double precision,
        l.tokens + l.rate * greatest(0, extract(epoch from at - l.filled_at)) / extract(epoch from l.period)) end;

-- When there will be a next token.
create function koppeling.next_token_at(l koppeling.job_limit, tokens double precision, at timestamptz)
    returns timestamptz
    language sql immutable parallel safe
    return case when l.rate is not null then
        at + l.period * (greatest(0.001, floor(tokens) + 1 - tokens) / l.rate) end;

-- Of jobs that are locked and due, those that may start now. The others are blocked, or set aside until the next claim
-- when what stands in their way is changing at this moment.
create function koppeling.pass_gates(p_queue text, p_ids bigint[], p_now timestamptz) returns bigint[]
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off set enable_mergejoin = off
as $$
declare
    v_open bigint[] := p_ids;
    v_held bigint[];
    v_holders bigint[];
    v_locked bigint[];
    v_keys text[];
    v_limits text[];
    v_blocked bigint[];
    v_anchored text[];
begin
    if exists (select from koppeling.job_pause p where p.key is not null) then
        select array_agg(j.id), array_agg(p.id) into v_held, v_holders
        from koppeling.job j
        join koppeling.job_pause p on p.key in (j.key, j.order_key, j.limit_key)
            and (p.queue is null or p.queue = j.queue) and (p.kind is null or p.kind = j.kind)
        where j.id = any (v_open);
        if v_held is not null then
            v_locked := array(
                select p.id from koppeling.job_pause p where p.id = any (v_holders) for key share skip locked);
            v_open := koppeling.held_back('pause', v_open, v_held, v_holders, v_locked);
        end if;
    end if;

    -- Behind the one of its key that runs, or else behind the first that is not finished.
    select array_agg(j.id), array_agg(b.id) into v_held, v_holders
    from koppeling.job j
    cross join lateral (
        select coalesce(
            (select r.id from koppeling.job r
             where r.queue = j.queue and r.order_key = j.order_key and r.state = 'running'),
            (select f.id from koppeling.job f
             where f.queue = j.queue and f.order_key = j.order_key and f.state <> 'running' and f.id < j.id
                and f.run_at < 'infinity'
             order by f.id
             limit 1)) as id) b
    where j.id = any (v_open) and j.order_key is not null and b.id is not null;
    if v_held is not null then
        v_locked := array(
            select b.id from koppeling.job b where b.id = any (v_holders) for key share skip locked);
        v_open := koppeling.held_back('order', v_open, v_held, v_holders, v_locked);
    end if;

    v_keys := array(
        select distinct j.limit_key from koppeling.job j
        where j.id = any (v_open) and j.limit_key is not null);
    if v_keys = '{}' or not exists (select from koppeling.job_limit l where l.limit_key = any (v_keys)) then
        return v_open;
    end if;
    -- One claim at a time under one limit. What runs is counted by the next statement, which sees what the claim before
    -- has started.
    v_limits := array(
        select l.limit_key from koppeling.job_limit l where l.limit_key = any (v_keys) order by l.limit_key
        for no key update skip locked);
    with given as materialized (
        select l.limit_key, koppeling.tokens_at(l, p_now) as tokens,
            l.concurrency - (select count(*) from koppeling.job r
                             where r.limit_key = l.limit_key and r.state = 'running') as room
        from koppeling.job_limit l
        where l.limit_key = any (v_limits)
    ), ranked as materialized (
        select j.id, j.limit_key, row_number() over (partition by j.limit_key order by j.run_at, j.id) as place
        from koppeling.job j
        where j.id = any (v_open) and j.limit_key is not null
    ), judged as materialized (
        select r.id, r.limit_key, g.limit_key is null as is_busy, g.room, g.tokens,
            r.place <= least(g.room, floor(g.tokens)) as may_start
        from ranked r
        left join given g on g.limit_key = r.limit_key
        where g.limit_key is not null or exists (
            select from koppeling.job_limit l where l.limit_key = r.limit_key)
    ), counted as (
        select r.limit_key, r.tokens - count(*) filter (where r.may_start) as tokens,
            bool_or(not r.may_start) as is_short
        from judged r
        where not r.is_busy
        group by r.limit_key, r.tokens
    ), taken as (
        update koppeling.job_limit l
        set tokens = c.tokens, filled_at = p_now,
            opens_at = case when c.is_short then koppeling.next_token_at(l, c.tokens, p_now) else l.opens_at end
        from counted c
        where l.limit_key = c.limit_key and l.rate is not null
    )
    select array_agg(r.id) filter (where not coalesce(r.may_start, false)),
        array_agg(distinct r.limit_key) filter (where r.may_start or r.tokens < 1)
    into v_held, v_anchored
    from judged r;
    if v_held is not null then
        -- The end of one that runs opens the gate, so one of them is held until this ends, unless one of those that
        -- start now will do, or the clock.
        v_anchored := coalesce(v_anchored, '{}') || array(
            select a.limit_key
            from unnest(v_limits) l
            cross join lateral (
                select r.limit_key from koppeling.job r
                where r.limit_key = l and r.state = 'running'
                limit 1
                for key share skip locked) a
            where l not in (select k from unnest(v_anchored) k where k is not null));
        v_blocked := array(
            select j.id from koppeling.job j where j.id = any (v_held) and j.limit_key = any (v_anchored));
        v_open := koppeling.held_back('limit', v_open, v_held, v_held, v_blocked);
    end if;
    return v_open;
end $$;

-- Blocks those of the held jobs whose holder is locked, sets the other held ones aside, and returns those of the open
-- ones that are not held.
create function koppeling.held_back(
    p_by text, p_open bigint[], p_held bigint[], p_holders bigint[], p_locked bigint[]
) returns bigint[]
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off
as $$
begin
    update koppeling.job j
    set state = case when h.is_locked then 'blocked' when j.deaths > 0 then 'suspect' else 'returned' end,
        blocked_by = case when h.is_locked then p_by end
    from (select held, bool_or(holder in (select l from unnest(p_locked) l)) as is_locked
          from unnest(p_held, p_holders) as h (held, holder) group by held) h
    where j.id = h.held and (h.is_locked or j.state = 'ready');
    return array(
        select o from unnest(p_open) o where o not in (select h from unnest(p_held) h));
end $$;

-- Lets blocked jobs start for which there is room since others with these keys ended: the first of each order key, and
-- as many of each limit key as may run. The arrays run in parallel; a null is no key.
create function koppeling.open_gates(p_queues text[], p_order_keys text[], p_limit_keys text[]) returns bigint
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off set enable_mergejoin = off
as $$
declare
    v_ids bigint[];
    v_keys text[];
begin
    select array_agg(f.id) into v_ids
    from (select distinct g.queue, g.order_key
          from unnest(p_queues, p_order_keys) as g (queue, order_key) where g.order_key is not null) g
    cross join lateral (
        select b.id, b.blocked_by from koppeling.job b
        where b.queue = g.queue and b.order_key = g.order_key and b.state <> 'running' and b.run_at < 'infinity'
        order by b.id
        limit 1) f
    where f.blocked_by = 'order' and not exists (
        select from koppeling.job r
        where r.queue = g.queue and r.order_key = g.order_key and r.state = 'running');
    v_keys := array(
        select distinct k from unnest(p_limit_keys) k
        where exists (select from koppeling.job j where j.limit_key = k and j.blocked_by = 'limit'));
    if v_keys <> '{}' then
        v_ids := v_ids || array(
            select b.id
            from unnest(v_keys) k
            left join koppeling.job_limit l on l.limit_key = k
            cross join lateral (
                select j.id from koppeling.job j
                where j.limit_key = k and j.blocked_by = 'limit'
                order by j.priority, j.run_at, j.id
                limit case when l.limit_key is null then 1000 else koppeling.room_under(l) end) b);
    end if;
    if v_ids is null or v_ids = '{}' then
        return 0;
    end if;
    return koppeling.unblock(v_ids);
end $$;

-- How many blocked jobs may be let through a limit now. Those that were let through and have not started are not
-- counted: they may be held up by something else, and a claim blocks the surplus again.
create function koppeling.room_under(l koppeling.job_limit) returns bigint
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
begin
    return greatest(0, least(
        coalesce(l.concurrency, 1000) - (select count(*) from koppeling.job j
            where j.limit_key = l.limit_key and j.state = 'running'),
        floor(least(1000, koppeling.tokens_at(l, koppeling.now())))))::bigint;
end $$;

-- Makes blocked jobs such that the next claim looks at them again, and wakes who waits for them. Nobody is waited for:
-- who puts something into one of them has it looked at himself.
create function koppeling.unblock(p_ids bigint[]) returns bigint
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off
as $$
declare
    v_queues text[];
    v_kinds text[];
    v_count bigint;
begin
    with opened as (
        update koppeling.job j
        set state = case when j.deaths > 0 then 'suspect' else 'returned' end, blocked_by = null
        where j.id = any (array(
            select b.id from koppeling.job b where b.id = any (p_ids) and b.state = 'blocked'
            for no key update skip locked))
        returning j.queue, j.kind
    )
    select array_agg(distinct o.queue), array_agg(distinct o.kind), count(*) into v_queues, v_kinds, v_count
    from opened o;
    if v_count > 0 then
        perform koppeling.wake(v_queues, v_kinds);
    end if;
    return v_count;
end $$;

-- Opens the gates of limits that have tokens again. Returns when it is to be called next, null when nothing waits for
-- tokens.
create function koppeling.open_limits(p_now timestamptz) returns timestamptz
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off
as $$
declare
    v_limit koppeling.job_limit;
    v_room bigint;
    v_ids bigint[];
begin
    for v_limit in
        select l.* from koppeling.job_limit l where l.opens_at <= p_now order by l.opens_at limit 100
        for no key update skip locked
    loop
        v_room := koppeling.room_under(v_limit);
        v_ids := array(
            select j.id from koppeling.job j
            where j.limit_key = v_limit.limit_key and j.blocked_by = 'limit'
            order by j.priority, j.run_at, j.id
            limit v_room);
        perform koppeling.unblock(v_ids);
        -- Not for every single token when they come fast.
        update koppeling.job_limit l
        set opens_at = case when exists (
                select from koppeling.job j where j.limit_key = l.limit_key and j.blocked_by = 'limit')
            then p_now + greatest(l.period / l.rate, interval '20 milliseconds') end
        where l.limit_key = v_limit.limit_key;
    end loop;
    return (select l.opens_at from koppeling.job_limit l where l.opens_at is not null order by l.opens_at limit 1);
end $$;

-- Opens every gate behind which there is no reason to wait. A net: it finds nothing unless two transactions missed each
-- other. At most so many keys of each sort are looked at.
create function koppeling.open_stale_gates(p_most int default 1000) returns bigint
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off
as $$
declare
    v_opened bigint;
begin
    with recursive orders as (
        (select j.queue, j.order_key from koppeling.job j where j.blocked_by = 'order'
         order by j.queue, j.order_key limit 1)
        union all
        select n.queue, n.order_key
        from orders o
        cross join lateral (
            select j.queue, j.order_key from koppeling.job j
            where j.blocked_by = 'order' and (j.queue, j.order_key) > (o.queue, o.order_key)
            order by j.queue, j.order_key limit 1) n
    ), bounded as (select * from orders limit p_most)
    select koppeling.open_gates(array_agg(b.queue), array_agg(b.order_key), null) into v_opened from bounded b;
    with recursive limits as (
        (select j.limit_key from koppeling.job j where j.blocked_by = 'limit' order by j.limit_key limit 1)
        union all
        select n.limit_key
        from limits o
        cross join lateral (
            select j.limit_key from koppeling.job j
            where j.blocked_by = 'limit' and j.limit_key > o.limit_key order by j.limit_key limit 1) n
    ), bounded as (select * from limits limit p_most)
    select coalesce(v_opened, 0) + coalesce(koppeling.open_gates(null, null, array_agg(b.limit_key)), 0)
    into v_opened from bounded b;
    return v_opened + koppeling.unblock(array(
        select j.id from koppeling.job j
        where j.blocked_by = 'pause' and not exists (
            select from koppeling.job_pause p
            where p.key in (j.key, j.order_key, j.limit_key)
                and (p.queue is null or p.queue = j.queue) and (p.kind is null or p.kind = j.kind))
        limit p_most));
end $$;

revoke execute on function
    koppeling.pass_gates(text, bigint[], timestamptz),
    koppeling.open_kinds(text, text[]),
    koppeling.held_back(text, bigint[], bigint[], bigint[], bigint[]),
    koppeling.open_gates(text[], text[], text[]),
    koppeling.unblock(bigint[]),
    koppeling.open_limits(timestamptz),
    koppeling.open_stale_gates(int),
    koppeling.room_under(koppeling.job_limit)
    from public;
