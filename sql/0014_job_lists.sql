-- Enqueueing many jobs with one statement.

-- What is wrong with the form of an entry of a list of jobs, null when nothing is.
create function koppeling.job_entry_fault(entry jsonb) returns text
    language sql stable parallel safe
    return case when jsonb_typeof(entry) <> 'object' then ': must be a JSON object' else (
        select case
            when f.key in ('kind', 'queue', 'key', 'key_mode', 'order_key', 'limit_key', 'run_at') then
                format('.%s: must be a string, not %s', f.key, left(f.value::text, 50))
            when f.key in ('priority', 'max_attempts') then
                format('.%s: must be a whole number, not %s', f.key, left(f.value::text, 50))
            else format('.%s: is not a field of a job', left(f.key, 50))
        end
        from jsonb_each(entry) f
        where jsonb_typeof(f.value) <> 'null' and not case
            when f.key in ('kind', 'queue', 'key', 'key_mode', 'order_key', 'limit_key', 'run_at') then
                jsonb_typeof(f.value) = 'string'
            when f.key in ('priority', 'max_attempts') then f.value::text ~ '^-?[0-9]{1,9}$'
            else f.key = 'args'
        end or jsonb_typeof(f.value) = 'null' and f.key not in ('kind', 'args', 'queue', 'key', 'key_mode',
            'order_key', 'limit_key', 'run_at', 'priority', 'max_attempts')
        limit 1) end;

-- What is wrong with the first run_at of a list of jobs that is no moment.
create function koppeling.run_at_fault(jobs jsonb) returns text
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
declare
    v_entry record;
begin
    for v_entry in
        select e.entry ->> 'run_at' as run_at, e.ordinality - 1 as n
        from jsonb_array_elements(jobs) with ordinality e (entry)
    loop
        begin
            perform v_entry.run_at::timestamptz;
        exception when data_exception then
            return format('jobs[%s].run_at: "%s" is not a moment such as 2026-05-31T08:00:00Z, nor infinity',
                v_entry.n, left(v_entry.run_at, 50));
        end;
    end loop;
    return 'jobs: are malformed';
end $$;

create aggregate koppeling.args_concat (jsonb) (sfunc = jsonb_concat, stype = jsonb);

-- Whether a list of jobs is well formed, without saying what is wrong with it: that takes far longer to find out.
create function koppeling.are_job_entries(jobs jsonb) returns boolean
    language sql immutable parallel safe
    set search_path = koppeling, pg_temp
begin atomic
    select not exists (
        select from jsonb_array_elements(jobs) e (entry)
        where case when jsonb_typeof(entry) <> 'object' then true else
            entry - array['kind', 'args', 'queue', 'key', 'key_mode', 'order_key', 'limit_key', 'run_at', 'priority',
                'max_attempts'] <> '{}'
            or coalesce(jsonb_typeof(entry -> 'kind'), 'null') not in ('string', 'null')
            or coalesce(jsonb_typeof(entry -> 'queue'), 'null') not in ('string', 'null')
            or coalesce(jsonb_typeof(entry -> 'key'), 'null') not in ('string', 'null')
            or coalesce(jsonb_typeof(entry -> 'key_mode'), 'null') not in ('string', 'null')
            or coalesce(jsonb_typeof(entry -> 'order_key'), 'null') not in ('string', 'null')
            or coalesce(jsonb_typeof(entry -> 'limit_key'), 'null') not in ('string', 'null')
            or coalesce(jsonb_typeof(entry -> 'run_at'), 'null') not in ('string', 'null')
            or jsonb_typeof(entry -> 'priority') <> 'null' and (entry -> 'priority')::text !~ '^-?[0-9]{1,9}$'
            or jsonb_typeof(entry -> 'max_attempts') <> 'null'
                and (entry -> 'max_attempts')::text !~ '^-?[0-9]{1,9}$'
        end);
end;

-- Enqueues a list of jobs, all or none, and returns their ids in its order.
create function koppeling.enqueue_internal_many(jobs jsonb, public_only boolean default false) returns bigint[]
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_fault text;
begin
    if jsonb_typeof(jobs) is distinct from 'array' then
        raise exception using errcode = '22023', message = 'jobs: must be a JSON array of objects';
    elsif jobs = '[]' then
        return '{}';
    elsif not koppeling.are_job_entries(jobs) then
        select format('jobs[%s]%s', e.n, e.fault) into v_fault
        from (select e.ordinality - 1 as n, koppeling.job_entry_fault(e.entry) as fault
              from jsonb_array_elements(jobs) with ordinality e (entry) offset 0) e
        where e.fault is not null
        limit 1;
        raise exception using errcode = '22023', message = coalesce(v_fault, 'jobs: are malformed');
    end if;
    return (
        select koppeling.enqueue_rows(array_agg(e.kind order by e.n), array_agg(e.args order by e.n),
            array_agg(e.queue order by e.n), array_agg(e.key order by e.n), array_agg(e.key_mode order by e.n),
            array_agg(e.order_key order by e.n), array_agg(e.limit_key order by e.n),
            array_agg(e.run_at order by e.n), array_agg(e.priority order by e.n),
            array_agg(e.max_attempts order by e.n), public_only)
        from rows from (jsonb_to_recordset(jobs) as (kind text, args jsonb, queue text, key text, key_mode text,
            order_key text, limit_key text, run_at timestamptz, priority int, max_attempts int)) with ordinality
            as e (kind, args, queue, key, key_mode, order_key, limit_key, run_at, priority, max_attempts, n));
exception when invalid_datetime_format or datetime_field_overflow then
    raise exception using errcode = '22023', message = koppeling.run_at_fault(jobs);
end $$;

-- Enqueues jobs whose fields come as parallel arrays, all or none, and returns their ids in the same order. What is null
-- takes its default.
create function koppeling.enqueue_rows(
    p_kinds text[], p_args jsonb[], p_queues text[], p_keys text[], p_key_modes text[], p_order_keys text[],
    p_limit_keys text[], p_run_ats timestamptz[], p_priorities int[], p_max_attempts int[], p_public_only boolean
) returns bigint[]
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_now timestamptz := koppeling.now();
    v_jobs koppeling.job[];
    v_ids bigint[];
    v_fault text;
    v_is_keyed boolean := array_remove(p_keys, null) <> '{}';
begin
    perform koppeling.check_kinds(array_agg(k.kind), p_public_only,
        array_agg(format('jobs[%s].', k.n - 1)))
    from (select k.kind, min(k.n) as n from unnest(p_kinds) with ordinality as k (kind, n) where k.kind is not null
          group by k.kind) k;
    -- Most lists have no faults, and no keys or such as nothing waits with. The table's constraints find the faults; what
    -- exactly is wrong is asked only then.
    if not exists (select from unnest(p_args) a where pg_column_size(a) > 65536)
        and not (v_is_keyed and (coalesce('append' = any (p_key_modes), false)
                                 or koppeling.keys_wait(p_queues, p_keys)))
    then
        begin
            with given as materialized (
                select nextval('koppeling.job_id_seq') as id, u.*
                from unnest(p_kinds, p_args, p_queues, p_keys, p_key_modes, p_order_keys, p_limit_keys, p_run_ats,
                    p_priorities, p_max_attempts) with ordinality as u (kind, args, queue, key, key_mode, order_key,
                    limit_key, run_at, priority, max_attempts, n)
            ), put as (
                insert into koppeling.job (id, enqueued_at, run_at, priority, max_attempts, state, queue, kind, key,
                    key_mode, order_key, limit_key, args)
                select g.id, v_now, coalesce(g.run_at, v_now), coalesce(g.priority, 0), coalesce(g.max_attempts, 20),
                    case when g.run_at < v_now - interval '100 milliseconds' then 'returned' else 'ready' end,
                    coalesce(g.queue, 'default'), g.kind, g.key, coalesce(g.key_mode, 'keep'), g.order_key,
                    g.limit_key, coalesce(g.args, '{}')
                from given g
                where g.run_at is distinct from '-infinity' and g.key_mode is distinct from 'append'
                -- Always in the order of the keys, so that two callers never wait for each other.
                order by case when v_is_keyed then coalesce(g.queue, 'default') end, g.key
                on conflict (queue, key) where state <> 'running' and key is not null do nothing
                returning 1
            )
            select array_agg(g.id order by g.n) into v_ids from given g
            having count(*) = (select count(*) from put);
            if found then
                perform koppeling.wake(array_agg(distinct coalesce(u.queue, 'default')), array_agg(distinct u.kind))
                from unnest(p_queues, p_kinds, p_run_ats) u (queue, kind, run_at)
                where u.run_at is distinct from 'infinity'
                having count(*) > 0;
                return v_ids;
            end if;
            -- Whatever this is, a fault that is named below, a key that is there twice or came meanwhile: what was put is
            -- taken back.
            raise check_violation;
        exception when check_violation or not_null_violation then
            null;
        end;
    end if;
    select array_agg(koppeling.new_job(nextval('koppeling.job_id_seq'), u.kind, u.args, u.queue, u.key, u.key_mode,
        u.order_key, u.limit_key, u.run_at, u.priority, u.max_attempts, v_now) order by u.n) into v_jobs
    from unnest(p_kinds, p_args, p_queues, p_keys, p_key_modes, p_order_keys, p_limit_keys, p_run_ats, p_priorities,
        p_max_attempts) with ordinality as u (kind, args, queue, key, key_mode, order_key, limit_key, run_at,
        priority, max_attempts, n);
    select format('jobs[%s].%s', j.n, j.fault) into v_fault
    from (select row_number() over () - 1 as n, koppeling.job_fault(j) as fault from unnest(v_jobs) j) j
    where j.fault is not null
    limit 1;
    if v_fault is not null then
        raise exception using errcode = '22023', message = v_fault;
    end if;
    if exists (select from unnest(v_jobs) j where j.key is not null group by j.queue, j.key having count(*) > 1) then
        return koppeling.put_repeated_jobs(v_jobs);
    end if;
    return koppeling.put_jobs(v_jobs);
end $$;

-- Whether a job waits with one of these keys.
create function koppeling.keys_wait(p_queues text[], p_keys text[]) returns boolean
    language sql stable
    set search_path = koppeling, pg_temp set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
    return exists (
            select from unnest(p_queues, p_keys) g (queue, key)
            join koppeling.job j on j.queue = coalesce(g.queue, 'default') and j.key = g.key and j.state <> 'running');

-- As put_jobs, for lists in which a key occurs more than once.
create function koppeling.put_repeated_jobs(p_jobs koppeling.job[]) returns bigint[]
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_fault text;
    v_folded koppeling.job[];
    v_ids bigint[];
begin
    select format('jobs[%s].key_mode: another entry with key "%s" has another mode or kind', max(j.ordinality) - 1,
        left(j.key, 100)) into v_fault
    from unnest(p_jobs) with ordinality j
    where j.key is not null
    group by j.queue, j.key
    having count(distinct j.key_mode) > 1 or min(j.key_mode) = 'append' and count(distinct j.kind) > 1
    limit 1;
    if found then
        raise exception using errcode = '22023', message = v_fault;
    end if;
    -- The first entry counts, or the last when it replaces; its place is the first one's.
    select array_agg(koppeling.new_job(g.id, (g.base).kind, g.args, (g.base).queue, (g.base).key, (g.base).key_mode,
        (g.base).order_key, (g.base).limit_key, (g.base).run_at, g.priority, (g.base).max_attempts,
        (g.base).enqueued_at) order by g.first) into v_folded
    from (
        select min(j.n) as first, min((j.job).id) as id,
            case when min((j.job).key_mode) = 'keep' then (array_agg((j.job).priority order by j.n))[1]
                else min((j.job).priority) end as priority,
            (array_agg(j.job order by case when (j.job).key_mode = 'replace' then -j.n else j.n end))[1] as base,
            case min((j.job).key_mode)
                when 'append' then koppeling.args_concat((j.job).args order by j.n)
                when 'replace' then (array_agg((j.job).args order by j.n desc))[1]
                else (array_agg((j.job).args order by j.n))[1]
            end as args
        from (select row_number() over () as n, j as job from unnest(p_jobs) j) j
        group by (j.job).queue, (j.job).key, case when (j.job).key is null then j.n end
    ) g;
    v_ids := koppeling.put_jobs(v_folded);
    return (
        select array_agg(v_ids[j.place] order by j.n)
        from (select g.n, dense_rank() over (order by g.first) as place
              from (select j.ordinality as n,
                        min(j.ordinality) over (partition by j.queue, j.key,
                            case when j.key is null then j.ordinality end) as first
                    from unnest(p_jobs) with ordinality j) g) j);
end $$;

-- Enqueues a list of jobs, all or none, and returns their ids in its order. An entry is an object with the names of
-- enqueue's arguments.
create function koppeling.enqueue_each(jobs jsonb) returns bigint[]
    language sql security definer set search_path = koppeling, pg_temp
    return koppeling.enqueue_internal_many(jobs, true);

-- The same, but returns how many jobs there were.
create function koppeling.enqueue_many(jobs jsonb) returns bigint
    language sql security definer set search_path = koppeling, pg_temp
    return cardinality(koppeling.enqueue_internal_many(jobs, true));

revoke execute on function
    koppeling.job_entry_fault(jsonb), koppeling.run_at_fault(jsonb), koppeling.are_job_entries(jsonb),
    koppeling.enqueue_internal_many(jsonb, boolean),
    koppeling.enqueue_rows(text[], jsonb[], text[], text[], text[], text[], text[], timestamptz[], int[], int[], boolean),
    koppeling.put_repeated_jobs(koppeling.job[]), koppeling.enqueue_each(jsonb), koppeling.enqueue_many(jsonb)
    from public;
grant execute on function koppeling.enqueue_each(jsonb), koppeling.enqueue_many(jsonb) to koppeling_writer;

comment on function koppeling.enqueue_many(jsonb) is
    'Enqueues a list of jobs, all or none: [{"kind": "echo", "args": {}, "key": "a"}]. Returns how many.';
comment on function koppeling.enqueue_each(jsonb) is
    'As enqueue_many, but returns the id of the job of each entry, in their order.';
