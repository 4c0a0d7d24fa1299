-- Permits: how many things of a kind may be under way at once, over all workers. A permit is a row with a lease.

create table koppeling.permit_budget (
    resource text primary key check (length(resource) between 1 and 200),
    budget int not null default 6 check (budget between 1 and 10),
    -- What was left after the last throttling; one comes back for each minute since.
    allowed int check (allowed between 1 and 10),
    lowered_at timestamptz,
    constraint lowered_to_something check ((allowed is null) = (lowered_at is null))
);

create table koppeling.permit (
    id bigint generated always as identity primary key,
    resource text not null references koppeling.permit_budget,
    slot int not null check (slot between 1 and 10),
    holder text not null,
    worker_id bigint not null,
    call_started_at timestamptz,
    expires_at timestamptz not null,
    unique (resource, slot)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Holders that want a permit and have none to wait for but each other's; renewed while they wait.
create unlogged table koppeling.permit_wait (
    resource text not null,
    holder text not null,
    seen_at timestamptz not null,
    -- Since when it has waited without an interruption.
    since timestamptz not null,
    primary key (resource, holder)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Whether a worker shows signs of life, as those who hold permits must.
create function koppeling.is_alive(p_worker bigint, at timestamptz) returns boolean
    language sql stable parallel safe
    return exists (
        select from koppeling.worker w
        where w.id = p_worker and w.ended_at is null and w.heartbeat_at > at - interval '15 seconds');

-- How many permits there may be now.
create function koppeling.allowed_permits(b koppeling.permit_budget, at timestamptz) returns int
    language sql immutable parallel safe
    return case
        when b.lowered_at is null then b.budget
        else least(b.budget, b.allowed + greatest(0, floor(extract(epoch from at - b.lowered_at) / 60))::int)
    end;

-- Gives a permit and returns its id, or null when none is to be had now: the budget is used up, or what is left of it is
-- for others who wait and have fewer, or as many and have waited longer. So all get equal shares, and where there is less
-- than one for each they take turns. What is allowed counts for those who live: the call of a dead worker may still be
-- under way, but everything would wait for two minutes after each death; so it counts against twice the budget, and
-- never are there more than the ten that Mailchimp takes. A permit is for a call that begins now, unless p_begin is false: then the call must
-- begin within 30 s. A dead worker's permits lapse 30 s after they were given, or 120 s after the call began; those of
-- a worker that lives do not lapse.
create function koppeling.acquire_permit(p_resource text, p_holder text, p_worker bigint, p_begin boolean default true)
    returns bigint
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_now timestamptz := koppeling.now();
    v_budget koppeling.permit_budget;
    v_allowed int;
    v_used int;
    v_mine bigint;
    v_since timestamptz;
    v_before int;
    v_id bigint;
begin
    select * into v_budget from koppeling.permit_budget b where b.resource = p_resource for no key update;
    if not found then
        insert into koppeling.permit_budget (resource) values (p_resource) on conflict do nothing;
        select * into v_budget from koppeling.permit_budget b where b.resource = p_resource for no key update;
    end if;
    delete from koppeling.permit p
    where p.resource = p_resource and p.expires_at <= v_now and not koppeling.is_alive(p.worker_id, v_now);
    select
        count(*), count(*) filter (where p.holder = p_holder),
        least(10, 2 * v_budget.budget, koppeling.allowed_permits(v_budget, v_now)
            + count(*) filter (where not koppeling.is_alive(p.worker_id, v_now)))
    into v_used, v_mine, v_allowed
    from koppeling.permit p where p.resource = p_resource;
    if v_used < v_allowed then
        select coalesce(min(w.since), v_now) into v_since
        from koppeling.permit_wait w
        where w.resource = p_resource and w.holder = p_holder and w.seen_at > v_now - interval '1 second';
        select count(*) into v_before
        from koppeling.permit_wait w
        cross join lateral (
            select count(*) as held from koppeling.permit p where p.resource = p_resource and p.holder = w.holder
        ) h
        where w.resource = p_resource and w.holder <> p_holder and w.seen_at > v_now - interval '1 second'
          and (h.held, w.since, w.holder) < (v_mine, v_since, p_holder);
        if v_before < v_allowed - v_used then
            insert into koppeling.permit (resource, slot, holder, worker_id, call_started_at, expires_at)
            select p_resource, s, p_holder, p_worker, case when p_begin then v_now end,
                v_now + case when p_begin then interval '120 seconds' else interval '30 seconds' end
            from generate_series(1, 10) s
            where not exists (select from koppeling.permit p where p.resource = p_resource and p.slot = s)
            order by s
            limit 1
            returning id into v_id;
        end if;
    end if;
    if v_id is not null then
        delete from koppeling.permit_wait w where w.resource = p_resource and w.holder = p_holder;
    else
        insert into koppeling.permit_wait as w (resource, holder, seen_at, since)
        values (p_resource, p_holder, v_now, v_now)
        on conflict (resource, holder) do update
        set seen_at = excluded.seen_at,
            since = case when w.seen_at > excluded.seen_at - interval '1 second' then w.since else excluded.since end
        where w.seen_at < excluded.seen_at - interval '250 milliseconds';
    end if;
    return v_id;
end $$;

-- Says that the call begins for which a permit was taken beforehand; false when the permit has lapsed.
create function koppeling.begin_call_under_permit(p_permit bigint) returns boolean
    language sql set search_path = koppeling, pg_temp
begin atomic
    with begun as (
        update koppeling.permit p
        set call_started_at = koppeling.now(), expires_at = koppeling.now() + interval '120 seconds'
        where p.id = p_permit and p.expires_at > koppeling.now()
        returning p.id
    )
    select exists (select from begun);
end;

-- Passes a permit on to the holder's next call, which begins now. False: it had lapsed, or less is allowed by now, or
-- another holder waits that has less than its equal share, or none at all where there is less than one for each; then it is
-- given back.
create function koppeling.pass_permit(p_permit bigint) returns boolean
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
as $$
declare
    v_now timestamptz := koppeling.now();
    v_permit koppeling.permit;
    v_budget koppeling.permit_budget;
    v_allowed int;
    v_used int;
    v_mine int;
    v_without int;
    v_least bigint;
    v_share int;
begin
    select * into v_permit from koppeling.permit p where p.id = p_permit;
    if not found then
        return false;
    end if;
    select * into v_budget from koppeling.permit_budget b where b.resource = v_permit.resource for no key update;
    select
        count(*), count(*) filter (where p.holder = v_permit.holder),
        least(10, 2 * v_budget.budget, koppeling.allowed_permits(v_budget, v_now)
            + count(*) filter (where not koppeling.is_alive(p.worker_id, v_now)))
    into v_used, v_mine, v_allowed
    from koppeling.permit p where p.resource = v_permit.resource;
    select count(*) filter (where h.held = 0), min(h.held) into v_without, v_least
    from koppeling.permit_wait w
    cross join lateral (
        select count(*) as held from koppeling.permit p where p.resource = w.resource and p.holder = w.holder
    ) h
    where w.resource = v_permit.resource and w.holder <> v_permit.holder
      and w.seen_at > v_now - interval '1 second';
    select greatest(1, v_allowed / count(distinct h.holder)) into v_share
    from (select p.holder from koppeling.permit p where p.resource = v_permit.resource
          union all
          select w.holder from koppeling.permit_wait w
          where w.resource = v_permit.resource and w.seen_at > v_now - interval '1 second') h;
    if v_used > v_allowed or v_without > v_allowed - v_used or v_mine > v_share and v_least < v_share then
        delete from koppeling.permit p where p.id = p_permit;
        return false;
    end if;
    update koppeling.permit p set call_started_at = v_now, expires_at = v_now + interval '120 seconds'
    where p.id = p_permit;
    return found;
end $$;

-- Gives a permit back; nothing happens when it has lapsed.
create function koppeling.release_permit(p_permit bigint) returns void
    language sql set search_path = koppeling, pg_temp
begin atomic
    delete from koppeling.permit p where p.id = p_permit;
end;

-- Halves what is allowed, unless that was done in the last 10 s. Returns what is allowed now.
create function koppeling.throttle(p_resource text) returns int
    language sql set search_path = koppeling, pg_temp
begin atomic
    insert into koppeling.permit_budget (resource) values (p_resource) on conflict do nothing;
    update koppeling.permit_budget b
    set allowed = greatest(1, koppeling.allowed_permits(b, koppeling.now()) / 2), lowered_at = koppeling.now()
    where b.resource = p_resource
        and (b.lowered_at is null or b.lowered_at <= koppeling.now() - interval '10 seconds');
    select koppeling.allowed_permits(b, koppeling.now()) from koppeling.permit_budget b where b.resource = p_resource;
end;

-- Sets how many permits a resource has, from 1 to 10.
create function koppeling.set_permit_budget(resource text, budget int) returns void
    language sql set search_path = koppeling, pg_temp
begin atomic
    insert into koppeling.permit_budget as b (resource, budget)
    values (set_permit_budget.resource, set_permit_budget.budget)
    on conflict (resource) do update set budget = excluded.budget;
end;

revoke execute on function
    koppeling.acquire_permit(text, text, bigint, boolean), koppeling.begin_call_under_permit(bigint),
    koppeling.pass_permit(bigint), koppeling.release_permit(bigint), koppeling.throttle(text),
    koppeling.set_permit_budget(text, int)
    from public;
