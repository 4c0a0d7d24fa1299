-- Limits and pauses as people set them.

-- Sets what may run under a limit key; what is null is not limited. Holds for what starts from now on.
create function koppeling.set_limit(
    limit_key text, concurrency int default null, rate int default null, period interval default null
) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
#variable_conflict use_column
declare
    v_fault text := case
        when coalesce(length(set_limit.limit_key), 0) not between 1 and 500 then
            'limit_key: must have 1 to 500 characters'
        when set_limit.concurrency < 1 then 'concurrency: must be at least 1; to stop jobs, pause their key'
        when set_limit.rate < 1 then 'rate: must be at least 1; to stop jobs, pause their key'
        when set_limit.rate is not null and set_limit.period is null then 'period: is missing; a rate needs one'
        when set_limit.period is not null and set_limit.rate is null then 'rate: is missing; a period needs one'
        when set_limit.period <= '0 seconds' then 'period: must be longer than nothing'
        when set_limit.concurrency is null and set_limit.rate is null then
            'concurrency: is missing, and so is rate; one of them is needed'
    end;
begin
    if v_fault is not null then
        raise exception using errcode = '22023', message = v_fault;
    end if;
    -- A trigger lets those through that the limit held back until now.
    insert into koppeling.job_limit as l (limit_key, concurrency, rate, period, tokens)
    values (set_limit.limit_key, set_limit.concurrency, set_limit.rate, set_limit.period, coalesce(set_limit.rate, 0))
    on conflict (limit_key) do update
    set concurrency = excluded.concurrency, rate = excluded.rate, period = excluded.period;
end $$;

-- Takes a limit away; false when there is none.
create function koppeling.remove_limit(limit_key text) returns boolean
    language plpgsql set search_path = koppeling, pg_temp
as $$
#variable_conflict use_column
begin
    delete from koppeling.job_limit l where l.limit_key = remove_limit.limit_key;
    return found;
end $$;

-- A changed limit holds at once, also for jobs that were blocked under the old one, and also when somebody changes the
-- row itself.
create function koppeling.limit_changed() returns trigger
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    if tg_op = 'UPDATE' then
        new.filled_at := koppeling.now();
        -- Who limits the rate anew begins with a full bucket; one that was there keeps what it has.
        new.tokens := case when new.rate is null then 0 when old.rate is null then new.rate
            else least(new.rate, koppeling.tokens_at(old, new.filled_at)) end;
        new.opens_at := case when new.rate is not null then new.filled_at end;
        return new;
    end if;
    return null;
end $$;
create trigger limit_changes before update of concurrency, rate, period on koppeling.job_limit
    for each row execute function koppeling.limit_changed();

create function koppeling.limit_was_changed() returns trigger
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    if tg_op = 'DELETE' then
        -- All of them, a thousand at a time.
        while koppeling.open_gates(null, null, array[old.limit_key]) = 1000 loop null; end loop;
    else
        perform koppeling.open_gates(null, null, array[new.limit_key]);
    end if;
    return null;
end $$;
create trigger limit_changed after update of concurrency, rate, period or delete on koppeling.job_limit
    for each row execute function koppeling.limit_was_changed();

-- Pauses a queue, a kind, a key, or what they have in common; what runs goes on. Returns the number of the pause.
create function koppeling.pause(
    queue text default null, kind text default null, key text default null, reason text default null
) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
#variable_conflict use_column
declare
    v_id bigint;
begin
    if num_nonnulls(nullif(pause.queue, ''), nullif(pause.kind, ''), nullif(pause.key, '')) = 0 then
        raise exception using errcode = '22023', message = 'queue: is missing, and so are kind and key; one of them is needed';
    end if;
    insert into koppeling.job_pause as p (queue, kind, key, reason)
    values (nullif(pause.queue, ''), nullif(pause.kind, ''), nullif(pause.key, ''), pause.reason)
    on conflict on constraint paused_once do update set reason = coalesce(excluded.reason, p.reason)
    returning p.id into v_id;
    return v_id;
end $$;

-- Ends the pause of exactly this queue, kind and key; false when there is none.
create function koppeling.resume(queue text default null, kind text default null, key text default null)
    returns boolean
    language plpgsql set search_path = koppeling, pg_temp
as $$
#variable_conflict use_column
begin
    delete from koppeling.job_pause p
    where (p.queue, p.kind, p.key) is not distinct from
        (nullif(resume.queue, ''), nullif(resume.kind, ''), nullif(resume.key, ''));
    return found;
end $$;

-- When a pause ends, also by hand, what it held back is looked at again.
create function koppeling.pause_ended() returns trigger
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_ids bigint[];
begin
    loop
        v_ids := array(
            select j.id from koppeling.job j
            where j.blocked_by = 'pause' and old.key in (j.key, j.order_key, j.limit_key)
                and (old.queue is null or old.queue = j.queue) and (old.kind is null or old.kind = j.kind)
            limit 10000);
        exit when v_ids = '{}';
        perform koppeling.unblock(v_ids);
    end loop;
    -- Whoever waits may wait for what was paused.
    if old.key is null and exists (
        select from koppeling.consumer c
        where c.waiting and (old.queue is null or c.queue = old.queue)
            and (old.kind is null or old.kind = any (c.kinds))) then
        perform pg_notify('koppeling_job', '');
    end if;
    return null;
end $$;
create trigger pause_ended after delete on koppeling.job_pause
    for each row execute function koppeling.pause_ended();

create view koppeling.limits as
select l.limit_key, l.concurrency, l.rate, l.period,
    (select count(*) from koppeling.job j where j.limit_key = l.limit_key and j.state = 'running') as running,
    (select count(*) from koppeling.job j where j.limit_key = l.limit_key and j.blocked_by = 'limit') as waiting,
    case when l.rate is not null then floor(koppeling.tokens_at(l, koppeling.now()))::int end as tokens,
    l.opens_at
from koppeling.job_limit l;
comment on view koppeling.limits is 'What may run under each limit key, over all workers and queues.';
comment on column koppeling.limits.concurrency is 'At most so many run at once; null is no limit.';
comment on column koppeling.limits.rate is 'At most so many start in a period; null is no limit.';
comment on column koppeling.limits.period is 'The time in which the rate''s tokens come back.';
comment on column koppeling.limits.running is 'How many run now.';
comment on column koppeling.limits.waiting is 'How many are held back by the limit.';
comment on column koppeling.limits.tokens is 'How many may start now as far as the rate goes.';
comment on column koppeling.limits.opens_at is 'When those that wait for tokens are looked at again.';

create view koppeling.pauses as
select p.id, p.queue, p.kind, p.key, p.reason, p.paused_at from koppeling.job_pause p;
comment on view koppeling.pauses is 'What does not start until it is resumed.';
comment on column koppeling.pauses.queue is 'Jobs of this queue; null is any.';
comment on column koppeling.pauses.kind is 'Jobs of this kind; null is any.';
comment on column koppeling.pauses.key is 'Jobs with this as key, order_key or limit_key; null is any.';

grant select on koppeling.limits, koppeling.pauses to koppeling_reader;
revoke execute on function
    koppeling.set_limit(text, int, int, interval),
    koppeling.remove_limit(text),
    koppeling.pause(text, text, text, text),
    koppeling.resume(text, text, text),
    koppeling.limit_changed(),
    koppeling.limit_was_changed(),
    koppeling.pause_ended()
    from public;
comment on function koppeling.set_limit(text, int, int, interval) is
    'Limits how many jobs with a limit_key run at once, and how many start in a period.';
comment on function koppeling.remove_limit(text) is 'Takes the limit of a limit_key away; false when there is none.';
comment on function koppeling.pause(text, text, text, text) is
    'Pauses jobs of a queue, a kind, a key, or what they have in common. What runs goes on.';
comment on function koppeling.resume(text, text, text) is 'Ends a pause; false when there is none.';
