-- The schema that the numbered files make, as PostgreSQL 15 dumps it.

CREATE SCHEMA koppeling;

CREATE TYPE koppeling.claim_change AS (
	person_id bigint,
	change text,
	address text,
	address_key text,
	fields jsonb,
	manual boolean,
	member_id bigint,
	readdressed boolean
);

CREATE TYPE koppeling.cron_times AS (
	minutes integer[],
	hours integer[],
	days integer[],
	months integer[],
	weekdays integer[],
	either_day boolean,
	is_elastic boolean
);

CREATE TYPE koppeling.member_need AS (
	member_id bigint,
	key text,
	waiting text,
	needed text
);

CREATE TYPE koppeling.person_input AS (
	line bigint,
	source text,
	external_id text,
	given_name text,
	initials text,
	prefixes text,
	family_name text,
	gender text,
	email_kinds text[],
	addresses text[],
	categories text[],
	fields text[],
	person_id bigint,
	category_ids bigint[]
);

CREATE FUNCTION koppeling.abandon_jobs(p_worker bigint, p_consumer bigint, p_outcome text, p_note text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
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

CREATE FUNCTION koppeling.accept_persons(p_persons jsonb, p_numbered boolean) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
    v_fault record;
    v_rows koppeling.person_input[];
    v_round koppeling.person_input[];
    v_place int := 0;
    v_done record;
    v_evaluate bigint[] := '{}';
begin
    select * into v_fault from koppeling.person_shape_faults(p_persons) order by line limit 1;
    if not found then
        v_rows := koppeling.persons_from_json(p_persons);
        select * into v_fault from koppeling.person_faults(v_rows) order by line limit 1;
    end if;
    if found then
        raise exception using errcode = 'invalid_parameter_value', column = coalesce(v_fault.field, ''),
            message = concat_ws(' ', case when p_numbered then format('person %s:', v_fault.line) else 'person:' end,
                'field "' || v_fault.field || '"', v_fault.message);
    end if;
    -- A person who is given more than once is put in that order, the later over the earlier.
    loop
        v_place := v_place + 1;
        select array_agg(p.person) into v_round
        from (
            select r as person, row_number() over (
                partition by koppeling.fold(r.source), koppeling.fold(r.external_id) order by r.line) as place
            from unnest(v_rows) r
        ) p
        where p.place = v_place;
        exit when v_round is null;
        select * into v_done from koppeling.put_person_rows(v_round);
        v_evaluate := v_evaluate || v_done.evaluate;
    end loop;
    perform koppeling.request_evaluation(v_evaluate, 'put');
end $$;

CREATE FUNCTION koppeling.acquire_permit(p_resource text, p_holder text, p_worker bigint, p_begin boolean DEFAULT true) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
    v_now timestamptz := koppeling.now();
    v_budget koppeling.permit_budget;
    v_allowed int;
    v_used int;
    v_mine int;
    v_share int;
    v_id bigint;
begin
    select * into v_budget from koppeling.permit_budget b where b.resource = p_resource for no key update;
    if not found then
        insert into koppeling.permit_budget (resource) values (p_resource) on conflict do nothing;
        select * into v_budget from koppeling.permit_budget b where b.resource = p_resource for no key update;
    end if;
    delete from koppeling.permit p
    where p.resource = p_resource and p.expires_at <= v_now and not exists (
        select from koppeling.worker w
        where w.id = p.worker_id and w.ended_at is null and w.heartbeat_at > v_now - interval '15 seconds');
    v_allowed := koppeling.allowed_permits(v_budget, v_now);
    select count(*), count(*) filter (where p.holder = p_holder) into v_used, v_mine
    from koppeling.permit p where p.resource = p_resource;
    if v_used < v_allowed then
        select greatest(1, v_allowed / count(distinct h.holder)) into v_share
        from (select p.holder from koppeling.permit p where p.resource = p_resource
              union all
              select w.holder from koppeling.permit_wait w
              where w.resource = p_resource and w.seen_at > v_now - interval '1 second'
              union all
              select p_holder) h;
        if v_mine < v_share or not exists (
            select from koppeling.permit_wait w
            where w.resource = p_resource and w.holder <> p_holder and w.seen_at > v_now - interval '1 second'
                and v_share > (select count(*) from koppeling.permit p
                               where p.resource = p_resource and p.holder = w.holder)) then
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
        insert into koppeling.permit_wait as w (resource, holder, seen_at) values (p_resource, p_holder, v_now)
        on conflict (resource, holder) do update set seen_at = excluded.seen_at
        where w.seen_at < excluded.seen_at - interval '250 milliseconds';
    end if;
    return v_id;
end $$;

CREATE FUNCTION koppeling.address_fault(address text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (length(address) > 254) THEN 'is longer than 254 characters'::text WHEN ((length(address) - length(replace(address, '@'::text, ''::text))) <> 1) THEN 'must hold exactly one @'::text WHEN (address ~ '[\u0001-\u0020\u007f-\u00a0]'::text) THEN 'must not hold spaces or control characters'::text WHEN (address !~ '^[^][@<>(),;:\\"]{1,64}@[^][@<>(),;:\\"]+$'::text) THEN 'is not an e-mail address'::text WHEN (address !~ '@([^.@]{1,63}\.)+[^.@]{2,63}$'::text) THEN 'must end in a full domain name'::text WHEN (address ~ '(^\.|\.\.|\.@)'::text) THEN 'must not have a dot there'::text ELSE NULL::text END;

CREATE FUNCTION koppeling.ascii_label(label text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
declare
    v_points int[] := array(select ascii(c) from regexp_split_to_table(label, '') c);
    v_out text := regexp_replace(label, '[^\u0001-\u007f]', '', 'g');
    v_done int := length(v_out);
    v_basic int := v_done;
    v_n bigint := 128;
    v_delta bigint := 0;
    v_bias int := 72;
    v_point int;
    v_next bigint;
    v_q bigint;
    v_k int;
    v_t int;
begin
    if octet_length(label) = length(label) then
        return label;
    end if;
    if v_basic > 0 then
        v_out := v_out || '-';
    end if;
    while v_done < cardinality(v_points) loop
        select min(p) into v_next from unnest(v_points) p where p >= v_n;
        v_delta := v_delta + (v_next - v_n) * (v_done + 1);
        v_n := v_next;
        foreach v_point in array v_points loop
            if v_point < v_n then
                v_delta := v_delta + 1;
            elsif v_point = v_n then
                v_q := v_delta;
                v_k := 36;
                loop
                    v_t := least(greatest(v_k - v_bias, 1), 26);
                    exit when v_q < v_t;
                    v_out := v_out || substr('abcdefghijklmnopqrstuvwxyz0123456789',
                        (v_t + (v_q - v_t) % (36 - v_t))::int + 1, 1);
                    v_q := (v_q - v_t) / (36 - v_t);
                    v_k := v_k + 36;
                end loop;
                v_out := v_out || substr('abcdefghijklmnopqrstuvwxyz0123456789', v_q::int + 1, 1);
                v_delta := case when v_done = v_basic then v_delta / 700 else v_delta / 2 end;
                v_delta := v_delta + v_delta / (v_done + 1);
                v_k := 0;
                while v_delta > 455 loop
                    v_delta := v_delta / 35;
                    v_k := v_k + 36;
                end loop;
                v_bias := v_k + (36 * v_delta / (v_delta + 38))::int;
                v_delta := 0;
                v_done := v_done + 1;
            end if;
        end loop;
        v_delta := v_delta + 1;
        v_n := v_n + 1;
    end loop;
    return 'xn--' || v_out;
end $$;

CREATE FUNCTION koppeling.clean_text(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (value ~ '^[\u0021-\u007e]+( [\u0021-\u007e]+)*$'::text) THEN value ELSE NULLIF(btrim(regexp_replace(NORMALIZE(value, NFC), '[\u0001-\u0020\u007f-\u00a0\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]+'::text, ' '::text, 'g'::text)), ''::text) END;

CREATE FUNCTION koppeling.fold(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (octet_length(value) = length(value)) THEN (lower((value COLLATE "C")) COLLATE "default") ELSE NORMALIZE((lower((NORMALIZE(value, NFC) COLLATE "und-x-icu")) COLLATE "default"), NFC) END;

CREATE FUNCTION koppeling.international_address_key(address text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((koppeling.fold(split_part(koppeling.clean_text(address), '@'::text, 1)) || '@'::text) || (SELECT string_agg(koppeling.ascii_label(labels.label), '.'::text ORDER BY labels.place) AS string_agg FROM regexp_split_to_table(NORMALIZE(koppeling.fold(split_part(koppeling.clean_text(international_address_key.address), '@'::text, 2)), NFKC), '\.'::text) WITH ORDINALITY labels(label, place)));

CREATE FUNCTION koppeling.address_key(address text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (octet_length(address) = length(address)) THEN (lower((btrim(address, ' 	
'::text) COLLATE "C")) COLLATE "default") ELSE koppeling.international_address_key(address) END;

CREATE TABLE koppeling.permit_budget (
    resource text NOT NULL,
    budget integer DEFAULT 6 NOT NULL,
    allowed integer,
    lowered_at timestamp with time zone,
    CONSTRAINT lowered_to_something CHECK (((allowed IS NULL) = (lowered_at IS NULL))),
    CONSTRAINT permit_budget_allowed_check CHECK (((allowed >= 1) AND (allowed <= 10))),
    CONSTRAINT permit_budget_budget_check CHECK (((budget >= 1) AND (budget <= 10))),
    CONSTRAINT permit_budget_resource_check CHECK (((length(resource) >= 1) AND (length(resource) <= 200)))
);

CREATE FUNCTION koppeling.allowed_permits(b koppeling.permit_budget, at timestamp with time zone) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((b).lowered_at IS NULL) THEN (b).budget ELSE LEAST((b).budget, ((b).allowed + (GREATEST((0)::numeric, floor((EXTRACT(epoch FROM (at - (b).lowered_at)) / (60)::numeric))))::integer)) END;

CREATE FUNCTION koppeling.apply_claims(p_instance bigint, p_persons bigint[], p_exempt_only boolean) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_changes koppeling.claim_change[];
    v_touched bigint[] := '{}';
    v_more    bigint[];
begin
    select coalesce(array_agg(row (d.person_id, d.change, d.address, d.address_key, d.fields, d.manual,
                                   d.member_id, d.readdressed)::koppeling.claim_change), '{}')
    into v_changes
    from koppeling.claim_difference(p_instance, p_persons) d
    where d.exempt or not p_exempt_only;

    with gone as (
        delete from koppeling.claim c
        using unnest(v_changes) d
        where d.change = 'leave' and c.instance_id = p_instance and c.person_id = d.person_id
        returning c.member_id
    )
    select coalesce(array_agg(distinct member_id), '{}') into v_touched from gone;

    -- Members for the addresses nobody has seen yet, in one go; the rest are found one by one through an index.
    insert into koppeling.audience_member (instance_id, address, address_key)
    select distinct on (d.address_key) p_instance, d.address, d.address_key
    from unnest(v_changes) d
    where d.change = 'join'
      and not exists (select from koppeling.audience_member m
                      where m.instance_id = p_instance and m.moving_to = d.address_key)
      and not exists (select from koppeling.audience_member m
                      where m.instance_id = p_instance and m.file_key = d.address_key and m.status <> 'absent')
    order by d.address_key, d.person_id
    on conflict (instance_id, address_key) do nothing;
    with joined as (
        insert into koppeling.claim (instance_id, person_id, member_id, address, address_key, fields, manual)
        select p_instance, d.person_id, koppeling.member_for(p_instance, d.address, d.address_key), d.address,
               d.address_key, d.fields, d.manual
        from unnest(v_changes) d
        where d.change = 'join'
        order by d.person_id
        returning member_id
    )
    select v_touched || coalesce(array_agg(distinct member_id), '{}') into v_touched from joined;

    with edited as (
        update koppeling.claim c set fields = d.fields, manual = d.manual,
               address = case when d.readdressed then c.address else d.address end
        from unnest(v_changes) d
        where d.change in ('edit', 'empty') and c.instance_id = p_instance and c.person_id = d.person_id
        returning c.member_id
    )
    select v_touched || coalesce(array_agg(distinct member_id), '{}') into v_touched from edited;

    -- One after the other: the second of two who swap addresses must see what the first one took.
    select coalesce(array_agg(r.member_id), '{}') into v_more
    from (select * from unnest(v_changes) d where d.change in ('edit', 'empty') and d.readdressed
          order by d.person_id) d
    cross join lateral koppeling.readdress_claim(p_instance, d.person_id, d.address, d.address_key) r (member_id);
    return v_touched || v_more;
end $$;

CREATE FUNCTION koppeling.approve_plan(p_plan bigint, p_version integer, p_actor text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_plan     koppeling.change_plan;
    v_instance bigint;
    v_persons  bigint[];
begin
    select * into v_plan from koppeling.change_plan where id = p_plan;
    if not found then
        raise exception 'there is no plan %', p_plan using errcode = 'no_data_found';
    end if;
    perform koppeling.lock_group(v_plan.target_group_id);
    select * into v_plan from koppeling.change_plan where id = p_plan for update;
    if v_plan.state <> 'held' then
        raise exception 'plan % is % already', p_plan, v_plan.state using errcode = 'object_not_in_prerequisite_state';
    end if;
    if v_plan.version <> p_version then
        raise exception 'plan % has changed: you saw version %, it is at version %; look at it again', p_plan,
            p_version, v_plan.version using errcode = 'serialization_failure';
    end if;
    select array_agg(person_id) into v_persons from koppeling.change_plan_line where plan_id = p_plan;
    update koppeling.change_plan
    set state = 'approved', decided_at = koppeling.now(), decided_by = p_actor, changed_at = koppeling.now()
    where id = p_plan;
    update koppeling.connector_instance set activated = true where target_group_id = v_plan.target_group_id
    returning id into v_instance;
    perform koppeling.stage_members(v_instance, koppeling.apply_claims(v_instance, v_persons, false));
    insert into koppeling.audit_entry (target_group_id, kind, new, actor, cause)
    values (v_plan.target_group_id, 'plan.approved',
            jsonb_build_object('plan', p_plan, 'version', p_version, 'persons', cardinality(v_persons)), p_actor,
            'plan ' || p_plan);
    return cardinality(v_persons);
end $$;

CREATE FUNCTION koppeling.archive_person(source text, external_id text, p_actor text DEFAULT SESSION_USER) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_person bigint := koppeling.require_person(source, external_id);
begin
    update koppeling.person set state = 'archived', changed_at = koppeling.now()
    where id = v_person and state = 'active';
    if not found then
        return v_person;
    end if;
    insert into koppeling.audit_entry (person_id, kind, old, new, actor, cause)
    values (v_person, 'person', '"active"', '"archived"', p_actor, 'archive');
    with included as (
        select m.target_group_id from koppeling.membership m
        where m.person_id = v_person and m.override = 'include'
        order by m.target_group_id
        for no key update
    ), dropped as (
        update koppeling.membership m set override = 'none', overridden_by = null
        from included i
        where m.target_group_id = i.target_group_id and m.person_id = v_person
        returning m.target_group_id
    )
    insert into koppeling.audit_entry (target_group_id, person_id, kind, old, new, actor, cause)
    select d.target_group_id, v_person, 'override', '"include"', '"none"', p_actor, 'archive' from dropped d;
    perform koppeling.request_evaluation(array[v_person], 'archive');
    return v_person;
end $$;

CREATE FUNCTION koppeling.are_job_entries(jobs jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT (NOT (EXISTS ( SELECT
            FROM jsonb_array_elements(are_job_entries.jobs) e(entry)
           WHERE
                 CASE
                     WHEN (jsonb_typeof(e.entry) <> 'object'::text) THEN true
                     ELSE (((e.entry - ARRAY['kind'::text, 'args'::text, 'queue'::text, 'key'::text, 'key_mode'::text, 'order_key'::text, 'limit_key'::text, 'run_at'::text, 'priority'::text, 'max_attempts'::text]) <> '{}'::jsonb) OR (COALESCE(jsonb_typeof((e.entry -> 'kind'::text)), 'null'::text) <> ALL (ARRAY['string'::text, 'null'::text])) OR (COALESCE(jsonb_typeof((e.entry -> 'queue'::text)), 'null'::text) <> ALL (ARRAY['string'::text, 'null'::text])) OR (COALESCE(jsonb_typeof((e.entry -> 'key'::text)), 'null'::text) <> ALL (ARRAY['string'::text, 'null'::text])) OR (COALESCE(jsonb_typeof((e.entry -> 'key_mode'::text)), 'null'::text) <> ALL (ARRAY['string'::text, 'null'::text])) OR (COALESCE(jsonb_typeof((e.entry -> 'order_key'::text)), 'null'::text) <> ALL (ARRAY['string'::text, 'null'::text])) OR (COALESCE(jsonb_typeof((e.entry -> 'limit_key'::text)), 'null'::text) <> ALL (ARRAY['string'::text, 'null'::text])) OR (COALESCE(jsonb_typeof((e.entry -> 'run_at'::text)), 'null'::text) <> ALL (ARRAY['string'::text, 'null'::text])) OR ((jsonb_typeof((e.entry -> 'priority'::text)) <> 'null'::text) AND (((e.entry -> 'priority'::text))::text !~ '^-?[0-9]{1,9}$'::text)) OR ((jsonb_typeof((e.entry -> 'max_attempts'::text)) <> 'null'::text) AND (((e.entry -> 'max_attempts'::text))::text !~ '^-?[0-9]{1,9}$'::text)))
                 END)));
END;

CREATE FUNCTION koppeling.now() RETURNS timestamp with time zone
    LANGUAGE sql PARALLEL SAFE
    RETURN clock_timestamp();

CREATE TABLE koppeling.job (
    id bigint NOT NULL,
    enqueued_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    run_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    started_at timestamp with time zone,
    worker_id bigint,
    consumer_id bigint,
    priority integer DEFAULT 0 NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    max_attempts integer DEFAULT 20 NOT NULL,
    claim integer DEFAULT 0 NOT NULL,
    snoozes integer DEFAULT 0 NOT NULL,
    deaths integer DEFAULT 0 NOT NULL,
    alone boolean DEFAULT false NOT NULL,
    state text DEFAULT 'ready'::text NOT NULL,
    blocked_by text,
    queue text DEFAULT 'default'::text NOT NULL,
    kind text NOT NULL,
    key text,
    key_mode text DEFAULT 'keep'::text NOT NULL,
    order_key text,
    limit_key text,
    error text,
    args jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT alone_while_it_runs CHECK (((state = 'running'::text) OR (NOT alone))),
    CONSTRAINT attempts_are_limited CHECK ((attempt <= max_attempts)),
    CONSTRAINT blocked_by_something CHECK (((state = 'blocked'::text) = (blocked_by IS NOT NULL))),
    CONSTRAINT job_args_check CHECK ((jsonb_typeof(args) = ANY (ARRAY['object'::text, 'array'::text]))),
    CONSTRAINT job_attempt_check CHECK ((attempt >= 0)),
    CONSTRAINT job_blocked_by_check CHECK ((blocked_by = ANY (ARRAY['order'::text, 'limit'::text, 'pause'::text]))),
    CONSTRAINT job_claim_check CHECK ((claim >= 0)),
    CONSTRAINT job_deaths_check CHECK ((deaths >= 0)),
    CONSTRAINT job_key_check CHECK (((length(key) >= 1) AND (length(key) <= 500))),
    CONSTRAINT job_key_mode_check CHECK ((key_mode = ANY (ARRAY['keep'::text, 'replace'::text, 'append'::text]))),
    CONSTRAINT job_limit_key_check CHECK (((length(limit_key) >= 1) AND (length(limit_key) <= 500))),
    CONSTRAINT job_max_attempts_check CHECK (((max_attempts >= 1) AND (max_attempts <= 1000))),
    CONSTRAINT job_order_key_check CHECK (((length(order_key) >= 1) AND (length(order_key) <= 500))),
    CONSTRAINT job_priority_check CHECK (((priority >= '-10000'::integer) AND (priority <= 10000))),
    CONSTRAINT job_queue_check CHECK (((length(queue) >= 1) AND (length(queue) <= 200))),
    CONSTRAINT job_snoozes_check CHECK ((snoozes >= 0)),
    CONSTRAINT job_state_check CHECK ((state = ANY (ARRAY['ready'::text, 'returned'::text, 'suspect'::text, 'blocked'::text, 'running'::text]))),
    CONSTRAINT parked_is_not_running CHECK (((state = ANY (ARRAY['ready'::text, 'returned'::text, 'suspect'::text])) OR (run_at < 'infinity'::timestamp with time zone))),
    CONSTRAINT running_has_a_worker CHECK ((((state = 'running'::text) = (worker_id IS NOT NULL)) AND ((state = 'running'::text) = (consumer_id IS NOT NULL)) AND ((state = 'running'::text) = (started_at IS NOT NULL)))),
    CONSTRAINT suspect_since_a_death CHECK (((state <> 'suspect'::text) OR (deaths > 0)))
)
WITH (autovacuum_vacuum_scale_factor='0.01', autovacuum_vacuum_threshold='1000', autovacuum_vacuum_cost_delay='0', autovacuum_analyze_scale_factor='0.1', autovacuum_analyze_threshold='5000');

CREATE FUNCTION koppeling.as_waiting(job koppeling.job, next_at timestamp with time zone, outcome text, note text) RETURNS koppeling.job
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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

CREATE FUNCTION koppeling.beat(p_worker bigint, p_dead_after interval) RETURNS TABLE(is_alive boolean, rescued bigint, suspicious bigint[])
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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

CREATE TABLE koppeling.claim (
    instance_id bigint NOT NULL,
    person_id bigint NOT NULL,
    member_id bigint NOT NULL,
    address text NOT NULL,
    address_key text NOT NULL,
    fields jsonb NOT NULL,
    manual boolean NOT NULL,
    claimed_at timestamp with time zone DEFAULT koppeling.now() NOT NULL
);

CREATE TABLE koppeling.email_address (
    id bigint NOT NULL,
    person_id bigint NOT NULL,
    kind text NOT NULL,
    address text NOT NULL,
    address_key text GENERATED ALWAYS AS (koppeling.address_key(address)) STORED NOT NULL,
    CONSTRAINT email_address_address_check CHECK ((length(address) <= 254)),
    CONSTRAINT email_address_kind_check CHECK (((kind <> ''::text) AND (kind = koppeling.fold(kind))))
);

CREATE TABLE koppeling.suppression (
    id bigint NOT NULL,
    target_group_id bigint NOT NULL,
    reason text NOT NULL,
    contact_id text,
    address_key text,
    person_id bigint,
    file_key text,
    follows bigint,
    source text NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT file_key_of_a_bounce CHECK (((file_key IS NULL) OR ((person_id IS NOT NULL) AND (reason = 'cleaned'::text)))),
    CONSTRAINT stands_at_one CHECK ((num_nonnulls(contact_id, address_key, person_id) = 1)),
    CONSTRAINT suppression_reason_check CHECK ((reason = ANY (ARRAY['complained'::text, 'unsubscribed'::text, 'cleaned'::text, 'forgotten'::text, 'removedInMailchimp'::text]))),
    CONSTRAINT suppression_source_check CHECK ((source = ANY (ARRAY['mailchimp'::text, 'user'::text])))
);

CREATE TABLE koppeling.suppression_lift (
    suppression_id bigint NOT NULL,
    lifted_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    source text NOT NULL,
    cause text NOT NULL,
    CONSTRAINT suppression_lift_source_check CHECK ((source = ANY (ARRAY['mailchimp'::text, 'user'::text])))
);

CREATE VIEW koppeling.open_suppression AS
 SELECT s.id,
    s.target_group_id,
    s.reason,
    s.contact_id,
    s.address_key,
    s.person_id,
    s.file_key,
    s.follows,
    s.source,
    s.occurred_at,
    s.recorded_at,
    s.detail
   FROM koppeling.suppression s
  WHERE (NOT (EXISTS ( SELECT
           FROM koppeling.suppression_lift l
          WHERE (l.suppression_id = s.id))));

CREATE FUNCTION koppeling.binding_reasons(p_group bigint, p_key text, p_contact text, p_member bigint) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT COALESCE(array_agg(DISTINCT s.reason), '{}'::text[]) AS "coalesce"
    FROM ( SELECT open_suppression.reason
            FROM koppeling.open_suppression
           WHERE ((open_suppression.target_group_id = binding_reasons.p_group) AND (open_suppression.address_key = binding_reasons.p_key))
         UNION ALL
          SELECT open_suppression.reason
            FROM koppeling.open_suppression
           WHERE ((open_suppression.target_group_id = binding_reasons.p_group) AND (open_suppression.contact_id = binding_reasons.p_contact))
         UNION ALL
          SELECT s_1.reason
            FROM koppeling.open_suppression s_1
           WHERE ((s_1.target_group_id = binding_reasons.p_group) AND (s_1.reason = ANY (ARRAY['complained'::text, 'unsubscribed'::text, 'forgotten'::text])) AND (s_1.person_id = ANY (ARRAY( SELECT e.person_id
                    FROM koppeling.email_address e
                   WHERE (e.address_key = binding_reasons.p_key)
                 UNION ALL
                  SELECT c.person_id
                    FROM koppeling.claim c
                   WHERE (c.member_id = binding_reasons.p_member)))))) s;
END;

CREATE TABLE koppeling.audience_member (
    id bigint NOT NULL,
    instance_id bigint NOT NULL,
    contact_id text,
    remote_id text,
    address text NOT NULL,
    address_key text NOT NULL,
    file_key text,
    status text,
    last_changed timestamp with time zone,
    observed_at timestamp with time zone,
    ownership text DEFAULT 'none'::text NOT NULL,
    archived_by_us boolean DEFAULT false NOT NULL,
    intent text,
    intent_at timestamp with time zone,
    moving_to text,
    sent_fields jsonb,
    applied_fields jsonb,
    acted_at timestamp with time zone,
    note text,
    sweep bigint DEFAULT 0 NOT NULL,
    CONSTRAINT audience_member_check CHECK (((NOT archived_by_us) OR (status = 'archived'::text))),
    CONSTRAINT audience_member_check1 CHECK (((intent IS NULL) = (intent_at IS NULL))),
    CONSTRAINT audience_member_intent_check CHECK ((intent = ANY (ARRAY['creating'::text, 'updating'::text, 'moving'::text, 'archiving'::text, 'unsubscribing'::text]))),
    CONSTRAINT audience_member_ownership_check CHECK ((ownership = ANY (ARRAY['none'::text, 'created'::text, 'adopted'::text, 'foreign'::text]))),
    CONSTRAINT audience_member_status_check CHECK ((status = ANY (ARRAY['absent'::text, 'subscribed'::text, 'unsubscribed'::text, 'cleaned'::text, 'pending'::text, 'transactional'::text, 'archived'::text])))
);

CREATE TABLE koppeling.connector_instance (
    id bigint NOT NULL,
    account_id bigint NOT NULL,
    name text NOT NULL,
    list_id text NOT NULL,
    list_name text NOT NULL,
    target_group_id bigint NOT NULL,
    enabled boolean DEFAULT false NOT NULL,
    paused_reason text,
    activated boolean DEFAULT false NOT NULL,
    keeps_adopted boolean DEFAULT false NOT NULL,
    webhook_secret_hash bytea NOT NULL,
    webhook_secret bytea NOT NULL,
    webhook_id text,
    pull_cursor timestamp with time zone,
    last_pull_at timestamp with time zone,
    last_sweep_at timestamp with time zone,
    sweep bigint DEFAULT 0 NOT NULL,
    removals_count integer DEFAULT 25 NOT NULL,
    removals_share numeric DEFAULT 0.10 NOT NULL,
    removals_cap integer DEFAULT 500 NOT NULL,
    joins_count integer DEFAULT 100 NOT NULL,
    joins_share numeric DEFAULT 0.20 NOT NULL,
    joins_cap integer DEFAULT 1000 NOT NULL,
    created_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    CONSTRAINT connector_instance_joins_cap_check CHECK ((joins_cap >= 0)),
    CONSTRAINT connector_instance_joins_count_check CHECK ((joins_count >= 0)),
    CONSTRAINT connector_instance_joins_share_check CHECK (((joins_share >= (0)::numeric) AND (joins_share <= (1)::numeric))),
    CONSTRAINT connector_instance_list_id_check CHECK ((list_id ~ '^[A-Za-z0-9]+$'::text)),
    CONSTRAINT connector_instance_name_check CHECK ((name <> ''::text)),
    CONSTRAINT connector_instance_removals_cap_check CHECK ((removals_cap >= 0)),
    CONSTRAINT connector_instance_removals_count_check CHECK ((removals_count >= 0)),
    CONSTRAINT connector_instance_removals_share_check CHECK (((removals_share >= (0)::numeric) AND (removals_share <= (1)::numeric))),
    CONSTRAINT connector_instance_webhook_secret_hash_check CHECK ((octet_length(webhook_secret_hash) = 32))
);

CREATE FUNCTION koppeling.member_states(p_members bigint[]) RETURNS TABLE(id bigint, instance_id bigint, contact_id text, remote_id text, address text, address_key text, file_key text, status text, ownership text, archived_by_us boolean, intent text, moving_to text, applied_fields jsonb, claims bigint, wanted_address text, wanted_key text, wanted_fields jsonb, reasons text[], target_reasons text[], unsubscribe_here boolean, reactivated boolean, keeps_adopted boolean)
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET enable_nestloop TO 'on'
    BEGIN ATOMIC
 SELECT m.id,
     m.instance_id,
     m.contact_id,
     m.remote_id,
     m.address,
     m.address_key,
     m.file_key,
     m.status,
     m.ownership,
     m.archived_by_us,
     m.intent,
     m.moving_to,
     m.applied_fields,
     c.claims,
     p.address,
     p.address_key,
     p.fields,
     koppeling.binding_reasons(i.target_group_id, m.address_key, m.contact_id, m.id) AS binding_reasons,
         CASE
             WHEN (m.moving_to IS NULL) THEN '{}'::text[]
             ELSE koppeling.binding_reasons(i.target_group_id, m.moving_to, NULL::text, NULL::bigint)
         END AS binding_reasons,
     (EXISTS ( SELECT
            FROM koppeling.open_suppression s
           WHERE ((s.target_group_id = i.target_group_id) AND (s.reason = 'unsubscribed'::text) AND (s.source = 'user'::text) AND ((s.address_key = ANY (ARRAY[m.address_key, m.file_key])) OR (s.contact_id = m.contact_id))))) AS "exists",
     (EXISTS ( SELECT
            FROM (koppeling.suppression s
              JOIN koppeling.suppression_lift l ON ((l.suppression_id = s.id)))
           WHERE ((s.target_group_id = i.target_group_id) AND (s.reason = 'removedInMailchimp'::text) AND ((s.address_key = m.address_key) OR (s.contact_id = m.contact_id))))) AS "exists",
     i.keeps_adopted
    FROM (((koppeling.audience_member m
      JOIN koppeling.connector_instance i ON ((i.id = m.instance_id)))
      CROSS JOIN LATERAL ( SELECT count(*) AS claims
            FROM koppeling.claim c_1
           WHERE (c_1.member_id = m.id)) c)
      LEFT JOIN LATERAL ( SELECT c_1.address,
             c_1.address_key,
             c_1.fields
            FROM koppeling.claim c_1
           WHERE (c_1.member_id = m.id)
           ORDER BY c_1.manual DESC, c_1.claimed_at, c_1.person_id
          LIMIT 1) p ON (true))
   WHERE (m.id = ANY (member_states.p_members));
END;

CREATE FUNCTION koppeling.begin_call(p_member bigint, p_intent text, p_fields jsonb) RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 UPDATE koppeling.audience_member m SET intent = begin_call.p_intent, intent_at = koppeling.now(), sent_fields = begin_call.p_fields
    FROM koppeling.member_states(ARRAY[begin_call.p_member]) s(id, instance_id, contact_id, remote_id, address, address_key, file_key, status, ownership, archived_by_us, intent, moving_to, applied_fields, claims, wanted_address, wanted_key, wanted_fields, reasons, target_reasons, unsubscribe_here, reactivated, keeps_adopted)
   WHERE ((m.id = begin_call.p_member) AND
         CASE begin_call.p_intent
             WHEN 'creating'::text THEN ((s.claims > 0) AND (s.reasons = '{}'::text[]) AND (s.wanted_fields = begin_call.p_fields))
             WHEN 'updating'::text THEN ((s.claims > 0) AND (s.wanted_fields = begin_call.p_fields))
             WHEN 'moving'::text THEN ((s.claims > 0) AND (s.reasons = '{}'::text[]) AND (s.target_reasons = '{}'::text[]) AND (s.moving_to IS NOT NULL))
             WHEN 'archiving'::text THEN ((s.claims = 0) OR (s.moving_to IS NOT NULL))
             WHEN 'unsubscribing'::text THEN s.unsubscribe_here
             ELSE NULL::boolean
         END)
   RETURNING true;
END;

CREATE TABLE koppeling.permit (
    id bigint NOT NULL,
    resource text NOT NULL,
    slot integer NOT NULL,
    holder text NOT NULL,
    worker_id bigint NOT NULL,
    call_started_at timestamp with time zone,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT permit_slot_check CHECK (((slot >= 1) AND (slot <= 10)))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='500');

CREATE FUNCTION koppeling.begin_call_under_permit(p_permit bigint) RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 WITH begun AS (
          UPDATE koppeling.permit p SET call_started_at = koppeling.now(), expires_at = (koppeling.now() + '00:02:00'::interval)
           WHERE ((p.id = begin_call_under_permit.p_permit) AND (p.expires_at > koppeling.now()))
           RETURNING p.id
         )
  SELECT (EXISTS ( SELECT
            FROM begun)) AS "exists";
END;

CREATE FUNCTION koppeling.begin_creates(p_members bigint[]) RETURNS TABLE(members bigint[], body text)
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
begin
    perform koppeling.lock_group(i.target_group_id)
    from koppeling.connector_instance i
    where i.id in (select m.instance_id from koppeling.audience_member m where m.id = p_members[1]);
    return query
    with allowed as (
        update koppeling.audience_member m
        set intent = 'creating', intent_at = koppeling.now(), sent_fields = s.wanted_fields
        from koppeling.member_states(p_members) s
        where m.id = s.id and s.claims > 0 and s.reasons = '{}' and s.intent is null
          and coalesce(s.status, 'absent') = 'absent' and s.contact_id is null
        returning m.id, s.wanted_address as address, s.wanted_fields as fields
    )
    select array_agg(a.id),
           jsonb_build_object('update_existing', false, 'members', jsonb_agg(jsonb_build_object(
               'email_address', a.address, 'status', 'subscribed', 'merge_fields', a.fields)))::text
    from allowed a
    having count(*) > 0;
end $$;

CREATE FUNCTION koppeling.begin_person_import() RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    create temporary table person_import (
        line bigint primary key,
        source text,
        external_id text,
        given_name text,
        initials text,
        prefixes text,
        family_name text,
        gender text,
        addresses text,
        categories text,
        fault text
    ) on commit drop;
    create temporary table person_import_fault (line bigint, field text, message text) on commit drop;
    create index on person_import_fault (line);
    create temporary table person_import_change (person_id bigint) on commit drop;
end $$;

CREATE FUNCTION koppeling.believe_webhook(p_instance bigint, p_body jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_address text := p_body #>> '{data,email}';
    v_type    text := p_body ->> 'type';
    v_member  koppeling.audience_member;
    v_group   bigint;
begin
    if v_address is null or v_type not in ('unsubscribe', 'cleaned')
        or v_type = 'unsubscribe' and p_body #>> '{data,action}' = 'delete'
    then
        return;
    end if;
    select target_group_id into strict v_group from koppeling.connector_instance where id = p_instance;
    select * into v_member from koppeling.audience_member
    where instance_id = p_instance and address_key = koppeling.address_key(v_address);
    perform koppeling.open_suppression(v_group,
        case when p_body #>> '{data,reason}' = 'abuse' then 'complained'
             when v_type = 'cleaned' then 'cleaned' else 'unsubscribed' end,
        v_address, v_member.contact_id, koppeling.claimants(v_member.id), 'mailchimp', koppeling.now(),
        jsonb_build_object('hook', v_type));
end $$;

CREATE FUNCTION koppeling.bind_given_addresses() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    perform koppeling.bind_holders(array(
        select g.person_id from given g
        where exists (select from koppeling.suppression s where s.address_key = g.address_key)));
    return null;
end $$;

CREATE FUNCTION koppeling.bind_holders(p_persons bigint[]) RETURNS void
    LANGUAGE sql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
    insert into koppeling.suppression (
        target_group_id, reason, person_id, follows, source, occurred_at, detail)
    select distinct on (s.target_group_id, s.reason, e.person_id)
        s.target_group_id, s.reason, e.person_id, s.id, s.source, s.occurred_at, '{"because": "address"}'
    from koppeling.email_address e
    join koppeling.open_suppression s on s.address_key = e.address_key
    where e.person_id = any (p_persons) and s.reason in ('complained', 'unsubscribed', 'forgotten')
        and not exists (
            select from koppeling.open_suppression o
            where o.target_group_id = s.target_group_id and o.reason = s.reason and o.person_id = e.person_id)
    order by s.target_group_id, s.reason, e.person_id, s.id
$$;

CREATE TABLE koppeling.unapproved_change (
    id bigint NOT NULL,
    target_group_id bigint NOT NULL,
    at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    joins bigint NOT NULL,
    removals bigint NOT NULL
);

CREATE FUNCTION koppeling.brake(p_instance bigint, p_joins bigint, p_removals bigint) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN ((brake.p_joins + brake.p_removals) = 0) THEN NULL::text
             WHEN (NOT i.activated) THEN 'first activation'::text
             WHEN ((brake.p_removals > 0) AND (((brake.p_removals)::numeric + r.removals) > (i.removals_cap)::numeric)) THEN format('%s removals within a day, more than %s'::text, ((brake.p_removals)::numeric + r.removals), i.removals_cap)
             WHEN ((brake.p_removals > 0) AND (((brake.p_removals)::numeric + r.removals) > GREATEST((i.removals_count)::numeric, (i.removals_share * (n.claims)::numeric)))) THEN format('%s removals within a day of %s members'::text, ((brake.p_removals)::numeric + r.removals), n.claims)
             WHEN ((brake.p_joins > 0) AND (((brake.p_joins)::numeric + r.joins) > (i.joins_cap)::numeric)) THEN format('%s joins within a day, more than %s'::text, ((brake.p_joins)::numeric + r.joins), i.joins_cap)
             WHEN ((brake.p_joins > 0) AND (((brake.p_joins)::numeric + r.joins) > GREATEST((i.joins_count)::numeric, (i.joins_share * (n.claims)::numeric)))) THEN format('%s joins within a day with %s members'::text, ((brake.p_joins)::numeric + r.joins), n.claims)
             ELSE NULL::text
         END AS "case"
    FROM ((koppeling.connector_instance i
      CROSS JOIN LATERAL ( SELECT count(*) AS claims
            FROM koppeling.claim c
           WHERE (c.instance_id = i.id)) n)
      CROSS JOIN LATERAL ( SELECT COALESCE(sum(u.joins), (0)::numeric) AS joins,
             COALESCE(sum(u.removals), (0)::numeric) AS removals
            FROM koppeling.unapproved_change u
           WHERE ((u.target_group_id = i.target_group_id) AND (u.at > (koppeling.now() - '1 day'::interval)))) r)
   WHERE (i.id = brake.p_instance);
END;

CREATE FUNCTION koppeling.cancel_job(id bigint, reason text DEFAULT 'cancelled by a person'::text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
#variable_conflict use_column
begin
    loop
        if koppeling.cancel_jobs(array[cancel_job.id], cancel_job.reason) <> '{}' then
            return true;
        end if;
        -- Locked, so that it does not end between this look and the request.
        perform from koppeling.job j where j.id = cancel_job.id for key share;
        if not found then
            return false;
        end if;
        insert into koppeling.job_cancellation (job_id, reason)
        select j.id, coalesce(cancel_job.reason, 'cancelled') from koppeling.job j
        where j.id = cancel_job.id and j.state = 'running'
        on conflict (job_id) do nothing;
        if exists (select from koppeling.job_cancellation c where c.job_id = cancel_job.id) then
            return true;
        end if;
    end loop;
end $$;

COMMENT ON FUNCTION koppeling.cancel_job(id bigint, reason text) IS 'Cancels a job, at once when it waits, within a second when it runs; false when there is none.';

CREATE FUNCTION koppeling.cancel_jobs(p_ids bigint[], p_reason text) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_gone koppeling.job[];
begin
    with gone as (
        delete from koppeling.job j where j.id = any (p_ids) and j.state <> 'running' returning j
    )
    select array_agg(g.j) into v_gone from gone g;
    insert into koppeling.job_history (id, enqueued_at, run_at, finished_at, priority, attempt, max_attempts, claim,
        snoozes, outcome, queue, kind, key, key_mode, order_key, limit_key, reason, args)
    select id, enqueued_at, run_at, koppeling.now(), priority, attempt, max_attempts, claim,
        snoozes, 'cancelled', queue, kind, key, key_mode, order_key, limit_key, coalesce(p_reason, 'cancelled'), args
    from unnest(v_gone);
    perform koppeling.open_gates(array_agg(g.queue), array_agg(g.order_key), array_agg(g.limit_key))
    from unnest(v_gone) g
    where num_nonnulls(g.order_key, g.limit_key) > 0
    having count(*) > 0;
    return array(select g.id from unnest(v_gone) g);
end $$;

CREATE FUNCTION koppeling.waiting_job(p_queue text, p_key text) RETURNS TABLE(id bigint, args jsonb, run_at timestamp with time zone)
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT j.id,
     j.args,
     j.run_at
    FROM koppeling.job j
   WHERE ((j.queue = waiting_job.p_queue) AND (j.key = waiting_job.p_key) AND (j.state <> 'running'::text));
END;

CREATE FUNCTION koppeling.cancel_waiting(queue text, key text, reason text) RETURNS bigint
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN (SELECT (koppeling.cancel_jobs(ARRAY[w.id], cancel_waiting.reason))[1] AS cancel_jobs FROM koppeling.waiting_job(cancel_waiting.queue, cancel_waiting.key) w(id, args, run_at));

CREATE TABLE koppeling.job_cancellation (
    job_id bigint NOT NULL,
    reason text NOT NULL,
    requested_at timestamp with time zone DEFAULT koppeling.now() NOT NULL
);

CREATE FUNCTION koppeling.cancelled_jobs(p_worker bigint) RETURNS TABLE(job_id bigint, reason text)
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT c.job_id,
     c.reason
    FROM (koppeling.job_cancellation c
      JOIN koppeling.job j ON ((j.id = c.job_id)))
   WHERE ((j.worker_id = cancelled_jobs.p_worker) AND (j.state = 'running'::text));
END;

CREATE FUNCTION koppeling.category_parts(label text, OUT category_group text, OUT name text) RETURNS record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ROW(CASE WHEN (strpos(label, '/'::text) > 0) THEN koppeling.clean_text(split_part(label, '/'::text, 1)) ELSE NULL::text END, CASE WHEN (strpos(label, '/'::text) > 0) THEN koppeling.clean_text(substr(label, (strpos(label, '/'::text) + 1))) ELSE NULL::text END);

CREATE FUNCTION koppeling.check_kinds(p_kinds text[], p_public boolean, p_prefixes text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_bad record;
begin
    select b.prefix, b.kind, k.kind is not null as known into v_bad
    from unnest(p_kinds, p_prefixes) with ordinality as b (kind, prefix, n)
    left join koppeling.job_kind k on k.kind = b.kind
    where k.kind is null or p_public and not k.public
    order by b.n
    limit 1;
    if found and v_bad.known then
        raise exception using errcode = '42501', message = format(
            '%skind: "%s" is internal to the system and cannot be enqueued from outside', v_bad.prefix, v_bad.kind);
    elsif found then
        raise exception using errcode = '22023', message = format(
            '%skind: "%s" is unknown', v_bad.prefix, left(v_bad.kind, 100)),
            hint = 'The kinds that may be enqueued are the public ones of koppeling.job_kind.';
    end if;
end $$;

CREATE FUNCTION koppeling.check_queue(numbers_back bigint DEFAULT 100000) RETURNS TABLE(invariant text, violations bigint, example text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
#variable_conflict use_column
declare
    v_now timestamptz := koppeling.now();
    v_late timestamptz := v_now - interval '1 minute';
    v_first bigint := (select s.last_value - check_queue.numbers_back from koppeling.job_id_seq s);
    v_attempts_since timestamptz := (
        select t.kept_since from koppeling.history_tables() t where t.parent = 'job_attempt');
begin
    return query
    select 'in_one_place', count(*), 'job ' || min(j.id) || ' is unfinished, and finished as well'
    from koppeling.job j
    join koppeling.job_history h on h.id = j.id and h.id > v_first
    where j.id > v_first;

    return query
    select 'finished_once', count(*), 'job ' || min(d.id) || ' is in the history more than once'
    from (select h.id from koppeling.job_history h where h.id > v_first group by h.id having count(*) > 1) d;

    -- A job is handed out as often as it has attempts; a running one has one that is not over.
    return query
    select 'claims_accounted_for', count(*),
        min(format('job %s was handed out %s times and has %s attempts', j.id, j.claim, j.attempts))
    from (
        select j.id, j.claim, coalesce(a.ended, 0) + j.last as attempts
        from (
            select h.id, h.claim, h.enqueued_at, (h.started_at is not null)::int as last
            from koppeling.job_history h where h.id > v_first
            union all
            select j.id, j.claim, j.enqueued_at, (j.state = 'running')::int from koppeling.job j where j.id > v_first
        ) j
        left join (
            select a.job_id, count(*) as ended from koppeling.job_attempt a where a.job_id > v_first group by a.job_id
        ) a on a.job_id = j.id
        where j.enqueued_at > v_attempts_since
    ) j
    where j.attempts <> j.claim;

    return query
    select 'running_has_a_live_worker', count(*), min(format('job %s runs in the name of worker %s', j.id, j.worker_id))
    from koppeling.job j
    left join koppeling.worker w on w.id = j.worker_id
    where j.state = 'running' and j.started_at < v_late
        and (w.id is null or w.ended_at < v_late or w.heartbeat_at < v_late);

    return query
    select 'one_running_per_order_key', count(*), min(format('order key %s of queue %s', d.order_key, d.queue))
    from (
        select j.queue, j.order_key from koppeling.job j
        where j.state = 'running' and j.order_key is not null
        group by j.queue, j.order_key having count(*) > 1
    ) d;

    -- Those that ran before a limit was lowered may go on. When that was is not known of a limit with a rate.
    return query
    select 'limits_are_kept', count(*),
        min(format('%s jobs run under limit %s, which allows %s', l.running, l.limit_key, l.concurrency))
    from (
        select l.limit_key, l.concurrency, (
            select count(*) from koppeling.job j
            where j.limit_key = l.limit_key and j.state = 'running'
                and (l.rate is not null or j.started_at >= l.filled_at)) as running
        from koppeling.job_limit l
        where l.concurrency is not null
    ) l
    where l.running > l.concurrency;

    return query
    select 'blocked_jobs_are_held', count(*), min(format('job %s is blocked by %s, but nothing holds it', d.id, d.by))
    from (
        select f.id, 'its order' as by
        from (select distinct b.queue, b.order_key from koppeling.job b where b.blocked_by = 'order' limit 1000) k
        cross join lateral (
            select j.id, j.blocked_by from koppeling.job j
            where j.queue = k.queue and j.order_key = k.order_key and j.run_at < 'infinity'
            order by j.id limit 1) f
        where f.blocked_by = 'order' and not exists (
            select from koppeling.job r
            where r.queue = k.queue and r.order_key = k.order_key and r.state = 'running')
        union all
        select f.id, 'its limit'
        from (select distinct b.limit_key from koppeling.job b where b.blocked_by = 'limit' limit 1000) k
        cross join lateral (
            select j.id from koppeling.job j where j.limit_key = k.limit_key and j.blocked_by = 'limit' limit 1) f
        left join koppeling.job_limit l on l.limit_key = k.limit_key
        where l.limit_key is null or koppeling.room_under(l) > 0 and (l.opens_at is null or l.opens_at < v_late)
        union all
        select b.id, 'a pause'
        from (select * from koppeling.job j where j.blocked_by = 'pause' limit 10000) b
        where not exists (
            select from koppeling.job_pause p
            where p.key in (b.key, b.order_key, b.limit_key)
                and (p.queue is null or p.queue = b.queue) and (p.kind is null or p.kind = b.kind))
    ) d;

    -- The first thousand of each kind will do.
    return query
    select 'due_jobs_are_taken', count(*), min(format('job %s is due since %s', d.id, d.run_at))
    from (
        select distinct c.queue, k as kind
        from koppeling.consumer c
        join koppeling.worker w on w.id = c.worker_id and w.ended_at is null and w.heartbeat_at >= v_late
        cross join unnest(koppeling.open_kinds(c.queue, c.kinds)) k
        where c.waiting
    ) c
    cross join lateral (
        (select j.id, j.run_at, j.queue, j.order_key from koppeling.job j
         where j.state = 'ready' and j.queue = c.queue and j.kind = c.kind and j.run_at < v_late
             and j.enqueued_at < v_late
         order by j.priority, j.run_at
         limit 1000)
        union all
        (select j.id, j.run_at, j.queue, j.order_key from koppeling.job j
         where j.state = 'returned' and j.queue = c.queue and j.kind = c.kind and j.run_at < v_late
         order by j.priority, j.run_at
         limit 1000)
    ) d
    where d.order_key is null or not exists (
        select from koppeling.job b
        where b.queue = d.queue and b.order_key = d.order_key and b.run_at < 'infinity'
            and (b.id < d.id or b.state = 'running'));

    return query
    select 'schedules_are_on_time', count(*), min(format('schedule %s was due at %s', s.name, s.next_at))
    from koppeling.job_schedule s
    where s.next_at < v_late;

    return query
    select 'consumers_have_a_worker', count(*), min(format('consumer %s of worker %s', c.id, c.worker_id))
    from koppeling.consumer c
    left join koppeling.worker w on w.id = c.worker_id
    where w.id is null or w.ended_at < v_late;

    return query
    select 'history_days_are_made', count(*), min(t.parent || ' has no partition for tomorrow')
    from koppeling.history_tables() t
    where not exists (
        select from koppeling.history_partitions() p
        where p.parent = t.parent and p.starts_at <= v_now + interval '1 day' and p.ends_at > v_now + interval '1 day');

    return query
    select 'history_lies_in_its_days', count(*), min(r.moment || ' in a default partition')
    from (
        (select 'a job that finished at ' || h.finished_at as moment from koppeling.job_done_rest h limit 1000)
        union all
        (select 'a job that finished at ' || h.finished_at from koppeling.job_rejected_rest h limit 1000)
        union all
        (select 'a job that finished at ' || h.finished_at from koppeling.job_cancelled_rest h limit 1000)
        union all
        (select 'an attempt that ended at ' || a.ended_at from koppeling.job_attempt_rest a limit 1000)
    ) r;

    return query
    select 'history_is_pruned', count(*), min(p.partition)
    from koppeling.history_partitions() p
    join koppeling.history_tables() t on t.parent = p.parent
    where p.ends_at <= t.kept_since - interval '1 day';
end $$;

COMMENT ON FUNCTION koppeling.check_queue(numbers_back bigint) IS 'Looks whether what must hold in the queue does: a row for each invariant. Of single jobs, at the latest numbers.';

CREATE FUNCTION koppeling.check_rules(p_group bigint) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
declare
    v_valid boolean := not exists (
        select from koppeling.rule r
        join koppeling.criterion c on c.rule_id = r.id
        where r.target_group_id = p_group
            and not (c.kind = 'personCategory' and exists (select from koppeling.category k where k.id = c.value_id)));
begin
    update koppeling.target_group set valid = v_valid where id = p_group and valid <> v_valid;
    return v_valid;
end $$;

CREATE FUNCTION koppeling.check_schedule_is_public(p_name text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    perform koppeling.check_kinds(array[s.kind], true, array['']) from koppeling.job_schedule s where s.name = p_name;
end $$;

CREATE FUNCTION koppeling.check_time_zone(p_zone text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $_$
begin
    if p_zone ~* '^(utc|gmt|etc/gmt[+-]?[0-9]{1,2}|[^0-9]+)$' and (p_zone like '%/%' or p_zone ~* '^(utc|gmt)$'
        or not exists (select from pg_timezone_abbrevs a where a.abbrev = upper(p_zone))) then
        perform koppeling.now() at time zone p_zone;
        return;
    end if;
    raise invalid_parameter_value;
exception when invalid_parameter_value then
    raise exception using errcode = '22023', message = format(
        'time_zone: "%s" is not the name of a time zone such as Europe/Amsterdam or UTC', left(p_zone, 50));
end $_$;

CREATE FUNCTION koppeling.first_name(given_name text, initials text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE(given_name, initials, ''::text);

CREATE FUNCTION koppeling.last_name(prefixes text, family_name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN starts_with(koppeling.fold(family_name), (koppeling.fold(prefixes) || ' '::text)) THEN family_name ELSE concat_ws(' '::text, prefixes, family_name) END;

CREATE TABLE koppeling.membership (
    target_group_id bigint NOT NULL,
    person_id bigint NOT NULL,
    matched_rule_id bigint,
    changed_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    rule_match boolean DEFAULT false NOT NULL,
    ever_member boolean DEFAULT false NOT NULL,
    override text DEFAULT 'none'::text NOT NULL,
    overridden_by text,
    status text NOT NULL,
    via text,
    reasons text[] DEFAULT '{}'::text[] NOT NULL,
    CONSTRAINT active_says_how CHECK (((status = 'active'::text) = (via IS NOT NULL))),
    CONSTRAINT active_was_member CHECK (((status <> 'active'::text) OR ever_member)),
    CONSTRAINT inactive_says_why CHECK (((status = 'inactive'::text) = (cardinality(reasons) > 0))),
    CONSTRAINT membership_override_check CHECK ((override = ANY (ARRAY['none'::text, 'include'::text, 'exclude'::text]))),
    CONSTRAINT membership_status_check CHECK ((status = ANY (ARRAY['active'::text, 'inactive'::text]))),
    CONSTRAINT membership_via_check CHECK ((via = ANY (ARRAY['manual'::text, 'rule'::text])))
);

CREATE TABLE koppeling.merge_field (
    instance_id bigint NOT NULL,
    tag text NOT NULL,
    source text NOT NULL,
    CONSTRAINT merge_field_source_check CHECK ((source = ANY (ARRAY['first_name'::text, 'last_name'::text, 'given_name'::text, 'initials'::text, 'prefixes'::text, 'family_name'::text]))),
    CONSTRAINT merge_field_tag_check CHECK ((tag ~ '^[A-Z0-9_]{1,10}$'::text))
);

CREATE TABLE koppeling.person (
    id bigint NOT NULL,
    source text NOT NULL,
    external_id text NOT NULL,
    given_name text,
    initials text,
    prefixes text,
    family_name text,
    gender text DEFAULT 'unknown'::text NOT NULL,
    state text DEFAULT 'active'::text NOT NULL,
    created_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    changed_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    CONSTRAINT person_external_id_check CHECK (((length(external_id) >= 1) AND (length(external_id) <= 200))),
    CONSTRAINT person_family_name_check CHECK (((length(family_name) >= 1) AND (length(family_name) <= 200))),
    CONSTRAINT person_gender_check CHECK ((gender = ANY (ARRAY['male'::text, 'female'::text, 'other'::text, 'unknown'::text]))),
    CONSTRAINT person_given_name_check CHECK (((length(given_name) >= 1) AND (length(given_name) <= 200))),
    CONSTRAINT person_initials_check CHECK (((length(initials) >= 1) AND (length(initials) <= 200))),
    CONSTRAINT person_prefixes_check CHECK (((length(prefixes) >= 1) AND (length(prefixes) <= 200))),
    CONSTRAINT person_source_check CHECK (((length(source) >= 1) AND (length(source) <= 100))),
    CONSTRAINT person_state_check CHECK ((state = ANY (ARRAY['active'::text, 'archived'::text, 'erased'::text])))
);

CREATE TABLE koppeling.target_group (
    id bigint NOT NULL,
    name text NOT NULL,
    email_kind text,
    linked boolean DEFAULT false NOT NULL,
    rules_version integer DEFAULT 1 NOT NULL,
    valid boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    CONSTRAINT linked_has_email_kind CHECK (((NOT linked) OR (email_kind IS NOT NULL))),
    CONSTRAINT target_group_email_kind_check CHECK (((email_kind <> ''::text) AND (email_kind = koppeling.fold(email_kind)))),
    CONSTRAINT target_group_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT target_group_rules_version_check CHECK ((rules_version > 0))
);

CREATE FUNCTION koppeling.wanted_claims(p_instance bigint, p_persons bigint[]) RETURNS TABLE(person_id bigint, address text, address_key text, fields jsonb, manual boolean)
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    BEGIN ATOMIC
 SELECT m.person_id,
     e.address,
     e.address_key,
     f.fields,
     (m.via = 'manual'::text)
    FROM (((((koppeling.connector_instance i
      JOIN koppeling.target_group g ON ((g.id = i.target_group_id)))
      JOIN koppeling.membership m ON (((m.target_group_id = g.id) AND (m.status = 'active'::text))))
      JOIN koppeling.person p ON ((p.id = m.person_id)))
      JOIN koppeling.email_address e ON (((e.person_id = m.person_id) AND (e.kind = g.email_kind))))
      CROSS JOIN LATERAL ( SELECT COALESCE(jsonb_object_agg(t.tag,
                 CASE t.source
                     WHEN 'first_name'::text THEN koppeling.first_name(p.given_name, p.initials)
                     WHEN 'last_name'::text THEN koppeling.last_name(p.prefixes, p.family_name)
                     WHEN 'given_name'::text THEN COALESCE(p.given_name, ''::text)
                     WHEN 'initials'::text THEN COALESCE(p.initials, ''::text)
                     WHEN 'prefixes'::text THEN COALESCE(p.prefixes, ''::text)
                     WHEN 'family_name'::text THEN COALESCE(p.family_name, ''::text)
                     ELSE NULL::text
                 END), '{}'::jsonb) AS fields
            FROM koppeling.merge_field t
           WHERE (t.instance_id = i.id)) f)
   WHERE ((i.id = wanted_claims.p_instance) AND ((wanted_claims.p_persons IS NULL) OR (m.person_id IN ( SELECT unnest(wanted_claims.p_persons) AS unnest))));
END;

CREATE FUNCTION koppeling.claim_difference(p_instance bigint, p_persons bigint[]) RETURNS TABLE(person_id bigint, change text, exempt boolean, reason text, address text, address_key text, fields jsonb, manual boolean, member_id bigint, readdressed boolean)
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    BEGIN ATOMIC
 WITH had AS (
          SELECT c.instance_id,
             c.person_id,
             c.member_id,
             c.address,
             c.address_key,
             c.fields,
             c.manual,
             c.claimed_at
            FROM koppeling.claim c
           WHERE ((c.instance_id = claim_difference.p_instance) AND ((claim_difference.p_persons IS NULL) OR (c.person_id IN ( SELECT unnest(claim_difference.p_persons) AS unnest))))
         ), difference AS (
          SELECT COALESCE(w.person_id, h.person_id) AS person_id,
                 CASE
                     WHEN (h.person_id IS NULL) THEN 'join'::text
                     WHEN (w.person_id IS NULL) THEN 'leave'::text
                     WHEN (EXISTS ( SELECT
                        FROM jsonb_each_text(h.fields) f(key, value)
                       WHERE ((f.value <> ''::text) AND (COALESCE((w.fields ->> f.key), ''::text) = ''::text)))) THEN 'empty'::text
                     ELSE 'edit'::text
                 END AS change,
             w.address,
             w.address_key,
             w.fields,
             w.manual,
             h.member_id,
             ((h.person_id IS NOT NULL) AND (w.address_key <> h.address_key)) AS readdressed
            FROM (koppeling.wanted_claims(claim_difference.p_instance, claim_difference.p_persons) w(person_id, address, address_key, fields, manual)
              FULL JOIN had h ON ((h.person_id = w.person_id)))
           WHERE (((h.address_key IS DISTINCT FROM w.address_key) OR (h.fields IS DISTINCT FROM w.fields)) OR (h.manual IS DISTINCT FROM w.manual))
         )
  SELECT d.person_id,
     d.change,
         CASE d.change
             WHEN 'join'::text THEN (d.manual AND i.activated)
             WHEN 'leave'::text THEN (COALESCE(m.reasons[1], ''::text) = ANY (ARRAY['erased'::text, 'complained'::text, 'unsubscribed'::text, 'cleaned'::text, 'forgotten'::text, 'removedInMailchimp'::text, 'manual'::text]))
             ELSE (d.change = 'edit'::text)
         END AS "case",
         CASE d.change
             WHEN 'join'::text THEN COALESCE(m.via, 'rule'::text)
             WHEN 'leave'::text THEN
             CASE
                 WHEN (m.status = 'active'::text) THEN 'noAddress'::text
                 ELSE COALESCE(m.reasons[1], 'ruleNoLongerMatches'::text)
             END
             ELSE 'fields'::text
         END AS "case",
     d.address,
     d.address_key,
     d.fields,
     d.manual,
     d.member_id,
     d.readdressed
    FROM ((difference d
      JOIN koppeling.connector_instance i ON ((i.id = claim_difference.p_instance)))
      LEFT JOIN koppeling.membership m ON (((m.target_group_id = i.target_group_id) AND (m.person_id = d.person_id))));
END;

CREATE FUNCTION koppeling.claim_jobs(p_worker bigint, p_consumer bigint, p_limit integer, p_mark_kinds text[] DEFAULT '{}'::text[], p_mark_priorities integer[] DEFAULT '{}'::integer[], p_mark_times timestamp with time zone[] DEFAULT '{}'::timestamp with time zone[], p_suspects boolean DEFAULT false, p_alone boolean DEFAULT false) RETURNS TABLE(id bigint, queue text, kind text, args jsonb, key text, order_key text, limit_key text, priority integer, attempt integer, max_attempts integer, run_at timestamp with time zone, enqueued_at timestamp with time zone, claim integer, started_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
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

CREATE FUNCTION koppeling.claimants(p_member bigint) RETURNS bigint[]
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN ARRAY(SELECT c.person_id FROM koppeling.claim c WHERE (c.member_id = claimants.p_member));

CREATE FUNCTION koppeling.clean_persons(p_rows koppeling.person_input[]) RETURNS koppeling.person_input[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select coalesce(array_agg(row(
        r.line, koppeling.clean_text(r.source), koppeling.clean_text(r.external_id),
        koppeling.clean_text(r.given_name), koppeling.clean_text(r.initials), koppeling.clean_text(r.prefixes),
        koppeling.clean_text(r.family_name),
        coalesce(koppeling.gender_value(koppeling.clean_text(r.gender)), koppeling.clean_text(r.gender)),
        array(
            select coalesce(koppeling.fold(koppeling.clean_text(k)), '')
            from unnest(r.email_kinds) with ordinality as u (k, n) order by n),
        array(select koppeling.clean_text(a) from unnest(r.addresses) with ordinality as u (a, n) order by n),
        array(
            select distinct coalesce(koppeling.clean_text(c), '')
            from unnest(r.categories) c),
        r.fields, null, null)::koppeling.person_input order by r.line), '{}')
    from unnest(p_rows) r
$$;

CREATE FUNCTION koppeling.complete_jobs(p_worker bigint, p_ids bigint[], p_claims integer[], p_outcomes text[], p_notes text[], p_delays double precision[]) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
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
        if exists (select from koppeling.job_cancellation) then
            delete from koppeling.job_cancellation c where c.job_id = any (v_ids);
        end if;
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

CREATE FUNCTION koppeling.cron_field(p_field text, p_name text, p_low integer, p_high integer, p_names text[]) RETURNS integer[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $_$
declare
    v_item text;
    v_parts text[];
    v_first int;
    v_last int;
    v_fault text;
    v_numbers int[] := '{}';
begin
    foreach v_item in array string_to_array(p_field, ',') loop
        -- The star, the first, the last, the step.
        v_parts := regexp_match(v_item, '^(?:(\*)|([a-z0-9]+)(?:-([a-z0-9]+))?)(?:/([0-9]{1,4}))?$');
        if v_parts[1] is not null then
            v_first := p_low;
            v_last := p_high;
        else
            v_first := koppeling.cron_number(v_parts[2], p_low, p_high, p_names);
            v_last := koppeling.cron_number(coalesce(v_parts[3], v_parts[2]), p_low, p_high, p_names);
            -- As the end of a range Sunday comes after Saturday.
            v_last := case when p_names[1] = 'sun' and v_last = 0 and v_first > 0 then 7 else v_last end;
        end if;
        v_fault := case
            when v_parts is null then 'is not *, a number, a range such as 1-5, or one of these with a step such as */2'
            when v_first is null or v_last is null then format('must be from %s to %s', p_low, p_high)
                || coalesce(format(', or %s to %s', p_names[1], p_names[cardinality(p_names)]), '')
            when v_first > v_last then 'is a range that runs backwards'
            when v_parts[4] is not null and coalesce(v_parts[1], v_parts[3]) is null then
                format('has a step and no range: write %s-%s/%s', v_parts[2], p_high, v_parts[4])
            when v_parts[4]::int not between 1 and p_high then format('must have a step from 1 to %s', p_high)
        end;
        if v_fault is not null then
            raise exception using errcode = '22023', message = format(
                'cron: the %s "%s" %s', p_name, left(v_item, 50), v_fault);
        end if;
        v_numbers := v_numbers || array(select generate_series(v_first, v_last, coalesce(v_parts[4]::int, 1)));
    end loop;
    return array(
        select distinct case when p_names[1] = 'sun' then n % 7 else n end from unnest(v_numbers) n order by 1);
end $_$;

CREATE FUNCTION koppeling.cron_number(p_text text, p_low integer, p_high integer, p_names text[]) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (p_text ~ '^[0-9]{1,2}$'::text) THEN CASE WHEN (((p_text)::integer >= p_low) AND ((p_text)::integer <= p_high)) THEN (p_text)::integer ELSE NULL::integer END ELSE ((array_position(p_names, p_text) - 1) + p_low) END;

CREATE FUNCTION koppeling.derive_memberships(p_group bigint, p_persons bigint[], p_cause text, p_actor text, p_override text DEFAULT NULL::text) RETURNS bigint[]
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_rules bigint;
    v_changed bigint[];
begin
    perform koppeling.lock_group(p_group);
    v_rules := case when koppeling.check_rules(p_group) then p_group end;
    with matched as (
        select * from koppeling.rule_matches(v_rules, p_persons)
    ), held as (
        select m.* from koppeling.membership m
        where m.target_group_id = p_group and (p_persons is null or m.person_id = any (p_persons))
    ), chosen as (
        select unnest(p_persons) as person_id where p_override is not null
    ), facts as (
        select
            person_id, h.status as old_status, h.via as old_via, h.reasons as old_reasons,
            h.rule_match as old_match, h.matched_rule_id as old_rule, h.override as old_override,
            coalesce(case when v_rules is null then h.rule_match else m.rule_id is not null end, false) as rule_match,
            case when v_rules is null then h.matched_rule_id else m.rule_id end as rule_id,
            coalesce(p_override, h.override, 'none') as override,
            coalesce(h.ever_member, false) as ever_member
        from held h full join matched m using (person_id) full join chosen using (person_id)
    ), derived as (
        select f.*, p.state, o.reasons as open_reasons, d.status, d.via, d.reasons
        from facts f
        join koppeling.person p on p.id = f.person_id
        left join koppeling.open_reasons(p_group, p_persons) o on o.person_id = f.person_id
        cross join lateral koppeling.derive_status(
            f.rule_match, f.override, p.state, coalesce(o.reasons, '{}'), f.ever_member) d
    ), differing as (
        select
            d.*,
            (d.status, d.via, coalesce(d.reasons, '{}')) is distinct from
                (d.old_status, d.old_via, coalesce(d.old_reasons, '{}')) as changed
        from derived d
        where (d.status, d.via, coalesce(d.reasons, '{}'), d.override, d.rule_match, d.rule_id) is distinct from
            (d.old_status, d.old_via, coalesce(d.old_reasons, '{}'), coalesce(d.old_override, 'none'),
                coalesce(d.old_match, false), d.old_rule)
    ), gone as (
        delete from koppeling.membership m using differing d
        where m.target_group_id = p_group and m.person_id = d.person_id and d.status is null
    ), written as (
        insert into koppeling.membership as m (
            target_group_id, person_id, matched_rule_id, rule_match, ever_member, override, overridden_by,
            status, via, reasons)
        select
            p_group, d.person_id, d.rule_id, d.rule_match, d.ever_member or d.status = 'active', d.override,
            case when p_override in ('include', 'exclude') then p_actor end, d.status, d.via, d.reasons
        from differing d
        where d.status is not null
        on conflict (target_group_id, person_id) do update set
            matched_rule_id = excluded.matched_rule_id,
            rule_match = excluded.rule_match,
            ever_member = m.ever_member or excluded.ever_member,
            override = case when p_override is null then m.override else excluded.override end,
            overridden_by = case when p_override is null then m.overridden_by else excluded.overridden_by end,
            status = excluded.status,
            via = excluded.via,
            reasons = excluded.reasons,
            changed_at = case
                when (m.status, m.via, m.reasons) is distinct from (excluded.status, excluded.via, excluded.reasons)
                then excluded.changed_at
                else m.changed_at
            end
    ), audited as (
        insert into koppeling.audit_entry (target_group_id, person_id, kind, old, new, facts, actor, cause)
        select
            p_group, d.person_id, 'status',
            case when d.old_status is not null then
                jsonb_build_object('status', d.old_status, 'via', d.old_via, 'reasons', d.old_reasons) end,
            case when d.status is not null then
                jsonb_build_object('status', d.status, 'via', d.via, 'reasons', d.reasons) end,
            jsonb_build_object(
                'ruleMatch', d.rule_match, 'rule', d.rule_id, 'override', d.override, 'person', d.state,
                'suppressions', coalesce(d.open_reasons, '{}'), 'everMember', d.ever_member),
            p_actor, p_cause
        from differing d
        where d.changed
    )
    select array_agg(d.person_id) into v_changed from differing d where d.changed;
    return coalesce(v_changed, '{}');
end $$;

CREATE FUNCTION koppeling.derive_status(rule_match boolean, override text, person_state text, open_reasons text[], ever_member boolean) RETURNS TABLE(status text, via text, reasons text[])
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select
        case
            when cardinality(b.blockers) = 0 and w.wanted then 'active'
            when ever_member or w.wanted or override = 'exclude' then 'inactive'
        end,
        case when cardinality(b.blockers) = 0 and w.wanted then
            case override when 'include' then 'manual' else 'rule' end
        end,
        case
            when cardinality(b.blockers) > 0 and (ever_member or w.wanted or override = 'exclude') then b.blockers
            when ever_member and not w.wanted then array['ruleNoLongerMatches']
            else array[]::text[]
        end
    from
        (select override = 'include' or (override = 'none' and rule_match) as wanted) w,
        (select array_remove(array[
            case person_state when 'erased' then 'erased' when 'archived' then 'archived' end,
            case when 'complained' = any (open_reasons) then 'complained' end,
            case when 'unsubscribed' = any (open_reasons) then 'unsubscribed' end,
            case when 'cleaned' = any (open_reasons) then 'cleaned' end,
            case when 'forgotten' = any (open_reasons) then 'forgotten' end,
            case when 'removedInMailchimp' = any (open_reasons) then 'removedInMailchimp' end,
            case when override = 'exclude' then 'manual' end], null) as blockers) b
$$;

CREATE FUNCTION koppeling.drop_history_partition(p_partition text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET lock_timeout TO '100ms'
    AS $$
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

CREATE FUNCTION koppeling.end_suppressions(p_group bigint, p_ids bigint[], p_source text, p_cause text) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $$
declare
    v_persons bigint[];
begin
    if exists (select from koppeling.suppression s where s.id = any (p_ids) and s.reason = 'complained') then
        raise exception using errcode = 'restrict_violation', message = 'a complaint cannot be lifted',
            hint = 'The contact reported a mailing as spam; it stays out of this list.';
    end if;
    with recursive ended as (
        select s.* from koppeling.suppression s where s.id = any (p_ids)
        union
        select s.* from koppeling.suppression s join ended e on s.follows = e.id
        where s.reason = 'cleaned'
    ), lifted as (
        insert into koppeling.suppression_lift (suppression_id, source, cause)
        select e.id, p_source, p_cause from ended e
        on conflict (suppression_id) do nothing
    )
    select array_agg(distinct coalesce(e.person_id, a.person_id)) into v_persons
    from ended e
    left join koppeling.email_address a on a.address_key = e.address_key
    where coalesce(e.person_id, a.person_id) is not null;
    -- Who was let go but holds another address with a no is bound by that one.
    perform koppeling.bind_holders(v_persons);
    return query select * from koppeling.rederive(p_group, v_persons, p_cause, p_source);
end $$;

CREATE FUNCTION koppeling.enqueue(kind text, args jsonb DEFAULT '{}'::jsonb, queue text DEFAULT 'default'::text, key text DEFAULT NULL::text, key_mode text DEFAULT 'keep'::text, order_key text DEFAULT NULL::text, limit_key text DEFAULT NULL::text, run_at timestamp with time zone DEFAULT koppeling.now(), priority integer DEFAULT 0, max_attempts integer DEFAULT 20) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    return koppeling.enqueue_internal(kind, args, queue, key, key_mode, order_key, limit_key, run_at, priority,
        max_attempts, true);
end $$;

COMMENT ON FUNCTION koppeling.enqueue(kind text, args jsonb, queue text, key text, key_mode text, order_key text, limit_key text, run_at timestamp with time zone, priority integer, max_attempts integer) IS 'Enqueues a job of a public kind, in the caller''s transaction. Returns its id, or that of the job that absorbed it.';

CREATE FUNCTION koppeling.enqueue_internal_many(jobs jsonb, public_only boolean DEFAULT false) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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

CREATE FUNCTION koppeling.enqueue_each(jobs jsonb) RETURNS bigint[]
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN koppeling.enqueue_internal_many(jobs, true);

COMMENT ON FUNCTION koppeling.enqueue_each(jobs jsonb) IS 'As enqueue_many, but returns the id of the job of each entry, in their order.';

CREATE FUNCTION koppeling.enqueue_internal(kind text, args jsonb DEFAULT '{}'::jsonb, queue text DEFAULT 'default'::text, key text DEFAULT NULL::text, key_mode text DEFAULT 'keep'::text, order_key text DEFAULT NULL::text, limit_key text DEFAULT NULL::text, run_at timestamp with time zone DEFAULT koppeling.now(), priority integer DEFAULT 0, max_attempts integer DEFAULT 20, public_only boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_job koppeling.job := koppeling.new_job(null, enqueue_internal.kind, enqueue_internal.args,
        enqueue_internal.queue, enqueue_internal.key, enqueue_internal.key_mode, enqueue_internal.order_key,
        enqueue_internal.limit_key, enqueue_internal.run_at, enqueue_internal.priority,
        enqueue_internal.max_attempts, koppeling.now());
    v_fault text := koppeling.job_fault(v_job);
begin
    if v_fault is not null then
        raise exception using errcode = '22023', message = v_fault;
    end if;
    if not exists (
        select from koppeling.job_kind k
        where k.kind = v_job.kind and (k.public or not enqueue_internal.public_only)) then
        perform koppeling.check_kinds(array[v_job.kind], enqueue_internal.public_only, array['']);
    end if;
    v_job.id := nextval('koppeling.job_id_seq');
    if v_job.key is not null then
        return (koppeling.put_jobs(array[v_job]))[1];
    end if;
    insert into koppeling.job select v_job.*;
    if v_job.run_at < 'infinity' then
        perform koppeling.wake(array[v_job.queue], array[v_job.kind]);
    end if;
    return v_job.id;
end $$;

CREATE FUNCTION koppeling.enqueue_many(jobs jsonb) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN cardinality(koppeling.enqueue_internal_many(jobs, true));

COMMENT ON FUNCTION koppeling.enqueue_many(jobs jsonb) IS 'Enqueues a list of jobs, all or none: [{"kind": "echo", "args": {}, "key": "a"}]. Returns how many.';

CREATE FUNCTION koppeling.enqueue_request(p_token bigint, p_key text, p_body jsonb) RETURNS TABLE(verdict text, ids bigint[], is_list boolean)
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
#variable_conflict use_variable
declare
    v_now timestamptz := koppeling.now();
    v_expired timestamptz := v_now - interval '24 hours';
    v_hash bytea := sha256(convert_to(p_body::text, 'UTF8'));
    v_first koppeling.idempotent_request;
begin
    is_list := jsonb_typeof(p_body) = 'array';
    if not is_list and jsonb_typeof(p_body) <> 'object' or is_list and jsonb_array_length(p_body) > 1000 then
        raise exception using errcode = '22023',
            message = 'The body is one job as an object, or an array of at most 1000 jobs.';
    end if;
    if p_key is not null then
        insert into koppeling.idempotent_request as r (token_id, key, body_hash, created_at)
        values (p_token, p_key, v_hash, v_now)
        on conflict on constraint idempotent_request_pkey do update
        set body_hash = excluded.body_hash, created_at = excluded.created_at
        where r.created_at <= v_expired;
        if not found then
            -- The conflict has locked the row, so nobody prunes it now.
            select r.* into strict v_first from koppeling.idempotent_request r
            where r.token_id = p_token and r.key = p_key;
            verdict := case when v_first.body_hash = v_hash then 'repeated' else 'mismatch' end;
            ids := v_first.ids;
            return next;
            return;
        end if;
    end if;
    verdict := 'enqueued';
    ids := koppeling.enqueue_each(case when is_list then p_body else jsonb_build_array(p_body) end);
    if p_key is not null then
        update koppeling.idempotent_request r set ids = enqueue_request.ids
        where r.token_id = p_token and r.key = p_key;
        -- Whoever adds one takes some old ones away, so the table holds a day's worth and little more.
        delete from koppeling.idempotent_request r
        using (
            select o.token_id, o.key from koppeling.idempotent_request o
            where o.created_at <= v_expired
            order by o.created_at
            limit 100
            for update skip locked) old
        where r.token_id = old.token_id and r.key = old.key;
    end if;
    return next;
end $$;

CREATE FUNCTION koppeling.enqueue_rows(p_kinds text[], p_args jsonb[], p_queues text[], p_keys text[], p_key_modes text[], p_order_keys text[], p_limit_keys text[], p_run_ats timestamp with time zone[], p_priorities integer[], p_max_attempts integer[], p_public_only boolean) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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
    -- Most lists have no keys and no faults. The table's constraints find the faults; what exactly is wrong is asked
    -- only then.
    if not v_is_keyed and not exists (select from unnest(p_args) a where pg_column_size(a) > 65536) then
        begin
            with given as materialized (
                select nextval('koppeling.job_id_seq') as id, u.*
                from unnest(p_kinds, p_args, p_queues, p_key_modes, p_order_keys, p_limit_keys, p_run_ats,
                    p_priorities, p_max_attempts) with ordinality as u (kind, args, queue, key_mode, order_key,
                    limit_key, run_at, priority, max_attempts, n)
            ), put as (
                insert into koppeling.job (id, enqueued_at, run_at, priority, max_attempts, state, queue, kind,
                    key_mode, order_key, limit_key, args)
                select g.id, v_now, coalesce(g.run_at, v_now), coalesce(g.priority, 0), coalesce(g.max_attempts, 20),
                    case when g.run_at < v_now - interval '100 milliseconds' then 'returned' else 'ready' end,
                    coalesce(g.queue, 'default'), g.kind, coalesce(g.key_mode, 'keep'), g.order_key, g.limit_key,
                    coalesce(g.args, '{}')
                from given g
                where g.run_at is distinct from '-infinity' and g.key_mode is distinct from 'append'
            )
            select array_agg(g.id order by g.n) into v_ids from given g;
            if not exists (
                select from unnest(p_run_ats, p_key_modes) as u (run_at, key_mode)
                where u.run_at = '-infinity' or u.key_mode = 'append') then
                perform koppeling.wake(array(select distinct coalesce(q, 'default') from unnest(p_queues) q),
                    array(select distinct k from unnest(p_kinds) k));
                return v_ids;
            end if;
            -- Whatever this is, it is a fault that is named below; what was put is taken back.
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

CREATE TABLE koppeling.job_schedule (
    name text NOT NULL,
    cron text NOT NULL,
    time_zone text NOT NULL,
    missed text NOT NULL,
    kind text NOT NULL,
    args jsonb NOT NULL,
    queue text NOT NULL,
    key text,
    key_mode text NOT NULL,
    order_key text,
    limit_key text,
    priority integer NOT NULL,
    max_attempts integer NOT NULL,
    next_at timestamp with time zone,
    last_at timestamp with time zone,
    last_job_id bigint,
    error text,
    CONSTRAINT job_schedule_missed_check CHECK ((missed = ANY (ARRAY['skip'::text, 'once'::text]))),
    CONSTRAINT job_schedule_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT last_job_has_a_time CHECK (((last_at IS NULL) = (last_job_id IS NULL)))
);

CREATE FUNCTION koppeling.enqueue_scheduled(s koppeling.job_schedule, run_at timestamp with time zone) RETURNS bigint
    LANGUAGE sql
    RETURN koppeling.enqueue_internal((s).kind, (s).args, (s).queue, (s).key, (s).key_mode, (s).order_key, (s).limit_key, run_at, (s).priority, (s).max_attempts);

CREATE FUNCTION koppeling.evaluate_requests(p_limit bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_persons bigint[];
    v_causes text[];
    v_groups bigint[];
    v_group bigint;
    v_cause text;
begin
    with checked as (
        delete from koppeling.holder_check where suppression_id = any (array(
            select suppression_id from koppeling.holder_check order by suppression_id for update skip locked))
        returning suppression_id
    )
    insert into koppeling.evaluation_request (person_id, cause)
    select distinct e.person_id, s.reason
    from checked c
    join koppeling.suppression s on s.id = c.suppression_id
    join koppeling.email_address e on e.address_key = s.address_key
    where not exists (
        select from koppeling.open_suppression o
        where o.target_group_id = s.target_group_id and o.reason = s.reason and o.person_id = e.person_id)
    on conflict (person_id) do nothing;

    with taken as (
        delete from koppeling.evaluation_request where person_id = any (array(
            select person_id from koppeling.evaluation_request
            order by requested_at, person_id limit p_limit for update skip locked))
        returning person_id, cause
    )
    select coalesce(array_agg(person_id), '{}'), coalesce(array_agg(cause), '{}') into v_persons, v_causes from taken;
    if cardinality(v_persons) = 0 then
        return 0;
    end if;

    v_groups := array(
        select m.target_group_id from koppeling.membership m where m.person_id = any (v_persons)
        union
        select r.target_group_id
        from koppeling.person_category pc
        join koppeling.criterion c on c.kind = 'personCategory' and c.value_id = pc.category_id and not c.negated
        join koppeling.rule r on r.id = c.rule_id
        where pc.person_id = any (v_persons)
        union
        select r.target_group_id from koppeling.rule r
        where not exists (select from koppeling.criterion c where c.rule_id = r.id and not c.negated)
        order by 1);
    foreach v_group in array v_groups loop
        perform koppeling.lock_group(v_group);
    end loop;
    -- After the locks, so that a no which was being recorded meanwhile is seen.
    perform koppeling.bind_holders(v_persons);
    foreach v_group in array v_groups loop
        for v_cause in select distinct c from unnest(v_causes) c order by c loop
            perform koppeling.derive_memberships(v_group, array(
                select t.person from unnest(v_persons, v_causes) t (person, cause) where t.cause = v_cause),
                v_cause, 'evaluation');
        end loop;
        perform koppeling.membership_changed(v_group, array(
            select m.person_id from koppeling.membership m
            where m.target_group_id = v_group and m.person_id = any (v_persons)));
    end loop;
    return cardinality(v_persons);
end $$;

CREATE TABLE koppeling.job_retention (
    outcome text NOT NULL,
    keep interval NOT NULL,
    CONSTRAINT job_retention_keep_check CHECK ((keep > '00:00:00'::interval)),
    CONSTRAINT job_retention_outcome_check CHECK ((outcome = ANY (ARRAY['done'::text, 'rejected'::text, 'cancelled'::text])))
);

COMMENT ON TABLE koppeling.job_retention IS 'For how long finished jobs are kept, by outcome; attempts as long as the longest.';

COMMENT ON COLUMN koppeling.job_retention.outcome IS 'done, rejected or cancelled.';

COMMENT ON COLUMN koppeling.job_retention.keep IS 'How long after they finished; set_retention changes it.';

CREATE FUNCTION koppeling.history_tables() RETURNS TABLE(parent text, moment text, kept_since timestamp with time zone)
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT ('job_'::text || r.outcome),
     'finished_at'::text,
     (koppeling.now() - r.keep)
    FROM koppeling.job_retention r
 UNION ALL
  SELECT 'job_attempt'::text,
     'ended_at'::text,
     (koppeling.now() - max(r.keep))
    FROM koppeling.job_retention r;
END;

CREATE FUNCTION koppeling.history_partitions() RETURNS TABLE(parent text, partition text, starts_at timestamp with time zone, ends_at timestamp with time zone)
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT t.parent,
     (c.relname)::text AS relname,
     (d.day AT TIME ZONE 'UTC'::text) AS timezone,
     ((d.day + '1 day'::interval) AT TIME ZONE 'UTC'::text) AS timezone
    FROM (((koppeling.history_tables() t(parent, moment, kept_since)
      JOIN pg_inherits i ON ((i.inhparent = ((('koppeling.'::text || t.parent))::regclass)::oid)))
      JOIN pg_class c ON (((c.oid = i.inhrelid) AND (c.relname ~ '_[0-9]{8}$'::text))))
      CROSS JOIN LATERAL ( SELECT (to_date("right"((c.relname)::text, 8), 'YYYYMMDD'::text))::timestamp without time zone AS day) d);
END;

CREATE FUNCTION koppeling.expired_history_partitions() RETURNS TABLE(partition text)
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT p.partition
    FROM (koppeling.history_partitions() p(parent, partition, starts_at, ends_at)
      JOIN koppeling.history_tables() t(parent, moment, kept_since) ON ((t.parent = p.parent)))
   WHERE (p.ends_at <= t.kept_since)
   ORDER BY p.ends_at, p.partition;
END;

CREATE FUNCTION koppeling.iso8601(moment timestamp with time zone) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_char((moment AT TIME ZONE 'utc'::text), 'YYYY-MM-DD"T"HH24:MI:SS"Z"'::text);

CREATE TABLE koppeling.audit_entry (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    target_group_id bigint,
    person_id bigint,
    kind text NOT NULL,
    old jsonb,
    new jsonb,
    facts jsonb,
    actor text NOT NULL,
    cause text NOT NULL
);

CREATE TABLE koppeling.evaluation_request (
    person_id bigint NOT NULL,
    cause text NOT NULL,
    requested_at timestamp with time zone DEFAULT koppeling.now() NOT NULL
);

CREATE TABLE koppeling.rule (
    id bigint NOT NULL,
    target_group_id bigint NOT NULL,
    "position" integer NOT NULL,
    CONSTRAINT rule_position_check CHECK (("position" > 0))
);

CREATE FUNCTION koppeling.explain_membership(p_group bigint, p_person bigint) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN (SELECT jsonb_build_object('status', m.status, 'via', m.via, 'reasons', COALESCE(m.reasons, '{}'::text[]), 'ruleMatch', COALESCE(m.rule_match, false), 'matchedRule', (SELECT r."position" FROM koppeling.rule r WHERE (r.id = m.matched_rule_id)), 'override', COALESCE(m.override, 'none'::text), 'everMember', COALESCE(m.ever_member, false), 'isPending', (EXISTS (SELECT FROM koppeling.evaluation_request q WHERE (q.person_id = explain_membership.p_person))), 'suppressions', COALESCE((SELECT jsonb_agg(jsonb_build_object('reason', s.reason, 'source', s.source, 'occurredAt', koppeling.iso8601(s.occurred_at)) ORDER BY s.id) AS jsonb_agg FROM koppeling.open_suppression s WHERE ((s.target_group_id = explain_membership.p_group) AND ((s.person_id = explain_membership.p_person) OR (s.address_key IN (SELECT e.address_key FROM koppeling.email_address e WHERE (e.person_id = explain_membership.p_person)))))), '[]'::jsonb), 'changes', COALESCE((SELECT jsonb_agg(jsonb_build_object('at', koppeling.iso8601(a.at), 'kind', a.kind, 'old', (a.old)::text, 'new', (a.new)::text, 'actor', a.actor, 'cause', a.cause) ORDER BY a.id DESC) AS jsonb_agg FROM (SELECT a_1.id, a_1.at, a_1.target_group_id, a_1.person_id, a_1.kind, a_1.old, a_1.new, a_1.facts, a_1.actor, a_1.cause FROM koppeling.audit_entry a_1 WHERE ((a_1.person_id = explain_membership.p_person) AND ((a_1.target_group_id = explain_membership.p_group) OR (a_1.target_group_id IS NULL))) ORDER BY a_1.id DESC LIMIT 20) a), '[]'::jsonb)) AS jsonb_build_object FROM ((SELECT) here LEFT JOIN koppeling.membership m ON (((m.target_group_id = explain_membership.p_group) AND (m.person_id = explain_membership.p_person)))));

CREATE FUNCTION koppeling.final_outcome(job koppeling.job, outcome text, note text) RETURNS TABLE(final text, reason text)
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN (final_outcome.outcome = ANY (ARRAY['done'::text, 'rejected'::text, 'cancelled'::text])) THEN final_outcome.outcome
             WHEN (c.job_id IS NOT NULL) THEN 'cancelled'::text
             WHEN ((final_outcome.outcome = 'died'::text) AND (final_outcome.job).alone AND ((final_outcome.job).deaths >= 3)) THEN 'rejected'::text
             WHEN ((final_outcome.outcome = ANY (ARRAY['retry'::text, 'died'::text])) AND ((final_outcome.job).attempt >= (final_outcome.job).max_attempts)) THEN 'rejected'::text
             ELSE NULL::text
         END AS "case",
         CASE
             WHEN (final_outcome.outcome = 'done'::text) THEN NULL::text
             WHEN (final_outcome.outcome = ANY (ARRAY['rejected'::text, 'cancelled'::text])) THEN COALESCE(final_outcome.note, 'no reason given'::text)
             WHEN (c.job_id IS NOT NULL) THEN c.reason
             WHEN ((final_outcome.outcome = 'died'::text) AND (final_outcome.job).alone AND ((final_outcome.job).deaths >= 3)) THEN 'poison: its worker died three times while it ran alone'::text
             ELSE (((((COALESCE(final_outcome.note, 'no reason given'::text) || ' (attempt '::text) || (final_outcome.job).attempt) || ' of '::text) || (final_outcome.job).max_attempts) || ')'::text)
         END AS "case"
    FROM (( SELECT) one
      LEFT JOIN koppeling.job_cancellation c ON ((c.job_id = (final_outcome.job).id)));
END;

CREATE TABLE koppeling.category (
    id bigint NOT NULL,
    category_group_id bigint NOT NULL,
    name text NOT NULL,
    CONSTRAINT category_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

CREATE TABLE koppeling.category_group (
    id bigint NOT NULL,
    name text NOT NULL,
    CONSTRAINT category_group_name_check CHECK ((((length(name) >= 1) AND (length(name) <= 200)) AND (strpos(name, '/'::text) = 0)))
);

CREATE FUNCTION koppeling.find_category(label text) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (SELECT k.id FROM ((koppeling.category_parts(find_category.label) p(category_group, name) JOIN koppeling.category_group g ON ((koppeling.fold(g.name) = koppeling.fold(p.category_group)))) JOIN koppeling.category k ON (((k.category_group_id = g.id) AND (koppeling.fold(k.name) = koppeling.fold(p.name))))));

CREATE FUNCTION koppeling.find_member(p_instance bigint, p_contact text, p_key text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_by_contact bigint;
    v_by_address koppeling.audience_member;
begin
    select id into v_by_contact from koppeling.audience_member
    where instance_id = p_instance and contact_id = p_contact for update;
    select * into v_by_address from koppeling.audience_member
    where instance_id = p_instance and address_key = p_key for update;
    if v_by_contact is null then
        -- Another contact stood there and is gone: its row stays with the address.
        return v_by_address.id;
    end if;
    if v_by_address.id is not null and v_by_address.id <> v_by_contact then
        update koppeling.claim set member_id = v_by_contact where member_id = v_by_address.id;
        perform koppeling.cancel_waiting(
            koppeling.instance_queue(p_instance), koppeling.member_key(v_by_address.id), 'merged');
        delete from koppeling.audience_member where id = v_by_address.id;
    end if;
    return v_by_contact;
end $$;

CREATE FUNCTION koppeling.find_person(source text, external_id text) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (SELECT p.id FROM koppeling.person p WHERE ((koppeling.fold(p.source) = koppeling.fold(koppeling.clean_text(find_person.source))) AND (koppeling.fold(p.external_id) = koppeling.fold(koppeling.clean_text(find_person.external_id)))));

CREATE FUNCTION koppeling.finish_person_import(p_cause text) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    perform koppeling.request_evaluation(array(select c.person_id from person_import_change c), p_cause);
end $$;

CREATE FUNCTION koppeling.fold_back(p_jobs koppeling.job[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_jobs koppeling.job[];
    v_rest koppeling.job[] := p_jobs;
    v_replaced record;
begin
    delete from koppeling.job j where j.id = any (array(select b.id from unnest(p_jobs) b));
    -- Of several with one key the newest goes first, so that the older ones fold into it: a round for each.
    while v_rest is not null loop
        select array_agg(r.job order by (r.job).queue, (r.job).key) filter (where r.place = 1),
            array_agg(r.job) filter (where r.place > 1)
        into v_jobs, v_rest
        from (select b as job, row_number() over (partition by b.queue, b.key order by b.id desc) as place
              from unnest(v_rest) b) r;
        -- What an older one stood before or took up is free when it gets the keys of a newer one.
        select array_agg(w.queue) as queues, array_agg(w.order_key) as order_keys, array_agg(w.limit_key) as limit_keys
        into v_replaced
        from unnest(v_jobs) b
        join koppeling.job w on w.queue = b.queue and w.key = b.key and w.state <> 'running'
        where w.id < b.id and b.key_mode = 'replace' and num_nonnulls(w.order_key, w.limit_key) > 0;
        insert into koppeling.job as waiting
        select b.* from unnest(v_jobs) b
        on conflict (queue, key) where state <> 'running' and key is not null do update
        set (kind, args, run_at, priority, max_attempts, key_mode, order_key, limit_key, state, blocked_by) = (
            select f.kind, f.args, f.run_at, f.priority, f.max_attempts, f.key_mode, f.order_key, f.limit_key, f.state,
                f.blocked_by
            from koppeling.folded(waiting, excluded) f);
        if v_replaced.queues is not null then
            perform koppeling.open_gates(v_replaced.queues, v_replaced.order_keys, v_replaced.limit_keys);
        end if;
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

CREATE FUNCTION koppeling.folded(waiting koppeling.job, back koppeling.job) RETURNS koppeling.job
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    newer koppeling.job := case when waiting.id > back.id then waiting else back end;
    older koppeling.job := case when waiting.id > back.id then back else waiting end;
begin
    if newer.key_mode <> 'replace' then
        if waiting.state = 'ready' and back.run_at < waiting.run_at then
            waiting.state := 'returned';
        end if;
        waiting.run_at := least(waiting.run_at, back.run_at);
        if newer.key_mode = 'append' and newer.kind = older.kind
            and jsonb_typeof(newer.args) = 'array' and jsonb_typeof(older.args) = 'array' then
            waiting.args := older.args || newer.args;
            waiting.key_mode := 'append';
        end if;
    elsif newer.id = back.id then
        waiting.kind := back.kind;
        waiting.args := back.args;
        waiting.run_at := back.run_at;
        waiting.priority := least(waiting.priority, back.priority);
        waiting.max_attempts := greatest(back.max_attempts, waiting.attempt);
        waiting.key_mode := back.key_mode;
        waiting.order_key := back.order_key;
        waiting.limit_key := back.limit_key;
        waiting.state := case when waiting.deaths > 0 then 'suspect' else 'returned' end;
        waiting.blocked_by := null;
    end if;
    return waiting;
end $$;

CREATE FUNCTION koppeling.gender_value(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE lower((value COLLATE "C")) WHEN 'male'::text THEN 'male'::text WHEN 'man'::text THEN 'male'::text WHEN 'm'::text THEN 'male'::text WHEN 'female'::text THEN 'female'::text WHEN 'vrouw'::text THEN 'female'::text WHEN 'v'::text THEN 'female'::text WHEN 'f'::text THEN 'female'::text WHEN 'other'::text THEN 'other'::text WHEN 'anders'::text THEN 'other'::text WHEN 'x'::text THEN 'other'::text WHEN 'unknown'::text THEN 'unknown'::text WHEN 'onbekend'::text THEN 'unknown'::text ELSE NULL::text END;

CREATE FUNCTION koppeling.held_back(p_by text, p_open bigint[], p_held bigint[], p_holders bigint[], p_locked bigint[]) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
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

CREATE FUNCTION koppeling.import_person_chunk(p_after bigint, p_size bigint, p_source text, p_kinds text[], p_fields text[], p_put boolean, OUT last_line bigint, OUT persons bigint, OUT faults bigint, OUT created bigint, OUT changed bigint, OUT categories_made bigint) RETURNS record
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_rows koppeling.person_input[];
    v_done record;
begin
    select
        max(c.line),
        array_agg(row(
            c.line, coalesce(c.source, p_source), c.external_id, c.given_name, c.initials, c.prefixes, c.family_name,
            c.gender, p_kinds, string_to_array(c.addresses, e'\x1f', ''),
            array(
                select t from regexp_split_to_table(c.categories, '[;|]') t
                where koppeling.clean_text(t) is not null),
            p_fields, null, null)::koppeling.person_input) filter (where c.fault is null)
    into last_line, v_rows
    from (select * from person_import i where i.line > p_after order by i.line limit p_size) c;
    persons := coalesce(cardinality(v_rows), 0);

    v_rows := koppeling.clean_persons(v_rows);
    with found as (
        select * from koppeling.person_faults(v_rows)
    ), noted as (
        insert into person_import_fault (line, field, message) select * from found
    )
    select count(distinct f.line) into faults
    from found f
    where not exists (select from person_import_fault known where known.line = f.line);

    if p_put then
        select * into v_done from koppeling.put_person_rows(array(
            select r from unnest(v_rows) r
            where not exists (select from person_import_fault f where f.line = r.line)));
        created := v_done.created;
        changed := v_done.changed - v_done.created;
        categories_made := v_done.categories_made;
        insert into person_import_change (person_id) select unnest(v_done.evaluate);
    end if;
end $$;

CREATE FUNCTION koppeling.instance_queue(p_instance bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ('instance-'::text || p_instance);

CREATE FUNCTION koppeling.job_entry_fault(entry jsonb) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN (jsonb_typeof(entry) <> 'object'::text) THEN ': must be a JSON object'::text ELSE (SELECT CASE WHEN (f.key = ANY (ARRAY['kind'::text, 'queue'::text, 'key'::text, 'key_mode'::text, 'order_key'::text, 'limit_key'::text, 'run_at'::text])) THEN format('.%s: must be a string, not %s'::text, f.key, "left"((f.value)::text, 50)) WHEN (f.key = ANY (ARRAY['priority'::text, 'max_attempts'::text])) THEN format('.%s: must be a whole number, not %s'::text, f.key, "left"((f.value)::text, 50)) ELSE format('.%s: is not a field of a job'::text, "left"(f.key, 50)) END AS format FROM jsonb_each(job_entry_fault.entry) f(key, value) WHERE (((jsonb_typeof(f.value) <> 'null'::text) AND (NOT CASE WHEN (f.key = ANY (ARRAY['kind'::text, 'queue'::text, 'key'::text, 'key_mode'::text, 'order_key'::text, 'limit_key'::text, 'run_at'::text])) THEN (jsonb_typeof(f.value) = 'string'::text) WHEN (f.key = ANY (ARRAY['priority'::text, 'max_attempts'::text])) THEN ((f.value)::text ~ '^-?[0-9]{1,9}$'::text) ELSE (f.key = 'args'::text) END)) OR ((jsonb_typeof(f.value) = 'null'::text) AND (f.key <> ALL (ARRAY['kind'::text, 'args'::text, 'queue'::text, 'key'::text, 'key_mode'::text, 'order_key'::text, 'limit_key'::text, 'run_at'::text, 'priority'::text, 'max_attempts'::text])))) LIMIT 1) END;

CREATE FUNCTION koppeling.job_fault(job koppeling.job) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN ((job).kind IS NULL) THEN 'kind: is missing'::text WHEN (((job).queue = ''::text) OR (length((job).queue) > 200)) THEN 'queue: must have 1 to 200 characters'::text WHEN (((job).key = ''::text) OR (length((job).key) > 500)) THEN 'key: must have 1 to 500 characters'::text WHEN (((job).order_key = ''::text) OR (length((job).order_key) > 500)) THEN 'order_key: must have 1 to 500 characters'::text WHEN (((job).limit_key = ''::text) OR (length((job).limit_key) > 500)) THEN 'limit_key: must have 1 to 500 characters'::text WHEN ((job).key_mode <> ALL (ARRAY['keep'::text, 'replace'::text, 'append'::text])) THEN format('key_mode: must be keep, replace or append, not "%s"'::text, "left"((job).key_mode, 50)) WHEN (((job).priority < '-10000'::integer) OR ((job).priority > 10000)) THEN 'priority: must be from -10000 to 10000'::text WHEN (((job).max_attempts < 1) OR ((job).max_attempts > 1000)) THEN 'max_attempts: must be from 1 to 1000'::text WHEN (jsonb_typeof((job).args) <> ALL (ARRAY['object'::text, 'array'::text])) THEN format('args: must be a JSON object or array, not a %s'::text, jsonb_typeof((job).args)) WHEN (((job).key_mode = 'append'::text) AND ((job).key IS NULL)) THEN 'key_mode: append needs a key'::text WHEN (((job).key_mode = 'append'::text) AND (jsonb_typeof((job).args) <> 'array'::text)) THEN 'args: must be a JSON array when key_mode is append'::text WHEN (octet_length(((job).args)::text) > 262144) THEN format('args: are %s bytes long, and may be 262144'::text, octet_length(((job).args)::text)) WHEN ((job).run_at = '-infinity'::timestamp with time zone) THEN 'run_at: must be a moment, or infinity for a parked job'::text ELSE NULL::text END;

CREATE FUNCTION koppeling.joined_args(waiting koppeling.job, kind text, key_mode text, args jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_joined jsonb;
begin
    if joined_args.key_mode <> 'append' then
        return joined_args.args;
    end if;
    v_joined := waiting.args || joined_args.args;
    if waiting.kind <> joined_args.kind or jsonb_typeof(waiting.args) <> 'array' then
        raise exception using errcode = '22023', message = format(
            'key: "%s" belongs to a waiting job of kind %s, to whose args nothing of kind %s can be appended',
            left(waiting.key, 100), waiting.kind, joined_args.kind);
    elsif octet_length(v_joined::text) > 4194304 then
        raise exception using errcode = '54000', message = format(
            'args: the job that waits with key "%s" would have more than 4194304 bytes of them',
            left(waiting.key, 100)), hint = 'Let the waiting job run first, or use another key.';
    end if;
    return v_joined;
end $$;

CREATE FUNCTION koppeling.judge_person_import(p_source text) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    analyze person_import;
    insert into person_import_fault (line, field, message)
    select i.line, null, i.fault from person_import i where i.fault is not null
    union all
    select d.line, 'id', format('is the same person as line %s', d.first)
    from (
        select i.line, min(i.line) over (
            partition by koppeling.fold(koppeling.clean_text(coalesce(i.source, p_source))),
                koppeling.fold(koppeling.clean_text(i.external_id))) as first
        from person_import i
        where i.fault is null and i.external_id is not null
    ) d
    where d.line > d.first;
end $$;

CREATE FUNCTION koppeling.keep_used_category() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
declare
    v_groups text;
begin
    select string_agg(distinct format('"%s" rule %s', g.name, r.position), ', ') into v_groups
    from koppeling.criterion c
    join koppeling.rule r on r.id = c.rule_id
    join koppeling.target_group g on g.id = r.target_group_id
    where c.kind = 'personCategory' and c.value_id = old.id;
    if v_groups is not null then
        raise exception using errcode = 'restrict_violation',
            message = format('category "%s" is used by %s', old.name, v_groups),
            hint = 'Take it out of those rules first.';
    end if;
    return old;
end $$;

CREATE FUNCTION koppeling.lift_suppression(p_suppression bigint, p_source text, p_cause text) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $$
declare
    v_group bigint := (select s.target_group_id from koppeling.suppression s where s.id = p_suppression);
begin
    perform koppeling.lock_group(v_group);
    return query select * from koppeling.end_suppressions(v_group, array[p_suppression], p_source, p_cause);
end $$;

CREATE FUNCTION koppeling.lift_suppressions(p_group bigint, p_reasons text[], p_address text, p_contact_id text, p_persons bigint[], p_source text, p_cause text) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $$
declare
    v_ids bigint[];
begin
    perform koppeling.lock_group(p_group);
    v_ids := array(
        select s.id from koppeling.open_suppression s
        where s.target_group_id = p_group and s.reason = any (p_reasons)
            and (s.contact_id = p_contact_id or s.address_key = koppeling.address_key(p_address)
                or s.person_id = any (p_persons))
        order by s.id);
    return query select * from koppeling.end_suppressions(p_group, v_ids, p_source, p_cause);
end $$;

CREATE FUNCTION koppeling.limit_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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

CREATE FUNCTION koppeling.limit_was_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    if tg_op = 'DELETE' then
        -- All of them, a thousand at a time.
        while koppeling.open_gates(null, null, array[old.limit_key]) = 1000 loop null; end loop;
    else
        perform koppeling.open_gates(null, null, array[new.limit_key]);
    end if;
    return null;
end $$;

CREATE FUNCTION koppeling.local_moments(p_zone text, p_local timestamp without time zone, OUT earlier timestamp with time zone, OUT later timestamp with time zone, OUT is_skipped boolean) RETURNS record
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_change timestamptz;
begin
    -- The server takes a time that is shown twice for the later one, and a skipped one for as much after the change.
    later := p_local at time zone p_zone;
    is_skipped := (later at time zone p_zone) <> p_local;
    v_change := koppeling.zone_change(p_zone, later - interval '24 hours', later);
    if is_skipped then
        later := v_change;
    end if;
    earlier := later;
    if v_change is not null and not is_skipped then
        earlier := least(later, later - koppeling.zone_offset(p_zone, later - interval '24 hours')
            + koppeling.zone_offset(p_zone, later));
        if earlier >= v_change then
            earlier := later;
        end if;
    end if;
end $$;

CREATE FUNCTION koppeling.lock_group(p_group bigint) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT pg_advisory_xact_lock(hashtextextended(('koppeling.target_group.'::text || p_group), (0)::bigint)) AS pg_advisory_xact_lock;
END;

CREATE FUNCTION koppeling.look_for_work(p_worker bigint, p_mark_queues text[] DEFAULT '{}'::text[], p_mark_kinds text[] DEFAULT '{}'::text[], p_mark_priorities integer[] DEFAULT '{}'::integer[], p_mark_times timestamp with time zone[] DEFAULT '{}'::timestamp with time zone[]) RETURNS TABLE(consumer_id bigint, is_due boolean, is_suspicious boolean, next_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
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

CREATE FUNCTION koppeling.make_categories(p_labels text[], OUT made bigint, OUT ids jsonb) RETURNS record
    LANGUAGE plpgsql
    AS $$
begin
    insert into koppeling.category_group (name)
    select distinct on (koppeling.fold(p.category_group)) p.category_group
    from unnest(p_labels) l
    cross join lateral koppeling.category_parts(l) p
    where not exists (
        select from koppeling.category_group g where koppeling.fold(g.name) = koppeling.fold(p.category_group))
    order by koppeling.fold(p.category_group), p.category_group
    on conflict do nothing;

    insert into koppeling.category (category_group_id, name)
    select distinct on (g.id, koppeling.fold(p.name)) g.id, p.name
    from unnest(p_labels) l
    cross join lateral koppeling.category_parts(l) p
    join koppeling.category_group g on koppeling.fold(g.name) = koppeling.fold(p.category_group)
    where not exists (
        select from koppeling.category k
        where k.category_group_id = g.id and koppeling.fold(k.name) = koppeling.fold(p.name))
    order by g.id, koppeling.fold(p.name), p.name
    on conflict do nothing;
    get diagnostics made = row_count;

    select coalesce(jsonb_object_agg(l, k.id), '{}') into ids
    from unnest(p_labels) l
    cross join lateral koppeling.category_parts(l) p
    join koppeling.category_group g on koppeling.fold(g.name) = koppeling.fold(p.category_group)
    join koppeling.category k on k.category_group_id = g.id and koppeling.fold(k.name) = koppeling.fold(p.name);
end $$;

CREATE FUNCTION koppeling.make_history_partition(p_parent text, p_moment text, p_day date) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET lock_timeout TO '100ms'
    AS $$
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

CREATE FUNCTION koppeling.make_history_partitions(p_ahead integer DEFAULT 3) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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

CREATE FUNCTION koppeling.member_for(p_instance bigint, p_address text, p_key text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_member bigint;
begin
    select m.id into v_member
    from koppeling.audience_member m
    where m.instance_id = p_instance
      and (m.address_key = p_key or m.moving_to = p_key or m.file_key = p_key and m.status <> 'absent')
    order by m.address_key = p_key desc, m.moving_to = p_key desc nulls last, m.id
    limit 1;
    if v_member is null then
        insert into koppeling.audience_member (instance_id, address, address_key)
        values (p_instance, p_address, p_key)
        returning id into v_member;
    end if;
    return v_member;
end $$;

CREATE FUNCTION koppeling.member_key(p_member bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ('member-'::text || p_member);

CREATE FUNCTION koppeling.needed_action(s koppeling.audience_member, p_claims bigint, p_key text, p_fields jsonb, p_unsubscribe boolean, p_keeps_adopted boolean, p_running boolean) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (p_unsubscribe AND (((s).status = ANY (ARRAY['subscribed'::text, 'pending'::text])) OR ((s).intent IS NOT NULL) OR p_running)) THEN 'unsubscribe'::text WHEN (p_claims = 0) THEN CASE WHEN ((((s).ownership = 'created'::text) AND ((s).status = 'subscribed'::text)) OR (((s).ownership = 'adopted'::text) AND ((s).status = 'subscribed'::text) AND (NOT p_keeps_adopted)) OR ((s).intent IS NOT NULL) OR p_running) THEN 'delete'::text ELSE NULL::text END WHEN (((s).status IS NULL) OR ((s).status = ANY (ARRAY['absent'::text, 'archived'::text]))) THEN 'create'::text WHEN (((s).status = 'subscribed'::text) AND ((s).ownership = ANY (ARRAY['none'::text, 'foreign'::text]))) THEN 'create'::text WHEN (((s).status = 'subscribed'::text) AND (((s).intent IS NOT NULL) OR ((s).moving_to IS NOT NULL) OR (p_key IS DISTINCT FROM (s).file_key) OR (p_fields IS DISTINCT FROM (s).applied_fields))) THEN 'update'::text ELSE NULL::text END;

CREATE FUNCTION koppeling.member_needs(p_instance bigint, p_members bigint[]) RETURNS SETOF koppeling.member_need
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET enable_nestloop TO 'off'
    BEGIN ATOMIC
 WITH keys AS MATERIALIZED (
          SELECT array_agg(koppeling.member_key(id.id)) AS "all"
            FROM unnest(member_needs.p_members) id(id)
         ), waiting AS MATERIALIZED (
          SELECT w_1.key,
             (w_1.args ->> 'action'::text) AS action
            FROM koppeling.job w_1
           WHERE ((w_1.queue = koppeling.instance_queue(member_needs.p_instance)) AND (w_1.state <> 'running'::text) AND (w_1.key = ANY (( SELECT keys."all"
                    FROM keys)::text[])))
         ), running AS MATERIALIZED (
          SELECT r_1.order_key
            FROM koppeling.job r_1
           WHERE ((r_1.queue = koppeling.instance_queue(member_needs.p_instance)) AND (r_1.state = 'running'::text) AND (r_1.order_key = ANY (( SELECT keys."all"
                    FROM keys)::text[])))
         )
  SELECT m.id,
     koppeling.member_key(m.id) AS member_key,
     w.action,
     koppeling.needed_action(m.*, s.claims, s.wanted_key, s.wanted_fields, s.unsubscribe_here, s.keeps_adopted, (r.order_key IS NOT NULL)) AS needed_action
    FROM (((koppeling.audience_member m
      JOIN koppeling.member_states(member_needs.p_members) s(id, instance_id, contact_id, remote_id, address, address_key, file_key, status, ownership, archived_by_us, intent, moving_to, applied_fields, claims, wanted_address, wanted_key, wanted_fields, reasons, target_reasons, unsubscribe_here, reactivated, keeps_adopted) ON ((s.id = m.id)))
      LEFT JOIN waiting w ON ((w.key = koppeling.member_key(m.id))))
      LEFT JOIN running r ON ((r.order_key = koppeling.member_key(m.id))))
   WHERE (m.id = ANY (member_needs.p_members));
END;

CREATE FUNCTION koppeling.membership_changed(p_group bigint, p_persons bigint[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_instance bigint;
    v_plan     bigint;
    v_joins    bigint;
    v_removals bigint;
    v_because  text;
begin
    select id into v_instance from koppeling.connector_instance where target_group_id = p_group;
    if not found then
        return;
    end if;
    perform koppeling.lock_group(p_group);
    select count(*) filter (where change = 'join'), count(*) filter (where change in ('leave', 'empty'))
    into v_joins, v_removals
    from koppeling.claim_difference(v_instance, p_persons)
    where not exempt;
    select id into v_plan from koppeling.change_plan where target_group_id = p_group and state = 'held' for update;
    if v_plan is null then
        v_because := koppeling.brake(v_instance, v_joins, v_removals);
        if v_because is not null then
            insert into koppeling.change_plan (target_group_id, held_because) values (p_group, v_because)
            returning id into v_plan;
        end if;
    end if;
    if v_plan is null then
        perform koppeling.stage_members(v_instance, koppeling.apply_claims(v_instance, p_persons, false));
        if v_joins + v_removals > 0 then
            insert into koppeling.unapproved_change (target_group_id, joins, removals)
            values (p_group, v_joins, v_removals);
        end if;
    else
        perform koppeling.rewrite_plan(v_plan, v_instance, p_persons);
        perform koppeling.stage_members(v_instance, koppeling.apply_claims(v_instance, p_persons, true));
    end if;
end $$;

CREATE FUNCTION koppeling.missing_members(p_instance bigint, p_sweep bigint, p_limit integer) RETURNS TABLE(id bigint, contact_id text)
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT m.id,
     m.contact_id
    FROM koppeling.audience_member m
   WHERE ((m.instance_id = missing_members.p_instance) AND (m.contact_id IS NOT NULL) AND (m.sweep < missing_members.p_sweep) AND (m.status <> 'absent'::text))
   ORDER BY m.id
  LIMIT missing_members.p_limit;
END;

CREATE FUNCTION koppeling.new_job(id bigint, kind text, args jsonb, queue text, key text, key_mode text, order_key text, limit_key text, run_at timestamp with time zone, priority integer, max_attempts integer, enqueued_at timestamp with time zone) RETURNS koppeling.job
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ROW(id, enqueued_at, COALESCE(run_at, enqueued_at), NULL::timestamp with time zone, NULL::bigint, NULL::bigint, COALESCE(priority, 0), 0, COALESCE(max_attempts, 20), 0, 0, 0, false, CASE WHEN (run_at < (enqueued_at - '00:00:00.1'::interval)) THEN 'returned'::text ELSE 'ready'::text END, NULL::text, COALESCE(queue, 'default'::text), kind, key, COALESCE(key_mode, 'keep'::text), order_key, limit_key, NULL::text, COALESCE(args, '{}'::jsonb))::koppeling.job;

CREATE TABLE koppeling.job_history (
    id bigint NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    run_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    worker_id bigint,
    priority integer NOT NULL,
    attempt integer NOT NULL,
    max_attempts integer NOT NULL,
    claim integer NOT NULL,
    snoozes integer NOT NULL,
    outcome text NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    key text,
    key_mode text NOT NULL,
    order_key text,
    limit_key text,
    reason text,
    args jsonb NOT NULL,
    result jsonb,
    CONSTRAINT done_has_run CHECK (((outcome <> 'done'::text) OR (started_at IS NOT NULL))),
    CONSTRAINT job_history_outcome_check CHECK ((outcome = ANY (ARRAY['done'::text, 'rejected'::text, 'cancelled'::text]))),
    CONSTRAINT refusals_have_a_reason CHECK (((outcome = 'done'::text) OR (reason IS NOT NULL)))
)
PARTITION BY LIST (outcome);

CREATE TABLE koppeling.worker (
    id bigint NOT NULL,
    name text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    started_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    heartbeat_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    ended_at timestamp with time zone,
    ending text,
    CONSTRAINT ended_somehow CHECK (((ended_at IS NULL) = (ending IS NULL))),
    CONSTRAINT worker_ending_check CHECK ((ending = ANY (ARRAY['stopped'::text, 'died'::text]))),
    CONSTRAINT worker_name_check CHECK ((name <> ''::text))
)
WITH (fillfactor='50');

CREATE VIEW koppeling.jobs AS
 SELECT j.id,
        CASE
            WHEN (j.state = ANY (ARRAY['running'::text, 'blocked'::text])) THEN j.state
            WHEN (j.run_at = 'infinity'::timestamp with time zone) THEN 'parked'::text
            WHEN (j.run_at > koppeling.now()) THEN 'scheduled'::text
            ELSE 'ready'::text
        END AS state,
    j.queue,
    j.kind,
    j.key,
    j.order_key,
    j.limit_key,
    j.priority,
    j.attempt,
    j.max_attempts,
    j.snoozes,
    j.enqueued_at,
    j.run_at,
    j.started_at,
    NULL::timestamp with time zone AS finished_at,
    w.name AS worker,
    j.error AS reason,
    j.args,
    NULL::jsonb AS result,
    j.blocked_by
   FROM (koppeling.job j
     LEFT JOIN koppeling.worker w ON ((w.id = j.worker_id)))
UNION ALL
 SELECT h.id,
    h.outcome AS state,
    h.queue,
    h.kind,
    h.key,
    h.order_key,
    h.limit_key,
    h.priority,
    h.attempt,
    h.max_attempts,
    h.snoozes,
    h.enqueued_at,
    h.run_at,
    h.started_at,
    h.finished_at,
    w.name AS worker,
    h.reason,
    h.args,
    h.result,
    NULL::text AS blocked_by
   FROM (koppeling.job_history h
     LEFT JOIN koppeling.worker w ON ((w.id = h.worker_id)));

COMMENT ON VIEW koppeling.jobs IS 'All jobs: waiting, running and finished ones. Ask by id or state, or with newest_jobs.';

COMMENT ON COLUMN koppeling.jobs.id IS 'Its number: later ones are larger.';

COMMENT ON COLUMN koppeling.jobs.state IS 'ready: may start; scheduled: not before run_at; parked: until a person releases it; blocked: see blocked_by; running; and finished ones: done, rejected, cancelled.';

COMMENT ON COLUMN koppeling.jobs.queue IS 'Where it waits.';

COMMENT ON COLUMN koppeling.jobs.kind IS 'What is to be done: a row of job_kind.';

COMMENT ON COLUMN koppeling.jobs.key IS 'At most one job with it waits in a queue: others are absorbed.';

COMMENT ON COLUMN koppeling.jobs.order_key IS 'Jobs with it run one after another, in the order of their ids.';

COMMENT ON COLUMN koppeling.jobs.limit_key IS 'Jobs with it share a limit, where one is set.';

COMMENT ON COLUMN koppeling.jobs.priority IS 'Lower ones first.';

COMMENT ON COLUMN koppeling.jobs.attempt IS 'Attempts begun that count; with max_attempts of them failed it is rejected.';

COMMENT ON COLUMN koppeling.jobs.max_attempts IS 'How many attempts may fail.';

COMMENT ON COLUMN koppeling.jobs.snoozes IS 'How often a handler put it off; that does not count as an attempt.';

COMMENT ON COLUMN koppeling.jobs.enqueued_at IS 'Since when it exists.';

COMMENT ON COLUMN koppeling.jobs.run_at IS 'Not before this moment; infinity is parked.';

COMMENT ON COLUMN koppeling.jobs.started_at IS 'When its latest run began; null when it waits, or never ran.';

COMMENT ON COLUMN koppeling.jobs.finished_at IS 'When it became done, rejected or cancelled; from then on it is kept as long as job_retention says.';

COMMENT ON COLUMN koppeling.jobs.worker IS 'The worker that has it, or had it last.';

COMMENT ON COLUMN koppeling.jobs.reason IS 'Why it was rejected or cancelled, or the last error of one that waits.';

COMMENT ON COLUMN koppeling.jobs.args IS 'What it is about.';

COMMENT ON COLUMN koppeling.jobs.result IS 'What the handler answered.';

COMMENT ON COLUMN koppeling.jobs.blocked_by IS 'order: an earlier job with its order_key is not finished; limit: as many run or started as its limit_key allows; pause: its key is paused.';

CREATE FUNCTION koppeling.newest_jobs(max_jobs integer DEFAULT 50, state text DEFAULT NULL::text, queue text DEFAULT NULL::text, kind text DEFAULT NULL::text, before bigint DEFAULT NULL::bigint, key text DEFAULT NULL::text) RETURNS SETOF koppeling.jobs
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
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

COMMENT ON FUNCTION koppeling.newest_jobs(max_jobs integer, state text, queue text, kind text, before bigint, key text) IS 'The newest jobs of a state, queue and kind, or those before one: cheap also when the history is large.';

CREATE FUNCTION koppeling.next_local_time(p_times koppeling.cron_times, p_from timestamp without time zone) RETURNS timestamp without time zone
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_from timestamp := p_from;
    v_month timestamp := date_trunc('month', p_from);
    v_day timestamp;
    v_minute int;
begin
    -- The days of 41 years: a 29th of February falls on each weekday in any 40.
    for n in 0 .. 12 * 41 loop
        if extract(month from v_month)::int = any (p_times.months) then
            for v_day in
                select d.day
                from (select g.day, extract(day from g.day)::int = any (p_times.days) as fits_month,
                        extract(dow from g.day)::int = any (p_times.weekdays) as fits_week
                    from generate_series(greatest(v_month, date_trunc('day', v_from)),
                        v_month + interval '1 month - 1 day', interval '1 day') g (day)) d
                where case when p_times.either_day then d.fits_month or d.fits_week
                    else d.fits_month and d.fits_week end
                order by d.day
            loop
                select min(h * 60 + m) into v_minute
                from unnest(p_times.hours) h, unnest(p_times.minutes) m
                where v_day + make_interval(mins => h * 60 + m) >= v_from;
                if v_minute is not null then
                    return v_day + make_interval(mins => v_minute);
                end if;
            end loop;
        end if;
        v_month := v_month + interval '1 month';
    end loop;
    return null;
end $$;

CREATE FUNCTION koppeling.next_priority(p_queue text, p_kinds text[], p_after integer, p_mark_kinds text[], p_mark_priorities integer[], p_mark_times timestamp with time zone[], p_suspects boolean) RETURNS integer
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
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

CREATE FUNCTION koppeling.next_tick(cron text, time_zone text DEFAULT 'UTC'::text, after timestamp with time zone DEFAULT koppeling.now()) RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_times koppeling.cron_times := koppeling.parsed_cron(cron);
    v_from timestamp;
    v_change timestamptz;
    v_local timestamp;
    v_moments record;
begin
    perform koppeling.check_time_zone(time_zone);
    if after is null or not isfinite(after) then
        raise exception using errcode = '22023', message = 'after: must be a moment';
    end if;
    v_from := date_trunc('minute', after at time zone time_zone) + interval '1 minute';
    if v_times.is_elastic then
        v_change := koppeling.zone_change(time_zone, after, after + interval '24 hours');
    else
        -- What is shown again has been.
        v_change := koppeling.zone_change(time_zone, after - interval '24 hours', after);
        v_from := greatest(v_from, (v_change at time zone 'UTC')
            + koppeling.zone_offset(time_zone, after - interval '24 hours'));
    end if;
    v_local := koppeling.next_local_time(v_times, v_from);
    if v_times.is_elastic and (v_local at time zone 'UTC') - koppeling.zone_offset(time_zone, after) >= v_change then
        v_local := koppeling.next_local_time(v_times, v_change at time zone time_zone);
    end if;
    loop
        if v_local is null then
            raise exception using errcode = '22023', message = format(
                'cron: "%s" names a day that never comes', left(cron, 100));
        end if;
        v_moments := koppeling.local_moments(time_zone, v_local);
        exit when not (v_times.is_elastic and v_moments.is_skipped);
        v_local := koppeling.next_local_time(v_times, v_moments.later at time zone time_zone);
    end loop;
    return case when v_moments.earlier > after then v_moments.earlier else v_moments.later end;
end $$;

COMMENT ON FUNCTION koppeling.next_tick(cron text, time_zone text, after timestamp with time zone) IS 'The first moment after the given one that a cron expression names in a time zone.';

CREATE FUNCTION koppeling.next_ticks(cron text, time_zone text DEFAULT 'UTC'::text, after timestamp with time zone DEFAULT koppeling.now(), count integer DEFAULT 10) RETURNS SETOF timestamp with time zone
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    if count is null or count not between 1 and 1000 then
        raise exception using errcode = '22023', message = 'count: must be from 1 to 1000';
    end if;
    for n in 1 .. count loop
        after := koppeling.next_tick(cron, time_zone, after);
        return next after;
    end loop;
end $$;

CREATE TABLE koppeling.job_limit (
    limit_key text NOT NULL,
    concurrency integer,
    rate integer,
    period interval,
    tokens double precision DEFAULT 0 NOT NULL,
    filled_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    opens_at timestamp with time zone,
    CONSTRAINT job_limit_concurrency_check CHECK ((concurrency > 0)),
    CONSTRAINT job_limit_limit_key_check CHECK (((length(limit_key) >= 1) AND (length(limit_key) <= 500))),
    CONSTRAINT job_limit_period_check CHECK ((period > '00:00:00'::interval)),
    CONSTRAINT job_limit_rate_check CHECK ((rate > 0)),
    CONSTRAINT job_limit_tokens_check CHECK ((tokens >= (0)::double precision)),
    CONSTRAINT limits_something CHECK (((concurrency IS NOT NULL) OR (rate IS NOT NULL))),
    CONSTRAINT opens_for_tokens CHECK (((opens_at IS NULL) OR (rate IS NOT NULL))),
    CONSTRAINT rate_has_a_period CHECK (((rate IS NULL) = (period IS NULL)))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_threshold='500');

CREATE FUNCTION koppeling.next_token_at(l koppeling.job_limit, tokens double precision, at timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((l).rate IS NOT NULL) THEN (at + ((l).period * (GREATEST((0.001)::double precision, ((floor(tokens) + (1)::double precision) - tokens)) / ((l).rate)::double precision))) ELSE NULL::timestamp with time zone END;

CREATE FUNCTION koppeling.observe_member(p_instance bigint, p_answer jsonb, p_direct boolean) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_group    bigint;
    v_key      text := koppeling.address_key(p_answer ->> 'email_address');
    v_contact  text := nullif(p_answer ->> 'contact_id', '');
    v_status   text := p_answer ->> 'status';
    v_changed  timestamptz := nullif(p_answer ->> 'last_changed', '')::timestamptz;
    v_old      koppeling.audience_member;
    v_id       bigint;
    v_ours     boolean;
    v_reason   text;
begin
    select target_group_id into strict v_group from koppeling.connector_instance where id = p_instance;
    v_id := koppeling.find_member(p_instance, v_contact, v_key);
    if v_id is null then
        insert into koppeling.audience_member (instance_id, address, address_key, ownership)
        values (p_instance, p_answer ->> 'email_address', v_key, 'foreign')
        returning id into v_id;
    end if;
    select * into strict v_old from koppeling.audience_member where id = v_id;
    if v_changed < v_old.last_changed
        or not p_direct and v_changed = v_old.last_changed
           and koppeling.strictness(v_status) < koppeling.strictness(v_old.status)
    then
        return null;
    end if;
    v_ours := v_status = 'archived' and (v_old.archived_by_us or coalesce(v_old.intent in ('archiving', 'moving'), false));

    update koppeling.audience_member m
    set contact_id = coalesce(v_contact, m.contact_id), remote_id = p_answer ->> 'id',
        address = p_answer ->> 'email_address', address_key = v_key, status = v_status,
        last_changed = coalesce(v_changed, m.last_changed), observed_at = koppeling.now(),
        archived_by_us = v_ours,
        ownership = case
            when v_status = 'subscribed' and coalesce(m.intent, '') <> 'creating'
                 and m.status in ('unsubscribed', 'cleaned', 'archived', 'absent') then 'foreign'
            when v_status = 'subscribed' and m.intent = 'creating' and m.ownership in ('none', 'foreign') then 'created'
            else m.ownership
        end,
        file_key = case when v_key = m.moving_to then v_key else coalesce(m.file_key, v_key) end,
        moving_to = case when v_key = m.moving_to then null else m.moving_to end
    where m.id = v_id;

    if v_status in ('unsubscribed', 'cleaned') and v_old.status is distinct from v_status
        and coalesce(v_old.intent, '') <> 'unsubscribing'
    then
        v_reason := case when v_status = 'cleaned' then 'cleaned'
                         when p_answer ->> 'unsubscribe_reason' ~* '(abuse|spam)' then 'complained'
                         else 'unsubscribed' end;
    elsif v_status = 'archived' and not v_ours and v_old.status is distinct from 'archived'
        and cardinality(koppeling.claimants(v_id)) > 0
    then
        v_reason := 'removedInMailchimp';
    end if;
    if v_reason is not null then
        perform koppeling.open_suppression(v_group, v_reason, p_answer ->> 'email_address', v_contact,
            koppeling.claimants(v_id), 'mailchimp', coalesce(v_changed, koppeling.now()), '{}');
    end if;

    if v_status = 'subscribed' then
        perform koppeling.resubscribed(p_instance, v_group, v_id, v_old.status);
    end if;
    if v_key <> v_old.address_key and v_old.contact_id is not null and v_key is distinct from v_old.moving_to then
        perform koppeling.open_task('addressDiffers', p_instance, c.person_id, jsonb_build_object('member', v_id))
        from koppeling.claim c
        where c.member_id = v_id;
    end if;
    return case when v_status is distinct from v_old.status or v_key <> v_old.address_key
                     or exists (select from koppeling.claim c where c.member_id = v_id) then v_id end;
end $$;

CREATE FUNCTION koppeling.observe_page(p_instance bigint, p_page jsonb, p_read_at timestamp with time zone, p_sweep bigint) RETURNS TABLE(members bigint, latest timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_touched bigint[];
begin
    perform koppeling.lock_group(i.target_group_id) from koppeling.connector_instance i where i.id = p_instance;
    -- Contacts nobody here knows and who said no to nothing: the bulk of a first pull, in one statement.
    insert into koppeling.audience_member (instance_id, contact_id, remote_id, address, address_key, file_key, status,
                                           last_changed, observed_at, ownership, sweep)
    select distinct on (koppeling.address_key(o.email_address))
           p_instance, nullif(o.contact_id, ''), o.id, o.email_address, koppeling.address_key(o.email_address),
           koppeling.address_key(o.email_address), o.status, nullif(o.last_changed, '')::timestamptz, koppeling.now(),
           'foreign', p_sweep
    from jsonb_to_recordset(p_page -> 'members') o (id text, contact_id text, email_address text, status text,
                                                    last_changed text)
    where o.status in ('subscribed', 'pending', 'transactional', 'archived')
      and not exists (select from koppeling.audience_member m
                      where m.instance_id = p_instance and m.contact_id = o.contact_id)
    order by koppeling.address_key(o.email_address)
    on conflict do nothing;

    select coalesce(array_agg(t.id) filter (where t.id is not null), '{}') into v_touched
    from (
        select koppeling.observe_member(p_instance, o.member, false) as id
        from jsonb_array_elements(p_page -> 'members') o (member)
        where not exists (
            -- Nothing new, or older than what we did ourselves: the next overlapping pull reads it again.
            select from koppeling.audience_member m
            where m.instance_id = p_instance and m.contact_id = o.member ->> 'contact_id'
              and (m.acted_at >= p_read_at
                   or m.status = o.member ->> 'status' and m.address = o.member ->> 'email_address'
                      and m.last_changed = nullif(o.member ->> 'last_changed', '')::timestamptz))
    ) t;
    if p_sweep > 0 then
        update koppeling.audience_member m set sweep = p_sweep
        from jsonb_array_elements(p_page -> 'members') o (member)
        where m.instance_id = p_instance and m.contact_id = o.member ->> 'contact_id' and m.sweep <> p_sweep;
    end if;
    perform koppeling.stage_members(p_instance, v_touched);
    return query
        select count(*), max(nullif(o.member ->> 'last_changed', '')::timestamptz)
        from jsonb_array_elements(p_page -> 'members') o (member);
end $$;

CREATE FUNCTION koppeling.open_gates(p_queues text[], p_order_keys text[], p_limit_keys text[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
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

CREATE FUNCTION koppeling.open_kinds(p_queue text, p_kinds text[]) RETURNS text[]
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    return (
        select coalesce(array_agg(k), '{}') from unnest(p_kinds) k
        where not exists (
            select from koppeling.job_pause p
            where p.key is null and (p.queue is null or p.queue = p_queue) and (p.kind is null or p.kind = k)));
end $$;

CREATE FUNCTION koppeling.open_limits(p_now timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
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

CREATE FUNCTION koppeling.open_reasons(p_group bigint, p_persons bigint[]) RETURNS TABLE(person_id bigint, reasons text[])
    LANGUAGE sql STABLE
    AS $$
    select b.person_id, array_agg(distinct b.reason)
    from (
        select s.person_id, s.reason
        from koppeling.open_suppression s
        where s.target_group_id = p_group and s.person_id is not null
            and (p_persons is null or s.person_id = any (p_persons))
            and (s.file_key is null or exists (
                select from koppeling.email_address e
                join koppeling.target_group g on g.id = p_group
                where e.person_id = s.person_id and e.address_key = s.file_key
                    and e.kind = coalesce(g.email_kind, e.kind)))
        union all
        select e.person_id, s.reason
        from koppeling.target_group g
        join koppeling.open_suppression s on s.target_group_id = g.id and s.address_key is not null
        join koppeling.email_address e on e.address_key = s.address_key
        where g.id = p_group and (p_persons is null or e.person_id = any (p_persons))
            and (s.reason in ('complained', 'unsubscribed', 'forgotten')
                or s.reason = 'cleaned' and e.kind = coalesce(g.email_kind, e.kind))
    ) b
    group by b.person_id
$$;

CREATE FUNCTION koppeling.open_stale_gates(p_most integer DEFAULT 1000) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
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

CREATE FUNCTION koppeling.open_suppression(p_group bigint, p_reason text, p_address text, p_contact_id text, p_persons bigint[], p_source text, p_occurred_at timestamp with time zone, p_detail jsonb) RETURNS SETOF bigint
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_key text := koppeling.address_key(p_address);
    v_holders bigint[];
    v_first bigint;
    v_id bigint;
begin
    perform koppeling.lock_group(p_group);
    v_holders := array(select distinct e.person_id from koppeling.email_address e where e.address_key = v_key);

    insert into koppeling.suppression (target_group_id, reason, contact_id, source, occurred_at, detail)
    select p_group, p_reason, p_contact_id, p_source, p_occurred_at, coalesce(p_detail, '{}')
    where p_contact_id is not null and not exists (
        select from koppeling.open_suppression o
        where o.target_group_id = p_group and o.reason = p_reason and o.contact_id = p_contact_id)
    returning id into v_first;

    insert into koppeling.suppression (target_group_id, reason, address_key, follows, source, occurred_at, detail)
    select p_group, p_reason, v_key, v_first, p_source, p_occurred_at, coalesce(p_detail, '{}')
    where v_key is not null and not exists (
        select from koppeling.open_suppression o
        where o.target_group_id = p_group and o.reason = p_reason and o.address_key = v_key)
    returning id into v_id;
    -- What was open already at the contact or the address is what more of the same follows from.
    v_first := coalesce(v_first, v_id, (
        select min(o.id) from koppeling.open_suppression o
        where o.target_group_id = p_group and o.reason = p_reason
            and (o.contact_id = p_contact_id or o.address_key = v_key)));

    insert into koppeling.suppression (
        target_group_id, reason, person_id, file_key, follows, source, occurred_at, detail)
    select p_group, p_reason, b.person_id, b.file_key, v_first, p_source, p_occurred_at, coalesce(p_detail, '{}')
    from (
        select person_id, null as file_key
        from unnest(v_holders || p_persons) person_id
        where p_reason <> 'cleaned'
        group by person_id
        union all
        select c.person_id, e.address_key
        from unnest(p_persons) c (person_id)
        join koppeling.target_group g on g.id = p_group
        join koppeling.email_address e on e.person_id = c.person_id and e.kind = coalesce(g.email_kind, e.kind)
        where p_reason = 'cleaned' and c.person_id <> all (v_holders)
        group by c.person_id, e.address_key
    ) b
    where not exists (
        select from koppeling.open_suppression o
        where o.target_group_id = p_group and o.reason = p_reason and o.person_id = b.person_id
            and o.file_key is not distinct from b.file_key)
    order by b.person_id;

    if v_id is not null and p_reason in ('complained', 'unsubscribed', 'forgotten') then
        insert into koppeling.holder_check (suppression_id) values (v_id);
        -- Without a key: nothing waits here for another transaction while the group is locked.
        if current_setting('koppeling.holders_checked', true) is distinct from pg_current_xact_id()::text then
            perform koppeling.enqueue(kind => 'group.evaluate');
            perform set_config('koppeling.holders_checked', pg_current_xact_id()::text, true);
        end if;
    end if;
    return query select * from koppeling.rederive(p_group, v_holders || p_persons, p_reason, p_source);
end $$;

CREATE TABLE koppeling.task (
    id bigint NOT NULL,
    kind text NOT NULL,
    instance_id bigint,
    target_group_id bigint,
    person_id bigint,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    done_at timestamp with time zone,
    CONSTRAINT task_kind_check CHECK ((kind = ANY (ARRAY['resubscribed'::text, 'addressDiffers'::text, 'addressBlocked'::text, 'listGone'::text, 'credentialRevoked'::text, 'rejections'::text, 'removedInMailchimp'::text])))
);

CREATE FUNCTION koppeling.open_task(p_kind text, p_instance bigint, p_person bigint, p_detail jsonb) RETURNS void
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 INSERT INTO koppeling.task (kind, instance_id, target_group_id, person_id, detail)  SELECT open_task.p_kind AS p_kind,
             open_task.p_instance AS p_instance,
             i.target_group_id,
             open_task.p_person AS p_person,
             open_task.p_detail AS p_detail
            FROM koppeling.connector_instance i
           WHERE (i.id = open_task.p_instance) ON CONFLICT(kind, (COALESCE(instance_id, (0)::bigint)), (COALESCE(person_id, (0)::bigint)))
   WHERE (done_at IS NULL) DO NOTHING;
END;

CREATE FUNCTION koppeling.parsed_cron(p_cron text) RETURNS koppeling.cron_times
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_text text := lower(btrim(p_cron, E' \t'));
    v_fields text[];
    v_times koppeling.cron_times;
begin
    v_text := case v_text
        when '@hourly' then '0 * * * *'
        when '@daily' then '0 0 * * *'
        when '@midnight' then '0 0 * * *'
        when '@weekly' then '0 0 * * 0'
        when '@monthly' then '0 0 1 * *'
        when '@yearly' then '0 0 1 1 *'
        when '@annually' then '0 0 1 1 *'
        else v_text
    end;
    v_fields := regexp_split_to_array(v_text, '[ \t]+');
    if v_text is null then
        raise exception using errcode = '22023', message = 'cron: is missing';
    elsif v_text like '@%' then
        raise exception using errcode = '22023', message = format(
            'cron: "%s" is none of @hourly, @daily, @weekly, @monthly, @yearly', left(p_cron, 50));
    elsif cardinality(v_fields) <> 5 then
        raise exception using errcode = '22023', message = format(
            'cron: "%s" must have five fields: minute, hour, day of month, month, day of week', left(p_cron, 100));
    end if;
    v_times.minutes := koppeling.cron_field(v_fields[1], 'minute', 0, 59, null);
    v_times.hours := koppeling.cron_field(v_fields[2], 'hour', 0, 23, null);
    v_times.days := koppeling.cron_field(v_fields[3], 'day of month', 1, 31, null);
    v_times.months := koppeling.cron_field(v_fields[4], 'month', 1, 12,
        '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}');
    v_times.weekdays := koppeling.cron_field(v_fields[5], 'day of week', 0, 7, '{sun,mon,tue,wed,thu,fri,sat}');
    v_times.either_day := v_fields[3] !~ '^\*' and v_fields[5] !~ '^\*';
    v_times.is_elastic := v_fields[1] ~ '^\*' or v_fields[2] ~ '^\*';
    return v_times;
end $$;

CREATE FUNCTION koppeling.pass_gates(p_queue text, p_ids bigint[], p_now timestamp with time zone) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
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

CREATE FUNCTION koppeling.pause(queue text DEFAULT NULL::text, kind text DEFAULT NULL::text, key text DEFAULT NULL::text, reason text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION koppeling.pause(queue text, kind text, key text, reason text) IS 'Pauses jobs of a queue, a kind, a key, or what they have in common. What runs goes on.';

CREATE FUNCTION koppeling.pause_ended() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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

CREATE FUNCTION koppeling.pause_schedule(name text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    update koppeling.job_schedule s set next_at = null where s.name = pause_schedule.name;
    return found;
end $$;

CREATE FUNCTION koppeling.person_faults(p_rows koppeling.person_input[]) RETURNS TABLE(line bigint, field text, message text)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select r.line, f.field, f.message
    from unnest(p_rows) r
    cross join lateral (
        select * from (values
            ('source', case
                when r.source is null then 'is missing'
                when length(r.source) > 100 then 'is longer than 100 characters' end),
            ('id', case
                when r.external_id is null then 'is missing'
                when length(r.external_id) > 200 then 'is longer than 200 characters' end),
            ('given_name', case when length(r.given_name) > 200 then 'is longer than 200 characters' end),
            ('initials', case when length(r.initials) > 200 then 'is longer than 200 characters' end),
            ('prefixes', case when length(r.prefixes) > 200 then 'is longer than 200 characters' end),
            ('family_name', case when length(r.family_name) > 200 then 'is longer than 200 characters' end),
            ('gender', case
                when r.gender is not null and koppeling.gender_value(r.gender) is null
                then 'must be male, female, other or unknown (man, vrouw, anders, onbekend)' end)
        ) scalar (field, message)
        union all
        select 'emails.' || e.kind, coalesce(
            case
                when e.kind = '' then 'has no kind'
                when length(e.kind) > 50 then 'has a kind of over 50 characters'
                when cardinality(array_positions(r.email_kinds, e.kind)) > 1 then 'is given twice' end,
            koppeling.address_fault(e.address))
        from unnest(r.email_kinds, r.addresses) e (kind, address)
        union all
        select 'categories', case
            when length(c) > 200 then 'is longer than 200 characters'
            when c !~ '^[^/]*[^/ ][^/]*/ *[^ ]' then format('"%s" must be written as "Group / Name"', c) end
        from unnest(r.categories) c
    ) f
    where f.message is not null
$$;

CREATE TABLE koppeling.person_category (
    person_id bigint NOT NULL,
    category_id bigint NOT NULL
);

CREATE FUNCTION koppeling.person_json(p_person bigint) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN (SELECT jsonb_build_object('id', p.id, 'source', p.source, 'external_id', p.external_id, 'given_name', p.given_name, 'initials', p.initials, 'prefixes', p.prefixes, 'family_name', p.family_name, 'gender', p.gender, 'state', p.state, 'emails', COALESCE((SELECT jsonb_object_agg(e.kind, e.address) AS jsonb_object_agg FROM koppeling.email_address e WHERE (e.person_id = p.id)), '{}'::jsonb), 'categories', COALESCE((SELECT jsonb_agg(((g.name || ' / '::text) || k.name) ORDER BY g.name, k.name) AS jsonb_agg FROM ((koppeling.person_category c JOIN koppeling.category k ON ((k.id = c.category_id))) JOIN koppeling.category_group g ON ((g.id = k.category_group_id))) WHERE (c.person_id = p.id)), '[]'::jsonb)) AS jsonb_build_object FROM koppeling.person p WHERE (p.id = person_json.p_person));

CREATE FUNCTION koppeling.person_shape_faults(p_persons jsonb) RETURNS TABLE(line bigint, field text, message text)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $_$
    select p.line, f.field, f.message
    from jsonb_array_elements(p_persons) with ordinality as p (person, line)
    cross join lateral (
        select null as field, 'must be an object' as message where jsonb_typeof(p.person) <> 'object'
        union all
        select v.field, case
            when v.field in ('source', 'given_name', 'initials', 'prefixes', 'family_name', 'gender') then
                case when jsonb_typeof(v.value) not in ('string', 'null') then 'must be a text or null' end
            when v.field = 'id' then
                case when jsonb_typeof(v.value) not in ('string', 'number') then 'must be a text' end
            when v.field = 'emails' then case
                when jsonb_typeof(v.value) not in ('object', 'null') then 'must be an object of addresses by kind'
                when jsonb_path_exists(v.value, '$.* ? (@.type() != "string" && @.type() != "null")')
                then 'must hold texts or nulls only' end
            when v.field = 'categories' then case
                when jsonb_typeof(v.value) not in ('array', 'null') then 'must be a list'
                when jsonb_typeof(v.value) = 'array'
                    and jsonb_path_exists(v.value, '$[*] ? (@.type() != "string")') then 'must hold texts only' end
            else 'is not known; a person has source, id, given_name, initials, prefixes, family_name, gender, '
                'emails and categories'
        end
        from jsonb_each(case jsonb_typeof(p.person) when 'object' then p.person else '{}' end) v (field, value)
    ) f
    where f.message is not null
$_$;

CREATE FUNCTION koppeling.persons_from_json(p_persons jsonb) RETURNS koppeling.person_input[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select koppeling.clean_persons(array_agg(row(
        p.line, p.person ->> 'source', p.person ->> 'id', p.person ->> 'given_name', p.person ->> 'initials',
        p.person ->> 'prefixes', p.person ->> 'family_name', p.person ->> 'gender',
        coalesce(e.kinds, '{}'), coalesce(e.addresses, '{}'),
        array(select jsonb_array_elements_text(
            case jsonb_typeof(p.person -> 'categories') when 'array' then p.person -> 'categories' else '[]' end)),
        array(
            select f.field from jsonb_object_keys(p.person) f (field)
            where f.field <> 'emails' or jsonb_typeof(p.person -> 'emails') = 'null'),
        null, null)::koppeling.person_input))
    from jsonb_array_elements(p_persons) with ordinality as p (person, line)
    cross join lateral (
        select array_agg(v.kind order by v.kind) as kinds, array_agg(v.address order by v.kind) as addresses
        from jsonb_each_text(
            case jsonb_typeof(p.person -> 'emails') when 'object' then p.person -> 'emails' else '{}' end)
            v (kind, address)
    ) e
$$;

CREATE TABLE koppeling.api_token (
    id bigint NOT NULL,
    name text NOT NULL,
    token_hash bytea NOT NULL,
    rights text[] DEFAULT '{enqueue}'::text[] NOT NULL,
    created_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT api_token_check CHECK ((revoked_at >= created_at)),
    CONSTRAINT api_token_name_check CHECK ((name <> ''::text)),
    CONSTRAINT api_token_rights_check CHECK (((rights <@ ARRAY['enqueue'::text, 'read'::text, 'operate'::text]) AND (cardinality(rights) > 0))),
    CONSTRAINT api_token_token_hash_check CHECK ((octet_length(token_hash) = 32))
);

CREATE FUNCTION koppeling.present_token(p_hash bytea) RETURNS TABLE(id bigint, rights text[])
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 UPDATE koppeling.api_token t SET last_used_at = koppeling.now()
   WHERE ((t.token_hash = present_token.p_hash) AND (t.revoked_at IS NULL) AND ((t.last_used_at IS NULL) OR (t.last_used_at < (koppeling.now() - '00:01:00'::interval))));
 SELECT t.id,
     t.rights
    FROM koppeling.api_token t
   WHERE ((t.token_hash = present_token.p_hash) AND (t.revoked_at IS NULL));
END;

CREATE FUNCTION koppeling.prune_history(p_max integer DEFAULT 1000) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $_$
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
end $_$;

CREATE FUNCTION koppeling.put_jobs(p_jobs koppeling.job[]) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_ids bigint[];
    v_keyed boolean;
    v_missing boolean;
    v_replaced record;
begin
    insert into koppeling.job select j.* from unnest(p_jobs) j where j.key is null;
    select array_agg(j.id order by j.ordinality), count(j.key) > 0 into v_ids, v_keyed
    from unnest(p_jobs) with ordinality j;
    if v_keyed then
        -- What a replaced job stood before or took up is free when it gets other keys, or another time.
        select array_agg(w.queue) as queues, array_agg(w.order_key) as order_keys, array_agg(w.limit_key) as limit_keys
        into v_replaced
        from (select k.queue, k.key from unnest(p_jobs) k where k.key is not null and k.key_mode = 'replace'
              order by k.queue, k.key) k
        cross join lateral (
            select w.queue, w.order_key, w.limit_key from koppeling.job w
            where w.queue = k.queue and w.key = k.key and w.state <> 'running'
                and num_nonnulls(w.order_key, w.limit_key) > 0
            for no key update) w;
        -- Always in the order of the keys, so that two callers never wait for each other.
        insert into koppeling.job as waiting
        select j.* from unnest(p_jobs) j where j.key is not null and j.key_mode <> 'keep' order by j.queue, j.key
        on conflict (queue, key) where state <> 'running' and key is not null do update
        set key_mode = excluded.key_mode,
            priority = least(waiting.priority, excluded.priority),
            kind = excluded.kind,
            args = koppeling.joined_args(waiting, excluded.kind, excluded.key_mode, excluded.args),
            run_at = case when excluded.key_mode = 'replace' then excluded.run_at else waiting.run_at end,
            order_key = case when excluded.key_mode = 'replace' then excluded.order_key else waiting.order_key end,
            limit_key = case when excluded.key_mode = 'replace' then excluded.limit_key else waiting.limit_key end,
            attempt = case when excluded.key_mode = 'replace' then 0 else waiting.attempt end,
            max_attempts = case when excluded.key_mode = 'replace' then excluded.max_attempts
                else waiting.max_attempts end,
            deaths = case when excluded.key_mode = 'replace' then 0 else waiting.deaths end,
            state = case when excluded.key_mode = 'replace' then 'returned' else waiting.state end,
            blocked_by = case when excluded.key_mode = 'replace' then null else waiting.blocked_by end;
        if v_replaced.queues is not null then
            perform koppeling.open_gates(v_replaced.queues, v_replaced.order_keys, v_replaced.limit_keys);
        end if;
        loop
            insert into koppeling.job
            select j.* from unnest(p_jobs) j where j.key is not null and j.key_mode = 'keep' order by j.queue, j.key
            on conflict (queue, key) where state <> 'running' and key is not null do nothing;
            -- The one that waits may not start before this transaction has ended, or it would not see what the
            -- transaction wrote. It may have started just now: then there is room for another.
            select count(*) filter (where w.id is null) > 0 into v_missing
            from (select k.queue, k.key from unnest(p_jobs) k
                  where k.key is not null and k.key_mode = 'keep' order by k.queue, k.key) k
            left join lateral (
                select w.id from koppeling.job w
                where w.queue = k.queue and w.key = k.key and w.state <> 'running'
                for key share) w on true;
            exit when not v_missing;
        end loop;
        select array_agg(coalesce(w.id, j.id) order by j.ordinality) into v_ids
        from unnest(p_jobs) with ordinality j
        left join koppeling.job w on w.queue = j.queue and w.key = j.key and w.state <> 'running';
    end if;
    perform koppeling.wake(array_agg(distinct j.queue), array_agg(distinct j.kind))
    from unnest(p_jobs) j
    where j.run_at < 'infinity'
    having count(*) > 0;
    return v_ids;
end $$;

CREATE FUNCTION koppeling.put_person(person jsonb) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    perform koppeling.accept_persons(jsonb_build_array(person), false);
    return koppeling.require_person(person ->> 'source', person ->> 'id');
end $$;

CREATE FUNCTION koppeling.put_person_rows(p_rows koppeling.person_input[], OUT created bigint, OUT changed bigint, OUT categories_made bigint, OUT evaluate bigint[]) RETURNS record
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_rows koppeling.person_input[];
    v_old koppeling.person_input[];
    v_categories jsonb;
    v_new bigint[];
    v_touched bigint[];
begin
    select made, ids into categories_made, v_categories
    from koppeling.make_categories(array(select distinct c from unnest(p_rows) r cross join unnest(r.categories) c));

    with made as (
        insert into koppeling.person (source, external_id, given_name, initials, prefixes, family_name, gender)
        select r.source, r.external_id, r.given_name, r.initials, r.prefixes, r.family_name,
            coalesce(koppeling.gender_value(r.gender), 'unknown')
        from unnest(p_rows) r
        where not exists (
            select from koppeling.person p
            where koppeling.fold(p.source) = koppeling.fold(r.source)
                and koppeling.fold(p.external_id) = koppeling.fold(r.external_id))
        order by koppeling.fold(r.source), koppeling.fold(r.external_id)
        on conflict (koppeling.fold(source), koppeling.fold(external_id)) do nothing
        returning id
    )
    select coalesce(array_agg(id), '{}') into v_new from made;
    created := cardinality(v_new);

    v_rows := koppeling.resolve_persons(p_rows, v_categories);

    v_old := array(select r from unnest(v_rows) r where r.person_id <> all (v_new));

    select coalesce(array_agg(d.person_id), '{}'), coalesce(array_agg(d.person_id) filter (where d.matters), '{}')
    into v_touched, evaluate
    from (
        select t.person_id, bool_or(t.matters) as matters
        from (
            select person_id, true as matters from unnest(v_new) person_id
            union all
            select r.person_id, true
            from unnest(v_old) r
            join koppeling.person p on p.id = r.person_id
            where 'given_name' = any (r.fields) and r.given_name is distinct from p.given_name
                or 'initials' = any (r.fields) and r.initials is distinct from p.initials
                or 'prefixes' = any (r.fields) and r.prefixes is distinct from p.prefixes
                or 'family_name' = any (r.fields) and r.family_name is distinct from p.family_name
                or 'gender' = any (r.fields) and coalesce(koppeling.gender_value(r.gender), 'unknown') <> p.gender
            union all
            select r.person_id, a.address_key is distinct from koppeling.address_key(g.address)
            from unnest(v_old) r
            cross join unnest(r.email_kinds, r.addresses) g (kind, address)
            left join koppeling.email_address a on a.person_id = r.person_id and a.kind = g.kind
            where a.address is distinct from g.address
            union all
            select r.person_id, true
            from unnest(v_old) r
            join koppeling.email_address a on a.person_id = r.person_id and a.kind <> all (r.email_kinds)
            where 'emails' = any (r.fields)
            union all
            select r.person_id, true
            from unnest(v_old) r
            cross join unnest(r.category_ids) c
            left join koppeling.person_category pc on pc.person_id = r.person_id and pc.category_id = c
            where 'categories' = any (r.fields) and pc.person_id is null
            union all
            select r.person_id, true
            from unnest(v_old) r
            join koppeling.person_category pc
                on pc.person_id = r.person_id and pc.category_id <> all (r.category_ids)
            where 'categories' = any (r.fields)
        ) t
        group by t.person_id
    ) d;
    changed := cardinality(v_touched);
    -- By rising id, so that two puts of the same persons wait for each other instead of deadlocking.
    perform from koppeling.person p where p.id = any (v_touched) order by p.id for no key update;

    update koppeling.person p
    set given_name = case when 'given_name' = any (r.fields) then r.given_name else p.given_name end,
        initials = case when 'initials' = any (r.fields) then r.initials else p.initials end,
        prefixes = case when 'prefixes' = any (r.fields) then r.prefixes else p.prefixes end,
        family_name = case when 'family_name' = any (r.fields) then r.family_name else p.family_name end,
        gender = case when 'gender' = any (r.fields)
            then coalesce(koppeling.gender_value(r.gender), 'unknown') else p.gender end,
        changed_at = koppeling.now()
    from unnest(v_old) r
    where p.id = r.person_id and p.id = any (v_touched);

    delete from koppeling.email_address a
    using unnest(v_old) r
    where a.person_id = r.person_id and r.person_id = any (v_touched)
        and case
            when a.kind = any (r.email_kinds) then r.addresses[array_position(r.email_kinds, a.kind)] is null
            else 'emails' = any (r.fields)
        end;
    insert into koppeling.email_address as a (person_id, kind, address)
    select r.person_id, g.kind, g.address
    from unnest(v_rows) r
    cross join unnest(r.email_kinds, r.addresses) g (kind, address)
    where r.person_id = any (v_touched) and g.address is not null
    order by r.person_id, g.kind
    on conflict (person_id, kind) do update set address = excluded.address where a.address <> excluded.address;

    delete from koppeling.person_category pc
    using unnest(v_old) r
    where pc.person_id = r.person_id and r.person_id = any (v_touched)
        and 'categories' = any (r.fields) and pc.category_id <> all (r.category_ids);
    insert into koppeling.person_category (person_id, category_id)
    select r.person_id, c
    from unnest(v_rows) r
    cross join unnest(r.category_ids) c
    where r.person_id = any (v_touched) and 'categories' = any (r.fields)
    order by r.person_id, c
    on conflict do nothing;
end $$;

CREATE FUNCTION koppeling.put_persons(persons jsonb) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    if persons is null or jsonb_typeof(persons) <> 'array' then
        raise exception using errcode = 'invalid_parameter_value', message = 'persons must be a list',
            hint = 'Give a JSON array of persons, or use put_person for one.';
    end if;
    perform koppeling.accept_persons(persons, true);
    return jsonb_array_length(persons);
end $$;

CREATE FUNCTION koppeling.put_repeated_jobs(p_jobs koppeling.job[]) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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

CREATE FUNCTION koppeling.put_schedule(name text, cron text, kind text, args jsonb DEFAULT '{}'::jsonb, time_zone text DEFAULT 'UTC'::text, queue text DEFAULT 'default'::text, key text DEFAULT NULL::text, key_mode text DEFAULT 'keep'::text, order_key text DEFAULT NULL::text, limit_key text DEFAULT NULL::text, priority integer DEFAULT 0, max_attempts integer DEFAULT 20, missed text DEFAULT 'once'::text, paused boolean DEFAULT NULL::boolean, public_only boolean DEFAULT false) RETURNS timestamp with time zone
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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

CREATE FUNCTION koppeling.put_schedule_object(name text, definition jsonb, public_only boolean DEFAULT false) RETURNS timestamp with time zone
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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

CREATE FUNCTION koppeling.reactivate_person(source text, external_id text, p_actor text DEFAULT SESSION_USER) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_person bigint := koppeling.require_person(source, external_id);
begin
    update koppeling.person set state = 'active', changed_at = koppeling.now()
    where id = v_person and state = 'archived';
    if found then
        insert into koppeling.audit_entry (person_id, kind, old, new, actor, cause)
        values (v_person, 'person', '"archived"', '"active"', p_actor, 'reactivate');
        perform koppeling.request_evaluation(array[v_person], 'reactivate');
    end if;
    return v_person;
end $$;

CREATE FUNCTION koppeling.readdress_claim(p_instance bigint, p_person bigint, p_address text, p_key text) RETURNS SETOF bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_own    koppeling.audience_member;
    v_other  bigint;
    v_shared boolean;
begin
    select m.* into strict v_own
    from koppeling.claim c
    join koppeling.audience_member m on m.id = c.member_id
    where c.instance_id = p_instance and c.person_id = p_person
    for update of m;
    update koppeling.claim set address = p_address, address_key = p_key
    where instance_id = p_instance and person_id = p_person;

    v_shared := exists (select from koppeling.claim c where c.member_id = v_own.id and c.person_id <> p_person);
    if p_key = v_own.address_key and not v_shared then
        -- Back to where the contact already is: nothing has to move.
        update koppeling.audience_member set moving_to = null, file_key = p_key
        where id = v_own.id and intent is distinct from 'moving';
        return next v_own.id;
        return;
    end if;
    select m.id into v_other
    from koppeling.audience_member m
    where m.instance_id = p_instance and m.id <> v_own.id
      and (m.address_key = p_key or m.moving_to = p_key)
      and (m.status <> 'absent' or m.intent is not null or m.moving_to = p_key
           or exists (select from koppeling.claim c where c.member_id = m.id))
    order by m.address_key = p_key desc
    limit 1;
    if v_other is null and not v_shared and v_own.ownership in ('created', 'adopted')
        and v_own.status = 'subscribed'
    then
        update koppeling.audience_member set moving_to = p_key where id = v_own.id;
    else
        v_other := coalesce(v_other, koppeling.member_for(p_instance, p_address, p_key));
        update koppeling.claim set member_id = v_other where instance_id = p_instance and person_id = p_person;
        return next v_other;
    end if;
    return next v_own.id;
end $$;

CREATE FUNCTION koppeling.receive_webhook(p_instance bigint, p_secret_hash bytea, p_body jsonb, p_headers jsonb) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_hash bytea;
begin
    select webhook_secret_hash into v_hash from koppeling.connector_instance where id = p_instance;
    -- Both sides are SHA-256 of the secret: where they first differ tells nothing about it.
    if v_hash is null or v_hash <> p_secret_hash then
        return 'unknown';
    end if;
    if p_body is not null then
        insert into koppeling.webhook_inbox (instance_id, body) values (p_instance, p_body);
        perform koppeling.enqueue_internal('instance.webhooks', jsonb_build_object('instance', p_instance),
            queue => koppeling.instance_queue(p_instance), key => 'webhooks', order_key => 'webhooks', priority => -20);
    end if;
    return 'stored';
end $$;

CREATE FUNCTION koppeling.record_absent(p_member bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_old   koppeling.audience_member;
    v_group bigint;
begin
    select m.* into strict v_old from koppeling.audience_member m where m.id = p_member for update;
    select target_group_id into v_group from koppeling.connector_instance where id = v_old.instance_id;
    update koppeling.audience_member
    set status = 'absent', archived_by_us = false, contact_id = null, remote_id = null, ownership = 'none',
        intent = null, intent_at = null, sent_fields = null, applied_fields = null, moving_to = null,
        observed_at = koppeling.now(), acted_at = koppeling.now()
    where id = p_member;
    if v_old.contact_id is not null and v_old.status is distinct from 'absent' then
        perform koppeling.open_suppression(v_group, 'forgotten', v_old.address, v_old.contact_id,
            array(select c.person_id from koppeling.claim c where c.member_id = p_member), 'mailchimp',
            koppeling.now(), '{}');
    end if;
end $$;

CREATE FUNCTION koppeling.record_archived(p_member bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_instance bigint;
begin
    update koppeling.audience_member
    set status = 'archived', archived_by_us = true, intent = null, intent_at = null, sent_fields = null,
        applied_fields = null, acted_at = koppeling.now(), observed_at = koppeling.now(), note = null
    where id = p_member
    returning instance_id into v_instance;
    perform koppeling.stage_members(v_instance, array[p_member]);
end $$;

CREATE FUNCTION koppeling.record_call(p_member bigint, p_ownership text, p_fields jsonb, p_answer jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_member koppeling.audience_member;
begin
    update koppeling.audience_member m
    set ownership = case when p_ownership is null or m.ownership = 'created' then m.ownership else p_ownership end
    where m.id = p_member;
    perform koppeling.observe_member(m.instance_id, p_answer, true)
    from koppeling.audience_member m
    where m.id = p_member;
    update koppeling.audience_member m
    set intent = null, intent_at = null, sent_fields = null, acted_at = koppeling.now(), note = null,
        applied_fields = case when m.status = 'subscribed' then coalesce(p_fields, m.applied_fields)
                              else m.applied_fields end,
        file_key = case when m.status = 'subscribed' and m.moving_to is null
                        then coalesce((select c.address_key from koppeling.claim c where c.member_id = m.id
                                       order by c.manual desc, c.claimed_at, c.person_id limit 1), m.file_key)
                        else m.file_key end
    where m.id = p_member
    returning * into v_member;
    perform koppeling.stage_members(v_member.instance_id, array[p_member]);
end $$;

CREATE FUNCTION koppeling.record_creates(p_instance bigint, p_members bigint[], p_answer jsonb) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_created bigint[];
begin
    -- Many rows of members at once: one writer of many at a time, or two of them meet in opposite orders.
    perform koppeling.lock_group(i.target_group_id) from koppeling.connector_instance i where i.id = p_instance;
    v_created := koppeling.take_created(p_members, p_answer);
    -- Most are as they should be now; whatever was edited meanwhile, or lost its claim, goes on.
    perform koppeling.stage_members(p_instance, array(
        select m.id
        from koppeling.audience_member m
        where m.id = any (v_created)
          and (m.applied_fields, m.file_key) not in (
              select k.fields, k.address_key from koppeling.claim k where k.member_id = m.id)));
    return v_created;
end $$;

CREATE FUNCTION koppeling.record_nothing(p_member bigint, p_note text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 UPDATE koppeling.audience_member SET intent = NULL::text, intent_at = NULL::timestamp with time zone, sent_fields = NULL::jsonb, note = record_nothing.p_note
   WHERE (audience_member.id = record_nothing.p_member);
END;

CREATE FUNCTION koppeling.rederive(p_group bigint, p_persons bigint[], p_cause text, p_actor text) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $$
declare
    v_changed bigint[];
begin
    if coalesce(cardinality(p_persons), 0) = 0 then
        return;
    end if;
    v_changed := koppeling.derive_memberships(p_group, p_persons, p_cause, p_actor);
    perform koppeling.membership_changed(p_group, p_persons);
    return query select unnest(v_changed);
end $$;

CREATE FUNCTION koppeling.refresh_memberships(p_group bigint, p_persons bigint[], p_cause text, p_actor text) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
declare
    v_changed bigint[] := koppeling.derive_memberships(p_group, p_persons, p_cause, p_actor);
begin
    if cardinality(v_changed) > 0 then
        perform koppeling.membership_changed(p_group, v_changed);
    end if;
    return cardinality(v_changed);
end $$;

CREATE FUNCTION koppeling.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    raise exception 'the ledger %.% is append-only', tg_table_schema, tg_table_name using errcode = 'restrict_violation';
end $$;

CREATE FUNCTION koppeling.register_consumer(p_worker bigint, p_queue text, p_kinds text[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_consumer bigint;
begin
    insert into koppeling.job_kind (kind) select k from unnest(p_kinds) k order by k on conflict do nothing;
    insert into koppeling.consumer (worker_id, queue, kinds)
    select w.id, p_queue, p_kinds from koppeling.worker w where w.id = p_worker and w.ended_at is null
    returning id into v_consumer;
    return v_consumer;
end $$;

CREATE FUNCTION koppeling.register_worker(p_name text, p_host text, p_pid integer, p_version text) RETURNS bigint
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 INSERT INTO koppeling.worker (name, host, pid, version)
   VALUES (register_worker.p_name, register_worker.p_host, register_worker.p_pid, register_worker.p_version)
   RETURNING worker.id;
END;

CREATE FUNCTION koppeling.release_parked(ids bigint[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_queues text[];
    v_count bigint;
begin
    with released as (
        update koppeling.job j set run_at = koppeling.now()
        where j.id = any (ids) and j.state <> 'running' and j.run_at = 'infinity'
        returning j.queue
    )
    select array_agg(distinct r.queue), count(*) into v_queues, v_count from released r;
    perform koppeling.wake(v_queues, null);
    return v_count;
end $$;

CREATE FUNCTION koppeling.release_permit(p_permit bigint) RETURNS void
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 DELETE FROM koppeling.permit p
   WHERE (p.id = release_permit.p_permit);
END;

CREATE FUNCTION koppeling.remove_limit(limit_key text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
#variable_conflict use_column
begin
    delete from koppeling.job_limit l where l.limit_key = remove_limit.limit_key;
    return found;
end $$;

COMMENT ON FUNCTION koppeling.remove_limit(limit_key text) IS 'Takes the limit of a limit_key away; false when there is none.';

CREATE FUNCTION koppeling.remove_schedule(name text, public_only boolean DEFAULT false) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    if public_only then
        perform koppeling.check_schedule_is_public(remove_schedule.name);
    end if;
    delete from koppeling.job_schedule s where s.name = remove_schedule.name;
    return found;
end $$;

CREATE FUNCTION koppeling.replace_contact(p_member bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_instance bigint;
    v_touched  bigint[];
begin
    update koppeling.audience_member set moving_to = null where id = p_member
    returning instance_id into v_instance;
    with moved as (
        update koppeling.claim c
        set member_id = koppeling.member_for(v_instance, c.address, c.address_key)
        from koppeling.audience_member m
        where c.member_id = p_member and m.id = p_member and c.address_key <> m.address_key
        returning c.member_id
    )
    select coalesce(array_agg(distinct member_id), '{}') into v_touched from moved;
    perform koppeling.stage_members(v_instance, v_touched || p_member);
end $$;

CREATE FUNCTION koppeling.request_evaluation(persons bigint[], cause text) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    if coalesce(cardinality(persons), 0) = 0 then
        return;
    end if;
    -- The update locks a request that waits already, so that no evaluation takes it before this change is committed.
    insert into koppeling.evaluation_request (person_id, cause)
    select p, request_evaluation.cause from unnest(persons) p group by p order by p
    on conflict (person_id) do update set cause = excluded.cause, requested_at = excluded.requested_at;
    perform koppeling.enqueue(kind => 'group.evaluate', key => 'evaluate', order_key => 'evaluate');
end $$;

CREATE FUNCTION koppeling.request_pull(p_instance bigint, p_full boolean, p_run_at timestamp with time zone) RETURNS bigint
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN koppeling.enqueue('instance.pull'::text, jsonb_build_object('instance', p_instance, 'full', p_full), queue => koppeling.instance_queue(p_instance), key => 'pull'::text, key_mode => CASE WHEN (p_run_at > koppeling.now()) THEN 'keep'::text ELSE 'replace'::text END, order_key => 'pull'::text, run_at => p_run_at, priority => '-20'::integer);

CREATE FUNCTION koppeling.require_person(source text, external_id text) RETURNS bigint
    LANGUAGE plpgsql STABLE
    AS $$
declare
    v_person bigint := koppeling.find_person(source, external_id);
begin
    if v_person is null then
        raise exception using errcode = 'no_data_found',
            message = format('there is no person with source "%s" and id "%s"', source, external_id),
            hint = 'Put the person first, or check the source and the id.';
    end if;
    return v_person;
end $$;

CREATE FUNCTION koppeling.resolve_persons(p_rows koppeling.person_input[], p_categories jsonb) RETURNS koppeling.person_input[]
    LANGUAGE sql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
    select coalesce(array_agg(row(
        r.line, r.source, r.external_id, r.given_name, r.initials, r.prefixes, r.family_name, r.gender,
        r.email_kinds, r.addresses, r.categories, r.fields, p.id,
        array(select distinct (p_categories ->> c)::bigint from unnest(r.categories) c))::koppeling.person_input
        order by p.id), '{}')
    from unnest(p_rows) r
    join koppeling.person p on koppeling.fold(p.source) = koppeling.fold(r.source)
        and koppeling.fold(p.external_id) = koppeling.fold(r.external_id)
$$;

CREATE FUNCTION koppeling.resubscribed(p_instance bigint, p_group bigint, p_member bigint, p_before text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_member koppeling.audience_member;
begin
    select * into strict v_member from koppeling.audience_member where id = p_member;
    perform koppeling.lift_suppression(s.id, 'mailchimp', 'subscribed again')
    from koppeling.open_suppression s
    where s.target_group_id = p_group and s.reason = 'cleaned'
      and (s.address_key = v_member.address_key or s.contact_id = v_member.contact_id);
    if p_before in ('unsubscribed', 'archived') then
        perform koppeling.open_task('resubscribed', p_instance, b.person_id, jsonb_build_object('member', p_member))
        from (
            select distinct s.person_id
            from koppeling.open_suppression s
            join koppeling.email_address e on e.person_id = s.person_id
            where s.target_group_id = p_group and s.reason in ('complained', 'unsubscribed', 'forgotten')
              and e.address_key = v_member.address_key
        ) b;
    end if;
end $$;

CREATE FUNCTION koppeling.resume(queue text DEFAULT NULL::text, kind text DEFAULT NULL::text, key text DEFAULT NULL::text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
#variable_conflict use_column
begin
    delete from koppeling.job_pause p
    where (p.queue, p.kind, p.key) is not distinct from
        (nullif(resume.queue, ''), nullif(resume.kind, ''), nullif(resume.key, ''));
    return found;
end $$;

COMMENT ON FUNCTION koppeling.resume(queue text, kind text, key text) IS 'Ends a pause; false when there is none.';

CREATE FUNCTION koppeling.resume_schedule(name text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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

CREATE FUNCTION koppeling.retry_delay(p_attempt integer, p_base interval, p_cap interval) RETURNS interval
    LANGUAGE sql PARALLEL SAFE
    RETURN (LEAST(p_cap, (p_base * ((2)::double precision ^ (LEAST((p_attempt - 1), 40))::double precision))) * ((0.5)::double precision + (random() / (2)::double precision)));

CREATE FUNCTION koppeling.retry_job(id bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    v_old koppeling.job_history;
    v_job koppeling.job;
begin
    delete from koppeling.job_history h
    where h.id = retry_job.id and h.outcome in ('rejected', 'cancelled')
    returning h.* into v_old;
    if not found then
        raise exception using errcode = '22023', message = format(
            'id: %s is not the number of a rejected or cancelled job', retry_job.id);
    end if;
    if v_old.started_at is not null then
        insert into koppeling.job_attempt (job_id, claim, attempt, worker_id, started_at, ended_at, outcome, error)
        values (v_old.id, v_old.claim, v_old.attempt, v_old.worker_id, v_old.started_at, v_old.finished_at,
            v_old.outcome, v_old.reason);
    end if;
    v_job := koppeling.new_job(v_old.id, v_old.kind, v_old.args, v_old.queue, v_old.key, v_old.key_mode,
        v_old.order_key, v_old.limit_key, koppeling.now(), v_old.priority, v_old.max_attempts, v_old.enqueued_at);
    v_job.claim := v_old.claim;
    v_job.snoozes := v_old.snoozes;
    v_job.error := v_old.reason;
    if v_job.key is null then
        insert into koppeling.job select v_job.*;
    else
        perform koppeling.fold_back(array[v_job]);
    end if;
    perform koppeling.wake(array[v_job.queue], array[v_job.kind]);
    return coalesce((select w.id from koppeling.waiting_job(v_job.queue, v_job.key) w), v_job.id);
end $$;

COMMENT ON FUNCTION koppeling.retry_job(id bigint) IS 'Makes a rejected or cancelled job ready again.';

CREATE FUNCTION koppeling.retry_rejected(queue text DEFAULT NULL::text, kind text DEFAULT NULL::text, reason text DEFAULT NULL::text, rejected_since timestamp with time zone DEFAULT NULL::timestamp with time zone, rejected_until timestamp with time zone DEFAULT NULL::timestamp with time zone, max_jobs integer DEFAULT 1000) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    v_id bigint;
    v_count bigint := 0;
begin
    for v_id in
        select h.id from koppeling.job_history h
        where h.outcome = 'rejected'
            and (retry_rejected.queue is null or h.queue = retry_rejected.queue)
            and (retry_rejected.kind is null or h.kind = retry_rejected.kind)
            and (retry_rejected.reason is null or position(lower(retry_rejected.reason) in lower(h.reason)) > 0)
            and (retry_rejected.rejected_since is null or h.finished_at >= retry_rejected.rejected_since)
            and (retry_rejected.rejected_until is null or h.finished_at < retry_rejected.rejected_until)
        order by h.finished_at, h.id
        limit least(retry_rejected.max_jobs, 10000)
        for update skip locked
    loop
        perform koppeling.retry_job(v_id);
        v_count := v_count + 1;
    end loop;
    return v_count;
end $$;

COMMENT ON FUNCTION koppeling.retry_rejected(queue text, kind text, reason text, rejected_since timestamp with time zone, rejected_until timestamp with time zone, max_jobs integer) IS 'Makes rejected jobs ready again that match what is given, the oldest first; returns how many.';

CREATE FUNCTION koppeling.return_jobs(p_back bigint[], p_ids bigint[], p_outcomes text[], p_notes text[], p_delays double precision[], p_now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
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

CREATE FUNCTION koppeling.rewrite_plan(p_plan bigint, p_instance bigint, p_persons bigint[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_changed bigint;
begin
    with wanted as (
        select d.person_id, d.change, d.reason,
               coalesce((
                   select a.cause
                   from (
                       -- Kept apart from the order, or the newest entries of everybody are walked through for each.
                       select a.id, a.cause
                       from koppeling.audit_entry a
                       where a.person_id = d.person_id
                         and a.target_group_id = (select p.target_group_id from koppeling.change_plan p
                                                  where p.id = p_plan)
                       offset 0
                   ) a
                   order by a.id desc
                   limit 1), 'facts') as cause
        from koppeling.claim_difference(p_instance, p_persons) d
        where not d.exempt
    ), gone as (
        delete from koppeling.change_plan_line l
        where l.plan_id = p_plan and (p_persons is null or l.person_id in (select unnest(p_persons)))
          and not exists (select from wanted w where w.person_id = l.person_id)
        returning 1
    ), written as (
        insert into koppeling.change_plan_line as l (plan_id, person_id, change, reason, cause)
        select p_plan, person_id, change, reason, cause from wanted
        on conflict (plan_id, person_id) do update
            set change = excluded.change, reason = excluded.reason, cause = excluded.cause
            where (l.change, l.reason) is distinct from (excluded.change, excluded.reason)
        returning 1
    )
    select (select count(*) from gone) + (select count(*) from written) into v_changed;

    if not exists (select from koppeling.change_plan_line where plan_id = p_plan) then
        update koppeling.change_plan
        set state = 'dissolved', decided_at = koppeling.now(), changed_at = koppeling.now()
        where id = p_plan;
    elsif v_changed > 0 then
        update koppeling.change_plan set version = version + 1, changed_at = koppeling.now() where id = p_plan;
    end if;
end $$;

CREATE FUNCTION koppeling.room_under(l koppeling.job_limit) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    return greatest(0, least(
        coalesce(l.concurrency, 1000) - (select count(*) from koppeling.job j
            where j.limit_key = l.limit_key and j.state = 'running'),
        floor(least(1000, koppeling.tokens_at(l, koppeling.now())))))::bigint;
end $$;

CREATE FUNCTION koppeling.rule_matches(p_group bigint, p_persons bigint[]) RETURNS TABLE(person_id bigint, rule_id bigint)
    LANGUAGE sql STABLE
    AS $$
    select distinct on (m.person_id) m.person_id, m.rule_id
    from (
        select r.id as rule_id, r.position, pc.person_id
        from koppeling.rule r
        join koppeling.criterion c on c.rule_id = r.id and not c.negated and c.kind = 'personCategory'
        join koppeling.person_category pc on pc.category_id = c.value_id
        where r.target_group_id = p_group and (p_persons is null or pc.person_id = any (p_persons))
        group by r.id, r.position, pc.person_id
        having count(*) = (select count(*) from koppeling.criterion a where a.rule_id = r.id and not a.negated)
        union all
        select r.id, r.position, p.id
        from koppeling.rule r
        cross join koppeling.person p
        where r.target_group_id = p_group and (p_persons is null or p.id = any (p_persons))
            and exists (select from koppeling.criterion c where c.rule_id = r.id)
            and not exists (select from koppeling.criterion c where c.rule_id = r.id and not c.negated)
    ) m
    where not exists (
        select from koppeling.criterion n
        join koppeling.person_category pc on pc.category_id = n.value_id
        where n.rule_id = m.rule_id and n.negated and n.kind = 'personCategory' and pc.person_id = m.person_id)
    order by m.person_id, m.position
$$;

CREATE FUNCTION koppeling.run_at_fault(jobs jsonb) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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

CREATE FUNCTION koppeling.run_due_schedules(p_limit integer DEFAULT 100) RETURNS TABLE(made bigint, next_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
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

CREATE FUNCTION koppeling.run_parked(p_actions bigint[], p_instance text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    return koppeling.release_parked(array(
        select j.id
        from koppeling.job j
        where j.kind = 'action' and j.run_at = 'infinity'
          and (j.id = any (p_actions)
               or j.queue in (select koppeling.instance_queue(i.id) from koppeling.connector_instance i
                              where i.name = p_instance or i.id::text = p_instance))));
end $$;

CREATE FUNCTION koppeling.run_schedule(name text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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

CREATE FUNCTION koppeling.save_rules(p_group bigint, p_version integer, p_rules jsonb, p_confirmed boolean, p_actor text, OUT version integer, OUT changed bigint) RETURNS record
    LANGUAGE plpgsql
    AS $$
declare
    v_old jsonb;
    v_unknown text;
    v_rule record;
    v_matches bigint;
begin
    perform koppeling.lock_group(p_group);
    update koppeling.target_group g set rules_version = g.rules_version + 1
    where g.id = p_group and g.rules_version = p_version
    returning g.rules_version into version;
    if version is null then
        raise exception using errcode = 'KS001',
            message = 'the rules were changed by somebody else meanwhile; nothing was saved',
            hint = 'Read them again and repeat the change.';
    end if;
    v_old := koppeling.rules_json(p_group);

    select c.criterion ->> 'value' into v_unknown
    from jsonb_array_elements(p_rules) r (criteria)
    cross join jsonb_array_elements(r.criteria) c (criterion)
    where koppeling.find_category(c.criterion ->> 'value') is null
    limit 1;
    if found then
        raise exception using errcode = 'no_data_found', message = format('there is no category "%s"', v_unknown),
            hint = 'Categories are written "Group / Name" and come with the persons who have them.';
    end if;

    -- A rule that keeps its place keeps its id, so that the memberships it explains need not be written again.
    insert into koppeling.rule (target_group_id, position)
    select p_group, n from generate_series(1, jsonb_array_length(p_rules)) n
    on conflict (target_group_id, position) do nothing;
    delete from koppeling.rule r where r.target_group_id = p_group and r.position > jsonb_array_length(p_rules);
    delete from koppeling.criterion c using koppeling.rule r where c.rule_id = r.id and r.target_group_id = p_group;
    insert into koppeling.criterion (rule_id, kind, value_id, negated)
    select distinct
        r.id, 'personCategory', koppeling.find_category(c.criterion ->> 'value'),
        coalesce((c.criterion ->> 'negated')::boolean, false)
    from jsonb_array_elements(p_rules) with ordinality as d (criteria, position)
    join koppeling.rule r on r.target_group_id = p_group and r.position = d.position
    cross join jsonb_array_elements(d.criteria) c (criterion);

    for v_rule in
        select r.id, r.position from koppeling.rule r
        where r.target_group_id = p_group and not p_confirmed
            and exists (select from koppeling.criterion c where c.rule_id = r.id)
            and not exists (select from koppeling.criterion c where c.rule_id = r.id and not c.negated)
        order by r.position
    loop
        select count(*) into v_matches from koppeling.rule_matches(p_group, null) m where m.rule_id = v_rule.id;
        raise exception using errcode = 'KC001',
            message = format('rule %s only excludes and so matches nearly everybody: %s persons', v_rule.position, v_matches),
            hint = 'Add something that a person must have, or confirm that this is meant.';
    end loop;

    insert into koppeling.audit_entry (target_group_id, kind, old, new, actor, cause)
    values (p_group, 'rules', v_old, koppeling.rules_json(p_group), p_actor, 'rules');
    changed := koppeling.refresh_memberships(p_group, null, 'rules', p_actor);
end $$;

CREATE FUNCTION koppeling.set_limit(limit_key text, concurrency integer DEFAULT NULL::integer, rate integer DEFAULT NULL::integer, period interval DEFAULT NULL::interval) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION koppeling.set_limit(limit_key text, concurrency integer, rate integer, period interval) IS 'Limits how many jobs with a limit_key run at once, and how many start in a period.';

CREATE FUNCTION koppeling.set_override(p_group bigint, p_person bigint, p_override text, p_actor text) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
    v_old text;
begin
    if p_override is null or p_override not in ('none', 'include', 'exclude') then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('override "%s" is not known', p_override), hint = 'It is none, include or exclude.';
    end if;
    if not exists (select from koppeling.person p where p.id = p_person)
        or not exists (select from koppeling.target_group g where g.id = p_group)
    then
        raise exception using errcode = 'no_data_found',
            message = format('there is no person %s or no target group %s', p_person, p_group);
    end if;
    perform koppeling.lock_group(p_group);
    v_old := coalesce((
        select m.override from koppeling.membership m
        where m.target_group_id = p_group and m.person_id = p_person), 'none');
    if v_old = p_override then
        return;
    end if;
    insert into koppeling.audit_entry (target_group_id, person_id, kind, old, new, actor, cause)
    values (p_group, p_person, 'override', to_jsonb(v_old), to_jsonb(p_override), p_actor, 'by hand');
    perform koppeling.derive_memberships(p_group, array[p_person], 'by hand', p_actor, p_override);
    perform koppeling.membership_changed(p_group, array[p_person]);
end $$;

CREATE FUNCTION koppeling.set_permit_budget(resource text, budget integer) RETURNS void
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 INSERT INTO koppeling.permit_budget AS b (resource, budget)
   VALUES (set_permit_budget.resource, set_permit_budget.budget) ON CONFLICT(resource) DO UPDATE SET budget = excluded.budget;
END;

CREATE FUNCTION koppeling.set_retention(outcome text, keep interval) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
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

COMMENT ON FUNCTION koppeling.set_retention(outcome text, keep interval) IS 'Sets for how long finished jobs with an outcome are kept.';

CREATE FUNCTION koppeling.stage_members(p_instance bigint, p_members bigint[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_queue text := koppeling.instance_queue(p_instance);
    v_needs koppeling.member_need[];
begin
    v_needs := array(select n from koppeling.member_needs(p_instance, p_members) n);
    perform koppeling.cancel_waiting(v_queue, n.key, 'superseded')
    from unnest(v_needs) n
    where n.needed is null and n.waiting is not null;

    perform koppeling.enqueue_internal_many(chunk.jobs)
    from (
        select jsonb_agg(n.job) as jobs
        from (
            select row_number() over (order by n.member_id) / 1000 as part,
                   jsonb_build_object(
                       'kind', 'action', 'queue', v_queue, 'key', n.key, 'order_key', n.key, 'key_mode', 'replace',
                       'args', jsonb_build_object('action', n.needed, 'member', n.member_id),
                       'run_at', case when t.automatic is false then 'infinity'::timestamptz
                                      else koppeling.now() end,
                       'priority', case when n.needed = 'unsubscribe' then -10
                                        when cardinality(p_members) > 100 then 10 else 0 end) as job
            from unnest(v_needs) n
            left join koppeling.action_template t on t.instance_id = p_instance and t.action = n.needed
            where n.needed is not null and n.waiting is distinct from n.needed
        ) n
        group by n.part
    ) chunk;
end $$;

CREATE FUNCTION koppeling.stop_worker(p_worker bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    delete from koppeling.consumer c where c.worker_id = p_worker;
    update koppeling.worker w set ended_at = koppeling.now(), ending = 'stopped'
    where w.id = p_worker and w.ended_at is null;
    return koppeling.abandon_jobs(p_worker, null, 'released', 'its worker stopped');
end $$;

CREATE FUNCTION koppeling.strictness(p_status text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE p_status WHEN 'unsubscribed'::text THEN 4 WHEN 'cleaned'::text THEN 3 WHEN 'archived'::text THEN 2 WHEN 'pending'::text THEN 1 ELSE 0 END;

CREATE FUNCTION koppeling.take_created(p_members bigint[], p_answer jsonb) RETURNS bigint[]
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET enable_nestloop TO 'off'
    BEGIN ATOMIC
 WITH answered AS MATERIALIZED (
          SELECT o.id,
             o.contact_id,
             o.email_address,
             o.status,
             o.last_changed,
             koppeling.address_key(o.email_address) AS address_key
            FROM jsonb_to_recordset((take_created.p_answer -> 'new_members'::text)) o(id text, contact_id text, email_address text, status text, last_changed text)
           WHERE (o.status = 'subscribed'::text)
         ), created AS (
          UPDATE koppeling.audience_member m SET contact_id = NULLIF(a.contact_id, ''::text), remote_id = a.id, status = 'subscribed'::text, ownership = 'created'::text, last_changed = (NULLIF(a.last_changed, ''::text))::timestamp with time zone, observed_at = koppeling.now(), acted_at = koppeling.now(), file_key = a.address_key, applied_fields = m.sent_fields, intent = NULL::text, intent_at = NULL::timestamp with time zone, sent_fields = NULL::jsonb, note = NULL::text
            FROM answered a
           WHERE ((m.id = ANY (take_created.p_members)) AND (m.address_key = a.address_key) AND (m.intent = 'creating'::text))
           RETURNING m.id
         )
  SELECT COALESCE(array_agg(created.id), '{}'::bigint[]) AS "coalesce"
    FROM created;
END;

CREATE FUNCTION koppeling.throttle(p_resource text) RETURNS integer
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 INSERT INTO koppeling.permit_budget (resource)
   VALUES (throttle.p_resource) ON CONFLICT DO NOTHING;
 UPDATE koppeling.permit_budget b SET allowed = GREATEST(1, (koppeling.allowed_permits(b.*, koppeling.now()) / 2)), lowered_at = koppeling.now()
   WHERE ((b.resource = throttle.p_resource) AND ((b.lowered_at IS NULL) OR (b.lowered_at <= (koppeling.now() - '00:00:10'::interval))));
 SELECT koppeling.allowed_permits(b.*, koppeling.now()) AS allowed_permits
    FROM koppeling.permit_budget b
   WHERE (b.resource = throttle.p_resource);
END;

CREATE FUNCTION koppeling.tokens_at(l koppeling.job_limit, at timestamp with time zone) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((l).rate IS NULL) THEN 'Infinity'::double precision ELSE LEAST(((l).rate)::double precision, ((l).tokens + (((((l).rate)::numeric * GREATEST((0)::numeric, EXTRACT(epoch FROM (at - (l).filled_at)))) / EXTRACT(epoch FROM (l).period)))::double precision)) END;

CREATE FUNCTION koppeling.unblock(p_ids bigint[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
declare
    v_queues text[];
    v_kinds text[];
    v_count bigint;
begin
    with opened as (
        update koppeling.job j
        set state = case when j.deaths > 0 then 'suspect' else 'returned' end, blocked_by = null
        where j.id = any (p_ids) and j.state = 'blocked'
        returning j.queue, j.kind
    )
    select array_agg(distinct o.queue), array_agg(distinct o.kind), count(*) into v_queues, v_kinds, v_count
    from opened o;
    if v_count > 0 then
        perform koppeling.wake(v_queues, v_kinds);
    end if;
    return v_count;
end $$;

CREATE FUNCTION koppeling.unsubscribe_person(source text, external_id text, p_group text DEFAULT NULL::text, p_actor text DEFAULT SESSION_USER) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_person bigint := koppeling.require_person(source, external_id);
    v_group record;
    v_address text;
    v_count bigint := 0;
begin
    for v_group in
        select g.id, g.email_kind from koppeling.target_group g
        where case when p_group is null then g.linked else koppeling.fold(g.name) = koppeling.fold(p_group) end
        order by g.id
    loop
        v_count := v_count + 1;
        for v_address in
            select e.address from koppeling.email_address e
            where e.person_id = v_person and e.kind = coalesce(v_group.email_kind, e.kind)
            union all
            select null where not exists (
                select from koppeling.email_address e
                where e.person_id = v_person and e.kind = coalesce(v_group.email_kind, e.kind))
        loop
            perform koppeling.open_suppression(v_group.id, 'unsubscribed', v_address, null, array[v_person], 'user',
                koppeling.now(), jsonb_build_object('actor', p_actor));
        end loop;
    end loop;
    if v_count = 0 and p_group is not null then
        raise exception using errcode = 'no_data_found', message = format('there is no target group "%s"', p_group),
            hint = 'List the groups to see their names.';
    end if;
    return v_count;
end $$;

CREATE FUNCTION koppeling.wake(p_queues text[], p_kinds text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    if exists (select from koppeling.consumer c
               where c.queue = any (p_queues) and c.waiting and (p_kinds is null or c.kinds && p_kinds)) then
        perform pg_notify('koppeling_job', '');
    end if;
end $$;

CREATE FUNCTION koppeling.wake_schedulers() RETURNS void
    LANGUAGE sql
    RETURN pg_notify('koppeling_job'::text, 'schedule'::text);

CREATE FUNCTION koppeling.zone_offset(p_zone text, p_at timestamp with time zone) RETURNS interval
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((p_at AT TIME ZONE p_zone) - (p_at AT TIME ZONE 'UTC'::text));

CREATE FUNCTION koppeling.zone_change(p_zone text, p_from timestamp with time zone, p_to timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN (koppeling.zone_offset(p_zone, p_from) <> koppeling.zone_offset(p_zone, p_to)) THEN (SELECT min(m.m) AS min FROM generate_series(date_trunc('minute'::text, zone_change.p_from, 'UTC'::text), zone_change.p_to, '00:01:00'::interval) m(m) WHERE ((m.m > zone_change.p_from) AND (koppeling.zone_offset(zone_change.p_zone, m.m) <> koppeling.zone_offset(zone_change.p_zone, zone_change.p_from)))) ELSE NULL::timestamp with time zone END;

CREATE AGGREGATE koppeling.args_concat(jsonb) (
    SFUNC = jsonb_concat,
    STYPE = jsonb
);

CREATE TABLE koppeling.action_template (
    instance_id bigint NOT NULL,
    action text NOT NULL,
    automatic boolean DEFAULT true NOT NULL,
    CONSTRAINT action_template_action_check CHECK ((action = ANY (ARRAY['create'::text, 'update'::text, 'delete'::text])))
);

CREATE VIEW koppeling.actions AS
 SELECT j.id,
    i.name AS instance,
    (j.args ->> 'action'::text) AS action,
        CASE
            WHEN (j.state = ANY (ARRAY['ready'::text, 'scheduled'::text, 'blocked'::text])) THEN 'staged'::text
            WHEN (j.state = 'cancelled'::text) THEN 'superseded'::text
            ELSE j.state
        END AS state,
    m.id AS member_id,
    m.address AS contact,
    m.status AS contact_status,
    j.reason,
    j.attempt,
    j.snoozes,
    j.enqueued_at,
    j.run_at,
    j.started_at,
    j.finished_at,
    j.worker
   FROM ((koppeling.jobs j
     JOIN koppeling.connector_instance i ON ((koppeling.instance_queue(i.id) = j.queue)))
     LEFT JOIN koppeling.audience_member m ON ((m.id = ((j.args ->> 'member'::text))::bigint)))
  WHERE (j.kind = 'action'::text);

COMMENT ON VIEW koppeling.actions IS 'What is to be carried out in Mailchimp and what was. States: staged, parked, running, done, rejected, superseded.';

ALTER TABLE koppeling.api_token ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.api_token_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE koppeling.audience_member ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.audience_member_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW koppeling.audience_members AS
 SELECT m.id,
    i.name AS instance,
    m.address,
    m.contact_id,
    COALESCE(m.status, 'unknown'::text) AS status,
    m.ownership,
    m.archived_by_us,
    m.intent,
    m.note,
    m.last_changed,
    m.observed_at,
    ( SELECT count(*) AS count
           FROM koppeling.claim c
          WHERE (c.member_id = m.id)) AS claims
   FROM (koppeling.audience_member m
     JOIN koppeling.connector_instance i ON ((i.id = m.instance_id)));

COMMENT ON VIEW koppeling.audience_members IS 'What each linked list is known to hold, and how many persons claim it.';

ALTER TABLE koppeling.audit_entry ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.audit_entry_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE koppeling.category_group ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.category_group_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE koppeling.category ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.category_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE koppeling.change_plan (
    id bigint NOT NULL,
    target_group_id bigint NOT NULL,
    state text DEFAULT 'held'::text NOT NULL,
    version integer DEFAULT 0 NOT NULL,
    held_because text NOT NULL,
    created_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    changed_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    decided_at timestamp with time zone,
    decided_by text,
    CONSTRAINT change_plan_check CHECK (((state = 'held'::text) = (decided_at IS NULL))),
    CONSTRAINT change_plan_state_check CHECK ((state = ANY (ARRAY['held'::text, 'approved'::text, 'discarded'::text, 'dissolved'::text])))
);

ALTER TABLE koppeling.change_plan ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.change_plan_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE koppeling.change_plan_line (
    plan_id bigint NOT NULL,
    person_id bigint NOT NULL,
    change text NOT NULL,
    reason text NOT NULL,
    cause text NOT NULL,
    CONSTRAINT change_plan_line_change_check CHECK ((change = ANY (ARRAY['join'::text, 'leave'::text, 'empty'::text])))
);

ALTER TABLE koppeling.connector_instance ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.connector_instance_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE UNLOGGED TABLE koppeling.consumer (
    id bigint NOT NULL,
    worker_id bigint NOT NULL,
    queue text NOT NULL,
    kinds text[] NOT NULL,
    waiting boolean DEFAULT false NOT NULL,
    CONSTRAINT consumer_kinds_check CHECK ((cardinality(kinds) > 0))
)
WITH (fillfactor='50');

ALTER TABLE koppeling.consumer ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.consumer_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE koppeling.criterion (
    id bigint NOT NULL,
    rule_id bigint NOT NULL,
    kind text NOT NULL,
    value_id bigint NOT NULL,
    negated boolean DEFAULT false NOT NULL,
    CONSTRAINT criterion_kind_check CHECK ((kind = ANY (ARRAY['function'::text, 'department'::text, 'company'::text, 'personCategory'::text, 'companyCategory'::text])))
);

ALTER TABLE koppeling.criterion ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.criterion_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE koppeling.email_address ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.email_address_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE koppeling.holder_check (
    suppression_id bigint NOT NULL
);

CREATE TABLE koppeling.idempotent_request (
    token_id bigint NOT NULL,
    key text NOT NULL,
    body_hash bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    ids bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    CONSTRAINT idempotent_request_body_hash_check CHECK ((octet_length(body_hash) = 32)),
    CONSTRAINT idempotent_request_key_check CHECK (((length(key) >= 1) AND (length(key) <= 255)))
)
WITH (fillfactor='70');

CREATE TABLE koppeling.mailchimp_account (
    id bigint NOT NULL,
    name text NOT NULL,
    credential bytea NOT NULL,
    data_centre text NOT NULL,
    account_id text NOT NULL,
    login_id text NOT NULL,
    authenticated boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    CONSTRAINT mailchimp_account_data_centre_check CHECK ((data_centre ~ '^[a-z]{2}[0-9]{1,3}$'::text)),
    CONSTRAINT mailchimp_account_name_check CHECK ((name <> ''::text))
);

CREATE VIEW koppeling.instance_status AS
 SELECT i.id,
    i.name AS instance,
    a.name AS account,
    i.list_name,
    g.name AS target_group,
    a.authenticated,
    i.enabled,
    i.activated,
    i.paused_reason,
    i.last_pull_at,
    i.last_sweep_at,
    ( SELECT count(*) AS count
           FROM koppeling.claim c
          WHERE (c.instance_id = i.id)) AS claims,
    ( SELECT count(*) AS count
           FROM koppeling.job j
          WHERE ((j.queue = koppeling.instance_queue(i.id)) AND (j.kind = 'action'::text) AND (j.run_at < 'infinity'::timestamp with time zone))) AS open_actions,
    ( SELECT count(*) AS count
           FROM koppeling.job j
          WHERE ((j.queue = koppeling.instance_queue(i.id)) AND (j.kind = 'action'::text) AND (j.run_at = 'infinity'::timestamp with time zone))) AS parked_actions,
    ( SELECT count(*) AS count
           FROM koppeling.job_history h
          WHERE ((h.queue = koppeling.instance_queue(i.id)) AND (h.outcome = 'rejected'::text) AND (h.finished_at > (koppeling.now() - '1 day'::interval)))) AS rejected_today,
    ( SELECT count(*) AS count
           FROM koppeling.permit p
          WHERE ((p.resource = ((('mailchimp:'::text || a.data_centre) || ':'::text) || a.login_id)) AND (p.expires_at > koppeling.now()))) AS calls_in_flight,
    ( SELECT count(*) AS count
           FROM koppeling.task t
          WHERE ((t.instance_id = i.id) AND (t.done_at IS NULL))) AS open_tasks
   FROM ((koppeling.connector_instance i
     JOIN koppeling.mailchimp_account a ON ((a.id = i.account_id)))
     JOIN koppeling.target_group g ON ((g.id = i.target_group_id)));

COMMENT ON VIEW koppeling.instance_status IS 'Each instance with its two flags and what it is doing.';

CREATE TABLE koppeling.job_attempt (
    job_id bigint NOT NULL,
    claim integer NOT NULL,
    attempt integer NOT NULL,
    worker_id bigint NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone NOT NULL,
    outcome text NOT NULL,
    error text,
    CONSTRAINT job_attempt_outcome_check CHECK ((outcome = ANY (ARRAY['retried'::text, 'snoozed'::text, 'released'::text, 'died'::text, 'rejected'::text, 'cancelled'::text])))
)
PARTITION BY RANGE (ended_at);

CREATE TABLE koppeling.job_attempt_rest (
    job_id bigint NOT NULL,
    claim integer NOT NULL,
    attempt integer NOT NULL,
    worker_id bigint NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone NOT NULL,
    outcome text NOT NULL,
    error text,
    CONSTRAINT job_attempt_outcome_check CHECK ((outcome = ANY (ARRAY['retried'::text, 'snoozed'::text, 'released'::text, 'died'::text, 'rejected'::text, 'cancelled'::text])))
);

CREATE VIEW koppeling.job_attempts AS
 SELECT a.job_id,
    a.attempt,
    a.worker_id,
    w.name AS worker,
    a.started_at,
    a.ended_at,
    a.outcome,
    a.error
   FROM (koppeling.job_attempt a
     LEFT JOIN koppeling.worker w ON ((w.id = a.worker_id)))
UNION ALL
 SELECT h.id AS job_id,
    h.attempt,
    h.worker_id,
    w.name AS worker,
    h.started_at,
    h.finished_at AS ended_at,
    h.outcome,
    h.reason AS error
   FROM (koppeling.job_history h
     LEFT JOIN koppeling.worker w ON ((w.id = h.worker_id)))
  WHERE (h.started_at IS NOT NULL)
UNION ALL
 SELECT j.id AS job_id,
    j.attempt,
    j.worker_id,
    w.name AS worker,
    j.started_at,
    NULL::timestamp with time zone AS ended_at,
    'running'::text AS outcome,
    NULL::text AS error
   FROM (koppeling.job j
     LEFT JOIN koppeling.worker w ON ((w.id = j.worker_id)))
  WHERE (j.worker_id IS NOT NULL);

COMMENT ON VIEW koppeling.job_attempts IS 'Every attempt at every job, and which worker made it.';

COMMENT ON COLUMN koppeling.job_attempts.job_id IS 'The job.';

COMMENT ON COLUMN koppeling.job_attempts.attempt IS 'The how manieth that counts; one that was given back or put off has the number of the next.';

COMMENT ON COLUMN koppeling.job_attempts.worker_id IS 'The worker that made it.';

COMMENT ON COLUMN koppeling.job_attempts.worker IS 'The name of that worker.';

COMMENT ON COLUMN koppeling.job_attempts.started_at IS 'When it began.';

COMMENT ON COLUMN koppeling.job_attempts.ended_at IS 'When it ended, or when its worker was found dead; null while it runs.';

COMMENT ON COLUMN koppeling.job_attempts.outcome IS 'retried, snoozed, released (by a stopping worker), died (its worker did), rejected, cancelled, done or running.';

COMMENT ON COLUMN koppeling.job_attempts.error IS 'What went wrong, or why it ended.';

CREATE TABLE koppeling.job_cancelled (
    id bigint NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    run_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    worker_id bigint,
    priority integer NOT NULL,
    attempt integer NOT NULL,
    max_attempts integer NOT NULL,
    claim integer NOT NULL,
    snoozes integer NOT NULL,
    outcome text NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    key text,
    key_mode text NOT NULL,
    order_key text,
    limit_key text,
    reason text,
    args jsonb NOT NULL,
    result jsonb,
    CONSTRAINT done_has_run CHECK (((outcome <> 'done'::text) OR (started_at IS NOT NULL))),
    CONSTRAINT job_history_outcome_check CHECK ((outcome = ANY (ARRAY['done'::text, 'rejected'::text, 'cancelled'::text]))),
    CONSTRAINT refusals_have_a_reason CHECK (((outcome = 'done'::text) OR (reason IS NOT NULL)))
)
PARTITION BY RANGE (finished_at);

CREATE TABLE koppeling.job_cancelled_rest (
    id bigint NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    run_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    worker_id bigint,
    priority integer NOT NULL,
    attempt integer NOT NULL,
    max_attempts integer NOT NULL,
    claim integer NOT NULL,
    snoozes integer NOT NULL,
    outcome text NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    key text,
    key_mode text NOT NULL,
    order_key text,
    limit_key text,
    reason text,
    args jsonb NOT NULL,
    result jsonb,
    CONSTRAINT done_has_run CHECK (((outcome <> 'done'::text) OR (started_at IS NOT NULL))),
    CONSTRAINT job_history_outcome_check CHECK ((outcome = ANY (ARRAY['done'::text, 'rejected'::text, 'cancelled'::text]))),
    CONSTRAINT refusals_have_a_reason CHECK (((outcome = 'done'::text) OR (reason IS NOT NULL)))
);

CREATE TABLE koppeling.job_done (
    id bigint NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    run_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    worker_id bigint,
    priority integer NOT NULL,
    attempt integer NOT NULL,
    max_attempts integer NOT NULL,
    claim integer NOT NULL,
    snoozes integer NOT NULL,
    outcome text NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    key text,
    key_mode text NOT NULL,
    order_key text,
    limit_key text,
    reason text,
    args jsonb NOT NULL,
    result jsonb,
    CONSTRAINT done_has_run CHECK (((outcome <> 'done'::text) OR (started_at IS NOT NULL))),
    CONSTRAINT job_history_outcome_check CHECK ((outcome = ANY (ARRAY['done'::text, 'rejected'::text, 'cancelled'::text]))),
    CONSTRAINT refusals_have_a_reason CHECK (((outcome = 'done'::text) OR (reason IS NOT NULL)))
)
PARTITION BY RANGE (finished_at);

CREATE TABLE koppeling.job_done_rest (
    id bigint NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    run_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    worker_id bigint,
    priority integer NOT NULL,
    attempt integer NOT NULL,
    max_attempts integer NOT NULL,
    claim integer NOT NULL,
    snoozes integer NOT NULL,
    outcome text NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    key text,
    key_mode text NOT NULL,
    order_key text,
    limit_key text,
    reason text,
    args jsonb NOT NULL,
    result jsonb,
    CONSTRAINT done_has_run CHECK (((outcome <> 'done'::text) OR (started_at IS NOT NULL))),
    CONSTRAINT job_history_outcome_check CHECK ((outcome = ANY (ARRAY['done'::text, 'rejected'::text, 'cancelled'::text]))),
    CONSTRAINT refusals_have_a_reason CHECK (((outcome = 'done'::text) OR (reason IS NOT NULL)))
);

ALTER TABLE koppeling.job ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME koppeling.job_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE koppeling.job_kind (
    kind text NOT NULL,
    public boolean DEFAULT false NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    retry_base interval DEFAULT '00:00:02'::interval NOT NULL,
    retry_cap interval DEFAULT '01:00:00'::interval NOT NULL,
    CONSTRAINT cap_is_longest CHECK ((retry_cap >= retry_base)),
    CONSTRAINT job_kind_kind_check CHECK ((((length(kind) >= 1) AND (length(kind) <= 100)) AND (kind ~ '^[[:alnum:]]+([._-][[:alnum:]]+)*$'::text))),
    CONSTRAINT job_kind_retry_base_check CHECK ((retry_base > '00:00:00'::interval))
);

CREATE TABLE koppeling.job_pause (
    id bigint NOT NULL,
    queue text,
    kind text,
    key text,
    reason text,
    paused_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    CONSTRAINT job_pause_key_check CHECK ((key <> ''::text)),
    CONSTRAINT job_pause_kind_check CHECK ((kind <> ''::text)),
    CONSTRAINT job_pause_queue_check CHECK ((queue <> ''::text)),
    CONSTRAINT pauses_something CHECK ((num_nonnulls(queue, kind, key) > 0))
);

ALTER TABLE koppeling.job_pause ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.job_pause_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE koppeling.job_rejected (
    id bigint NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    run_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    worker_id bigint,
    priority integer NOT NULL,
    attempt integer NOT NULL,
    max_attempts integer NOT NULL,
    claim integer NOT NULL,
    snoozes integer NOT NULL,
    outcome text NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    key text,
    key_mode text NOT NULL,
    order_key text,
    limit_key text,
    reason text,
    args jsonb NOT NULL,
    result jsonb,
    CONSTRAINT done_has_run CHECK (((outcome <> 'done'::text) OR (started_at IS NOT NULL))),
    CONSTRAINT job_history_outcome_check CHECK ((outcome = ANY (ARRAY['done'::text, 'rejected'::text, 'cancelled'::text]))),
    CONSTRAINT refusals_have_a_reason CHECK (((outcome = 'done'::text) OR (reason IS NOT NULL)))
)
PARTITION BY RANGE (finished_at);

CREATE TABLE koppeling.job_rejected_rest (
    id bigint NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    run_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    worker_id bigint,
    priority integer NOT NULL,
    attempt integer NOT NULL,
    max_attempts integer NOT NULL,
    claim integer NOT NULL,
    snoozes integer NOT NULL,
    outcome text NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    key text,
    key_mode text NOT NULL,
    order_key text,
    limit_key text,
    reason text,
    args jsonb NOT NULL,
    result jsonb,
    CONSTRAINT done_has_run CHECK (((outcome <> 'done'::text) OR (started_at IS NOT NULL))),
    CONSTRAINT job_history_outcome_check CHECK ((outcome = ANY (ARRAY['done'::text, 'rejected'::text, 'cancelled'::text]))),
    CONSTRAINT refusals_have_a_reason CHECK (((outcome = 'done'::text) OR (reason IS NOT NULL)))
);

CREATE VIEW koppeling.limits AS
 SELECT l.limit_key,
    l.concurrency,
    l.rate,
    l.period,
    ( SELECT count(*) AS count
           FROM koppeling.job j
          WHERE ((j.limit_key = l.limit_key) AND (j.state = 'running'::text))) AS running,
    ( SELECT count(*) AS count
           FROM koppeling.job j
          WHERE ((j.limit_key = l.limit_key) AND (j.blocked_by = 'limit'::text))) AS waiting,
        CASE
            WHEN (l.rate IS NOT NULL) THEN (floor(koppeling.tokens_at(l.*, koppeling.now())))::integer
            ELSE NULL::integer
        END AS tokens,
    l.opens_at
   FROM koppeling.job_limit l;

COMMENT ON VIEW koppeling.limits IS 'What may run under each limit key, over all workers and queues.';

COMMENT ON COLUMN koppeling.limits.concurrency IS 'At most so many run at once; null is no limit.';

COMMENT ON COLUMN koppeling.limits.rate IS 'At most so many start in a period; null is no limit.';

COMMENT ON COLUMN koppeling.limits.period IS 'The time in which the rate''s tokens come back.';

COMMENT ON COLUMN koppeling.limits.running IS 'How many run now.';

COMMENT ON COLUMN koppeling.limits.waiting IS 'How many are held back by the limit.';

COMMENT ON COLUMN koppeling.limits.tokens IS 'How many may start now as far as the rate goes.';

COMMENT ON COLUMN koppeling.limits.opens_at IS 'When those that wait for tokens are looked at again.';

ALTER TABLE koppeling.mailchimp_account ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.mailchimp_account_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW koppeling.pauses AS
 SELECT p.id,
    p.queue,
    p.kind,
    p.key,
    p.reason,
    p.paused_at
   FROM koppeling.job_pause p;

COMMENT ON VIEW koppeling.pauses IS 'What does not start until it is resumed.';

COMMENT ON COLUMN koppeling.pauses.queue IS 'Jobs of this queue; null is any.';

COMMENT ON COLUMN koppeling.pauses.kind IS 'Jobs of this kind; null is any.';

COMMENT ON COLUMN koppeling.pauses.key IS 'Jobs with this as key, order_key or limit_key; null is any.';

ALTER TABLE koppeling.permit ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.permit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE UNLOGGED TABLE koppeling.permit_wait (
    resource text NOT NULL,
    holder text NOT NULL,
    seen_at timestamp with time zone NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='500');

ALTER TABLE koppeling.person ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.person_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW koppeling.plan_lines AS
 SELECT l.plan_id AS plan,
    l.person_id AS person,
    concat_ws(' '::text, NULLIF(koppeling.first_name(p.given_name, p.initials), ''::text), koppeling.last_name(p.prefixes, p.family_name)) AS name,
    l.change,
    l.reason,
    l.cause
   FROM (koppeling.change_plan_line l
     JOIN koppeling.person p ON ((p.id = l.person_id)));

COMMENT ON VIEW koppeling.plan_lines IS 'Who would join or leave by a plan, why, and what brought it about.';

CREATE VIEW koppeling.plans AS
 SELECT p.id,
    g.name AS target_group,
    p.state,
    p.version,
    p.held_because,
    n.joins,
    n.leaves,
    n.emptied,
    p.created_at,
    p.changed_at,
    p.decided_at,
    p.decided_by
   FROM ((koppeling.change_plan p
     JOIN koppeling.target_group g ON ((g.id = p.target_group_id)))
     CROSS JOIN LATERAL ( SELECT count(*) FILTER (WHERE (l.change = 'join'::text)) AS joins,
            count(*) FILTER (WHERE (l.change = 'leave'::text)) AS leaves,
            count(*) FILTER (WHERE (l.change = 'empty'::text)) AS emptied
           FROM koppeling.change_plan_line l
          WHERE (l.plan_id = p.id)) n);

CREATE VIEW koppeling.queue_status AS
 SELECT j.queue,
    j.kind,
    count(*) FILTER (WHERE ((j.state <> ALL (ARRAY['running'::text, 'blocked'::text])) AND (j.run_at <= n.now))) AS ready,
    count(*) FILTER (WHERE ((j.state <> ALL (ARRAY['running'::text, 'blocked'::text])) AND (j.run_at > n.now) AND (j.run_at < 'infinity'::timestamp with time zone))) AS scheduled,
    count(*) FILTER (WHERE (j.run_at = 'infinity'::timestamp with time zone)) AS parked,
    count(*) FILTER (WHERE (j.state = 'running'::text)) AS running,
    min(j.run_at) FILTER (WHERE ((j.state <> ALL (ARRAY['running'::text, 'blocked'::text])) AND (j.run_at <= n.now))) AS oldest_ready_at,
    count(*) FILTER (WHERE ((j.state <> 'running'::text) AND (j.error IS NOT NULL))) AS retrying,
    count(*) FILTER (WHERE (j.state = 'blocked'::text)) AS blocked
   FROM (koppeling.job j
     CROSS JOIN ( SELECT koppeling.now() AS now
         OFFSET 0) n)
  GROUP BY j.queue, j.kind;

COMMENT ON VIEW koppeling.queue_status IS 'What lies in each queue, by kind.';

COMMENT ON COLUMN koppeling.queue_status.queue IS 'The queue.';

COMMENT ON COLUMN koppeling.queue_status.kind IS 'The kind of jobs.';

COMMENT ON COLUMN koppeling.queue_status.ready IS 'How many may start.';

COMMENT ON COLUMN koppeling.queue_status.scheduled IS 'How many wait for their time.';

COMMENT ON COLUMN koppeling.queue_status.parked IS 'How many wait for a person to release them.';

COMMENT ON COLUMN koppeling.queue_status.running IS 'How many run.';

COMMENT ON COLUMN koppeling.queue_status.oldest_ready_at IS 'Since when the oldest job that could run waits.';

COMMENT ON COLUMN koppeling.queue_status.retrying IS 'How many of those that wait have failed before.';

COMMENT ON COLUMN koppeling.queue_status.blocked IS 'How many wait behind an order, a limit or a pause.';

ALTER TABLE koppeling.rule ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.rule_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW koppeling.schedules AS
 SELECT s.name,
    s.cron,
    s.time_zone,
    s.missed,
    (s.next_at IS NULL) AS paused,
    s.next_at,
    s.last_at,
    s.last_job_id,
    s.error,
    s.kind,
    s.args,
    s.queue,
    s.key,
    s.key_mode,
    s.order_key,
    s.limit_key,
    s.priority,
    s.max_attempts
   FROM koppeling.job_schedule s;

COMMENT ON VIEW koppeling.schedules IS 'Schedules: jobs that are enqueued at the moments of a cron expression.';

COMMENT ON COLUMN koppeling.schedules.name IS 'What it is called, and what makes it one.';

COMMENT ON COLUMN koppeling.schedules.cron IS 'Minute, hour, day of month, month and day of week, or one of @hourly, @daily, @weekly, @monthly, @yearly.';

COMMENT ON COLUMN koppeling.schedules.time_zone IS 'Whose clocks the cron expression is about.';

COMMENT ON COLUMN koppeling.schedules.missed IS 'What happens when a tick is found more than 60 s late: skip it, or once: one job for all that were missed.';

COMMENT ON COLUMN koppeling.schedules.paused IS 'Whether it makes no jobs for now.';

COMMENT ON COLUMN koppeling.schedules.next_at IS 'Its next tick; null while it is paused.';

COMMENT ON COLUMN koppeling.schedules.last_at IS 'The tick it last made a job for, or when it was last run by hand.';

COMMENT ON COLUMN koppeling.schedules.last_job_id IS 'That job, or the waiting one that absorbed it.';

COMMENT ON COLUMN koppeling.schedules.error IS 'Why its last tick made no job; null when it did.';

COMMENT ON COLUMN koppeling.schedules.kind IS 'What its jobs are to do.';

COMMENT ON COLUMN koppeling.schedules.args IS 'The args of its jobs.';

COMMENT ON COLUMN koppeling.schedules.queue IS 'The queue its jobs go to.';

COMMENT ON COLUMN koppeling.schedules.key IS 'The key of its jobs: at most one with it waits in a queue.';

COMMENT ON COLUMN koppeling.schedules.key_mode IS 'keep, replace or append: what a tick does to a job that waits with the key.';

COMMENT ON COLUMN koppeling.schedules.order_key IS 'The order key of its jobs: they run one after another.';

COMMENT ON COLUMN koppeling.schedules.limit_key IS 'The key that limits are set for.';

COMMENT ON COLUMN koppeling.schedules.priority IS 'The priority of its jobs.';

COMMENT ON COLUMN koppeling.schedules.max_attempts IS 'After how many failed attempts its jobs are rejected.';

ALTER TABLE koppeling.suppression ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.suppression_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE koppeling.target_group ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.target_group_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW koppeling.target_group_members AS
 SELECT m.target_group_id,
    g.name AS target_group,
    m.person_id,
    p.source,
    p.external_id,
    koppeling.first_name(p.given_name, p.initials) AS first_name,
    koppeling.last_name(p.prefixes, p.family_name) AS last_name,
    e.address,
    m.status,
    m.via,
    m.reasons[1] AS reason,
    m.reasons,
    m.override,
    m.rule_match,
    m.changed_at
   FROM (((koppeling.membership m
     JOIN koppeling.target_group g ON ((g.id = m.target_group_id)))
     JOIN koppeling.person p ON ((p.id = m.person_id)))
     LEFT JOIN koppeling.email_address e ON (((e.person_id = m.person_id) AND (e.kind = g.email_kind))));

ALTER TABLE koppeling.task ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.task_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW koppeling.tasks AS
 SELECT t.id,
    t.kind,
    i.name AS instance,
    g.name AS target_group,
    t.person_id,
    t.detail,
    t.created_at,
    t.done_at
   FROM ((koppeling.task t
     LEFT JOIN koppeling.connector_instance i ON ((i.id = t.instance_id)))
     LEFT JOIN koppeling.target_group g ON ((g.id = t.target_group_id)));

COMMENT ON VIEW koppeling.tasks IS 'What only a person can settle.';

ALTER TABLE koppeling.unapproved_change ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.unapproved_change_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE koppeling.webhook_inbox (
    id bigint NOT NULL,
    instance_id bigint NOT NULL,
    received_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    body jsonb NOT NULL,
    processed_at timestamp with time zone
);

ALTER TABLE koppeling.webhook_inbox ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.webhook_inbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE koppeling.worker ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.worker_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW koppeling.workers AS
 SELECT w.id,
    w.name,
    w.host,
    w.pid,
    w.version,
    w.started_at,
    w.heartbeat_at,
    w.ended_at,
    COALESCE(w.ending,
        CASE
            WHEN (w.heartbeat_at < (koppeling.now() - '00:00:15'::interval)) THEN 'silent'::text
            ELSE 'alive'::text
        END) AS state,
    ( SELECT count(*) AS count
           FROM koppeling.job j
          WHERE ((j.state = 'running'::text) AND (j.worker_id = w.id))) AS running
   FROM koppeling.worker w;

COMMENT ON VIEW koppeling.workers IS 'Processes that work or have worked.';

COMMENT ON COLUMN koppeling.workers.id IS 'Its number: a process gets a new one each time it registers.';

COMMENT ON COLUMN koppeling.workers.name IS 'What it is called; not unique.';

COMMENT ON COLUMN koppeling.workers.host IS 'The machine it runs on.';

COMMENT ON COLUMN koppeling.workers.pid IS 'The number of its process there.';

COMMENT ON COLUMN koppeling.workers.version IS 'The release it belongs to.';

COMMENT ON COLUMN koppeling.workers.started_at IS 'When it registered.';

COMMENT ON COLUMN koppeling.workers.heartbeat_at IS 'Its last sign of life; it gives one every 5 s.';

COMMENT ON COLUMN koppeling.workers.ended_at IS 'When it stopped, or was found dead.';

COMMENT ON COLUMN koppeling.workers.state IS 'alive, silent (no sign of life for 15 s), stopped or died.';

COMMENT ON COLUMN koppeling.workers.running IS 'How many jobs it has.';

CREATE TABLE public.koppeling_migration (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    oldest_program integer DEFAULT 0 NOT NULL,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY koppeling.job_attempt ATTACH PARTITION koppeling.job_attempt_rest DEFAULT;

ALTER TABLE ONLY koppeling.job_history ATTACH PARTITION koppeling.job_cancelled FOR VALUES IN ('cancelled');

ALTER TABLE ONLY koppeling.job_cancelled ATTACH PARTITION koppeling.job_cancelled_rest DEFAULT;

ALTER TABLE ONLY koppeling.job_history ATTACH PARTITION koppeling.job_done FOR VALUES IN ('done');

ALTER TABLE ONLY koppeling.job_done ATTACH PARTITION koppeling.job_done_rest DEFAULT;

ALTER TABLE ONLY koppeling.job_history ATTACH PARTITION koppeling.job_rejected FOR VALUES IN ('rejected');

ALTER TABLE ONLY koppeling.job_rejected ATTACH PARTITION koppeling.job_rejected_rest DEFAULT;

ALTER TABLE ONLY koppeling.rule
    ADD CONSTRAINT rule_pkey PRIMARY KEY (id);

CREATE FUNCTION koppeling.rules_json(p_group bigint) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN (SELECT COALESCE(jsonb_agg(r.criteria ORDER BY r."position"), '[]'::jsonb) AS "coalesce" FROM (SELECT r_1."position", COALESCE(jsonb_agg(jsonb_build_object('kind', c.kind, 'value', ((g.name || ' / '::text) || k.name), 'negated', c.negated) ORDER BY c.negated, g.name, k.name, c.id) FILTER (WHERE (c.id IS NOT NULL)), '[]'::jsonb) AS criteria FROM (((koppeling.rule r_1 LEFT JOIN koppeling.criterion c ON ((c.rule_id = r_1.id))) LEFT JOIN koppeling.category k ON (((c.kind = 'personCategory'::text) AND (k.id = c.value_id)))) LEFT JOIN koppeling.category_group g ON ((g.id = k.category_group_id))) WHERE (r_1.target_group_id = rules_json.p_group) GROUP BY r_1.id) r);

ALTER TABLE ONLY koppeling.action_template
    ADD CONSTRAINT action_template_pkey PRIMARY KEY (instance_id, action);

ALTER TABLE ONLY koppeling.api_token
    ADD CONSTRAINT api_token_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.api_token
    ADD CONSTRAINT api_token_token_hash_key UNIQUE (token_hash);

ALTER TABLE ONLY koppeling.audience_member
    ADD CONSTRAINT audience_member_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.audit_entry
    ADD CONSTRAINT audit_entry_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.category_group
    ADD CONSTRAINT category_group_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.category
    ADD CONSTRAINT category_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.change_plan_line
    ADD CONSTRAINT change_plan_line_pkey PRIMARY KEY (plan_id, person_id);

ALTER TABLE ONLY koppeling.change_plan
    ADD CONSTRAINT change_plan_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.claim
    ADD CONSTRAINT claim_pkey PRIMARY KEY (instance_id, person_id);

ALTER TABLE ONLY koppeling.connector_instance
    ADD CONSTRAINT connector_instance_name_key UNIQUE (name);

ALTER TABLE ONLY koppeling.connector_instance
    ADD CONSTRAINT connector_instance_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.connector_instance
    ADD CONSTRAINT connector_instance_target_group_id_key UNIQUE (target_group_id);

ALTER TABLE ONLY koppeling.consumer
    ADD CONSTRAINT consumer_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.criterion
    ADD CONSTRAINT criterion_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.criterion
    ADD CONSTRAINT criterion_rule_id_kind_value_id_key UNIQUE (rule_id, kind, value_id);

ALTER TABLE ONLY koppeling.email_address
    ADD CONSTRAINT email_address_person_id_kind_key UNIQUE (person_id, kind);

ALTER TABLE ONLY koppeling.email_address
    ADD CONSTRAINT email_address_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.evaluation_request
    ADD CONSTRAINT evaluation_request_pkey PRIMARY KEY (person_id);

ALTER TABLE ONLY koppeling.holder_check
    ADD CONSTRAINT holder_check_pkey PRIMARY KEY (suppression_id);

ALTER TABLE ONLY koppeling.idempotent_request
    ADD CONSTRAINT idempotent_request_pkey PRIMARY KEY (token_id, key);

ALTER TABLE ONLY koppeling.job_cancellation
    ADD CONSTRAINT job_cancellation_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY koppeling.job_kind
    ADD CONSTRAINT job_kind_pkey PRIMARY KEY (kind);

ALTER TABLE ONLY koppeling.job_limit
    ADD CONSTRAINT job_limit_pkey PRIMARY KEY (limit_key);

ALTER TABLE ONLY koppeling.job_pause
    ADD CONSTRAINT job_pause_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.job
    ADD CONSTRAINT job_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.job_retention
    ADD CONSTRAINT job_retention_pkey PRIMARY KEY (outcome);

ALTER TABLE ONLY koppeling.job_schedule
    ADD CONSTRAINT job_schedule_pkey PRIMARY KEY (name);

ALTER TABLE ONLY koppeling.mailchimp_account
    ADD CONSTRAINT mailchimp_account_data_centre_login_id_key UNIQUE (data_centre, login_id);

ALTER TABLE ONLY koppeling.mailchimp_account
    ADD CONSTRAINT mailchimp_account_name_key UNIQUE (name);

ALTER TABLE ONLY koppeling.mailchimp_account
    ADD CONSTRAINT mailchimp_account_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.membership
    ADD CONSTRAINT membership_pkey PRIMARY KEY (target_group_id, person_id);

ALTER TABLE ONLY koppeling.merge_field
    ADD CONSTRAINT merge_field_pkey PRIMARY KEY (instance_id, tag);

ALTER TABLE ONLY koppeling.job_pause
    ADD CONSTRAINT paused_once UNIQUE NULLS NOT DISTINCT (queue, kind, key);

ALTER TABLE ONLY koppeling.permit_budget
    ADD CONSTRAINT permit_budget_pkey PRIMARY KEY (resource);

ALTER TABLE ONLY koppeling.permit
    ADD CONSTRAINT permit_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.permit
    ADD CONSTRAINT permit_resource_slot_key UNIQUE (resource, slot);

ALTER TABLE ONLY koppeling.permit_wait
    ADD CONSTRAINT permit_wait_pkey PRIMARY KEY (resource, holder);

ALTER TABLE ONLY koppeling.person_category
    ADD CONSTRAINT person_category_pkey PRIMARY KEY (person_id, category_id);

ALTER TABLE ONLY koppeling.person
    ADD CONSTRAINT person_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.rule
    ADD CONSTRAINT rule_target_group_id_position_key UNIQUE (target_group_id, "position");

ALTER TABLE ONLY koppeling.suppression_lift
    ADD CONSTRAINT suppression_lift_pkey PRIMARY KEY (suppression_id);

ALTER TABLE ONLY koppeling.suppression
    ADD CONSTRAINT suppression_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.target_group
    ADD CONSTRAINT target_group_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.task
    ADD CONSTRAINT task_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.unapproved_change
    ADD CONSTRAINT unapproved_change_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.webhook_inbox
    ADD CONSTRAINT webhook_inbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.worker
    ADD CONSTRAINT worker_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.koppeling_migration
    ADD CONSTRAINT koppeling_migration_pkey PRIMARY KEY (version);

CREATE UNIQUE INDEX api_token_name ON koppeling.api_token USING btree (name) WHERE (revoked_at IS NULL);

CREATE UNIQUE INDEX audience_member_address ON koppeling.audience_member USING btree (instance_id, address_key);

CREATE UNIQUE INDEX audience_member_contact ON koppeling.audience_member USING btree (instance_id, contact_id) WHERE (contact_id IS NOT NULL);

CREATE INDEX audience_member_file ON koppeling.audience_member USING btree (instance_id, file_key) WHERE (file_key IS NOT NULL);

CREATE UNIQUE INDEX audience_member_moving ON koppeling.audience_member USING btree (instance_id, moving_to) WHERE (moving_to IS NOT NULL);

CREATE INDEX audit_entry_by_group ON koppeling.audit_entry USING btree (target_group_id, id);

CREATE INDEX audit_entry_by_person ON koppeling.audit_entry USING btree (person_id, target_group_id, id);

CREATE UNIQUE INDEX category_group_name ON koppeling.category_group USING btree (koppeling.fold(name));

CREATE UNIQUE INDEX category_name ON koppeling.category USING btree (category_group_id, koppeling.fold(name));

CREATE UNIQUE INDEX change_plan_open ON koppeling.change_plan USING btree (target_group_id) WHERE (state = 'held'::text);

CREATE INDEX claim_member ON koppeling.claim USING btree (member_id);

CREATE UNIQUE INDEX connector_instance_list ON koppeling.connector_instance USING btree (account_id, list_id);

CREATE INDEX connector_instance_list_id ON koppeling.connector_instance USING btree (list_id);

CREATE INDEX consumer_by_queue ON koppeling.consumer USING btree (queue);

CREATE INDEX consumer_by_worker ON koppeling.consumer USING btree (worker_id);

CREATE INDEX criterion_by_value ON koppeling.criterion USING btree (kind, value_id);

CREATE INDEX email_address_by_key ON koppeling.email_address USING btree (address_key);

CREATE INDEX idempotent_request_created_at ON koppeling.idempotent_request USING btree (created_at);

CREATE INDEX job_attempt_job_id_idx ON ONLY koppeling.job_attempt USING btree (job_id);

CREATE INDEX job_attempt_rest_job_id_idx ON koppeling.job_attempt_rest USING btree (job_id);

CREATE INDEX job_cancelled_id_idx ON ONLY koppeling.job_cancelled USING btree (id);

CREATE INDEX job_cancelled_rest_id_idx ON koppeling.job_cancelled_rest USING btree (id);

CREATE INDEX job_done_id_idx ON ONLY koppeling.job_done USING brin (id int8_minmax_multi_ops);

CREATE INDEX job_done_rest_id_idx ON koppeling.job_done_rest USING brin (id int8_minmax_multi_ops);

CREATE UNIQUE INDEX job_key ON koppeling.job USING btree (queue, key) WHERE ((state <> 'running'::text) AND (key IS NOT NULL));

CREATE INDEX job_limit_blocked ON koppeling.job USING btree (limit_key, priority, run_at, id) WHERE (blocked_by = 'limit'::text);

CREATE INDEX job_limit_opens ON koppeling.job_limit USING btree (opens_at) WHERE (opens_at IS NOT NULL);

CREATE INDEX job_limit_running ON koppeling.job USING btree (limit_key) WHERE ((limit_key IS NOT NULL) AND (state = 'running'::text));

CREATE INDEX job_order ON koppeling.job USING btree (queue, order_key, id) WHERE ((order_key IS NOT NULL) AND (state <> 'running'::text));

CREATE INDEX job_order_blocked ON koppeling.job USING btree (queue, order_key) WHERE (blocked_by = 'order'::text);

CREATE UNIQUE INDEX job_order_running ON koppeling.job USING btree (queue, order_key) WHERE ((state = 'running'::text) AND (order_key IS NOT NULL));

CREATE INDEX job_pause_blocked ON koppeling.job USING btree (queue, kind, id) WHERE (blocked_by = 'pause'::text);

CREATE INDEX job_ready ON koppeling.job USING btree (queue, kind, priority, run_at, id) WHERE (state = 'ready'::text);

CREATE INDEX job_rejected_id_idx ON ONLY koppeling.job_rejected USING btree (id);

CREATE INDEX job_rejected_queue_finished_at_idx ON ONLY koppeling.job_rejected USING btree (queue, finished_at);

CREATE INDEX job_rejected_rest_id_idx ON koppeling.job_rejected_rest USING btree (id);

CREATE INDEX job_rejected_rest_queue_finished_at_idx ON koppeling.job_rejected_rest USING btree (queue, finished_at);

CREATE INDEX job_returned ON koppeling.job USING btree (queue, kind, priority, run_at, id) WHERE (state = 'returned'::text);

CREATE INDEX job_running ON koppeling.job USING btree (worker_id, consumer_id) WHERE (worker_id IS NOT NULL);

CREATE INDEX job_schedule_due ON koppeling.job_schedule USING btree (next_at) WHERE (next_at IS NOT NULL);

CREATE INDEX job_suspect ON koppeling.job USING btree (queue, kind, priority, run_at, id) WHERE (state = 'suspect'::text);

CREATE INDEX membership_by_person ON koppeling.membership USING btree (person_id);

CREATE INDEX membership_by_status ON koppeling.membership USING btree (target_group_id, status, person_id);

CREATE INDEX person_by_name ON koppeling.person USING btree (koppeling.fold(COALESCE(family_name, ''::text)), id);

CREATE INDEX person_category_by_category ON koppeling.person_category USING btree (category_id, person_id);

CREATE UNIQUE INDEX person_identity ON koppeling.person USING btree (koppeling.fold(source), koppeling.fold(external_id));

CREATE INDEX suppression_by_address ON koppeling.suppression USING btree (address_key) WHERE (address_key IS NOT NULL);

CREATE INDEX suppression_by_cause ON koppeling.suppression USING btree (follows) WHERE (follows IS NOT NULL);

CREATE INDEX suppression_by_contact ON koppeling.suppression USING btree (target_group_id, contact_id) WHERE (contact_id IS NOT NULL);

CREATE INDEX suppression_by_person ON koppeling.suppression USING btree (person_id) WHERE (person_id IS NOT NULL);

CREATE UNIQUE INDEX target_group_name ON koppeling.target_group USING btree (koppeling.fold(name));

CREATE UNIQUE INDEX task_open ON koppeling.task USING btree (kind, COALESCE(instance_id, (0)::bigint), COALESCE(person_id, (0)::bigint)) WHERE (done_at IS NULL);

CREATE INDEX unapproved_change_recent ON koppeling.unapproved_change USING btree (target_group_id, at);

CREATE INDEX webhook_inbox_waiting ON koppeling.webhook_inbox USING btree (instance_id, id) WHERE (processed_at IS NULL);

CREATE INDEX worker_alive ON koppeling.worker USING btree (id) WHERE (ended_at IS NULL);

ALTER INDEX koppeling.job_attempt_job_id_idx ATTACH PARTITION koppeling.job_attempt_rest_job_id_idx;

ALTER INDEX koppeling.job_cancelled_id_idx ATTACH PARTITION koppeling.job_cancelled_rest_id_idx;

ALTER INDEX koppeling.job_done_id_idx ATTACH PARTITION koppeling.job_done_rest_id_idx;

ALTER INDEX koppeling.job_rejected_id_idx ATTACH PARTITION koppeling.job_rejected_rest_id_idx;

ALTER INDEX koppeling.job_rejected_queue_finished_at_idx ATTACH PARTITION koppeling.job_rejected_rest_queue_finished_at_idx;

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON koppeling.suppression FOR EACH STATEMENT EXECUTE FUNCTION koppeling.refuse_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON koppeling.suppression_lift FOR EACH STATEMENT EXECUTE FUNCTION koppeling.refuse_change();

CREATE TRIGGER bind_inserted AFTER INSERT ON koppeling.email_address REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.bind_given_addresses();

CREATE TRIGGER bind_updated AFTER UPDATE ON koppeling.email_address REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.bind_given_addresses();

CREATE TRIGGER keep_used BEFORE DELETE ON koppeling.category FOR EACH ROW EXECUTE FUNCTION koppeling.keep_used_category();

CREATE TRIGGER limit_changed AFTER DELETE OR UPDATE OF concurrency, rate, period ON koppeling.job_limit FOR EACH ROW EXECUTE FUNCTION koppeling.limit_was_changed();

CREATE TRIGGER limit_changes BEFORE UPDATE OF concurrency, rate, period ON koppeling.job_limit FOR EACH ROW EXECUTE FUNCTION koppeling.limit_changed();

CREATE TRIGGER pause_ended AFTER DELETE ON koppeling.job_pause FOR EACH ROW EXECUTE FUNCTION koppeling.pause_ended();

ALTER TABLE ONLY koppeling.action_template
    ADD CONSTRAINT action_template_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES koppeling.connector_instance(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.audience_member
    ADD CONSTRAINT audience_member_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES koppeling.connector_instance(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.category
    ADD CONSTRAINT category_category_group_id_fkey FOREIGN KEY (category_group_id) REFERENCES koppeling.category_group(id);

ALTER TABLE ONLY koppeling.change_plan_line
    ADD CONSTRAINT change_plan_line_plan_id_fkey FOREIGN KEY (plan_id) REFERENCES koppeling.change_plan(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.change_plan
    ADD CONSTRAINT change_plan_target_group_id_fkey FOREIGN KEY (target_group_id) REFERENCES koppeling.target_group(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.claim
    ADD CONSTRAINT claim_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES koppeling.connector_instance(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.claim
    ADD CONSTRAINT claim_member_id_fkey FOREIGN KEY (member_id) REFERENCES koppeling.audience_member(id);

ALTER TABLE ONLY koppeling.connector_instance
    ADD CONSTRAINT connector_instance_account_id_fkey FOREIGN KEY (account_id) REFERENCES koppeling.mailchimp_account(id);

ALTER TABLE ONLY koppeling.connector_instance
    ADD CONSTRAINT connector_instance_target_group_id_fkey FOREIGN KEY (target_group_id) REFERENCES koppeling.target_group(id);

ALTER TABLE ONLY koppeling.criterion
    ADD CONSTRAINT criterion_rule_id_fkey FOREIGN KEY (rule_id) REFERENCES koppeling.rule(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.holder_check
    ADD CONSTRAINT holder_check_suppression_id_fkey FOREIGN KEY (suppression_id) REFERENCES koppeling.suppression(id);

ALTER TABLE ONLY koppeling.idempotent_request
    ADD CONSTRAINT idempotent_request_token_id_fkey FOREIGN KEY (token_id) REFERENCES koppeling.api_token(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.membership
    ADD CONSTRAINT membership_target_group_id_fkey FOREIGN KEY (target_group_id) REFERENCES koppeling.target_group(id);

ALTER TABLE ONLY koppeling.merge_field
    ADD CONSTRAINT merge_field_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES koppeling.connector_instance(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.permit
    ADD CONSTRAINT permit_resource_fkey FOREIGN KEY (resource) REFERENCES koppeling.permit_budget(resource);

ALTER TABLE ONLY koppeling.person_category
    ADD CONSTRAINT person_category_category_id_fkey FOREIGN KEY (category_id) REFERENCES koppeling.category(id);

ALTER TABLE ONLY koppeling.rule
    ADD CONSTRAINT rule_target_group_id_fkey FOREIGN KEY (target_group_id) REFERENCES koppeling.target_group(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.suppression
    ADD CONSTRAINT suppression_follows_fkey FOREIGN KEY (follows) REFERENCES koppeling.suppression(id);

ALTER TABLE ONLY koppeling.suppression_lift
    ADD CONSTRAINT suppression_lift_suppression_id_fkey FOREIGN KEY (suppression_id) REFERENCES koppeling.suppression(id);

ALTER TABLE ONLY koppeling.suppression
    ADD CONSTRAINT suppression_person_id_fkey FOREIGN KEY (person_id) REFERENCES koppeling.person(id);

ALTER TABLE ONLY koppeling.suppression
    ADD CONSTRAINT suppression_target_group_id_fkey FOREIGN KEY (target_group_id) REFERENCES koppeling.target_group(id);

ALTER TABLE ONLY koppeling.task
    ADD CONSTRAINT task_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES koppeling.connector_instance(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.task
    ADD CONSTRAINT task_target_group_id_fkey FOREIGN KEY (target_group_id) REFERENCES koppeling.target_group(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.unapproved_change
    ADD CONSTRAINT unapproved_change_target_group_id_fkey FOREIGN KEY (target_group_id) REFERENCES koppeling.target_group(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.webhook_inbox
    ADD CONSTRAINT webhook_inbox_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES koppeling.connector_instance(id) ON DELETE CASCADE;

GRANT USAGE ON SCHEMA koppeling TO koppeling_reader;
GRANT USAGE ON SCHEMA koppeling TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.abandon_jobs(p_worker bigint, p_consumer bigint, p_outcome text, p_note text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.acquire_permit(p_resource text, p_holder text, p_worker bigint, p_begin boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.archive_person(source text, external_id text, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.archive_person(source text, external_id text, p_actor text) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.are_job_entries(jobs jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.as_waiting(job koppeling.job, next_at timestamp with time zone, outcome text, note text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.beat(p_worker bigint, p_dead_after interval) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.begin_call_under_permit(p_permit bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.cancel_job(id bigint, reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.cancel_jobs(p_ids bigint[], p_reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.waiting_job(p_queue text, p_key text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.cancel_waiting(queue text, key text, reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.cancelled_jobs(p_worker bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.check_kinds(p_kinds text[], p_public boolean, p_prefixes text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.check_queue(numbers_back bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.check_schedule_is_public(p_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.claim_jobs(p_worker bigint, p_consumer bigint, p_limit integer, p_mark_kinds text[], p_mark_priorities integer[], p_mark_times timestamp with time zone[], p_suspects boolean, p_alone boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.complete_jobs(p_worker bigint, p_ids bigint[], p_claims integer[], p_outcomes text[], p_notes text[], p_delays double precision[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.drop_history_partition(p_partition text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.enqueue(kind text, args jsonb, queue text, key text, key_mode text, order_key text, limit_key text, run_at timestamp with time zone, priority integer, max_attempts integer) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.enqueue(kind text, args jsonb, queue text, key text, key_mode text, order_key text, limit_key text, run_at timestamp with time zone, priority integer, max_attempts integer) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.enqueue_internal_many(jobs jsonb, public_only boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.enqueue_each(jobs jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.enqueue_each(jobs jsonb) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.enqueue_internal(kind text, args jsonb, queue text, key text, key_mode text, order_key text, limit_key text, run_at timestamp with time zone, priority integer, max_attempts integer, public_only boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.enqueue_many(jobs jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.enqueue_many(jobs jsonb) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.enqueue_request(p_token bigint, p_key text, p_body jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.enqueue_rows(p_kinds text[], p_args jsonb[], p_queues text[], p_keys text[], p_key_modes text[], p_order_keys text[], p_limit_keys text[], p_run_ats timestamp with time zone[], p_priorities integer[], p_max_attempts integer[], p_public_only boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.enqueue_scheduled(s koppeling.job_schedule, run_at timestamp with time zone) FROM PUBLIC;

GRANT SELECT ON TABLE koppeling.job_retention TO koppeling_reader;

REVOKE ALL ON FUNCTION koppeling.history_tables() FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.history_partitions() FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.expired_history_partitions() FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.final_outcome(job koppeling.job, outcome text, note text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.fold_back(p_jobs koppeling.job[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.folded(waiting koppeling.job, back koppeling.job) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.held_back(p_by text, p_open bigint[], p_held bigint[], p_holders bigint[], p_locked bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.job_entry_fault(entry jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.limit_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.limit_was_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.look_for_work(p_worker bigint, p_mark_queues text[], p_mark_kinds text[], p_mark_priorities integer[], p_mark_times timestamp with time zone[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.make_history_partition(p_parent text, p_moment text, p_day date) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.make_history_partitions(p_ahead integer) FROM PUBLIC;

GRANT SELECT ON TABLE koppeling.jobs TO koppeling_reader;

REVOKE ALL ON FUNCTION koppeling.newest_jobs(max_jobs integer, state text, queue text, kind text, before bigint, key text) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.newest_jobs(max_jobs integer, state text, queue text, kind text, before bigint, key text) TO koppeling_reader;

REVOKE ALL ON FUNCTION koppeling.next_priority(p_queue text, p_kinds text[], p_after integer, p_mark_kinds text[], p_mark_priorities integer[], p_mark_times timestamp with time zone[], p_suspects boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.open_gates(p_queues text[], p_order_keys text[], p_limit_keys text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.open_kinds(p_queue text, p_kinds text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.open_limits(p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.open_stale_gates(p_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.pass_gates(p_queue text, p_ids bigint[], p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.pause(queue text, kind text, key text, reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.pause_ended() FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.pause_schedule(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.present_token(p_hash bytea) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.prune_history(p_max integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.put_jobs(p_jobs koppeling.job[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.put_person(person jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.put_person(person jsonb) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.put_persons(persons jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.put_persons(persons jsonb) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.put_repeated_jobs(p_jobs koppeling.job[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.put_schedule(name text, cron text, kind text, args jsonb, time_zone text, queue text, key text, key_mode text, order_key text, limit_key text, priority integer, max_attempts integer, missed text, paused boolean, public_only boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.put_schedule_object(name text, definition jsonb, public_only boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.reactivate_person(source text, external_id text, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.reactivate_person(source text, external_id text, p_actor text) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.register_consumer(p_worker bigint, p_queue text, p_kinds text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.register_worker(p_name text, p_host text, p_pid integer, p_version text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.release_parked(ids bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.release_permit(p_permit bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.remove_limit(limit_key text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.remove_schedule(name text, public_only boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.resume(queue text, kind text, key text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.resume_schedule(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.retry_job(id bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.retry_rejected(queue text, kind text, reason text, rejected_since timestamp with time zone, rejected_until timestamp with time zone, max_jobs integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.return_jobs(p_back bigint[], p_ids bigint[], p_outcomes text[], p_notes text[], p_delays double precision[], p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.room_under(l koppeling.job_limit) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.run_at_fault(jobs jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.run_due_schedules(p_limit integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.run_parked(p_actions bigint[], p_instance text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.run_schedule(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.set_limit(limit_key text, concurrency integer, rate integer, period interval) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.set_permit_budget(resource text, budget integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.set_retention(outcome text, keep interval) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.stop_worker(p_worker bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.throttle(p_resource text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.unblock(p_ids bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.unsubscribe_person(source text, external_id text, p_group text, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.unsubscribe_person(source text, external_id text, p_group text, p_actor text) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.wake(p_queues text[], p_kinds text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.wake_schedulers() FROM PUBLIC;

GRANT SELECT ON TABLE koppeling.actions TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.audience_members TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.instance_status TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.job_attempts TO koppeling_reader;

GRANT SELECT ON SEQUENCE koppeling.job_id_seq TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.limits TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.pauses TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.plan_lines TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.plans TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.queue_status TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.schedules TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.target_group_members TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.tasks TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.workers TO koppeling_reader;
