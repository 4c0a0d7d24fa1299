-- What workers call to register, to give signs of life, to stop, and to take over from dead ones.

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
        select w.id from koppeling.worker w where w.ended_at > v_now - interval '10 minutes' order by w.id
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

revoke execute on function
    koppeling.register_worker(text, text, int, text), koppeling.register_consumer(bigint, text, text[]),
    koppeling.abandon_jobs(bigint, bigint, text, text),
    koppeling.stop_worker(bigint), koppeling.beat(bigint, interval)
    from public;
