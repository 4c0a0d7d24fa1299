-- Schedules: jobs that are enqueued at the moments of a cron expression.

create table koppeling.job_schedule (
    name text primary key check (length(name) between 1 and 200),
    cron text not null,
    time_zone text not null,
    -- What to do about ticks that nobody was there to see: skip them, or make up for all of them with one job.
    missed text not null check (missed in ('skip', 'once')),
    -- What is enqueued.
    kind text not null,
    args jsonb not null,
    queue text not null,
    key text,
    key_mode text not null,
    order_key text,
    limit_key text,
    priority int not null,
    max_attempts int not null,
    -- The tick that comes next; null while it is paused.
    next_at timestamptz,
    -- The tick that was last enqueued for, or when it was last run by hand, and the job.
    last_at timestamptz,
    last_job_id bigint,
    -- Why the last tick made no job.
    error text,
    constraint last_job_has_a_time check ((last_at is null) = (last_job_id is null))
);
create index job_schedule_due on koppeling.job_schedule (next_at) where next_at is not null;

-- Wakes the workers, who sleep until the next tick they know of.
create function koppeling.wake_schedulers() returns void
    language sql
    return pg_notify('koppeling_job', 'schedule');

-- Enqueues the job of a schedule.
create function koppeling.enqueue_scheduled(s koppeling.job_schedule, run_at timestamptz) returns bigint
    language sql
    return koppeling.enqueue_internal(s.kind, s.args, s.queue, s.key, s.key_mode, s.order_key, s.limit_key, run_at,
        s.priority, s.max_attempts);

-- Refuses, to those from outside, a schedule of a kind that is the system's own.
create function koppeling.check_schedule_is_public(p_name text) returns void
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
begin
    perform koppeling.check_kinds(array[s.kind], true, array['']) from koppeling.job_schedule s where s.name = p_name;
end $$;

-- Makes a schedule, or changes the one of that name, and returns its next tick. One that exists keeps that tick unless
-- its cron or time zone changes, so that a missed tick is made up for although a program puts its schedules when it
-- starts; and one that is paused stays so unless paused is given.
create function koppeling.put_schedule(
    name text, cron text, kind text, args jsonb default '{}', time_zone text default 'UTC',
    queue text default 'default', key text default null, key_mode text default 'keep', order_key text default null,
    limit_key text default null, priority int default 0, max_attempts int default 20, missed text default 'once',
    paused boolean default null, public_only boolean default false
) returns timestamptz
    language plpgsql set search_path = koppeling, pg_temp
as $$
#variable_conflict use_column
declare
    v_zone text := coalesce(put_schedule.time_zone, 'UTC');
    v_missed text := coalesce(put_schedule.missed, 'once');
    v_tick timestamptz;
    v_job koppeling.job := koppeling.new_job(null, put_schedule.kind, put_schedule.args, put_schedule.queue,
        put_schedule.key, put_schedule.key_mode, put_schedule.order_key, put_schedule.limit_key, null,
        put_schedule.priority, put_schedule.max_attempts, koppeling.now());
    v_fault text := case
        when put_schedule.name is null or length(put_schedule.name) not between 1 and 200 then
            'name: must have 1 to 200 characters'
        when v_missed not in ('skip', 'once') then
            format('missed: must be skip or once, not "%s"', left(v_missed, 50))
        else koppeling.job_fault(v_job)
    end;
begin
    if v_fault is not null then
        raise exception using errcode = '22023', message = v_fault;
    end if;
    perform koppeling.check_kinds(array[v_job.kind], public_only, array['']);
    if public_only then
        perform koppeling.check_schedule_is_public(put_schedule.name);
    end if;
    v_tick := koppeling.next_tick(put_schedule.cron, v_zone, koppeling.now());
    insert into koppeling.job_schedule as s (name, cron, time_zone, missed, kind, args, queue, key, key_mode,
        order_key, limit_key, priority, max_attempts, next_at)
    values (put_schedule.name, put_schedule.cron, v_zone, v_missed, v_job.kind, v_job.args, v_job.queue, v_job.key,
        v_job.key_mode, v_job.order_key, v_job.limit_key, v_job.priority, v_job.max_attempts,
        case when put_schedule.paused then null else v_tick end)
    on conflict (name) do update
    set cron = excluded.cron, time_zone = excluded.time_zone, missed = excluded.missed, kind = excluded.kind,
        args = excluded.args, queue = excluded.queue, key = excluded.key, key_mode = excluded.key_mode,
        order_key = excluded.order_key, limit_key = excluded.limit_key, priority = excluded.priority,
        max_attempts = excluded.max_attempts, error = null,
        next_at = case
            when coalesce(put_schedule.paused, s.next_at is null) then null
            when s.cron = excluded.cron and s.time_zone = excluded.time_zone then coalesce(s.next_at, v_tick)
            else v_tick
        end
    returning s.next_at into v_tick;
    perform koppeling.wake_schedulers();
    return v_tick;
end $$;

-- Makes a schedule of an object with the names of put_schedule's arguments.
create function koppeling.put_schedule_object(name text, definition jsonb, public_only boolean default false)
    returns timestamptz
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    -- What a schedule has beside the fields of its job.
    v_own text[] := '{cron,time_zone,missed,paused}';
    v_fault text;
    v_tick timestamptz;
begin
    if jsonb_typeof(definition) is distinct from 'object' then
        raise exception using errcode = '22023', message = 'a schedule must be a JSON object';
    end if;
    select case
            when f.key = 'run_at' then 'run_at: is not a field of a schedule'
            when f.key = 'paused' then format('paused: must be true or false, not %s', left(f.value::text, 50))
            else format('%s: must be a string, not %s', f.key, left(f.value::text, 50))
        end into v_fault
    from jsonb_each(definition) f
    where f.key = 'run_at' or f.key = any (v_own) and jsonb_typeof(f.value) not in ('null',
        case f.key when 'paused' then 'boolean' else 'string' end)
    limit 1;
    v_fault := coalesce(v_fault, replace(substr(koppeling.job_entry_fault(definition - v_own), 2),
        'field of a job', 'field of a schedule'));
    if v_fault is not null then
        raise exception using errcode = '22023', message = v_fault;
    end if;
    select koppeling.put_schedule(put_schedule_object.name, d.cron, d.kind, d.args, d.time_zone, d.queue, d.key,
        d.key_mode, d.order_key, d.limit_key, d.priority, d.max_attempts, d.missed, d.paused, public_only) into v_tick
    from jsonb_to_record(definition) as d (cron text, kind text, args jsonb, time_zone text, queue text, key text,
        key_mode text, order_key text, limit_key text, priority int, max_attempts int, missed text, paused boolean);
    return v_tick;
end $$;

-- Removes a schedule; the jobs it has made stay. False when there is none of that name.
create function koppeling.remove_schedule(name text, public_only boolean default false) returns boolean
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    if public_only then
        perform koppeling.check_schedule_is_public(remove_schedule.name);
    end if;
    delete from koppeling.job_schedule s where s.name = remove_schedule.name;
    return found;
end $$;

-- Keeps a schedule from making jobs; false when there is none of that name.
create function koppeling.pause_schedule(name text) returns boolean
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    update koppeling.job_schedule s set next_at = null where s.name = pause_schedule.name;
    return found;
end $$;

-- Lets a paused schedule go on with the first tick that is still to come; false when there is none of that name.
create function koppeling.resume_schedule(name text) returns boolean
    language plpgsql set search_path = koppeling, pg_temp
as $$
#variable_conflict use_column
begin
    update koppeling.job_schedule s
    set next_at = coalesce(s.next_at, koppeling.next_tick(s.cron, s.time_zone, koppeling.now()))
    where s.name = resume_schedule.name;
    if not found then
        return false;
    end if;
    perform koppeling.wake_schedulers();
    return true;
end $$;

-- Enqueues the job of a schedule now, paused or not, and returns its id; the ticks stay as they are.
create function koppeling.run_schedule(name text) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_schedule koppeling.job_schedule;
    v_now timestamptz := koppeling.now();
    v_id bigint;
begin
    select s.* into v_schedule from koppeling.job_schedule s where s.name = run_schedule.name for no key update;
    if not found then
        raise exception using errcode = '22023', message = format(
            'name: there is no schedule "%s"', left(run_schedule.name, 200));
    end if;
    v_id := koppeling.enqueue_scheduled(v_schedule, v_now);
    update koppeling.job_schedule s set last_at = v_now, last_job_id = v_id, error = null
    where s.name = run_schedule.name;
    return v_id;
end $$;

-- Enqueues the jobs of the schedules whose tick has come, and moves each on to its next one in the same transaction: so
-- a tick makes one job, whoever calls this and however often. Returns how many jobs it made, and the earliest tick that
-- is still to be done.
--
-- A tick is missed when it is more than 60 s old.
create function koppeling.run_due_schedules(p_limit int default 100) returns table (made bigint, next_at timestamptz)
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    v_now timestamptz := koppeling.now();
    v_oldest timestamptz := v_now - interval '60 seconds';
    v_schedule koppeling.job_schedule;
    v_tick timestamptz;
    v_next timestamptz;
    v_id bigint;
    v_error text;
begin
    made := 0;
    for v_schedule in
        select d.* from (
            select s.* from koppeling.job_schedule s
            where s.next_at <= v_now
            order by s.next_at
            limit p_limit
            for no key update skip locked) d
        -- In the order in which everybody enqueues with keys.
        order by d.queue, d.key, d.name
    loop
        v_tick := v_schedule.next_at;
        v_next := null;
        v_id := null;
        v_error := null;
        begin
            v_next := koppeling.next_tick(v_schedule.cron, v_schedule.time_zone, v_now);
            if v_schedule.missed = 'skip' and v_tick < v_oldest then
                v_tick := koppeling.next_tick(v_schedule.cron, v_schedule.time_zone, v_oldest);
            end if;
            if v_tick <= v_now then
                v_id := koppeling.enqueue_scheduled(v_schedule, v_tick);
                made := made + 1;
            end if;
        -- One that cannot be enqueued, such as for a kind that is gone, must not hold up the others.
        exception when data_exception or integrity_constraint_violation or program_limit_exceeded then
            v_id := null;
            v_error := sqlerrm;
        end;
        update koppeling.job_schedule s
        set next_at = coalesce(v_next, v_now + interval '1 hour'),
            last_at = case when v_id is null then s.last_at else v_tick end,
            last_job_id = coalesce(v_id, s.last_job_id),
            error = v_error
        where s.name = v_schedule.name;
    end loop;
    next_at := (select min(s.next_at) from koppeling.job_schedule s where s.next_at is not null);
    return next;
end $$;

create view koppeling.schedules as
select s.name, s.cron, s.time_zone, s.missed, s.next_at is null as paused, s.next_at, s.last_at, s.last_job_id,
    s.error, s.kind, s.args, s.queue, s.key, s.key_mode, s.order_key, s.limit_key, s.priority, s.max_attempts
from koppeling.job_schedule s;

grant select on koppeling.schedules to koppeling_reader;
revoke execute on function
    koppeling.wake_schedulers(), koppeling.enqueue_scheduled(koppeling.job_schedule, timestamptz),
    koppeling.check_schedule_is_public(text),
    koppeling.put_schedule(text, text, text, jsonb, text, text, text, text, text, text, int, int, text, boolean,
        boolean),
    koppeling.put_schedule_object(text, jsonb, boolean), koppeling.remove_schedule(text, boolean),
    koppeling.pause_schedule(text), koppeling.resume_schedule(text), koppeling.run_schedule(text),
    koppeling.run_due_schedules(int)
    from public;

comment on view koppeling.schedules is 'Schedules: jobs that are enqueued at the moments of a cron expression.';
comment on column koppeling.schedules.name is 'What it is called, and what makes it one.';
comment on column koppeling.schedules.cron is
    'Minute, hour, day of month, month and day of week, or one of @hourly, @daily, @weekly, @monthly, @yearly.';
comment on column koppeling.schedules.time_zone is 'Whose clocks the cron expression is about.';
comment on column koppeling.schedules.missed is
    'What happens when a tick is found more than 60 s late: skip it, or once: one job for all that were missed.';
comment on column koppeling.schedules.paused is 'Whether it makes no jobs for now.';
comment on column koppeling.schedules.next_at is 'Its next tick; null while it is paused.';
comment on column koppeling.schedules.last_at is 'The tick it last made a job for, or when it was last run by hand.';
comment on column koppeling.schedules.last_job_id is 'That job, or the waiting one that absorbed it.';
comment on column koppeling.schedules.error is 'Why its last tick made no job; null when it did.';
comment on column koppeling.schedules.kind is 'What its jobs are to do.';
comment on column koppeling.schedules.args is 'The args of its jobs.';
comment on column koppeling.schedules.queue is 'The queue its jobs go to.';
comment on column koppeling.schedules.key is 'The key of its jobs: at most one with it waits in a queue.';
comment on column koppeling.schedules.key_mode is
    'keep, replace or append: what a tick does to a job that waits with the key.';
comment on column koppeling.schedules.order_key is 'The order key of its jobs: they run one after another.';
comment on column koppeling.schedules.limit_key is 'The key that limits are set for.';
comment on column koppeling.schedules.priority is 'The priority of its jobs.';
comment on column koppeling.schedules.max_attempts is 'After how many failed attempts its jobs are rejected.';
comment on function koppeling.next_tick(text, text, timestamptz) is
    'The first moment after the given one that a cron expression names in a time zone.';
