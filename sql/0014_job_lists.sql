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

-- A list of jobs as rows with ids, in its order.
create function koppeling.parsed_jobs(jobs jsonb) returns koppeling.job[]
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_jobs koppeling.job[];
    v_now timestamptz := koppeling.now();
    v_entry record;
begin
    select array_agg(koppeling.new_job(nextval('koppeling.job_id_seq'), e.kind, e.args, e.queue, e.key, e.key_mode,
        e.order_key, e.limit_key, e.run_at, e.priority, e.max_attempts, v_now) order by e.ordinality) into v_jobs
    from rows from (jsonb_to_recordset(jobs) as (kind text, args jsonb, queue text, key text, key_mode text,
        order_key text, limit_key text, run_at timestamptz, priority int, max_attempts int)) with ordinality e;
    return v_jobs;
exception when data_exception then
    for v_entry in
        select e.entry ->> 'run_at' as run_at, e.ordinality - 1 as n
        from jsonb_array_elements(jobs) with ordinality e (entry)
    loop
        begin
            perform v_entry.run_at::timestamptz;
        exception when data_exception then
            raise exception using errcode = '22023', message = format(
                'jobs[%s].run_at: "%s" is not a moment such as 2026-05-31T08:00:00Z, nor infinity',
                v_entry.n, left(v_entry.run_at, 50));
        end;
    end loop;
    raise;
end $$;

create aggregate koppeling.args_concat (jsonb) (sfunc = jsonb_concat, stype = jsonb);

-- Enqueues a list of jobs, all or none, and returns their ids in its order.
create function koppeling.enqueue_internal_many(jobs jsonb, public_only boolean default false) returns bigint[]
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_jobs koppeling.job[];
    v_ids bigint[];
    v_fault text;
begin
    if jsonb_typeof(jobs) is distinct from 'array' then
        raise exception using errcode = '22023', message = 'jobs: must be a JSON array of objects';
    elsif jobs = '[]' then
        return '{}';
    end if;
    select format('jobs[%s]%s', e.n, e.fault) into v_fault
    from (select e.ordinality - 1 as n, koppeling.job_entry_fault(e.entry) as fault
          from jsonb_array_elements(jobs) with ordinality e (entry) offset 0) e
    where e.fault is not null
    limit 1;
    if v_fault is null then
        v_jobs := koppeling.parsed_jobs(jobs);
        select format('jobs[%s].%s', j.n, j.fault) into v_fault
        from (select row_number() over () - 1 as n, koppeling.job_fault(j) as fault
              from unnest(v_jobs) j) j
        where j.fault is not null
        limit 1;
    end if;
    if v_fault is not null then
        raise exception using errcode = '22023', message = v_fault;
    end if;
    perform koppeling.check_kinds(array_agg(j.kind), public_only,
        array_agg(format('jobs[%s].', j.ordinality - 1)))
    from (select distinct on (k.kind) k.kind, k.ordinality from unnest(v_jobs) with ordinality k
          order by k.kind, k.ordinality) j;
    if exists (select from unnest(v_jobs) j where j.key is not null group by j.queue, j.key having count(*) > 1) then
        return koppeling.put_repeated_jobs(v_jobs);
    end if;
    return koppeling.put_jobs(v_jobs);
end $$;

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
    koppeling.job_entry_fault(jsonb), koppeling.parsed_jobs(jsonb), koppeling.enqueue_internal_many(jsonb, boolean),
    koppeling.put_repeated_jobs(koppeling.job[]), koppeling.enqueue_each(jsonb), koppeling.enqueue_many(jsonb)
    from public;
grant execute on function koppeling.enqueue_each(jsonb), koppeling.enqueue_many(jsonb) to koppeling_writer;

comment on function koppeling.enqueue_many(jsonb) is
    'Enqueues a list of jobs, all or none: [{"kind": "echo", "args": {}, "key": "a"}]. Returns how many.';
comment on function koppeling.enqueue_each(jsonb) is
    'As enqueue_many, but returns the id of the job of each entry, in their order.';
