-- The history of the queue: for how long it is kept, its days, and how they come and go.

create table koppeling.job_retention (
    outcome text primary key check (outcome in ('done', 'rejected', 'cancelled')),
    keep interval not null check (keep > '0 seconds')
);
insert into koppeling.job_retention (outcome, keep) values
    ('done', '7 days'), ('cancelled', '30 days'), ('rejected', '90 days');

-- Sets for how long finished jobs with an outcome are kept.
create function koppeling.set_retention(outcome text, keep interval) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
#variable_conflict use_column
begin
    if set_retention.outcome is null or set_retention.outcome not in ('done', 'rejected', 'cancelled') then
        raise exception using errcode = '22023', message = format(
            'outcome: must be done, rejected or cancelled, not "%s"', left(set_retention.outcome, 50));
    elsif set_retention.keep is null or set_retention.keep <= '0 seconds' then
        raise exception using errcode = '22023', message = format(
            'keep: must be longer than nothing, such as 7 days, not "%s"', set_retention.keep);
    end if;
    update koppeling.job_retention r set keep = set_retention.keep where r.outcome = set_retention.outcome;
end $$;

-- The tables with a partition for each day, the column that says which, and before when their rows are not kept.
-- Attempts are kept as long as any job is.
create function koppeling.history_tables() returns table (parent text, moment text, kept_since timestamptz)
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select 'job_' || r.outcome, 'finished_at', koppeling.now() - r.keep from koppeling.job_retention r
    union all
    select 'job_attempt', 'ended_at', koppeling.now() - max(r.keep) from koppeling.job_retention r;
end;

-- The partitions there are for days, each with its first moment and the one after its last.
create function koppeling.history_partitions()
    returns table (parent text, partition text, starts_at timestamptz, ends_at timestamptz)
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select t.parent, c.relname::text, d.day at time zone 'UTC', (d.day + interval '1 day') at time zone 'UTC'
    from koppeling.history_tables() t
    join pg_inherits i on i.inhparent = ('koppeling.' || t.parent)::regclass
    join pg_class c on c.oid = i.inhrelid and c.relname ~ '_[0-9]{8}$'
    cross join lateral (select to_date(right(c.relname, 8), 'YYYYMMDD')::timestamp as day) d;
end;

-- Makes the partition of a day; false when that must wait. Attaching it locks neither the table nor its other days for
-- those who write: only the rest, for a moment.
create function koppeling.make_history_partition(p_parent text, p_moment text, p_day date) returns boolean
    language plpgsql set search_path = koppeling, pg_temp set lock_timeout = '100ms'
as $$
declare
    v_rest text := p_parent || '_rest';
    v_name text := p_parent || to_char(p_day, '_YYYYMMDD');
    v_start text := to_char(p_day, 'YYYY-MM-DD 00:00:00+00');
    v_end text := to_char(p_day + 1, 'YYYY-MM-DD 00:00:00+00');
    v_strays bigint;
begin
    execute format('create table koppeling.%I (like koppeling.%I including all)', v_name, p_parent);
    -- Rows of this day in the rest are in the way. Some are moved; many stay, and are pruned there.
    execute format('with stray as (delete from koppeling.%I where ctid = any (array(
            select ctid from koppeling.%I where %I >= %L and %I < %L limit 10000)) returning *)
        insert into koppeling.%I select * from stray', v_rest, v_rest, p_moment, v_start, p_moment, v_end, v_name);
    get diagnostics v_strays = row_count;
    if v_strays = 10000 then
        raise check_violation;
    end if;
    execute format('alter table koppeling.%I attach partition koppeling.%I for values from (%L) to (%L)',
        p_parent, v_name, v_start, v_end);
    return true;
exception when lock_not_available or check_violation then
    return false;
end $$;

-- Makes the partitions of today and of some days ahead, those that are missing, and says how many that were. Null when
-- some must wait: a long transaction reads the rest, or another makes them.
create function koppeling.make_history_partitions(p_ahead int default 3) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_today date := (koppeling.now() at time zone 'UTC')::date;
    v_made bigint := 0;
    v_missing record;
begin
    if not pg_try_advisory_xact_lock(7305478812962) then
        return null;
    end if;
    for v_missing in
        select t.parent, t.moment, v_today + a as day
        from koppeling.history_tables() t cross join generate_series(0, p_ahead) a
        where to_regclass(format('koppeling.%I', t.parent || to_char(v_today + a, '_YYYYMMDD'))) is null
        order by a, t.parent
    loop
        if not koppeling.make_history_partition(v_missing.parent, v_missing.moment, v_missing.day) then
            return null;
        end if;
        v_made := v_made + 1;
    end loop;
    return v_made;
end $$;

-- The partitions of which nothing is kept any more.
create function koppeling.expired_history_partitions() returns table (partition text)
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select p.partition
    from koppeling.history_partitions() p
    join koppeling.history_tables() t on t.parent = p.parent
    where p.ends_at <= t.kept_since
    order by p.ends_at, p.partition;
end;

-- Drops a partition of which nothing is kept any more; false when that must wait. It needs the table for itself, and
-- while it waits for readers everybody who completes jobs waits behind it. So it does not wait long.
create function koppeling.drop_history_partition(p_partition text) returns boolean
    language plpgsql set search_path = koppeling, pg_temp set lock_timeout = '100ms'
as $$
begin
    if not pg_try_advisory_xact_lock(7305478812962) then
        return false;
    end if;
    if exists (select from koppeling.expired_history_partitions() e where e.partition = p_partition) then
        execute format('drop table koppeling.%I', p_partition);
    end if;
    return true;
exception when lock_not_available then
    return false;
end $$;

-- Deletes some of what is not kept any more and lies in no day's partition, and some of the workers that ended before
-- the history begins. Says how much that was, so that the caller goes on until it is nothing.
create function koppeling.prune_history(p_max int default 1000) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_table record;
    v_count bigint;
    v_total bigint := 0;
    v_oldest timestamptz;
begin
    select min(p.starts_at) into v_oldest from koppeling.history_partitions() p;
    for v_table in select t.parent || '_rest' as rest, t.moment, t.kept_since from koppeling.history_tables() t loop
        execute format('delete from koppeling.%I where ctid = any (array(
            select ctid from koppeling.%I where %I < $1 limit $2))', v_table.rest, v_table.rest, v_table.moment)
        using v_table.kept_since, p_max;
        get diagnostics v_count = row_count;
        v_total := v_total + v_count;
        execute format('select least($1, min(%I)) from koppeling.%I', v_table.moment, v_table.rest)
        into v_oldest using v_oldest;
    end loop;
    -- A dead worker's attempts are ended by those who find it dead, so a little later than itself.
    delete from koppeling.worker w
    where w.id = any (array(
        select d.id from koppeling.worker d
        where d.ended_at < v_oldest - interval '1 day'
            and not exists (select from koppeling.job j where j.state = 'running' and j.worker_id = d.id)
        limit p_max));
    get diagnostics v_count = row_count;
    return v_total + v_count;
end $$;

-- The newest jobs, or those before one. Order the view by id, and all jobs are read; this reads only as many numbers
-- back as it takes. A key is a job's key, order_key or limit_key.
create function koppeling.newest_jobs(
    max_jobs int default 50, state text default null, queue text default null, kind text default null,
    before bigint default null, key text default null
) returns setof koppeling.jobs
    language plpgsql stable set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    v_left int := max_jobs;
    v_span bigint := 4 * max_jobs;
    v_end bigint := coalesce(before, (select s.last_value + 1 from koppeling.job_id_seq s));
    v_count int;
begin
    if newest_jobs.state not in ('ready', 'scheduled', 'parked', 'blocked', 'running', 'done', 'rejected',
        'cancelled') then
        raise exception using errcode = '22023', message = format(
            'state: must be ready, scheduled, parked, blocked, running, done, rejected or cancelled, not "%s"',
            left(newest_jobs.state, 50));
    end if;
    while v_left > 0 and v_end > 0 loop
        return query
        select j.* from koppeling.jobs j
        where j.id >= v_end - v_span and j.id < v_end
            and (newest_jobs.state is null or j.state = newest_jobs.state)
            and (newest_jobs.queue is null or j.queue = newest_jobs.queue)
            and (newest_jobs.kind is null or j.kind = newest_jobs.kind)
            and (newest_jobs.key is null or newest_jobs.key in (j.key, j.order_key, j.limit_key))
        order by j.id desc
        limit v_left;
        get diagnostics v_count = row_count;
        v_left := v_left - v_count;
        v_end := v_end - v_span;
        v_span := 8 * v_span;
    end loop;
end $$;

revoke execute on function
    koppeling.newest_jobs(int, text, text, text, bigint, text), koppeling.set_retention(text, interval),
    koppeling.history_tables(), koppeling.history_partitions(),
    koppeling.make_history_partition(text, text, date), koppeling.make_history_partitions(int),
    koppeling.expired_history_partitions(), koppeling.drop_history_partition(text), koppeling.prune_history(int)
    from public;

grant execute on function koppeling.newest_jobs(int, text, text, text, bigint, text) to koppeling_reader;
grant select on koppeling.job_retention, koppeling.job_id_seq to koppeling_reader;

comment on table koppeling.job_retention is
    'For how long finished jobs are kept, by outcome; attempts as long as the longest.';
comment on column koppeling.job_retention.outcome is 'done, rejected or cancelled.';
comment on column koppeling.job_retention.keep is 'How long after they finished; set_retention changes it.';
comment on function koppeling.set_retention(text, interval) is
    'Sets for how long finished jobs with an outcome are kept.';
comment on function koppeling.newest_jobs(int, text, text, text, bigint, text) is
    'The newest jobs of a state, queue and kind, or those before one: cheap also when the history is large.';

select koppeling.make_history_partitions();
