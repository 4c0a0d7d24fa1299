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

CREATE TYPE koppeling.company_input AS (
	line bigint,
	source text,
	external_id text,
	name text,
	categories text[],
	fields text[],
	company_id bigint
);

CREATE TYPE koppeling.criteria_values AS (
	categories bigint[],
	functions bigint[],
	departments bigint[],
	companies bigint[],
	company_categories bigint[],
	tags integer,
	circles integer,
	seats integer,
	placed boolean
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
	needed text,
	oscillates boolean,
	urgent boolean
);

CREATE TYPE koppeling.membership_difference AS (
	person_id bigint,
	state text,
	open_reasons text[],
	old_status text,
	old_via text,
	old_reasons text[],
	rule_match boolean,
	rule_id bigint,
	override text,
	ever_member boolean,
	status text,
	via text,
	reasons text[],
	changed boolean
);

CREATE TYPE koppeling.position_input AS (
	job_function text,
	department text,
	company text
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
	positions koppeling.position_input[],
	fields text[],
	person_id bigint,
	category_ids bigint[]
);

CREATE TYPE koppeling.position_row AS (
	person_id bigint,
	job_function_id bigint,
	department_id bigint,
	company_id bigint
);

CREATE TYPE koppeling.rule_criterion AS (
	"position" integer,
	kind text,
	value_id bigint,
	negated boolean
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

CREATE FUNCTION koppeling.accept_companies(p_companies jsonb, p_numbered boolean) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
    v_fault record;
    v_rows koppeling.company_input[];
    v_round koppeling.company_input[];
    v_place int := 0;
    v_touched bigint[] := '{}';
begin
    select * into v_fault from koppeling.company_shape_faults(p_companies) order by line limit 1;
    if not found then
        select koppeling.clean_companies(array_agg(row(
            p.line, p.company ->> 'source', p.company ->> 'id', p.company ->> 'name',
            array(select jsonb_array_elements_text(case jsonb_typeof(p.company -> 'categories')
                when 'array' then p.company -> 'categories' else '[]' end)),
            array(select jsonb_object_keys(p.company)), null)::koppeling.company_input))
        into v_rows
        from jsonb_array_elements(p_companies) with ordinality as p (company, line);
        select * into v_fault from koppeling.company_faults(v_rows) order by line limit 1;
    end if;
    if found then
        raise exception using errcode = 'invalid_parameter_value', column = coalesce(v_fault.field, ''),
            message = concat_ws(' ', case when p_numbered then format('company %s:', v_fault.line) else 'company:' end,
                'field "' || v_fault.field || '"', v_fault.message);
    end if;
    -- A company that is given more than once is put in that order, the later over the earlier.
    loop
        v_place := v_place + 1;
        select array_agg(p.company) into v_round
        from (
            select r as company, row_number() over (
                partition by coalesce(
                    coalesce(m.merged_into, m.id)::text,
                    koppeling.fold(r.source) || e'\x1f' || koppeling.fold(r.external_id))
                order by r.line) as place
            from unnest(v_rows) r
            left join koppeling.company m on koppeling.fold(m.source) = koppeling.fold(r.source)
                and koppeling.fold(m.external_id) = koppeling.fold(r.external_id)
        ) p
        where p.place = v_place;
        exit when v_round is null;
        v_touched := v_touched || (koppeling.put_company_rows(v_round)).touched;
    end loop;
    perform koppeling.note_value_changes('company', v_touched, 'put company');
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
    p_persons := koppeling.bare_anonymised(p_persons);
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
    v_rows := koppeling.take_anonymised(v_rows);
    -- A person who is given more than once is put in that order, the later over the earlier.
    loop
        v_place := v_place + 1;
        select array_agg(p.person) into v_round
        from (
            select r as person, row_number() over (
                partition by coalesce(
                    coalesce(m.merged_into, m.id)::text,
                    koppeling.fold(r.source) || e'\x1f' || koppeling.fold(r.external_id))
                order by r.line) as place
            from unnest(v_rows) r
            left join koppeling.person m on koppeling.fold(m.source) = koppeling.fold(r.source)
                and koppeling.fold(m.external_id) = koppeling.fold(r.external_id)
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

CREATE FUNCTION koppeling.fold(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (octet_length(value) = length(value)) THEN (lower((value COLLATE "C")) COLLATE "default") ELSE NORMALIZE((lower((NORMALIZE(value, NFC) COLLATE "und-x-icu")) COLLATE "default"), NFC) END;

CREATE FUNCTION koppeling.now() RETURNS timestamp with time zone
    LANGUAGE sql PARALLEL SAFE
    RETURN clock_timestamp();

CREATE TABLE koppeling.deployment (
    only_one boolean DEFAULT true NOT NULL,
    environment text NOT NULL,
    key_mark text NOT NULL,
    system_identifier bigint NOT NULL,
    database_oid oid NOT NULL,
    confirmed_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    confirmed_by text NOT NULL,
    noes_for_all_lists boolean DEFAULT false NOT NULL,
    changed text,
    changed_at timestamp with time zone,
    CONSTRAINT deployment_check CHECK (((changed IS NULL) = (changed_at IS NULL))),
    CONSTRAINT deployment_environment_check CHECK ((environment = ANY (ARRAY['production'::text, 'training'::text]))),
    CONSTRAINT deployment_only_one_check CHECK (only_one)
);

CREATE TABLE koppeling.training_address (
    pattern text NOT NULL,
    CONSTRAINT training_address_pattern_check CHECK ((((length(pattern) >= 1) AND (length(pattern) <= 254)) AND (pattern = koppeling.fold(pattern))))
);

CREATE FUNCTION koppeling.address_allowed(p_key text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN ((NOT (EXISTS (SELECT FROM koppeling.deployment d WHERE (d.environment = 'training'::text)))) OR (NOT (EXISTS (SELECT FROM koppeling.training_address))) OR (EXISTS (SELECT FROM koppeling.training_address t WHERE (address_allowed.p_key ~~ replace(regexp_replace(t.pattern, '([\\%_])'::text, '\\\1'::text, 'g'::text), '*'::text, '%'::text)))));

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

CREATE FUNCTION koppeling.is_plain(value text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (value ~ '^[\u0021-\u007e]+( [\u0021-\u007e]+)*$'::text);

CREATE FUNCTION koppeling.clean_text(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN koppeling.is_plain(value) THEN value ELSE NULLIF(btrim(regexp_replace(NORMALIZE(value, NFC), '[\u0001-\u0020\u007f-\u00a0\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]+'::text, ' '::text, 'g'::text)), ''::text) END;

CREATE FUNCTION koppeling.international_address_key(address text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((koppeling.fold(split_part(koppeling.clean_text(address), '@'::text, 1)) || '@'::text) || (SELECT string_agg(koppeling.ascii_label(labels.label), '.'::text ORDER BY labels.place) AS string_agg FROM regexp_split_to_table(NORMALIZE(koppeling.fold(split_part(koppeling.clean_text(international_address_key.address), '@'::text, 2)), NFKC), '\.'::text) WITH ORDINALITY labels(label, place)));

CREATE FUNCTION koppeling.address_key(address text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (octet_length(address) = length(address)) THEN (lower((btrim(address, ' 	
'::text) COLLATE "C")) COLLATE "default") ELSE koppeling.international_address_key(address) END;

CREATE FUNCTION koppeling.address_subject(address_key text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN concat_ws(''::text, 'address', address_key);

CREATE FUNCTION koppeling.adopt_key(p_marks text[]) RETURNS void
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 UPDATE koppeling.deployment d SET key_mark = (adopt_key.p_marks)[1]
   WHERE ((d.key_mark = ANY ((adopt_key.p_marks)[2:])) AND (d.changed IS NULL));
END;

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

CREATE FUNCTION koppeling.anonymised_input(p_line bigint, p_source text, p_id text) RETURNS koppeling.person_input
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ROW(p_line, p_source, p_id, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, '{}'::text[], '{}'::text[], '{}'::text[], '{}'::koppeling.position_input[], '{anonymised}'::text[], NULL::bigint, NULL::bigint[])::koppeling.person_input;

CREATE FUNCTION koppeling.apply_claims(p_instance bigint, p_changes koppeling.claim_change[], OUT touched bigint[], OUT made bigint[]) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    -- Apart, so that the planner knows how many there are of each.
    v_joins  koppeling.claim_change[] := array(select c from unnest(p_changes) c where c.change = 'join');
    v_edits  koppeling.claim_change[] := array(select c from unnest(p_changes) c where c.change in ('edit', 'empty'));
    v_leaves bigint[] := array(select c.person_id from unnest(p_changes) c where c.change = 'leave');
begin
    with gone as (
        delete from koppeling.claim c
        using unnest(v_leaves) l (person_id)
        where c.instance_id = p_instance and c.person_id = l.person_id
        returning c.member_id
    )
    select coalesce(array_agg(distinct member_id), '{}') into touched from gone;

    select touched || j.known, j.made into touched, made from koppeling.join_claims(p_instance, v_joins) j;

    with edited as (
        update koppeling.claim c set fields = d.fields, manual = d.manual,
               address = case when d.readdressed then c.address else d.address end
        from unnest(v_edits) d
        where c.instance_id = p_instance and c.person_id = d.person_id
        returning c.member_id
    )
    select touched || coalesce(array_agg(distinct member_id), '{}') into touched from edited;

    -- One after the other: the second of two who swap addresses must see what the first one took.
    select touched || coalesce(array_agg(r.member_id), '{}') into touched
    from (select * from unnest(v_edits) d where d.readdressed order by d.person_id) d
    cross join lateral koppeling.readdress_claim(p_instance, d.person_id, d.address, d.address_key) r (member_id);
end $$;

CREATE FUNCTION koppeling.apply_noes_to_all_lists(p_all boolean, p_actor text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_to bigint;
    v_from bigint;
    v_carried bigint := 0;
begin
    perform koppeling.lock_noes();
    update koppeling.deployment d set noes_for_all_lists = p_all where d.noes_for_all_lists <> p_all;
    if not found then
        return 0;
    end if;
    insert into koppeling.audit_entry (kind, new, actor, cause)
    values ('deployment.noes', to_jsonb(case when p_all then 'all lists' else 'each list' end), p_actor, 'set');
    if p_all then
        for v_to in select i.target_group_id from koppeling.connector_instance i order by i.target_group_id loop
            for v_from in
                select i.target_group_id from koppeling.connector_instance i where i.target_group_id <> v_to
                union
                select f.target_group_id from koppeling.former_link f where f.target_group_id <> v_to
                order by 1
            loop
                v_carried := v_carried
                    + koppeling.carry_noes(v_from, v_to, p_actor, koppeling.noes_for_all_lists());
            end loop;
        end loop;
    end if;
    return v_carried;
end $$;

CREATE FUNCTION koppeling.apply_plan(p_plan bigint, p_lines integer) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_plan     koppeling.change_plan;
    v_instance bigint;
    v_persons  bigint[];
    v_applied  record;
    v_is_last  boolean;
begin
    perform koppeling.lock_group(p.target_group_id) from koppeling.change_plan p where p.id = p_plan;
    select * into v_plan from koppeling.change_plan where id = p_plan for update;
    if not found or v_plan.state <> 'approved' then
        return false;
    end if;
    v_persons := koppeling.next_persons(p_plan, v_plan.applied_through, p_lines);
    v_is_last := cardinality(v_persons) < p_lines;
    if cardinality(v_persons) > 0 then
        select id into strict v_instance from koppeling.connector_instance
        where target_group_id = v_plan.target_group_id;
        -- Only what was approved: for who changed since, it was decided when that happened.
        select * into v_applied
        from koppeling.apply_claims(v_instance, koppeling.changes_due(v_instance, v_persons, true, false));
        perform koppeling.stage_members(v_instance, v_applied.touched, v_applied.made);
    end if;
    update koppeling.change_plan
    set applied_through = coalesce(v_persons[cardinality(v_persons)], applied_through),
        state = case when v_is_last then 'applied' else state end, changed_at = koppeling.now()
    where id = p_plan;
    return not v_is_last;
end $$;

CREATE FUNCTION koppeling.approve_plan(p_plan bigint, p_version integer, p_actor text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_plan    koppeling.change_plan := koppeling.require_held_plan(p_plan, p_version);
    v_persons bigint;
begin
    if exists (select from koppeling.change_plan p
               where p.target_group_id = v_plan.target_group_id and p.state = 'approved') then
        raise exception using errcode = 'KS001',
            message = format('an earlier plan of the group is still being applied: plan %s has to wait', p_plan),
            hint = 'Approve it when that one is applied.';
    end if;
    select count(*) into v_persons from koppeling.change_plan_line where plan_id = p_plan;
    update koppeling.change_plan
    set state = 'approved', decided_at = koppeling.now(), decided_by = p_actor, changed_at = koppeling.now()
    where id = p_plan;
    update koppeling.connector_instance set activated = true where target_group_id = v_plan.target_group_id;
    insert into koppeling.audit_entry (target_group_id, kind, new, actor, cause)
    values (v_plan.target_group_id, 'plan.approved',
            jsonb_build_object('plan', p_plan, 'version', p_version, 'persons', v_persons), p_actor, 'plan ' || p_plan);
    if koppeling.apply_plan(p_plan, 250) then
        perform koppeling.enqueue_internal('plan.apply', jsonb_build_object('plan', p_plan), key => 'plan-' || p_plan,
            priority => -10);
    end if;
    return v_persons;
end $$;

CREATE FUNCTION koppeling.archive_person(source text, external_id text, p_actor text DEFAULT SESSION_USER) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_person bigint := koppeling.lock_person(koppeling.require_person(source, external_id));
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
    perform koppeling.request_evaluation(array[v_person], 'archive', true);
    return v_person;
end $$;

CREATE FUNCTION koppeling.are_few(p_persons bigint[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE((cardinality(p_persons) <= 100), false);

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

CREATE FUNCTION koppeling.array_without(p_these bigint[], p_those bigint[]) RETURNS bigint[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '64MB'
    AS $$
begin
    if p_these = '{}' or p_those = '{}' then
        return p_these;
    end if;
    -- In the list of columns, or they would be stored once more before they are joined.
    return array(
        select t.person_id from (select unnest(p_these) as person_id) t
        where not exists (select from (select unnest(p_those) as person_id) o where o.person_id = t.person_id));
end $$;

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

CREATE FUNCTION koppeling.await_first_puts(p_rows koppeling.person_input[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    insert into koppeling.person (source, external_id)
    select r.source, r.external_id
    from unnest(p_rows) r
    where koppeling.find_person(r.source, r.external_id) is null
    -- In the order of a put, so that no two wait for each other.
    order by koppeling.fold(r.source), koppeling.fold(r.external_id)
    on conflict (koppeling.fold(source), koppeling.fold(external_id)) do nothing;
    if found then
        raise exception using errcode = 'KE001', message = 'taken back';
    end if;
exception when sqlstate 'KE001' then
    null;
end $$;

CREATE TABLE koppeling.erasure_check (
    person_id bigint NOT NULL
);

CREATE FUNCTION koppeling.awaits_check(p_person bigint) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN (EXISTS (SELECT FROM koppeling.erasure_check q WHERE (q.person_id = awaits_check.p_person)));

CREATE FUNCTION koppeling.bare_anonymised(p_persons jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN jsonb_path_exists(p_persons, '$[*]?(@."anonymised" == true)'::jsonpath) THEN (SELECT jsonb_agg(CASE WHEN (p.person @> '{"anonymised": true}'::jsonb) THEN jsonb_strip_nulls(jsonb_build_object('anonymised', true, 'source', (p.person -> 'source'::text), 'id', (p.person -> 'id'::text))) ELSE p.person END ORDER BY p.n) AS jsonb_agg FROM jsonb_array_elements(bare_anonymised.p_persons) WITH ORDINALITY p(person, n)) ELSE p_persons END;

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

CREATE FUNCTION koppeling.member_states(p_members bigint[]) RETURNS TABLE(id bigint, instance_id bigint, contact_id text, remote_id text, address text, address_key text, file_key text, status text, ownership text, archived_by_us boolean, intent text, moving_to text, applied_fields jsonb, claims bigint, wanted_address text, wanted_key text, wanted_fields jsonb, reasons text[], target_reasons text[], unsubscribe_here boolean, reactivated boolean, keeps_adopted boolean, restores_no boolean, intent_at timestamp with time zone, opted_in_at timestamp with time zone, web_id_seen bigint, own_source text, is_erased boolean, invited_at timestamp with time zone)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
#variable_conflict use_column
begin
    return query
    select (f.known).id, (f.known).instance_id, (f.known).contact_id, (f.known).remote_id, (f.known).address,
           (f.known).address_key, (f.known).file_key, (f.known).status, (f.known).ownership, (f.known).archived_by_us,
           (f.known).intent, (f.known).moving_to, (f.known).applied_fields, f.claims, f.wanted_address, f.wanted_key,
           f.wanted_fields, f.reasons, f.target_reasons, f.unsubscribe_here, f.reactivated, f.keeps_adopted,
           f.restores_no, (f.known).intent_at, (f.known).opted_in_at, f.web_id_seen, f.own_source,
           (f.known).erasure_id is not null,
           case when f.has_invitation then koppeling.invited_at((f.known).id) end
    from koppeling.member_facts(p_members) f;
end $$;

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
    archived_at timestamp with time zone,
    archived_before timestamp with time zone,
    opted_in_at timestamp with time zone,
    subscribing_at timestamp with time zone,
    web_id_before bigint,
    newness_unseen boolean DEFAULT false NOT NULL,
    note text,
    erasure_id bigint,
    erased_keys text[],
    sweep bigint DEFAULT 0 NOT NULL,
    CONSTRAINT audience_member_check CHECK (((NOT archived_by_us) OR (status = 'archived'::text))),
    CONSTRAINT audience_member_check1 CHECK (((intent IS NULL) = (intent_at IS NULL))),
    CONSTRAINT audience_member_intent_check CHECK ((intent = ANY (ARRAY['creating'::text, 'updating'::text, 'moving'::text, 'archiving'::text, 'unsubscribing'::text, 'inviting'::text, 'erasing'::text]))),
    CONSTRAINT audience_member_ownership_check CHECK ((ownership = ANY (ARRAY['none'::text, 'created'::text, 'adopted'::text, 'foreign'::text]))),
    CONSTRAINT audience_member_status_check CHECK ((status = ANY (ARRAY['absent'::text, 'subscribed'::text, 'unsubscribed'::text, 'cleaned'::text, 'pending'::text, 'transactional'::text, 'archived'::text])))
);

CREATE FUNCTION koppeling.begin_call(p_member bigint, p_intent text, p_fields jsonb, p_key text) RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 UPDATE koppeling.audience_member m SET intent = begin_call.p_intent, intent_at = koppeling.now(), sent_fields = begin_call.p_fields, applied_fields =
         CASE
             WHEN (begin_call.p_intent = ANY (ARRAY['creating'::text, 'updating'::text, 'moving'::text])) THEN NULL::jsonb
             ELSE m.applied_fields
         END, subscribing_at =
         CASE
             WHEN (begin_call.p_intent = 'creating'::text) THEN koppeling.now()
             ELSE m.subscribing_at
         END
    FROM koppeling.member_states(ARRAY[begin_call.p_member]) s(id, instance_id, contact_id, remote_id, address, address_key, file_key, status, ownership, archived_by_us, intent, moving_to, applied_fields, claims, wanted_address, wanted_key, wanted_fields, reasons, target_reasons, unsubscribe_here, reactivated, keeps_adopted, restores_no, intent_at, opted_in_at, web_id_seen, own_source, is_erased, invited_at)
   WHERE ((m.id = begin_call.p_member) AND
         CASE begin_call.p_intent
             WHEN 'creating'::text THEN ((s.claims > 0) AND (s.reasons = '{}'::text[]) AND (s.wanted_fields = begin_call.p_fields) AND (s.wanted_key = begin_call.p_key))
             WHEN 'updating'::text THEN ((s.claims > 0) AND (s.wanted_fields = begin_call.p_fields))
             WHEN 'moving'::text THEN ((s.claims > 0) AND (s.reasons = '{}'::text[]) AND (s.target_reasons = '{}'::text[]) AND (s.moving_to = begin_call.p_key) AND (s.wanted_key = begin_call.p_key))
             WHEN 'archiving'::text THEN (((s.claims = 0) AND (s.status = 'subscribed'::text)) OR (s.moving_to IS NOT NULL))
             WHEN 'unsubscribing'::text THEN (s.unsubscribe_here OR s.restores_no)
             WHEN 'erasing'::text THEN (s.is_erased AND (s.claims = 0))
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

CREATE FUNCTION koppeling.begin_consent(p_group bigint, p_account bigint, p_list text, p_others boolean, p_actor text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_carried bigint;
begin
    perform koppeling.lock_noes();
    select coalesce(sum(koppeling.carry_noes(g.target_group_id, p_group, p_actor, g.reasons)), 0) into v_carried
    from koppeling.groups_to_carry_from(p_account, p_list, p_others) g
    where g.target_group_id <> p_group;
    if exists (select from koppeling.erasure) then
        perform koppeling.enqueue_internal('erasure.check', jsonb_build_object('group', p_group),
            key => 'erasure.check.' || p_group, order_key => 'erasure.check');
    end if;
    return v_carried;
end $$;

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
        set intent = 'creating', intent_at = koppeling.now(), sent_fields = s.wanted_fields,
            applied_fields = null, subscribing_at = koppeling.now(), web_id_before = i.web_id_seen
        from koppeling.member_states(p_members) s
        join koppeling.connector_instance i on i.id = s.instance_id and koppeling.pulled_recently(i.last_pull_at)
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

CREATE FUNCTION koppeling.begin_import() RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    create temporary table import_row (
        line bigint primary key,
        source text,
        external_id text,
        name text,
        given_name text,
        initials text,
        prefixes text,
        family_name text,
        gender text,
        addresses text,
        categories text,
        job_function text,
        department text,
        company text,
        anonymised text,
        fault text
    ) on commit drop;
    -- Of a list: whose it is, and the first line of hers.
    create temporary table import_list (line bigint primary key, person text, first bigint) on commit drop;
    create temporary table import_fault (line bigint, field text, message text) on commit drop;
    create index on import_fault (line);
    create temporary table import_change (id bigint) on commit drop;
end $$;

CREATE FUNCTION koppeling.begin_invitation(p_member bigint) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    perform koppeling.lock_group(i.target_group_id)
    from koppeling.audience_member m
    join koppeling.connector_instance i on i.id = m.instance_id
    where m.id = p_member;
    if not exists (
        select from koppeling.member_states(array[p_member]) s
        where s.invited_at is not null and not s.unsubscribe_here and not s.restores_no)
    then
        return false;
    end if;
    update koppeling.invitation v set sent_at = koppeling.now(), opted_in_before = m.opted_in_at
    from koppeling.audience_member m
    where m.id = p_member and v.id in (select h.id from koppeling.valid_invitations(p_member) h);
    update koppeling.audience_member m
    set intent = 'inviting', intent_at = koppeling.now(), sent_fields = null
    where m.id = p_member;
    return true;
end $$;

CREATE FUNCTION koppeling.begin_pass() RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT pg_advisory_xact_lock_shared(hashtextextended('koppeling.pass'::text, (0)::bigint)) AS pg_advisory_xact_lock_shared;
END;

CREATE FUNCTION koppeling.begin_with_noes() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    perform koppeling.lock_group(koppeling.every_group());
    perform koppeling.carry_noes(koppeling.every_group(), new.id, 'system');
    return null;
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
        v_address, v_member.contact_id, koppeling.claimants(v_member.id), 'mailchimp',
        -- The reading that comes before it says when it was.
        case when v_member.status in ('unsubscribed', 'cleaned') then coalesce(v_member.last_changed, koppeling.now())
             else koppeling.now() end,
        jsonb_build_object('hook', v_type));
end $$;

CREATE FUNCTION koppeling.bind_carried(p_entries bigint[]) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_holders bigint[] := array(
        select distinct e.person_id
        from koppeling.suppression s
        join koppeling.email_address e on e.address_key = s.address_key
        where s.id = any (p_entries));
    v_claimants bigint[] := koppeling.bind_claimants(array(
        select m.id
        from koppeling.suppression s
        join koppeling.connector_instance i on i.target_group_id = s.target_group_id
        join koppeling.audience_member m on m.instance_id = i.id and m.address_key = s.address_key
        where s.id = any (p_entries)));
begin
    perform koppeling.bind_holders(v_holders);
    insert into koppeling.holder_check (suppression_id)
    select s.id from koppeling.suppression s where s.id = any (p_entries) and s.address_key is not null;
    if found then
        perform koppeling.enqueue(kind => 'group.evaluate');
    end if;
    return v_holders || v_claimants || array(
        select s.person_id from koppeling.suppression s where s.id = any (p_entries) and s.person_id is not null);
end $$;

CREATE FUNCTION koppeling.bind_claimants(p_members bigint[]) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
declare
    v_bound bigint[];
begin
    with claimed as (
        select i.target_group_id, c.person_id, m.contact_id, m.address_key
        from unnest(p_members) g (id)
        cross join lateral (select * from koppeling.claim c where c.member_id = g.id offset 0) c
        cross join lateral (select * from koppeling.audience_member m where m.id = g.id offset 0) m
        join koppeling.connector_instance i on i.id = m.instance_id
    ), bound as (
        insert into koppeling.suppression (
            target_group_id, reason, person_id, follows, source, occurred_at, detail)
        select distinct on (s.target_group_id, s.reason, c.person_id)
            s.target_group_id, s.reason, c.person_id, s.id, s.source, s.occurred_at, '{"because": "contact"}'
        from claimed c
        cross join lateral (
            select o.* from koppeling.open_suppression o
            where o.target_group_id = c.target_group_id and o.contact_id = c.contact_id
            union all
            select o.* from koppeling.open_suppression o
            where o.target_group_id = c.target_group_id and o.address_key = c.address_key
        ) s
        where s.reason = any (koppeling.binding_noes())
            and not exists (
                select from koppeling.open_suppression o
                where o.target_group_id = s.target_group_id and o.reason = s.reason and o.person_id = c.person_id
                    and koppeling.covers(o.occurred_at, s.reason, s.occurred_at))
        order by s.target_group_id, s.reason, c.person_id, s.occurred_at desc, s.id
        returning person_id
    )
    select coalesce(array_agg(distinct b.person_id), '{}') into v_bound from bound b;
    return v_bound;
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
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
begin
    insert into koppeling.suppression (
        target_group_id, reason, person_id, follows, source, occurred_at, detail)
    select distinct on (s.target_group_id, s.reason, e.person_id)
        s.target_group_id, s.reason, e.person_id, s.id, s.source, s.occurred_at, '{"because": "address"}'
    from unnest(p_persons) g (id)
    cross join lateral (select * from koppeling.email_address e where e.person_id = g.id offset 0) e
    cross join lateral (select * from koppeling.open_suppression s where s.address_key = e.address_key offset 0) s
    where s.reason = any (koppeling.binding_noes())
        and not exists (
            select from koppeling.open_suppression o
            where o.target_group_id = s.target_group_id and o.reason = s.reason and o.person_id = e.person_id
                and koppeling.covers(o.occurred_at, s.reason, s.occurred_at))
    order by s.target_group_id, s.reason, e.person_id, s.occurred_at desc, s.id;
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

CREATE FUNCTION koppeling.binding_entries(p_group bigint, p_person bigint, p_at timestamp with time zone) RETURNS SETOF koppeling.suppression
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
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
   WHERE ((s.target_group_id = binding_entries.p_group) AND (s.recorded_at <= binding_entries.p_at) AND (s.id IN ( SELECT o.id
            FROM koppeling.suppression o
           WHERE (o.person_id = binding_entries.p_person)
         UNION ALL
          SELECT o.id
            FROM (koppeling.email_address e
              JOIN koppeling.suppression o ON ((o.address_key = e.address_key)))
           WHERE (e.person_id = binding_entries.p_person)
         UNION ALL
          SELECT o.id
            FROM ((koppeling.claim c
              JOIN koppeling.audience_member m ON ((m.id = c.member_id)))
              JOIN koppeling.suppression o ON (((o.target_group_id = binding_entries.p_group) AND (o.contact_id = m.contact_id))))
           WHERE (c.person_id = binding_entries.p_person))) AND (NOT (EXISTS ( SELECT
            FROM koppeling.suppression_lift l
           WHERE ((l.suppression_id = s.id) AND (l.lifted_at <= binding_entries.p_at))))));
END;

CREATE FUNCTION koppeling.binding_noes() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY['complained'::text, 'unsubscribed'::text, 'forgotten'::text];

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

CREATE TABLE koppeling.spreading_no (
    suppression_id bigint NOT NULL
);

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
           WHERE ((s_1.target_group_id = binding_reasons.p_group) AND (s_1.reason = ANY (koppeling.binding_noes())) AND (s_1.person_id = ANY (ARRAY( SELECT e.person_id
                    FROM koppeling.email_address e
                   WHERE (e.address_key = binding_reasons.p_key)
                 UNION ALL
                  SELECT c.person_id
                    FROM koppeling.claim c
                   WHERE (c.member_id = binding_reasons.p_member)))))
         UNION ALL
          SELECT s_1.reason
            FROM (koppeling.spreading_no w
              JOIN koppeling.suppression s_1 ON ((s_1.id = w.suppression_id)))
           WHERE ((s_1.address_key = binding_reasons.p_key) OR (s_1.person_id = ANY (ARRAY( SELECT e.person_id
                    FROM koppeling.email_address e
                   WHERE (e.address_key = binding_reasons.p_key)
                 UNION ALL
                  SELECT c.person_id
                    FROM koppeling.claim c
                   WHERE (c.member_id = binding_reasons.p_member)))))) s;
END;

CREATE FUNCTION koppeling.brake(p_instance bigint, p_joins bigint, p_removals bigint) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    i          koppeling.connector_instance;
    v_joins    bigint;
    v_removals bigint;
    v_claims   bigint;
begin
    if p_joins + p_removals = 0 then
        return null;
    end if;
    select * into i from koppeling.connector_instance where id = p_instance;
    if not i.activated then
        return 'first activation';
    end if;
    select p_joins + coalesce(sum(u.joins), 0), p_removals + coalesce(sum(u.removals), 0) into v_joins, v_removals
    from koppeling.unapproved_change u
    where u.target_group_id = i.target_group_id and u.at > koppeling.now() - interval '1 day';
    if p_removals > 0 and v_removals > i.removals_cap then
        return format('%s removals within a day, more than %s', v_removals, i.removals_cap);
    elsif p_joins > 0 and v_joins > i.joins_cap then
        return format('%s joins within a day, more than %s', v_joins, i.joins_cap);
    elsif (p_removals > 0 and v_removals > i.removals_count) or (p_joins > 0 and v_joins > i.joins_count) then
        -- Not before it matters, and no further: counting a large list takes longer than all the rest.
        select count(*) into v_claims
        from (select from koppeling.claim c where c.instance_id = p_instance
              limit ceil(greatest(v_removals, v_joins) / nullif(least(i.removals_share, i.joins_share), 0))) c;
        if p_removals > 0 and v_removals > greatest(i.removals_count, i.removals_share * v_claims) then
            return format('%s removals within a day of %s members', v_removals, v_claims);
        elsif p_joins > 0 and v_joins > greatest(i.joins_count, i.joins_share * v_claims) then
            return format('%s joins within a day with %s members', v_joins, v_claims);
        end if;
    end if;
    return null;
end $$;

CREATE TABLE koppeling.criterion (
    id bigint NOT NULL,
    rule_id bigint NOT NULL,
    kind text NOT NULL,
    value_id bigint NOT NULL,
    negated boolean DEFAULT false NOT NULL,
    CONSTRAINT criterion_kind_check CHECK ((kind = ANY (ARRAY['function'::text, 'department'::text, 'company'::text, 'personCategory'::text, 'companyCategory'::text])))
);

CREATE FUNCTION koppeling.can_match(p_criteria koppeling.criterion[], p_asked koppeling.criteria_values) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select coalesce(cardinality(p_criteria), 0) > 0 and cardinality(p_asked.functions) <= 1
        and cardinality(p_asked.departments) <= 1 and cardinality(p_asked.companies) <= 1
$$;

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

CREATE FUNCTION koppeling.capitalised(name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (name ~~ 'ij%'::text) THEN ('IJ'::text || substr(name, 3)) ELSE ((upper(("left"(name, 1) COLLATE "und-x-icu")) COLLATE "default") || substr(name, 2)) END;

CREATE FUNCTION koppeling.carry_noes(p_from bigint, p_to bigint, p_actor text, p_reasons text[] DEFAULT koppeling.binding_noes()) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_carried bigint[];
    v_persons bigint[];
begin
    perform koppeling.lock_group(p_to);
    with carried as (
        insert into koppeling.suppression (
            target_group_id, reason, address_key, person_id, follows, source, occurred_at, detail)
        select p_to, n.reason, n.address_key, n.person_id, n.entry, n.source, n.occurred_at,
               jsonb_build_object('carried', p_from, 'actor', p_actor)
        from koppeling.portable_noes(p_from) n
        where n.reason = any (p_reasons)
          and not exists (
              select from koppeling.open_suppression o
              where o.target_group_id = p_to and o.reason = n.reason and o.address_key = n.address_key
                and o.occurred_at >= n.occurred_at
                -- A user's word stands beside what Mailchimp said.
                and (n.source <> 'user' or o.source = 'user'))
          and not exists (
              select from koppeling.open_suppression o
              where o.target_group_id = p_to and o.reason = n.reason and o.person_id = n.person_id
                and o.occurred_at >= n.occurred_at)
        returning id
    )
    select coalesce(array_agg(id), '{}') into v_carried from carried;
    if v_carried <> '{}' then
        v_persons := koppeling.bind_carried(v_carried);
        perform koppeling.decline_carried(v_carried);
        perform koppeling.rederive(p_to, array(
            select m.person_id from koppeling.membership m
            where m.target_group_id = p_to and m.person_id = any (v_persons)), 'carried', p_actor);
        perform koppeling.stage_carried(v_carried);
    end if;
    return cardinality(v_carried);
end $$;

CREATE FUNCTION koppeling.category_parts(label text, OUT category_group text, OUT name text) RETURNS record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ROW(CASE WHEN (strpos(label, '/'::text) > 0) THEN koppeling.clean_text(split_part(label, '/'::text, 1)) ELSE NULL::text END, CASE WHEN (strpos(label, '/'::text) > 0) THEN koppeling.clean_text(substr(label, (strpos(label, '/'::text) + 1))) ELSE NULL::text END);

CREATE FUNCTION koppeling.clean_addresses(cell text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY(SELECT koppeling.clean_text(u.a) AS clean_text FROM unnest(string_to_array(clean_addresses.cell, ''::text, ''::text)) WITH ORDINALITY u(a, n) ORDER BY u.n);

CREATE FUNCTION koppeling.cell_addresses(cell text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN koppeling.is_plain(cell) THEN ARRAY[cell] ELSE koppeling.clean_addresses(cell) END;

CREATE FUNCTION koppeling.cell_boolean(cell text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (koppeling.fold(koppeling.clean_text(cell)) = ANY (ARRAY['true'::text, 'yes'::text, 'ja'::text, 'waar'::text, '1'::text])) THEN true WHEN (koppeling.fold(koppeling.clean_text(cell)) = ANY (ARRAY['false'::text, 'no'::text, 'nee'::text, 'onwaar'::text, '0'::text])) THEN false ELSE NULL::boolean END;

CREATE FUNCTION koppeling.clean_labels(cell text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY(SELECT DISTINCT koppeling.clean_text(t.t) AS clean_text FROM unnest(string_to_array(translate(clean_labels.cell, ';|'::text, ''::text), ''::text)) t(t) WHERE (koppeling.clean_text(t.t) IS NOT NULL));

CREATE FUNCTION koppeling.cell_labels(cell text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (cell IS NULL) THEN '{}'::text[] WHEN koppeling.is_plain(cell) THEN array_remove(regexp_split_to_array(cell, ' ?[;|] ?'::text), ''::text) ELSE koppeling.clean_labels(cell) END;

CREATE FUNCTION koppeling.clean_positions(job_functions text, departments text, companies text) RETURNS koppeling.position_input[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY(SELECT ROW(koppeling.clean_text(u.f), koppeling.clean_text(u.d), koppeling.clean_text(u.c))::koppeling.position_input AS "row" FROM UNNEST(string_to_array(clean_positions.job_functions, ''::text), string_to_array(clean_positions.departments, ''::text), string_to_array(clean_positions.companies, ''::text)) u(f, d, c) WHERE (koppeling.clean_text(concat(u.f, u.d, u.c)) IS NOT NULL));

CREATE FUNCTION koppeling.cell_positions(job_functions text, departments text, companies text) RETURNS koppeling.position_input[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (num_nonnulls(job_functions, departments, companies) = 0) THEN '{}'::koppeling.position_input[] WHEN (((job_functions IS NULL) OR koppeling.is_plain(job_functions)) AND ((departments IS NULL) OR koppeling.is_plain(departments)) AND ((companies IS NULL) OR koppeling.is_plain(companies))) THEN ARRAY[ROW(job_functions, departments, companies)::koppeling.position_input] ELSE koppeling.clean_positions(job_functions, departments, companies) END;

CREATE FUNCTION koppeling.changes_due(p_instance bigint, p_persons bigint[], p_exempt_only boolean, p_by_hand boolean) RETURNS koppeling.claim_change[]
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
begin
    return array(
        select row (d.person_id, d.change, d.address, d.address_key, d.fields, d.manual, d.member_id,
                    d.readdressed)::koppeling.claim_change
        from koppeling.claim_difference(p_instance, p_persons, p_by_hand) d
        where d.exempt or not p_exempt_only);
end $$;

CREATE FUNCTION koppeling.check_claim_members() RETURNS trigger
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
begin
    if (select count(*) from (select from given g
                              join koppeling.audience_member m on m.id = g.member_id and m.instance_id = g.instance_id
                              for key share of m) m)
        < (select count(*) from given)
    then
        perform koppeling.refuse_reference(tg_table_name, 'member_id');
    end if;
    return null;
end $$;

CREATE FUNCTION koppeling.check_deployment(p_marks text[], p_environment text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_difference text;
begin
    insert into koppeling.deployment (environment, key_mark, system_identifier, database_oid, confirmed_by)
    select p_environment, p_marks[1], c.system_identifier, o.oid, 'first use'
    from pg_control_system() c
    join pg_database o on o.datname = current_database()
    where not exists (select from koppeling.deployment)
    on conflict do nothing;
    v_difference := nullif(koppeling.deployment_difference(p_marks, p_environment), '');
    if v_difference is null then
        -- Also when the settings are as they were again: somebody has to look all the same.
        return (select d.changed from koppeling.deployment d);
    end if;
    update koppeling.deployment d set changed = v_difference, changed_at = koppeling.now()
    where d.changed is distinct from v_difference;
    if found then
        update koppeling.connector_instance i set enabled = false where i.enabled;
        insert into koppeling.audit_entry (kind, new, actor, cause)
        values ('deployment.changed', to_jsonb(v_difference), 'system', 'all instances were turned off');
    end if;
    return v_difference;
end $$;

CREATE FUNCTION koppeling.check_erasures(p_key bytea, p_limit bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_pads record := koppeling.hash_pads(p_key);
    v_persons bigint[];
    v_again record;
    v_given record;
    v_counted bigint := koppeling.count_anonymised(v_pads.inner_pad, v_pads.outer_pad, p_limit);
begin
    with taken as (
        delete from koppeling.erasure_check where person_id = any (array(
            select person_id from koppeling.erasure_check order by person_id limit p_limit for update skip locked))
        returning person_id
    )
    select coalesce(array_agg(person_id order by person_id), '{}') into v_persons from taken;

    for v_again in
        select p.id, h.erasure_id
        from koppeling.person p
        join koppeling.erased_hash h on h.subject = 'identity' and h.hash = koppeling.keyed_hash(
            v_pads.inner_pad, v_pads.outer_pad, koppeling.identity_subject(p.source, p.external_id))
        where p.id = any (v_persons) and p.state <> 'erased'
        order by p.id
    loop
        perform koppeling.wipe_person(v_again.id, null, v_again.erasure_id, 'erasure check');
        -- Nobody knew the number: not even an empty record is left.
        delete from koppeling.membership m where m.person_id = v_again.id;
        delete from koppeling.audit_entry a where a.person_id = v_again.id;
        delete from koppeling.person p where p.id = v_again.id;
        update koppeling.erasure e
        set puts_skipped = e.puts_skipped + 1, last_skipped_at = koppeling.now()
        where e.id = v_again.erasure_id;
    end loop;

    for v_given in
        select g.id as group_id, e.person_id, e.address
        from koppeling.email_address e
        join koppeling.erased_hash h on h.subject = 'address' and h.hash = koppeling.keyed_hash(
            v_pads.inner_pad, v_pads.outer_pad, koppeling.address_subject(e.address_key))
        cross join koppeling.target_group g
        where e.person_id = any (v_persons) and g.linked
        order by g.id, e.person_id, e.kind
    loop
        perform koppeling.open_suppression(v_given.group_id, 'forgotten', v_given.address, null,
            array[v_given.person_id], 'user', koppeling.now(), '{"because": "erased"}');
    end loop;

    -- What waited for this may follow now, by what caused it where that waits still.
    insert into koppeling.evaluation_request (person_id, cause)
    select p.id, 'erasure check'
    from koppeling.person p
    where p.id = any (v_persons) and p.state <> 'erased'
    order by p.id
    on conflict (person_id) do nothing;
    perform koppeling.enqueue(kind => 'group.evaluate', key => 'evaluate', order_key => 'evaluate')
    where v_persons <> '{}';
    return cardinality(v_persons) + v_counted;
end $$;

CREATE FUNCTION koppeling.check_given_addresses() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    if exists (select from koppeling.erasure) then
        perform koppeling.request_erasure_check(array(select n.person_id from given n));
    end if;
    return null;
end $$;

CREATE FUNCTION koppeling.check_group(p_group bigint) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
declare
    v_rules bigint := case when koppeling.check_rules(p_group) then p_group end;
    -- Null: everybody. A member by a rule, against whom nothing stands, is right when the match is.
    v_doubtful bigint[];
    v_persons bigint[];
begin
    if v_rules is null or koppeling.matches_are_noted(p_group) then
        v_doubtful := array(
            select m.person_id from koppeling.membership m
            where m.target_group_id = p_group
                and (m.via is distinct from 'rule' or m.override <> 'none' or not m.rule_match)
            union
            select m.person_id
            from (
                select o.person_id from koppeling.open_reasons(p_group, true, null) o
                union all
                select p.id from koppeling.person p where p.state <> 'active'
            ) barred
            join koppeling.membership m on m.target_group_id = p_group and m.person_id = barred.person_id);
    end if;
    select coalesce(array_agg(d.person_id), '{}') into v_persons
    from koppeling.membership_differences(p_group, v_rules, v_doubtful, null) d
    where not exists (select from koppeling.evaluation_request q where q.person_id = d.person_id)
        and not exists (
            select from koppeling.holder_check h
            join koppeling.suppression s on s.id = h.suppression_id
            join koppeling.email_address e on e.address_key = s.address_key
            where e.person_id = d.person_id);
    if cardinality(v_persons) > 0 then
        perform koppeling.refresh_memberships(p_group, v_persons, 'check', 'check');
    end if;
    insert into koppeling.group_check as c (target_group_id, checked_at, defects, all_defects)
    select g.id, koppeling.now(), cardinality(v_persons), cardinality(v_persons)
    from koppeling.target_group g where g.id = p_group
    on conflict (target_group_id) do update
    set checked_at = excluded.checked_at, defects = excluded.defects, all_defects = c.all_defects + excluded.defects;
    return cardinality(v_persons);
end $$;

CREATE FUNCTION koppeling.check_group_erasures(p_key bytea, p_group bigint, p_after bigint, p_limit bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_pads record := koppeling.hash_pads(p_key);
    v_persons bigint[] := array(
        select distinct e.person_id from koppeling.email_address e
        where e.person_id > p_after order by e.person_id limit p_limit);
    v_given record;
begin
    for v_given in
        select e.person_id, e.address
        from koppeling.email_address e
        join koppeling.erased_hash h on h.subject = 'address' and h.hash = koppeling.keyed_hash(
            v_pads.inner_pad, v_pads.outer_pad, koppeling.address_subject(e.address_key))
        where e.person_id = any (v_persons)
          and exists (select from koppeling.target_group g where g.id = p_group)
        order by e.person_id, e.kind
    loop
        perform koppeling.open_suppression(p_group, 'forgotten', v_given.address, null, array[v_given.person_id],
            'user', koppeling.now(), '{"because": "erased"}');
    end loop;
    return v_persons[cardinality(v_persons)];
end $$;

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

CREATE FUNCTION koppeling.check_line_plans() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    if (select count(*) from (select from koppeling.change_plan p
                              where p.id in (select g.plan_id from given g) order by p.id for key share) p)
        < (select count(distinct g.plan_id) from given g)
    then
        perform koppeling.refuse_reference(tg_table_name, 'plan_id');
    end if;
    return null;
end $$;

CREATE FUNCTION koppeling.check_member_instances() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    if (select count(*) from (select from koppeling.connector_instance i
                              where i.id in (select g.instance_id from given g) order by i.id for key share) i)
        < (select count(distinct g.instance_id) from given g)
    then
        perform koppeling.refuse_reference(tg_table_name, 'instance_id');
    end if;
    return null;
end $$;

CREATE FUNCTION koppeling.check_new_persons() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    if exists (select from koppeling.erasure) then
        perform koppeling.request_erasure_check(array(select n.id from given n));
    end if;
    return null;
end $$;

CREATE FUNCTION koppeling.check_person_categories() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    if (select count(*) from (select from koppeling.category k
                              where k.id in (select g.category_id from given g) order by k.id for key share) k)
        < (select count(distinct g.category_id) from given g)
    then
        perform koppeling.refuse_reference(tg_table_name, 'category_id');
    end if;
    return null;
end $$;

CREATE FUNCTION koppeling.check_position_values() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    if (select count(*) from (select from koppeling.job_function f
                              where f.id in (select g.job_function_id from given g) order by f.id for key share) f)
        < (select count(distinct g.job_function_id) from given g)
    then
        perform koppeling.refuse_reference(tg_table_name, 'job_function_id');
    elsif (select count(*) from (select from koppeling.department d
                                 where d.id in (select g.department_id from given g) order by d.id for key share) d)
        < (select count(distinct g.department_id) from given g)
    then
        perform koppeling.refuse_reference(tg_table_name, 'department_id');
    elsif (select count(*) from (select from koppeling.company c
                                 where c.id in (select g.company_id from given g) order by c.id for key share) c)
        < (select count(distinct g.company_id) from given g)
    then
        perform koppeling.refuse_reference(tg_table_name, 'company_id');
    end if;
    return null;
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
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
    v_valid boolean := not exists (
        select from koppeling.rule r
        join koppeling.criterion c on c.rule_id = r.id
        where r.target_group_id = p_group
            and koppeling.value_label(c.kind, c.value_id) is null);
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
    rules_entry bigint,
    applied_through bigint DEFAULT 0 NOT NULL,
    CONSTRAINT change_plan_check CHECK (((state = 'held'::text) = (decided_at IS NULL))),
    CONSTRAINT change_plan_state_check CHECK ((state = ANY (ARRAY['held'::text, 'approved'::text, 'applied'::text, 'discarded'::text, 'dissolved'::text])))
);

CREATE TABLE koppeling.change_plan_line (
    plan_id bigint NOT NULL,
    person_id bigint NOT NULL,
    change text NOT NULL,
    reason text NOT NULL,
    cause text NOT NULL,
    fields text[],
    CONSTRAINT change_plan_line_change_check CHECK ((change = ANY (ARRAY['join'::text, 'leave'::text, 'empty'::text])))
);

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

CREATE FUNCTION koppeling.claim_candidates(p_group bigint, p_instance bigint) RETURNS bigint[]
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN ARRAY(SELECT m.person_id FROM koppeling.membership m WHERE ((m.target_group_id = claim_candidates.p_group) AND (m.status = 'active'::text)) UNION SELECT c.person_id FROM koppeling.claim c WHERE (c.instance_id = claim_candidates.p_instance) UNION SELECT l.person_id FROM (koppeling.change_plan p JOIN koppeling.change_plan_line l ON ((l.plan_id = p.id))) WHERE ((p.target_group_id = claim_candidates.p_group) AND (p.state = 'held'::text)));

CREATE FUNCTION koppeling.cut_text(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT "left"(cut_text.value, n.n) AS "left" FROM generate_series(255, 63, '-1'::integer) n(n) WHERE (octet_length("left"(cut_text.value, n.n)) <= 255) LIMIT 1);

CREATE FUNCTION koppeling.first_name(given_name text, initials text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE(given_name, initials, ''::text);

CREATE FUNCTION koppeling.last_name(prefixes text, family_name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (prefixes IS NULL) THEN COALESCE(family_name, ''::text) WHEN (family_name IS NULL) THEN prefixes WHEN starts_with(koppeling.fold(family_name), (koppeling.fold(prefixes) || ' '::text)) THEN family_name ELSE ((prefixes || ' '::text) || family_name) END;

CREATE FUNCTION koppeling.merge_text(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (octet_length(value) <= 255) THEN value WHEN (value IS NULL) THEN ''::text ELSE koppeling.cut_text(value) END;

CREATE FUNCTION koppeling.salutation(title text, given_name text, initials text, prefixes text, family_name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (family_name IS NULL) THEN koppeling.first_name(given_name, initials) WHEN (title <> ''::text) THEN ((title || ' '::text) || koppeling.capitalised(koppeling.last_name(prefixes, family_name))) WHEN (COALESCE(given_name, initials) IS NULL) THEN koppeling.capitalised(koppeling.last_name(prefixes, family_name)) ELSE ((koppeling.first_name(given_name, initials) || ' '::text) || koppeling.last_name(prefixes, family_name)) END;

CREATE TABLE koppeling.company (
    id bigint NOT NULL,
    source text NOT NULL,
    external_id text NOT NULL,
    name text NOT NULL,
    merged_into bigint,
    created_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    changed_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    CONSTRAINT company_external_id_check CHECK (((length(external_id) >= 1) AND (length(external_id) <= 200))),
    CONSTRAINT company_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT company_source_check CHECK (((length(source) >= 1) AND (length(source) <= 100)))
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
    reactivate_on_resubscribe boolean DEFAULT false NOT NULL,
    dry_run boolean DEFAULT false NOT NULL,
    webhook_secret_hash bytea NOT NULL,
    webhook_secret bytea NOT NULL,
    webhook_id text,
    webhook_signing_secret bytea,
    webhook_public_url text,
    webhook_checked_at timestamp with time zone,
    webhook_heard_at timestamp with time zone,
    pull_cursor timestamp with time zone,
    last_pull_at timestamp with time zone,
    last_sweep_at timestamp with time zone,
    sweep bigint DEFAULT 0 NOT NULL,
    web_id_seen bigint DEFAULT 0 NOT NULL,
    own_source text DEFAULT 'API - Generic'::text NOT NULL,
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

CREATE TABLE koppeling.department (
    id bigint NOT NULL,
    name text NOT NULL,
    CONSTRAINT department_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

CREATE TABLE koppeling.gender_text (
    instance_id bigint NOT NULL,
    gender text NOT NULL,
    text text DEFAULT ''::text NOT NULL,
    title text DEFAULT ''::text NOT NULL,
    CONSTRAINT gender_text_gender_check CHECK ((gender = ANY (ARRAY['male'::text, 'female'::text, 'other'::text, 'unknown'::text]))),
    CONSTRAINT gender_text_text_check CHECK ((octet_length(text) <= 255)),
    CONSTRAINT gender_text_title_check CHECK ((octet_length(title) <= 100))
);

CREATE TABLE koppeling.job_function (
    id bigint NOT NULL,
    name text NOT NULL,
    CONSTRAINT job_function_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

CREATE TABLE koppeling.merge_field (
    instance_id bigint NOT NULL,
    tag text NOT NULL,
    source text NOT NULL,
    triggers boolean DEFAULT true NOT NULL,
    CONSTRAINT merge_field_source_check CHECK ((source = ANY (ARRAY['first_name'::text, 'last_name'::text, 'given_name'::text, 'initials'::text, 'prefixes'::text, 'family_name'::text, 'gender'::text, 'salutation'::text, 'function'::text, 'department'::text, 'company'::text]))),
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
    merged_into bigint,
    created_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    changed_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    CONSTRAINT merged_is_no_more_active CHECK (((merged_into IS NULL) OR (state <> 'active'::text))),
    CONSTRAINT person_external_id_check CHECK (((length(external_id) >= 1) AND (length(external_id) <= 200))),
    CONSTRAINT person_family_name_check CHECK (((length(family_name) >= 1) AND (length(family_name) <= 200))),
    CONSTRAINT person_gender_check CHECK ((gender = ANY (ARRAY['male'::text, 'female'::text, 'other'::text, 'unknown'::text]))),
    CONSTRAINT person_given_name_check CHECK (((length(given_name) >= 1) AND (length(given_name) <= 200))),
    CONSTRAINT person_initials_check CHECK (((length(initials) >= 1) AND (length(initials) <= 200))),
    CONSTRAINT person_prefixes_check CHECK (((length(prefixes) >= 1) AND (length(prefixes) <= 200))),
    CONSTRAINT person_source_check CHECK (((length(source) >= 1) AND (length(source) <= 100))),
    CONSTRAINT person_state_check CHECK ((state = ANY (ARRAY['active'::text, 'archived'::text, 'erased'::text])))
);

CREATE TABLE koppeling."position" (
    id bigint NOT NULL,
    person_id bigint NOT NULL,
    job_function_id bigint,
    department_id bigint,
    company_id bigint,
    CONSTRAINT position_says_something CHECK ((num_nonnulls(job_function_id, department_id, company_id) > 0))
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

CREATE FUNCTION koppeling.claim_difference(p_instance bigint, p_persons bigint[], p_by_hand boolean) RETURNS TABLE(person_id bigint, change text, exempt boolean, reason text, address text, address_key text, fields jsonb, manual boolean, member_id bigint, readdressed boolean, emptied text[])
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT s.person_id,
     d.change,
     ((l.person_id IS NOT NULL) OR
         CASE d.change
             WHEN 'join'::text THEN ((claim_difference.p_by_hand OR (m.via = 'manual'::text)) AND i.activated)
             WHEN 'leave'::text THEN (claim_difference.p_by_hand OR COALESCE((m.reasons && ARRAY['erased'::text, 'complained'::text, 'unsubscribed'::text, 'cleaned'::text, 'forgotten'::text, 'removedInMailchimp'::text, 'manual'::text]), false))
             ELSE (d.change = 'edit'::text)
         END),
         CASE d.change
             WHEN 'join'::text THEN COALESCE(m.via, 'rule'::text)
             WHEN 'leave'::text THEN
             CASE
                 WHEN (m.status = 'active'::text) THEN 'noAddress'::text
                 ELSE COALESCE(m.reasons[1], 'ruleNoLongerMatches'::text)
             END
             ELSE 'fields'::text
         END AS "case",
     e.address,
     e.address_key,
         CASE
             WHEN (e.id IS NOT NULL) THEN f.fields
             ELSE NULL::jsonb
         END AS "case",
         CASE
             WHEN (e.id IS NOT NULL) THEN (m.via = 'manual'::text)
             ELSE NULL::boolean
         END AS "case",
     h.member_id,
     ((h.person_id IS NOT NULL) AND (e.address_key <> h.address_key)),
         CASE
             WHEN (d.change = 'empty'::text) THEN ARRAY( SELECT x.key
                FROM jsonb_each_text(h.fields) x(key, value)
               WHERE ((x.value <> ''::text) AND (COALESCE((f.fields ->> x.key), ''::text) = ''::text))
               ORDER BY x.key)
             ELSE NULL::text[]
         END AS "case"
    FROM (((((((((koppeling.connector_instance i
      JOIN koppeling.target_group g ON ((g.id = i.target_group_id)))
      CROSS JOIN unnest(claim_difference.p_persons) s(person_id))
      LEFT JOIN LATERAL ( SELECT m_1.target_group_id,
             m_1.person_id,
             m_1.matched_rule_id,
             m_1.changed_at,
             m_1.rule_match,
             m_1.ever_member,
             m_1.override,
             m_1.overridden_by,
             m_1.status,
             m_1.via,
             m_1.reasons
            FROM koppeling.membership m_1
           WHERE ((m_1.target_group_id = g.id) AND (m_1.person_id = s.person_id))
          OFFSET 0) m ON (true))
      LEFT JOIN LATERAL ( SELECT e_1.id,
             e_1.person_id,
             e_1.kind,
             e_1.address,
             e_1.address_key
            FROM koppeling.email_address e_1
           WHERE ((m.status = 'active'::text) AND (e_1.person_id = s.person_id) AND (e_1.kind = g.email_kind) AND ((NOT (EXISTS ( SELECT
                    FROM koppeling.training_address))) OR koppeling.address_allowed(e_1.address_key)))
          OFFSET 0) e ON (true))
      LEFT JOIN LATERAL ( SELECT h_1.instance_id,
             h_1.person_id,
             h_1.member_id,
             h_1.address,
             h_1.address_key,
             h_1.fields,
             h_1.manual,
             h_1.claimed_at
            FROM koppeling.claim h_1
           WHERE ((h_1.instance_id = i.id) AND (h_1.person_id = s.person_id))
          OFFSET 0) h ON (true))
      CROSS JOIN LATERAL ( SELECT ( SELECT COALESCE(jsonb_object_agg(v.tag, koppeling.merge_text(v.value)), '{}'::jsonb) AS "coalesce"
                    FROM ( SELECT t.tag,
                                 CASE t.source
                                     WHEN 'first_name'::text THEN koppeling.first_name(p.given_name, p.initials)
                                     WHEN 'last_name'::text THEN koppeling.last_name(p.prefixes, p.family_name)
                                     WHEN 'given_name'::text THEN p.given_name
                                     WHEN 'initials'::text THEN p.initials
                                     WHEN 'prefixes'::text THEN p.prefixes
                                     WHEN 'family_name'::text THEN p.family_name
                                     WHEN 'gender'::text THEN ( SELECT w.text
                                        FROM koppeling.gender_text w
                                       WHERE ((w.instance_id = i.id) AND (w.gender = p.gender)))
                                     WHEN 'salutation'::text THEN koppeling.salutation(( SELECT w.title
                                        FROM koppeling.gender_text w
                                       WHERE ((w.instance_id = i.id) AND (w.gender = p.gender))), p.given_name, p.initials, p.prefixes, p.family_name)
                                     WHEN 'function'::text THEN ( SELECT n.name
                                        FROM (koppeling."position" o
                                          LEFT JOIN koppeling.job_function n ON ((n.id = o.job_function_id)))
                                       WHERE (o.person_id = p.id)
                                       ORDER BY o.id
                                      LIMIT 1)
                                     WHEN 'department'::text THEN ( SELECT n.name
                                        FROM (koppeling."position" o
                                          LEFT JOIN koppeling.department n ON ((n.id = o.department_id)))
                                       WHERE (o.person_id = p.id)
                                       ORDER BY o.id
                                      LIMIT 1)
                                     WHEN 'company'::text THEN ( SELECT n.name
                                        FROM (koppeling."position" o
                                          LEFT JOIN koppeling.company n ON ((n.id = o.company_id)))
                                       WHERE (o.person_id = p.id)
                                       ORDER BY o.id
                                      LIMIT 1)
                                     ELSE NULL::text
                                 END AS value
                            FROM (koppeling.person p
                              CROSS JOIN koppeling.merge_field t)
                           WHERE ((p.id = s.person_id) AND (t.instance_id = i.id))
                          OFFSET 0) v) AS fields) f)
      CROSS JOIN LATERAL ( SELECT
                 CASE
                     WHEN (h.person_id IS NULL) THEN 'join'::text
                     WHEN (e.id IS NULL) THEN 'leave'::text
                     WHEN (EXISTS ( SELECT
                        FROM jsonb_each_text(h.fields) x(key, value)
                       WHERE ((x.value <> ''::text) AND (COALESCE((f.fields ->> x.key), ''::text) = ''::text)))) THEN 'empty'::text
                     ELSE 'edit'::text
                 END AS change
          OFFSET 0) d)
      LEFT JOIN koppeling.change_plan a ON (((a.target_group_id = g.id) AND (a.state = 'approved'::text))))
      LEFT JOIN LATERAL ( SELECT l_1.person_id
            FROM koppeling.change_plan_line l_1
           WHERE ((a.id IS NOT NULL) AND (l_1.plan_id = a.id) AND (l_1.person_id = s.person_id) AND (l_1.person_id > a.applied_through) AND (l_1.change = d.change))
          OFFSET 0) l ON (true))
   WHERE ((i.id = claim_difference.p_instance) AND
         CASE
             WHEN (e.id IS NULL) THEN (h.person_id IS NOT NULL)
             WHEN (h.person_id IS NULL) THEN true
             ELSE (((h.address_key IS DISTINCT FROM e.address_key) OR (h.manual IS DISTINCT FROM (m.via = 'manual'::text))) OR (h.fields IS DISTINCT FROM f.fields))
         END AND (NOT (EXISTS ( SELECT
            FROM koppeling.erasure_check q
           WHERE (q.person_id = s.person_id)
          OFFSET 0))));
END;

CREATE FUNCTION koppeling.claim_jobs(p_worker bigint, p_consumer bigint, p_limit integer, p_mark_kinds text[] DEFAULT '{}'::text[], p_mark_priorities integer[] DEFAULT '{}'::integer[], p_mark_times timestamp with time zone[] DEFAULT '{}'::timestamp with time zone[], p_suspects boolean DEFAULT false, p_alone boolean DEFAULT false) RETURNS TABLE(id bigint, queue text, kind text, args jsonb, key text, order_key text, limit_key text, priority integer, attempt integer, max_attempts integer, run_at timestamp with time zone, enqueued_at timestamp with time zone, claim integer, started_at timestamp with time zone, snoozes integer)
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

CREATE FUNCTION koppeling.claimants(p_member bigint) RETURNS bigint[]
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN ARRAY(SELECT c.person_id FROM koppeling.claim c WHERE (c.member_id = claimants.p_member));

CREATE FUNCTION koppeling.clean_companies(p_rows koppeling.company_input[]) RETURNS koppeling.company_input[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select coalesce(array_agg(row(
        r.line, koppeling.clean_text(r.source), koppeling.clean_text(r.external_id), koppeling.clean_text(r.name),
        array(select distinct coalesce(koppeling.clean_text(c), '') from unnest(r.categories) c),
        r.fields, null)::koppeling.company_input order by r.line), '{}')
    from unnest(p_rows) r
$$;

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
        array(
            select row(koppeling.clean_text(i.job_function), koppeling.clean_text(i.department),
                koppeling.clean_text(i.company))::koppeling.position_input
            from unnest(r.positions) i
            where koppeling.clean_text(concat(i.job_function, i.department, i.company)) is not null),
        r.fields, null, null)::koppeling.person_input order by r.line), '{}')
    from unnest(p_rows) r
$$;

CREATE FUNCTION koppeling.clock_difference() RETURNS interval
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '00:04:00'::interval;

CREATE FUNCTION koppeling.company_faults(p_rows koppeling.company_input[]) RETURNS TABLE(line bigint, field text, message text)
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
            ('name', case when length(r.name) > 200 then 'is longer than 200 characters' end)
        ) scalar (field, message)
        union all
        select 'categories', case
            when c = '' then 'must not hold an empty name'
            when length(c) > 200 then 'is longer than 200 characters' end
        from unnest(r.categories) c
    ) f
    where f.message is not null
$$;

CREATE TABLE koppeling.company_category (
    id bigint NOT NULL,
    name text NOT NULL,
    CONSTRAINT company_category_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

CREATE TABLE koppeling.company_in_category (
    company_id bigint NOT NULL,
    company_category_id bigint NOT NULL
);

CREATE FUNCTION koppeling.company_json(p_company bigint) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN (SELECT jsonb_build_object('id', c.id, 'source', c.source, 'external_id', c.external_id, 'name', c.name, 'categories', COALESCE((SELECT jsonb_agg(k.name ORDER BY k.name) AS jsonb_agg FROM (koppeling.company_in_category i JOIN koppeling.company_category k ON ((k.id = i.company_category_id))) WHERE (i.company_id = c.id)), '[]'::jsonb), 'persons', (SELECT count(DISTINCT o.person_id) AS count FROM koppeling."position" o WHERE (o.company_id = c.id))) AS jsonb_build_object FROM koppeling.company c WHERE (c.id = company_json.p_company));

CREATE FUNCTION koppeling.company_shape_faults(p_companies jsonb) RETURNS TABLE(line bigint, field text, message text)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $_$
    select p.line, f.field, f.message
    from jsonb_array_elements(p_companies) with ordinality as p (company, line)
    cross join lateral (
        select null as field, 'must be an object' as message where jsonb_typeof(p.company) <> 'object'
        union all
        select v.field, case
            when v.field in ('source', 'name') then
                case when jsonb_typeof(v.value) not in ('string', 'null') then 'must be a text or null' end
            when v.field = 'id' then
                case when jsonb_typeof(v.value) not in ('string', 'number') then 'must be a text' end
            when v.field = 'categories' then case
                when jsonb_typeof(v.value) not in ('array', 'null') then 'must be a list'
                when jsonb_typeof(v.value) = 'array'
                    and jsonb_path_exists(v.value, '$[*] ? (@.type() != "string")') then 'must hold texts only' end
            else 'is not known; a company has source, id, name and categories'
        end
        from jsonb_each(case jsonb_typeof(p.company) when 'object' then p.company else '{}' end) v (field, value)
    ) f
    where f.message is not null
$_$;

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

CREATE FUNCTION koppeling.confirm_deployment(p_marks text[], p_environment text, p_actor text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    perform koppeling.check_deployment(p_marks, p_environment);
    update koppeling.deployment d
    set environment = p_environment, key_mark = p_marks[1], system_identifier = c.system_identifier,
        database_oid = o.oid, confirmed_at = koppeling.now(), confirmed_by = p_actor, changed = null, changed_at = null
    from pg_control_system() c, pg_database o
    where o.datname = current_database();
    -- What was brought over from production tries first.
    update koppeling.connector_instance i set dry_run = true where p_environment = 'training';
    insert into koppeling.audit_entry (kind, new, actor, cause)
    values ('deployment.confirmed', to_jsonb(p_environment), p_actor, 'confirmed');
    perform koppeling.refresh_claims();
end $$;

CREATE TABLE koppeling.former_claim (
    person_id bigint NOT NULL,
    member_id bigint NOT NULL
);

CREATE FUNCTION koppeling.contacts_of(p_person bigint, p_keys text[]) RETURNS SETOF bigint
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT c.member_id
    FROM (koppeling.claim c
      JOIN koppeling.connector_instance i ON ((i.id = c.instance_id)))
   WHERE (c.person_id = contacts_of.p_person)
 UNION
  SELECT m.id
    FROM (koppeling.connector_instance i
      JOIN koppeling.audience_member m ON (((m.instance_id = i.id) AND ((m.address_key = ANY (contacts_of.p_keys)) OR (m.file_key = ANY (contacts_of.p_keys)) OR (m.moving_to = ANY (contacts_of.p_keys))))))
 UNION
  SELECT m.id
    FROM (((koppeling.suppression s
      JOIN koppeling.suppression f ON (((f.id = s.follows) AND (f.contact_id IS NOT NULL))))
      JOIN koppeling.connector_instance i ON ((i.target_group_id = f.target_group_id)))
      JOIN koppeling.audience_member m ON (((m.instance_id = i.id) AND (m.contact_id = f.contact_id))))
   WHERE (s.person_id = contacts_of.p_person)
 UNION
  SELECT f.member_id
    FROM (koppeling.former_claim f
      JOIN koppeling.audience_member m ON ((m.id = f.member_id)))
   WHERE ((f.person_id = contacts_of.p_person) AND (NOT (EXISTS ( SELECT
            FROM koppeling.email_address e
           WHERE ((e.address_key = m.address_key) AND (e.person_id <> contacts_of.p_person))))));
END;

CREATE FUNCTION koppeling.count_anonymised(p_inner_pad bytea, p_outer_pad bytea, p_limit bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_subjects text[];
begin
    with taken as (
        delete from koppeling.anonymised_put where id = any (array(
            select a.id from koppeling.anonymised_put a order by a.id limit p_limit for update skip locked))
        returning source, external_id
    )
    select array_agg(koppeling.identity_subject(t.source, t.external_id)) into v_subjects from taken t;
    if v_subjects is null then
        return 0;
    end if;
    update koppeling.erasure e
    set puts_skipped = e.puts_skipped + s.puts, last_skipped_at = koppeling.now()
    from (
        select h.erasure_id, count(*) as puts
        from unnest(v_subjects) u (text)
        join koppeling.erased_hash h on h.subject = 'identity'
            and h.hash = koppeling.keyed_hash(p_inner_pad, p_outer_pad, u.text)
        group by h.erasure_id
    ) s
    where e.id = s.erasure_id;
    perform koppeling.wipe_jobs(v_subjects, '{}');
    return cardinality(v_subjects);
end $$;

CREATE FUNCTION koppeling.count_held(p_instance bigint, p_persons bigint[], p_by_hand boolean, OUT joins bigint, OUT removals bigint) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
begin
    select count(*) filter (where d.change = 'join'), count(*) filter (where d.change in ('leave', 'empty'))
    into joins, removals
    from koppeling.claim_difference(p_instance, p_persons, p_by_hand) d
    where not d.exempt;
end $$;

CREATE FUNCTION koppeling.every_group() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 0;

CREATE FUNCTION koppeling.noes_for_all_lists() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY['complained'::text, 'unsubscribed'::text];

CREATE TABLE koppeling.former_link (
    id bigint NOT NULL,
    target_group_id bigint NOT NULL,
    target_group text NOT NULL,
    account_id bigint NOT NULL,
    list_id text NOT NULL,
    list_name text NOT NULL,
    instance_id bigint NOT NULL,
    read_until timestamp with time zone,
    is_gone boolean DEFAULT false NOT NULL,
    looked_at timestamp with time zone,
    ended_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    ended_by text NOT NULL
);

CREATE FUNCTION koppeling.groups_to_carry_from(p_account bigint, p_list text, p_others boolean) RETURNS TABLE(target_group_id bigint, reasons text[])
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT g.target_group_id,
         CASE
             WHEN bool_or(g.has_all) THEN koppeling.binding_noes()
             ELSE koppeling.noes_for_all_lists()
         END AS noes_for_all_lists
    FROM ( SELECT f.target_group_id,
             ((f.list_id = groups_to_carry_from.p_list) OR (groups_to_carry_from.p_others AND (f.account_id = groups_to_carry_from.p_account))) AS has_all
            FROM koppeling.former_link f
         UNION ALL
          SELECT i.target_group_id,
             (groups_to_carry_from.p_others AND (i.account_id = groups_to_carry_from.p_account))
            FROM koppeling.connector_instance i) g
   WHERE (g.has_all OR (EXISTS ( SELECT
            FROM koppeling.deployment d
           WHERE d.noes_for_all_lists)))
   GROUP BY g.target_group_id;
END;

CREATE FUNCTION koppeling.portable_noes(p_group bigint) RETURNS TABLE(reason text, address_key text, person_id bigint, source text, occurred_at timestamp with time zone, entry bigint)
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 WITH said AS (
          SELECT s_1.id,
             s_1.target_group_id,
             s_1.reason,
             s_1.contact_id,
             s_1.address_key,
             s_1.person_id,
             s_1.file_key,
             s_1.follows,
             s_1.source,
             s_1.occurred_at,
             s_1.recorded_at,
             s_1.detail
            FROM koppeling.open_suppression s_1
           WHERE ((s_1.target_group_id = portable_noes.p_group) AND (s_1.reason = ANY (koppeling.binding_noes())))
         ), stands AS (
          SELECT s_1.id,
             m.id AS member_id,
             m.address_key,
             m.file_key,
             m.moving_to
            FROM ((koppeling.connector_instance i
              JOIN koppeling.audience_member m ON ((m.instance_id = i.id)))
              JOIN said s_1 ON ((s_1.contact_id = m.contact_id)))
           WHERE (i.target_group_id = portable_noes.p_group)
         UNION
          SELECT s_1.id,
             m.id,
             m.address_key,
             m.file_key,
             m.moving_to
            FROM ((koppeling.connector_instance i
              JOIN koppeling.audience_member m ON ((m.instance_id = i.id)))
              JOIN said s_1 ON ((s_1.address_key = m.address_key)))
           WHERE (i.target_group_id = portable_noes.p_group)
         ), reached AS (
          SELECT s_1.id,
             s_1.address_key,
             s_1.person_id
            FROM said s_1
           WHERE (s_1.contact_id IS NULL)
         UNION ALL
          SELECT s_1.id,
             k.key,
             NULL::bigint
            FROM (stands s_1
              CROSS JOIN LATERAL ( VALUES (s_1.address_key), (s_1.file_key), (s_1.moving_to)) k(key))
           WHERE (k.key IS NOT NULL)
         UNION ALL
          SELECT s_1.id,
             NULL::text,
             c.person_id
            FROM (stands s_1
              JOIN koppeling.claim c ON ((c.member_id = s_1.member_id)))
         )
  SELECT DISTINCT ON (s.reason, r.address_key, r.person_id, s.source) s.reason,
     r.address_key,
     r.person_id,
     s.source,
     s.occurred_at,
     s.id
    FROM (reached r
      JOIN said s ON ((s.id = r.id)))
   ORDER BY s.reason, r.address_key, r.person_id, s.source, s.occurred_at DESC, s.id;
END;

CREATE FUNCTION koppeling.count_noes_to_carry(p_account bigint, p_list text, p_others boolean) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT count(DISTINCT n.address_key) AS count
    FROM (( SELECT koppeling.every_group() AS every_group,
             koppeling.binding_noes() AS binding_noes
         UNION ALL
          SELECT g_1.target_group_id,
             g_1.reasons
            FROM koppeling.groups_to_carry_from(count_noes_to_carry.p_account, count_noes_to_carry.p_list, count_noes_to_carry.p_others) g_1(target_group_id, reasons)) g(id, reasons)
      CROSS JOIN LATERAL koppeling.portable_noes(g.id) n(reason, address_key, person_id, source, occurred_at, entry))
   WHERE (n.reason = ANY (g.reasons));
END;

CREATE FUNCTION koppeling.count_ours(p_instance bigint) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN (SELECT count(*) AS count FROM (koppeling.audience_member m JOIN koppeling.connector_instance i ON ((i.id = m.instance_id))) WHERE ((m.instance_id = count_ours.p_instance) AND ((m.intent IS NOT NULL) OR ((m.status = 'subscribed'::text) AND ((m.ownership = 'created'::text) OR ((m.ownership = 'adopted'::text) AND (NOT i.keeps_adopted)))))));

CREATE FUNCTION koppeling.covers(p_open timestamp with time zone, p_reason text, p_said timestamp with time zone) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((p_open >= p_said) OR (p_reason <> ALL (ARRAY['complained'::text, 'unsubscribed'::text])));

CREATE FUNCTION koppeling.criteria_values(p_criteria koppeling.criterion[], p_negated boolean) RETURNS koppeling.criteria_values
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
begin
    return (
        select row(
            v.categories, v.functions, v.departments, v.companies, v.company_categories,
            cardinality(v.categories), cardinality(v.company_categories), n.seats,
            n.seats + cardinality(v.company_categories) > 0)::koppeling.criteria_values
        from (
            select
                coalesce(array_agg(distinct c.value_id) filter (where c.kind = 'personCategory'), '{}') as categories,
                coalesce(array_agg(distinct c.value_id) filter (where c.kind = 'function'), '{}') as functions,
                coalesce(array_agg(distinct c.value_id) filter (where c.kind = 'department'), '{}') as departments,
                coalesce(array_agg(distinct coalesce(o.merged_into, c.value_id)) filter (where c.kind = 'company'),
                    '{}') as companies,
                coalesce(array_agg(distinct c.value_id) filter (where c.kind = 'companyCategory'),
                    '{}') as company_categories
            from unnest(p_criteria) c
            left join koppeling.company o on c.kind = 'company' and o.id = c.value_id
            where c.negated = p_negated
        ) v
        cross join lateral (select cardinality(v.functions || v.departments || v.companies) as seats) n);
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

CREATE FUNCTION koppeling.decline_carried(p_entries bigint[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
begin
    perform koppeling.decline_invitations(
        c.target_group_id, c.reason, c.address_key, null, array[c.person_id], c.occurred_at, false)
    from (
        select distinct s.target_group_id, s.reason, s.address_key, v.person_id, s.occurred_at
        from koppeling.invitation v
        join koppeling.audience_member m on m.id = v.member_id
        join koppeling.suppression s on s.target_group_id = v.target_group_id
        where v.ended_at is null and s.id = any (p_entries)
          and (s.person_id = v.person_id or s.address_key in (m.address_key, m.file_key)
               or exists (
                   select from koppeling.email_address e
                   where e.person_id = v.person_id and e.address_key = s.address_key))
    ) c;
end $$;

CREATE FUNCTION koppeling.decline_invitations(p_group bigint, p_reason text, p_key text, p_contact text, p_persons bigint[], p_occurred_at timestamp with time zone, p_is_hook boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_ids bigint[];
begin
    v_ids := array(
        select v.id
        from koppeling.invitation v
        join koppeling.audience_member m on m.id = v.member_id
        where v.target_group_id = p_group and v.ended_at is null
          and case p_reason when 'complained' then true when 'forgotten' then true
                            when 'unsubscribed' then not p_is_hook and p_occurred_at > v.requested_at
                            when 'cleaned' then not p_is_hook and p_occurred_at > v.requested_at
                                and p_key in (m.address_key, m.file_key)
                            else false end
          and (p_key in (m.address_key, m.file_key) or m.contact_id = p_contact or v.person_id = any (p_persons)));
    if cardinality(v_ids) > 0 then
        perform koppeling.end_invitations(v_ids, case p_reason when 'cleaned' then 'bounced' else 'declined' end);
    end if;
end $$;

CREATE FUNCTION koppeling.delete_group(p_group bigint, p_actor text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_group koppeling.target_group;
    v_instance text := (
        select i.name from koppeling.connector_instance i where i.target_group_id = p_group);
begin
    perform koppeling.lock_group(p_group);
    select * into v_group from koppeling.target_group g where g.id = p_group for update;
    if not found then
        raise exception using errcode = 'no_data_found', message = format('there is no target group %s', p_group),
            hint = 'List the groups to see their names.';
    end if;
    if v_instance is not null then
        raise exception using errcode = 'restrict_violation',
            message = format('group "%s" is linked by instance "%s"', v_group.name, v_instance),
            hint = format('Turn it off (koppeling instance disable "%s"), then say what becomes of its contacts: '
                '--contacts archive, or leave.', v_instance);
    end if;
    insert into koppeling.audit_entry (target_group_id, kind, old, actor, cause)
    values (p_group, 'group.deleted',
        jsonb_build_object('name', v_group.name, 'rules', koppeling.rules_json(p_group)), p_actor, 'by hand');
    delete from koppeling.membership m where m.target_group_id = p_group;
    delete from koppeling.target_group g where g.id = p_group;
end $$;

CREATE FUNCTION koppeling.delete_linked_group(p_instance bigint, p_archives boolean, p_list_is_gone boolean, p_actor text) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_left bigint := koppeling.count_ours(p_instance);
    v_group bigint;
    v_plan bigint;
begin
    if p_archives and not p_list_is_gone
        and (v_left > 0 or exists (select from koppeling.claim c where c.instance_id = p_instance))
    then
        select i.target_group_id into strict v_group from koppeling.connector_instance i
        where i.id = p_instance and not i.enabled;
        v_plan := koppeling.empty_group(v_group, p_actor);
        return jsonb_build_object('is_done', false, 'left', v_left) || coalesce((
            select jsonb_build_object('plan', p.id, 'version', p.version, 'leaves', p.leaves)
            from koppeling.plans p where p.id = v_plan), '{}');
    end if;
    v_group := (koppeling.require_endable(p_instance, p_list_is_gone)).target_group_id;
    perform koppeling.end_link(p_instance, p_list_is_gone, p_actor);
    perform koppeling.delete_group(v_group, p_actor);
    return jsonb_build_object('is_done', true, 'left', v_left);
end $$;

CREATE FUNCTION koppeling.delete_with_instances() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    perform koppeling.require_read_committed();
    delete from koppeling.claim c using gone g where c.instance_id = g.id;
    delete from koppeling.audience_member m using gone g where m.instance_id = g.id;
    return null;
end $$;

CREATE FUNCTION koppeling.delete_with_plans() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    perform koppeling.require_read_committed();
    delete from koppeling.change_plan_line l using gone g where l.plan_id = g.id;
    return null;
end $$;

CREATE FUNCTION koppeling.deployment_difference(p_marks text[], p_environment text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT concat_ws(', '::text,
         CASE
             WHEN (d.environment <> deployment_difference.p_environment) THEN format('it was %s, it is %s'::text, d.environment, deployment_difference.p_environment)
             ELSE NULL::text
         END,
         CASE
             WHEN (d.key_mark <> ALL (deployment_difference.p_marks)) THEN 'another KOPPELING_SECRET_KEY'::text
             ELSE NULL::text
         END,
         CASE
             WHEN (d.system_identifier <> c.system_identifier) THEN 'another database server'::text
             ELSE NULL::text
         END,
         CASE
             WHEN (d.database_oid <> o.oid) THEN 'another database'::text
             ELSE NULL::text
         END) AS concat_ws
    FROM ((koppeling.deployment d
      CROSS JOIN pg_control_system() c(pg_control_version, catalog_version_no, system_identifier, pg_control_last_modified))
      JOIN pg_database o ON ((o.datname = current_database())));
END;

CREATE FUNCTION koppeling.deployment_fault() RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    return (
        select format('this is not the deployment that was confirmed (%s): look whether this database may send to these '
                      'lists, then run koppeling environment confirm', d.changed)
        from koppeling.deployment d where d.changed is not null);
end $$;

CREATE FUNCTION koppeling.derive_memberships(p_group bigint, p_persons bigint[], p_cause text, p_actor text, p_override text DEFAULT NULL::text) RETURNS bigint[]
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
    v_rules bigint;
    v_changed bigint[];
begin
    perform koppeling.lock_group(p_group);
    -- For whoever is told next what these memberships mean.
    perform set_config('koppeling.cause', p_cause, true);
    if p_persons is null then
        perform koppeling.begin_pass();
    end if;
    v_rules := case when koppeling.check_rules(p_group) then p_group end;
    with differing as (
        select * from koppeling.membership_differences(p_group, v_rules, p_persons, p_override)
    ), gone as (
        -- By their numbers: joined with the whole group, of which the planner may know nothing yet, it is quadratic.
        delete from koppeling.membership m
        where m.target_group_id = p_group
            and m.person_id = any (array(select d.person_id from differing d where d.status is null))
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
                'rule_match', d.rule_match, 'rule', d.rule_id, 'override', d.override, 'person', d.state,
                'suppressions', coalesce(d.open_reasons, '{}'), 'ever_member', d.ever_member),
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

CREATE FUNCTION koppeling.differences_among(p_group bigint, p_rules bigint, p_all boolean, p_persons bigint[], p_override text) RETURNS SETOF koppeling.membership_difference
    LANGUAGE sql STABLE
    AS $$
    with matched as (
        select * from koppeling.rule_matches(p_rules, p_persons)
    ), held as (
        select m.* from koppeling.membership m
        where m.target_group_id = p_group and (p_all or m.person_id = any (p_persons))
    ), chosen as (
        select unnest(p_persons) as person_id where p_override is not null
    ), barred as (
        -- Hardly anybody: the rest of the persons are active, and are not read.
        select p.id as person_id, p.state from koppeling.person p
        where p.state <> 'active' and (p_all or p.id = any (p_persons))
    ), facts as (
        select
            person_id, coalesce(b.state, 'active') as state, o.reasons as open_reasons,
            h.status as old_status, h.via as old_via, h.reasons as old_reasons,
            h.rule_match as old_match, h.matched_rule_id as old_rule, h.override as old_override,
            coalesce(case when p_rules is null then h.rule_match else m.rule_id is not null end, false) as rule_match,
            case when p_rules is null then h.matched_rule_id else m.rule_id end as rule_id,
            coalesce(p_override, h.override, 'none') as override,
            coalesce(h.ever_member, false) as ever_member
        from held h full join matched m using (person_id) full join chosen using (person_id)
        left join barred b using (person_id)
        left join koppeling.open_reasons(p_group, p_all, p_persons) o using (person_id)
        -- Most are members by the same rule as before, and nothing stands against it: they stay so.
        where p_override is not null
            or (h.via, h.override, h.matched_rule_id) is distinct from
                ('rule', 'none', case when p_rules is null then h.matched_rule_id else m.rule_id end)
            or not h.rule_match or num_nonnulls(b.state, o.reasons) > 0
    )
    select
        f.person_id, f.state, f.open_reasons, f.old_status, f.old_via, f.old_reasons, f.rule_match, f.rule_id,
        f.override, f.ever_member, d.status, d.via, d.reasons,
        (d.status, d.via, coalesce(d.reasons, '{}')) is distinct from
            (f.old_status, f.old_via, coalesce(f.old_reasons, '{}'))
    from facts f
    cross join lateral koppeling.derive_status(
        f.rule_match, f.override, f.state, coalesce(f.open_reasons, '{}'), f.ever_member) d
    where (d.status, d.via, coalesce(d.reasons, '{}'), f.override, f.rule_match, f.rule_id) is distinct from
        (f.old_status, f.old_via, coalesce(f.old_reasons, '{}'), coalesce(f.old_override, 'none'),
            coalesce(f.old_match, false), f.old_rule)
$$;

CREATE FUNCTION koppeling.differences_among_few(p_group bigint, p_rules bigint, p_persons bigint[], p_override text) RETURNS SETOF koppeling.membership_difference
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
begin
    return query select * from koppeling.differences_among(p_group, p_rules, false, p_persons, p_override);
end $$;

CREATE FUNCTION koppeling.discard_plan(p_plan bigint, p_version integer, p_actor text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_plan  koppeling.change_plan := koppeling.require_held_plan(p_plan, p_version);
    v_facts text;
    v_rules jsonb;
    v_left  bigint;
begin
    select string_agg(format('%s by %s', c.persons, c.cause), ', ' order by c.persons desc, c.cause) into v_facts
    from (
        select l.cause, count(*) as persons from koppeling.change_plan_line l
        where l.plan_id = p_plan and l.cause <> 'rules'
        group by l.cause
        order by 2 desc
        limit 5
    ) c;
    if v_facts is not null or v_plan.rules_entry is null then
        raise exception using errcode = 'restrict_violation',
            message = format('plan %s is not of the rules'' making: %s', p_plan, v_facts),
            hint = 'Correct the facts, by a put, an import or the mapping, and the plan follows; or approve it.';
    end if;
    select coalesce(a.old, '[]') into strict v_rules from koppeling.audit_entry a where a.id = v_plan.rules_entry;
    perform koppeling.save_rules(v_plan.target_group_id,
        (select g.rules_version from koppeling.target_group g where g.id = v_plan.target_group_id), v_rules, true,
        p_actor);
    insert into koppeling.audit_entry (target_group_id, kind, new, actor, cause)
    values (v_plan.target_group_id, 'plan.discarded',
            jsonb_build_object('plan', p_plan, 'version', p_version), p_actor, 'plan ' || p_plan);
    select count(*) into v_left from koppeling.change_plan_line l where l.plan_id = p_plan;
    if v_left = 0 then
        update koppeling.change_plan
        set state = 'discarded', decided_at = koppeling.now(), decided_by = p_actor, changed_at = koppeling.now()
        where id = p_plan;
    end if;
    return v_left;
end $$;

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

CREATE FUNCTION koppeling.empty_group(p_group bigint, p_actor text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_plan bigint;
    v_included bigint[];
begin
    perform koppeling.lock_group(p_group);
    perform koppeling.begin_pass();
    insert into koppeling.change_plan (target_group_id, held_because) values (p_group, 'the group is to be deleted')
    on conflict (target_group_id) where state = 'held' do update set held_because = excluded.held_because
    returning id into v_plan;
    v_included := array(
        select m.person_id from koppeling.membership m where m.target_group_id = p_group and m.override = 'include');
    if v_included <> '{}' then
        insert into koppeling.audit_entry (target_group_id, person_id, kind, old, new, actor, cause)
        select p_group, p, 'override', '"include"', '"none"', p_actor, 'deleting the group' from unnest(v_included) p;
        perform koppeling.derive_memberships(p_group, v_included, 'deleting the group', p_actor, 'none');
    end if;
    perform koppeling.save_rules(g.id, g.rules_version, '[]', true, p_actor)
    from koppeling.target_group g where g.id = p_group;
    perform koppeling.membership_changed(p_group, null);
    return (select p.id from koppeling.change_plan p where p.id = v_plan and p.state = 'held');
end $$;

CREATE FUNCTION koppeling.end_entries_against(p_group bigint, p_person bigint, p_source text, p_actor text, p_cause text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_ids bigint[] := array(
        select e.id from koppeling.entries_against(p_group, p_person) e
        where e.reason in ('unsubscribed', 'removedInMailchimp') order by e.id);
begin
    insert into koppeling.audit_entry (target_group_id, person_id, kind, old, actor, cause)
    values (p_group, p_person, 'readmitted', to_jsonb(array(
        select distinct e.reason from koppeling.entries_against(p_group, p_person) e order by e.reason)), p_actor,
        p_cause);
    perform koppeling.end_suppressions(p_group, v_ids, p_source, 'readmitted', p_source = 'user');
    update koppeling.task t
    set done_at = koppeling.now(), done_by = case p_source when 'user' then p_actor end
    where t.kind = 'resubscribed' and t.target_group_id = p_group and t.person_id = p_person and t.done_at is null;
    return cardinality(v_ids);
end $$;

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

CREATE TABLE koppeling.invitation (
    id bigint NOT NULL,
    instance_id bigint NOT NULL,
    target_group_id bigint NOT NULL,
    member_id bigint NOT NULL,
    person_id bigint NOT NULL,
    requested_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    requested_by text NOT NULL,
    about bigint[] NOT NULL,
    sent_at timestamp with time zone,
    opted_in_before timestamp with time zone,
    ended_at timestamp with time zone,
    outcome text,
    because text,
    CONSTRAINT invitation_check CHECK (((ended_at IS NULL) = (outcome IS NULL))),
    CONSTRAINT invitation_outcome_check CHECK ((outcome = ANY (ARRAY['confirmed'::text, 'declined'::text, 'bounced'::text, 'refused'::text, 'subscribed'::text, 'withdrawn'::text])))
);

CREATE FUNCTION koppeling.end_invitations(p_ids bigint[], p_outcome text, p_because text DEFAULT NULL::text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 WITH ended AS (
          UPDATE koppeling.invitation v SET ended_at = koppeling.now(), outcome = end_invitations.p_outcome, because = end_invitations.p_because, sent_at =
                 CASE end_invitations.p_outcome
                     WHEN 'refused'::text THEN NULL::timestamp with time zone
                     ELSE v.sent_at
                 END
           WHERE ((v.id = ANY (end_invitations.p_ids)) AND (v.ended_at IS NULL))
           RETURNING v.id,
             v.instance_id,
             v.target_group_id,
             v.member_id,
             v.person_id,
             v.requested_at,
             v.requested_by,
             v.about,
             v.sent_at,
             v.opted_in_before,
             v.ended_at,
             v.outcome,
             v.because
         )
  INSERT INTO koppeling.audit_entry (target_group_id, person_id, kind, old, new, actor, cause)  SELECT e.target_group_id,
             e.person_id,
             'invitation',
             '"open"',
             to_jsonb(end_invitations.p_outcome) AS to_jsonb,
             'connector',
             COALESCE(end_invitations.p_because, ('invitation '::text || e.id)) AS "coalesce"
            FROM ended e
           ORDER BY e.id;
END;

CREATE FUNCTION koppeling.end_link(p_instance bigint, p_list_is_gone boolean, p_actor text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_instance koppeling.connector_instance := koppeling.require_endable(p_instance, p_list_is_gone);
    v_group bigint := v_instance.target_group_id;
    v_link bigint;
begin
    -- Hooks that nobody looked at: a no in one of them counts.
    perform koppeling.believe_webhook(h.instance_id, h.body)
    from (select h.instance_id, h.body from koppeling.webhook_inbox h
          where h.instance_id = p_instance and h.processed_at is null order by h.id) h;
    perform koppeling.record_erased(m.id, case when p_list_is_gone then 'listGone' else 'absent' end)
    from (select m.id from koppeling.audience_member m
          where m.instance_id = p_instance and m.erasure_id is not null order by m.id) m;
    perform koppeling.carry_noes(v_group, v_group, p_actor);
    update koppeling.change_plan p
    set state = 'dissolved', decided_at = coalesce(p.decided_at, koppeling.now()), changed_at = koppeling.now()
    where p.target_group_id = v_group and p.state in ('held', 'approved');
    insert into koppeling.former_link (
        target_group_id, target_group, account_id, list_id, list_name, instance_id, read_until, is_gone, looked_at,
        ended_by)
    select v_group, g.name, v_instance.account_id, v_instance.list_id, v_instance.list_name, p_instance,
           v_instance.pull_cursor, p_list_is_gone, case when p_list_is_gone then koppeling.now() end, p_actor
    from koppeling.target_group g where g.id = v_group
    returning id into strict v_link;
    if not p_list_is_gone then
        perform koppeling.request_last_look(v_link, p_instance);
    end if;
    perform koppeling.cancel_jobs(array(
        select j.id from koppeling.job j where j.queue = koppeling.instance_queue(p_instance)), 'superseded');
    delete from koppeling.claim c where c.instance_id = p_instance;
    delete from koppeling.audience_member m where m.instance_id = p_instance;
    delete from koppeling.connector_instance i where i.id = p_instance;
end $$;

CREATE FUNCTION koppeling.end_suppressions(p_group bigint, p_ids bigint[], p_source text, p_cause text, p_by_hand boolean DEFAULT false) RETURNS SETOF bigint
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
    return query select * from koppeling.rederive(p_group, v_persons, p_cause, p_source, p_by_hand);
end $$;

CREATE FUNCTION koppeling.ended_deletions(p_group bigint, p_member koppeling.audience_member) RETURNS bigint[]
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 WITH RECURSIVE said AS (
          SELECT s.id,
             s.follows
            FROM koppeling.open_suppression s
           WHERE ((s.target_group_id = ended_deletions.p_group) AND (s.reason = 'forgotten'::text) AND (s.source = 'mailchimp'::text) AND ((s.address_key = (ended_deletions.p_member).address_key) OR (s.contact_id = (ended_deletions.p_member).contact_id)) AND ((ended_deletions.p_member).opted_in_at > (s.occurred_at + koppeling.clock_difference())))
         ), ended AS (
          SELECT s.id
            FROM said s
         UNION
          SELECT s.follows
            FROM said s
           WHERE (s.follows IS NOT NULL)
         UNION
          SELECT s.id
            FROM (ended e_1
              JOIN koppeling.open_suppression s ON ((s.follows = e_1.id)))
           WHERE ((s.target_group_id = ended_deletions.p_group) AND (s.reason = 'forgotten'::text) AND (s.source = 'mailchimp'::text))
         )
  SELECT COALESCE(array_agg(e.id ORDER BY e.id), '{}'::bigint[]) AS "coalesce"
    FROM ended e;
END;

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

CREATE FUNCTION koppeling.entries_against(p_group bigint, p_person bigint) RETURNS TABLE(id bigint, reason text, source text, occurred_at timestamp with time zone)
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 WITH held AS (
          SELECT e.address_key
            FROM (koppeling.target_group g
              JOIN koppeling.email_address e ON (((e.person_id = entries_against.p_person) AND (e.kind = g.email_kind))))
           WHERE (g.id = entries_against.p_group)
         )
  SELECT s.id,
     s.reason,
     s.source,
     s.occurred_at
    FROM koppeling.open_suppression s
   WHERE ((s.target_group_id = entries_against.p_group) AND (s.person_id = entries_against.p_person))
 UNION
  SELECT s.id,
     s.reason,
     s.source,
     s.occurred_at
    FROM (koppeling.open_suppression s
      JOIN held h ON ((h.address_key = s.address_key)))
   WHERE (s.target_group_id = entries_against.p_group)
 UNION
  SELECT s.id,
     s.reason,
     s.source,
     s.occurred_at
    FROM (((koppeling.connector_instance i
      JOIN koppeling.audience_member m ON ((m.instance_id = i.id)))
      JOIN held h ON (((h.address_key = m.address_key) OR (h.address_key = m.file_key))))
      JOIN koppeling.open_suppression s ON (((s.target_group_id = entries_against.p_group) AND (s.contact_id = m.contact_id))))
   WHERE (i.target_group_id = entries_against.p_group);
END;

CREATE FUNCTION koppeling.erase_person(source text, external_id text, p_actor text DEFAULT SESSION_USER) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_person bigint := koppeling.require_person(source, external_id);
begin
    perform koppeling.enqueue_internal('person.erase', jsonb_build_object('person', v_person, 'actor', p_actor),
        key => 'erase-' || v_person, priority => -20);
    return v_person;
end $$;

CREATE FUNCTION koppeling.erase_person_now(p_person bigint, p_key bytea, p_actor text) RETURNS bigint
    LANGUAGE plpgsql STRICT
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_person bigint := koppeling.lock_person(p_person);
    v_record bigint;
    v_erasure bigint;
    v_removed jsonb;
begin
    for v_record in
        select v_person union all select o.id from koppeling.person o where o.merged_into = v_person
    loop
        insert into koppeling.erasure (person_id, actor) values (v_record, p_actor)
        on conflict (person_id) do nothing
        returning id into v_erasure;
        if v_erasure is not null then
            v_removed := koppeling.wipe_person(v_record, p_key, v_erasure, p_actor);
            update koppeling.erasure e set removed = v_removed where e.id = v_erasure;
        end if;
    end loop;
    return (select e.id from koppeling.erasure e where e.person_id = v_person);
end $$;

CREATE FUNCTION koppeling.hash_pads(p_key bytea, OUT inner_pad bytea, OUT outer_pad bytea) RETURNS record
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
declare
    v_key bytea := case when length(p_key) > 64 then sha256(p_key) else p_key end;
begin
    v_key := v_key || decode(repeat('00', 64 - length(v_key)), 'hex');
    inner_pad := v_key;
    outer_pad := v_key;
    for n in 0..63 loop
        inner_pad := set_byte(inner_pad, n, get_byte(v_key, n) # 54);
        outer_pad := set_byte(outer_pad, n, get_byte(v_key, n) # 92);
    end loop;
end $$;

CREATE FUNCTION koppeling.identity_subject(source text, external_id text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN concat_ws(''::text, 'identity', koppeling.fold(koppeling.clean_text(source)), koppeling.fold(koppeling.clean_text(external_id)));

CREATE FUNCTION koppeling.keyed_hash(p_inner_pad bytea, p_outer_pad bytea, p_text text) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN sha256((p_outer_pad || sha256((p_inner_pad || convert_to(p_text, 'UTF8'::name)))));

CREATE TABLE koppeling.erased_hash (
    hash bytea NOT NULL,
    subject text NOT NULL,
    erasure_id bigint NOT NULL,
    CONSTRAINT erased_hash_hash_check CHECK ((octet_length(hash) = 32)),
    CONSTRAINT erased_hash_subject_check CHECK ((subject = ANY (ARRAY['identity'::text, 'address'::text])))
);

CREATE FUNCTION koppeling.erased_among(p_key bytea, p_persons jsonb) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN (SELECT count(*) AS count FROM ((koppeling.hash_pads(erased_among.p_key) k(inner_pad, outer_pad) CROSS JOIN jsonb_array_elements(CASE jsonb_typeof(erased_among.p_persons) WHEN 'array'::text THEN erased_among.p_persons ELSE jsonb_build_array(erased_among.p_persons) END) g(person)) JOIN koppeling.erased_hash h ON (((h.subject = 'identity'::text) AND (h.hash = koppeling.keyed_hash(k.inner_pad, k.outer_pad, koppeling.identity_subject((g.person ->> 'source'::text), (g.person ->> 'id'::text))))))));

CREATE FUNCTION koppeling.erased_in_import(p_key bytea) RETURNS bigint
    LANGUAGE plpgsql STABLE
    AS $$
begin
    return (
        select count(*)
        from koppeling.hash_pads(p_key) k
        cross join import_change c
        join koppeling.erasure_check q on q.person_id = c.id
        join koppeling.person p on p.id = c.id
        join koppeling.erased_hash h on h.subject = 'identity' and h.hash = koppeling.keyed_hash(
            k.inner_pad, k.outer_pad, koppeling.identity_subject(p.source, p.external_id)));
end $$;

CREATE FUNCTION koppeling.iso8601(moment timestamp with time zone) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN isfinite(moment) THEN to_char((moment AT TIME ZONE 'utc'::text), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'::text) ELSE (moment)::text END;

CREATE TABLE koppeling.mailchimp_account (
    id bigint NOT NULL,
    name text NOT NULL,
    credential bytea NOT NULL,
    credential_kind text DEFAULT 'key'::text NOT NULL,
    data_centre text NOT NULL,
    account_id text NOT NULL,
    login_id text NOT NULL,
    permit_resource text GENERATED ALWAYS AS (((('mailchimp:'::text || data_centre) || ':'::text) || login_id)) STORED NOT NULL,
    authenticated boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    renewed_at timestamp with time zone,
    CONSTRAINT mailchimp_account_credential_kind_check CHECK ((credential_kind = ANY (ARRAY['key'::text, 'token'::text]))),
    CONSTRAINT mailchimp_account_data_centre_check CHECK ((data_centre ~ '^[a-z]{2}[0-9]{1,3}$'::text)),
    CONSTRAINT mailchimp_account_name_check CHECK ((name <> ''::text))
);

CREATE FUNCTION koppeling.lists_not_reached(p_erased_at timestamp with time zone) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN (SELECT COALESCE(jsonb_agg(jsonb_build_object('account', l.account, 'list', l.list_name, 'list_id', l.list_id, 'group', l.target_group, 'until', koppeling.iso8601(l.ended_at)) ORDER BY l.list_name, l.list_id), '[]'::jsonb) AS "coalesce" FROM (SELECT DISTINCT ON (f.list_id) f.id, f.target_group_id, f.target_group, f.account_id, f.list_id, f.list_name, f.instance_id, f.read_until, f.is_gone, f.looked_at, f.ended_at, f.ended_by, a.name AS account FROM (koppeling.former_link f LEFT JOIN koppeling.mailchimp_account a ON ((a.id = f.account_id))) WHERE ((f.ended_at < lists_not_reached.p_erased_at) AND (NOT (EXISTS (SELECT FROM koppeling.connector_instance i WHERE ((i.list_id = f.list_id) AND (i.created_at <= lists_not_reached.p_erased_at)))))) ORDER BY f.list_id, f.ended_at DESC) l WHERE (NOT l.is_gone));

CREATE TABLE koppeling.erasure (
    id bigint NOT NULL,
    person_id bigint NOT NULL,
    erased_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    actor text NOT NULL,
    removed jsonb DEFAULT '{}'::jsonb NOT NULL,
    puts_skipped bigint DEFAULT 0 NOT NULL,
    last_skipped_at timestamp with time zone
);

CREATE TABLE koppeling.erasure_contact (
    erasure_id bigint NOT NULL,
    member_id bigint NOT NULL,
    instance_id bigint NOT NULL,
    instance text NOT NULL,
    outcome text DEFAULT 'waiting'::text NOT NULL,
    changed_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    CONSTRAINT erasure_contact_outcome_check CHECK ((outcome = ANY (ARRAY['waiting'::text, 'deleted'::text, 'absent'::text, 'kept'::text, 'listGone'::text])))
);

CREATE FUNCTION koppeling.erasure_report(p_erasure bigint) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN (SELECT jsonb_build_object('erasure', e.id, 'person', e.person_id, 'erased_at', koppeling.iso8601(e.erased_at), 'actor', e.actor, 'removed', e.removed, 'contacts', COALESCE((SELECT jsonb_agg(jsonb_build_object('instance', c.instance, 'outcome', c.outcome, 'at', koppeling.iso8601(c.changed_at)) ORDER BY c.instance, c.member_id) AS jsonb_agg FROM koppeling.erasure_contact c WHERE (c.erasure_id = e.id)), '[]'::jsonb), 'lists_not_reached', koppeling.lists_not_reached(e.erased_at), 'is_complete', (NOT (EXISTS (SELECT FROM koppeling.audience_member m WHERE (m.erasure_id = e.id)))), 'puts_skipped', e.puts_skipped, 'last_skipped_at', koppeling.iso8601(e.last_skipped_at)) AS jsonb_build_object FROM koppeling.erasure e WHERE (e.id = erasure_report.p_erasure));

CREATE FUNCTION koppeling.erasure_of(p_person bigint) RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN COALESCE((SELECT koppeling.erasure_report(e.id) AS erasure_report FROM koppeling.erasure e WHERE (e.person_id = erasure_of.p_person)), (SELECT jsonb_build_object('person', erasure_of.p_person, 'erased_at', NULL::unknown, 'is_complete', false) AS jsonb_build_object FROM koppeling.job j WHERE ((j.queue = 'default'::text) AND (j.kind = 'person.erase'::text) AND (j.key = ('erase-'::text || erasure_of.p_person))) LIMIT 1));

CREATE FUNCTION koppeling.estimate_rules(p_group bigint, p_rules jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
declare
    v_most bigint := (select coalesce(max(p.id), 1) from koppeling.person p);
    v_drawn bigint[] := array(
        select distinct 1 + floor(random() * v_most)::bigint from generate_series(1, least(5000, v_most * 3)));
    v_seen jsonb := koppeling.preview_rules(p_group, p_rules,
        array(select p.id from koppeling.person p where p.id = any (v_drawn)));
    v_scale float8 := v_most::float8 / cardinality(v_drawn);
begin
    return v_seen || jsonb_build_object(
        'rules', (
            select coalesce(jsonb_agg(r || jsonb_build_object(
                'matches', round((r -> 'matches')::int * v_scale),
                'total', round((r -> 'total')::int * v_scale))), '[]')
            from jsonb_array_elements(v_seen -> 'rules') r),
        'matches', round((v_seen -> 'matches')::int * v_scale), 'joins', round((v_seen -> 'joins')::int * v_scale),
        'leaves', round((v_seen -> 'leaves')::int * v_scale),
        'unsubscribed', round((v_seen -> 'unsubscribed')::int * v_scale));
end $$;

CREATE FUNCTION koppeling.evaluate_requests(p_limit bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_persons bigint[];
    v_causes text[];
    v_by_hand boolean[];
    v_groups bigint[];
    v_group bigint;
    v_cause record;
    v_copied bigint[];
    v_passing boolean := koppeling.is_passing();
begin
    perform koppeling.spread_value_changes();
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
        where o.target_group_id = s.target_group_id and o.reason = s.reason and o.person_id = e.person_id
            and koppeling.covers(o.occurred_at, s.reason, s.occurred_at))
    on conflict (person_id) do nothing;
    v_copied := koppeling.spread_noes();

    with taken as (
        delete from koppeling.evaluation_request where person_id = any (array(
            select person_id from koppeling.evaluation_request
            where not (after_pass and v_passing) and not (after_check and koppeling.awaits_check(person_id))
            order by requested_at, person_id limit p_limit for update skip locked))
        returning person_id, cause, by_hand
    )
    select coalesce(array_agg(person_id), '{}'), coalesce(array_agg(cause), '{}'), coalesce(array_agg(by_hand), '{}')
    into v_persons, v_causes, v_by_hand
    from taken;
    if cardinality(v_persons) = 0 then
        -- What is left is held by somebody: by a put, which sees to it itself, by a pass, or by the transaction of a
        -- worker that died, which is about to give it back and tells nobody.
        if exists (
                select from koppeling.evaluation_request
                where not (after_check and koppeling.awaits_check(person_id)))
            or exists (select from koppeling.holder_check)
            or exists (select from koppeling.value_change) or exists (select from koppeling.spreading_no)
        then
            perform koppeling.enqueue(kind => 'group.evaluate', key => 'evaluate-again',
                run_at => koppeling.now() + interval '1 second');
        end if;
        if v_copied = '{}' then
            return 0;
        end if;
    end if;
    -- A pass that is under way may not have seen what these persons have now, and which groups it puts them into, or
    -- by which rules, cannot be seen here before it is over. Nor does anything follow yet from somebody whom the ledger
    -- of erasures was not asked about: what caused it is kept until then.
    v_passing := koppeling.is_passing();
    insert into koppeling.evaluation_request (person_id, cause, after_pass, after_check, by_hand)
    select t.p, t.c, v_passing, k.awaits, t.h
    from unnest(v_persons, v_causes, v_by_hand) t (p, c, h)
    cross join lateral (select koppeling.awaits_check(t.p) as awaits offset 0) k
    where v_passing or k.awaits;

    v_groups := array(
        select unnest(koppeling.groups_concerned(v_persons))
        union
        select s.target_group_id from koppeling.suppression s where s.id = any (v_copied)
        order by 1);
    foreach v_group in array v_groups loop
        perform koppeling.lock_group(v_group);
    end loop;
    -- After the locks, so that a no which was being recorded meanwhile is seen.
    perform koppeling.bind_holders(v_persons);
    foreach v_group in array v_groups loop
        for v_cause in
            select t.cause, t.by_hand, array_agg(t.person) as persons
            from unnest(v_persons, v_causes, v_by_hand) t (person, cause, by_hand)
            group by t.cause, t.by_hand
            order by t.cause, t.by_hand
        loop
            perform koppeling.derive_memberships(v_group, v_cause.persons, v_cause.cause, 'evaluation');
            perform koppeling.membership_changed(v_group, array(
                select m.person_id from koppeling.membership m
                where m.target_group_id = v_group and m.person_id = any (v_cause.persons)), v_cause.by_hand);
        end loop;
    end loop;
    perform koppeling.stage_carried(v_copied);
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

CREATE FUNCTION koppeling.explain_delivery(p_group bigint, p_person bigint, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_at timestamptz := coalesce(p_at, 'infinity');
    v_instance koppeling.connector_instance;
    v_account koppeling.mailchimp_account;
    v_group koppeling.target_group;
    v_address koppeling.email_address;
    v_member koppeling.audience_member;
    v_is_claimed boolean;
begin
    select * into v_group from koppeling.target_group where id = p_group;
    select * into v_instance from koppeling.connector_instance where target_group_id = p_group;
    if not found then
        return null;
    end if;
    select * into v_account from koppeling.mailchimp_account where id = v_instance.account_id;
    select * into v_address from koppeling.email_address where person_id = p_person and kind = v_group.email_kind;
    select m.* into v_member
    from koppeling.claim c
    join koppeling.audience_member m on m.id = c.member_id
    where c.instance_id = v_instance.id and c.person_id = p_person;
    v_is_claimed := found;
    if not v_is_claimed then
        select * into v_member from koppeling.audience_member
        where instance_id = v_instance.id and address_key = v_address.address_key;
    end if;
    return jsonb_build_object(
        'instance', v_instance.name, 'is_enabled', v_instance.enabled, 'paused_reason', v_instance.paused_reason,
        'off_because', koppeling.deployment_fault(),
        'account', v_account.name, 'is_authenticated', v_account.authenticated,
        'is_held_out', v_address.id is not null and not koppeling.address_allowed(v_address.address_key),
        'is_dry_run', v_instance.dry_run,
        'is_activated', v_instance.activated, 'last_pull_at', koppeling.iso8601(v_instance.last_pull_at),
        'invitation', (
            select koppeling.invitation_json(v.id) from koppeling.invitation v
            where v.person_id = p_person and v.instance_id = v_instance.id and v.requested_at <= v_at
            order by v.id desc limit 1),
        'email_kind', v_group.email_kind, 'address', v_address.address, 'is_claimed', v_is_claimed,
        'plan', (
            select jsonb_build_object(
                'plan', p.id, 'change', l.change, 'reason', l.reason, 'held_because', p.held_because)
            from koppeling.change_plan p
            join koppeling.change_plan_line l on l.plan_id = p.id and l.person_id = p_person
            where p.target_group_id = p_group and p.state = 'held'),
        'contact', case when v_member.id is not null then jsonb_build_object(
            'address', v_member.address, 'contact_id', v_member.contact_id,
            'status', coalesce(v_member.status, 'unknown'), 'ownership', v_member.ownership,
            'last_changed', koppeling.iso8601(v_member.last_changed),
            'seen_at', koppeling.iso8601(v_member.observed_at),
            'note', v_member.note, 'intent', v_member.intent, 'fields', v_member.applied_fields) end,
        'actions', coalesce((
            select jsonb_agg(jsonb_build_object(
                'job', j.id, 'action', j.args ->> 'action',
                'state', case when j.state in ('ready', 'scheduled', 'blocked') then 'staged'
                              when j.state = 'cancelled' then 'superseded' else j.state end,
                'waits_for', case when j.state = 'parked' then case when exists (
                    select from koppeling.task t
                    where t.kind = 'oscillation' and t.instance_id = v_instance.id
                        and (t.detail ->> 'member')::bigint = v_member.id
                        and (t.done_at is null or t.created_at >= j.enqueued_at))
                    then 'oscillation' else 'template' end end,
                'at', koppeling.iso8601(coalesce(j.finished_at, j.started_at, j.enqueued_at)),
                'reason', j.reason) order by j.id desc)
            from koppeling.newest_jobs(10, queue => koppeling.instance_queue(v_instance.id),
                key => koppeling.member_key(v_member.id)) j
            where v_member.id is not null and j.enqueued_at <= v_at), '[]'),
        'hooks', coalesce((
            select jsonb_agg(jsonb_build_object(
                'type', w.body ->> 'type', 'received_at', koppeling.iso8601(w.received_at),
                'processed_at', koppeling.iso8601(w.processed_at)) order by w.id desc)
            from (
                select r.* from (
                    select * from koppeling.webhook_inbox i
                    where i.instance_id = v_instance.id and i.received_at <= v_at
                    order by i.id desc limit 10000) r
                where koppeling.address_key(r.body #>> '{data,email}') in (v_member.address_key, v_address.address_key)
                order by r.id desc limit 5
            ) w), '[]'));
end $$;

CREATE FUNCTION koppeling.explain_membership(p_group bigint, p_person bigint, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_at timestamptz := coalesce(p_at, 'infinity');
    v_facts jsonb;
begin
    if p_at is null then
        select jsonb_build_object(
            'status', m.status, 'via', m.via, 'reasons', m.reasons, 'rule_match', m.rule_match,
            'rule', m.matched_rule_id, 'override', m.override, 'ever_member', m.ever_member)
        into v_facts
        from koppeling.membership m
        where m.target_group_id = p_group and m.person_id = p_person;
    else
        -- A hand's decision that changed no status has an entry of its own.
        select coalesce(a.new, '{}') || a.facts || jsonb_build_object('override', coalesce((
                select o.new from koppeling.audit_entry o
                where o.person_id = p_person and o.target_group_id = p_group and o.kind = 'override' and o.at <= p_at
                order by o.id desc limit 1), '"none"'))
        into v_facts
        from koppeling.audit_entry a
        where a.person_id = p_person and a.target_group_id = p_group and a.kind = 'status' and a.at <= p_at
        order by a.id desc
        limit 1;
    end if;
    return jsonb_build_object(
        'at', case when p_at is not null then koppeling.iso8601(p_at) end,
        'status', v_facts -> 'status', 'via', v_facts -> 'via',
        'reasons', coalesce(nullif(v_facts -> 'reasons', 'null'), '[]'),
        'rule_match', coalesce((v_facts -> 'rule_match')::boolean, false),
        'matched_rule', (select r.position from koppeling.rule r where r.id = (v_facts ->> 'rule')::bigint),
        'rule_text', koppeling.rule_text((v_facts ->> 'rule')::bigint),
        'override', coalesce(v_facts ->> 'override', 'none'),
        'ever_member', coalesce((v_facts -> 'ever_member')::boolean or v_facts ->> 'status' = 'active', false),
        'is_pending', p_at is null and exists (
            select from koppeling.evaluation_request q where q.person_id = p_person
            union all
            select from koppeling.erasure_check q where q.person_id = p_person),
        'suppressions', coalesce((
            select jsonb_agg(jsonb_build_object(
                'reason', s.reason, 'source', s.source, 'occurred_at', koppeling.iso8601(s.occurred_at),
                'actor', s.detail ->> 'actor',
                'stands_at', case when s.person_id is not null then 'person'
                                  when s.contact_id is not null then 'contact' else 'address' end)
                order by s.id)
            from koppeling.binding_entries(p_group, p_person, v_at) s), '[]'),
        'changes', coalesce((
            select jsonb_agg(jsonb_build_object(
                'at', koppeling.iso8601(a.at), 'kind', a.kind, 'old', a.old, 'new', a.new,
                'actor', a.actor, 'cause', a.cause) order by a.id desc)
            from (
                select * from koppeling.audit_entry a
                where a.person_id = p_person and (a.target_group_id = p_group or a.target_group_id is null)
                    and a.at <= v_at
                order by a.id desc limit 20
            ) a), '[]'));
end $$;

CREATE FUNCTION koppeling.export_person(source text, external_id text) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_person bigint := koppeling.require_person(source, external_id);
    -- She, and the records that were merged into hers.
    v_records bigint[] := array(
        select p.id from koppeling.person p where p.id = v_person or p.merged_into = v_person);
    v_identities text[] := array(
        select koppeling.identity_subject(p.source, p.external_id) from koppeling.person p where p.id = any (v_records));
    v_keys text[] := array(select e.address_key from koppeling.email_address e where e.person_id = v_person);
    v_members bigint[] := array(select koppeling.contacts_of(v_person, v_keys));
begin
    return jsonb_build_object(
        'exported_at', koppeling.iso8601(koppeling.now()),
        'person', koppeling.person_json(v_person) || (
            select jsonb_build_object('created_at', koppeling.iso8601(p.created_at),
                'changed_at', koppeling.iso8601(p.changed_at))
            from koppeling.person p where p.id = v_person),
        'merged', coalesce((
            select jsonb_agg(koppeling.person_json(p.id) || jsonb_build_object(
                'created_at', koppeling.iso8601(p.created_at), 'changed_at', koppeling.iso8601(p.changed_at))
                order by p.id)
            from koppeling.person p where p.merged_into = v_person), '[]'),
        'memberships', coalesce((
            select jsonb_agg(jsonb_build_object(
                'group', g.name, 'status', m.status, 'via', m.via, 'reasons', m.reasons, 'override', m.override,
                'overridden_by', m.overridden_by, 'rule_match', m.rule_match, 'ever_member', m.ever_member,
                'changed_at', koppeling.iso8601(m.changed_at)) order by g.name)
            from koppeling.membership m
            join koppeling.target_group g on g.id = m.target_group_id
            where m.person_id = v_person), '[]'),
        'consent', coalesce((
            select jsonb_agg(jsonb_build_object(
                'group', g.name, 'reason', s.reason, 'source', s.source,
                'at', case when s.person_id is not null then 'person' when s.contact_id is not null then 'contact'
                           else 'address' end,
                'occurred_at', koppeling.iso8601(s.occurred_at), 'recorded_at', koppeling.iso8601(s.recorded_at),
                'detail', s.detail, 'lifted_at', koppeling.iso8601(l.lifted_at), 'lifted_by', l.source) order by s.id)
            from koppeling.suppression s
            -- It may have been deleted since: what was said stays.
            left join koppeling.target_group g on g.id = s.target_group_id
            left join koppeling.suppression_lift l on l.suppression_id = s.id
            where s.id in (select koppeling.suppressions_of(v_person, v_keys))), '[]'),
        'invitations', coalesce((
            select jsonb_agg(koppeling.invitation_json(v.id) || jsonb_build_object('group', g.name) order by v.id)
            from koppeling.invitation v
            join koppeling.target_group g on g.id = v.target_group_id
            where v.person_id = v_person), '[]'),
        'contacts', coalesce((
            select jsonb_agg(jsonb_build_object(
                'instance', i.name, 'list', i.list_name, 'address', m.address, 'contact_id', m.contact_id,
                'status', m.status, 'ownership', m.ownership, 'fields', m.applied_fields, 'note', m.note,
                'opted_in_at', koppeling.iso8601(m.opted_in_at), 'last_changed', koppeling.iso8601(m.last_changed),
                'actions', coalesce((
                    select jsonb_agg(jsonb_build_object(
                        'action', j.args ->> 'action', 'state', j.state,
                        'enqueued_at', koppeling.iso8601(j.enqueued_at),
                        'finished_at', koppeling.iso8601(j.finished_at), 'reason', j.reason) order by j.id)
                    from koppeling.newest_jobs(100, queue => koppeling.instance_queue(i.id),
                        key => koppeling.member_key(m.id)) j), '[]')) order by i.name, m.id)
            from koppeling.audience_member m
            join koppeling.connector_instance i on i.id = m.instance_id
            where m.id = any (v_members)), '[]'),
        'plans', coalesce((
            select jsonb_agg(jsonb_build_object(
                'plan', l.plan_id, 'state', p.state, 'change', l.change, 'reason', l.reason, 'cause', l.cause)
                order by l.plan_id)
            from koppeling.change_plan_line l
            join koppeling.change_plan p on p.id = l.plan_id
            where l.person_id = v_person), '[]'),
        'tasks', coalesce((
            select jsonb_agg(koppeling.in_utc(row_to_json(t))::jsonb - 'person_id' order by t.id) from koppeling.task t
            where t.person_id = v_person), '[]'),
        'audit', coalesce((
            select jsonb_agg(jsonb_build_object(
                'source', p.source, 'external_id', p.external_id,
                'at', koppeling.iso8601(a.at), 'group', g.name, 'kind', a.kind, 'old', a.old, 'new', a.new,
                'facts', a.facts, 'actor', a.actor, 'cause', a.cause) order by a.id)
            from koppeling.audit_entry a
            join koppeling.person p on p.id = a.person_id
            left join koppeling.target_group g on g.id = a.target_group_id
            where a.person_id = any (v_records)), '[]'),
        'jobs', coalesce((
            select jsonb_agg(jsonb_build_object(
                'job', j.id, 'state', j.state, 'enqueued_at', koppeling.iso8601(j.enqueued_at), 'person', a.person)
                order by j.id)
            from koppeling.jobs j
            cross join lateral jsonb_array_elements(
                case jsonb_typeof(j.args) when 'array' then j.args else jsonb_build_array(j.args) end) a (person)
            where j.kind = 'persons.put'
                and koppeling.without_persons(a.person, v_identities, v_keys) = '[]'), '[]'),
        'hooks', coalesce((
            select jsonb_agg(jsonb_build_object(
                'instance', i.name, 'received_at', koppeling.iso8601(w.received_at), 'body', w.body) order by w.id)
            from koppeling.webhook_inbox w
            join koppeling.connector_instance i on i.id = w.instance_id
            where koppeling.address_key(w.body #>> '{data,email}') = any (v_keys)), '[]'));
end $$;

CREATE FUNCTION koppeling.few_having(p_asked koppeling.criteria_values, p_not koppeling.criteria_values, p_persons bigint[]) RETURNS TABLE(person_id bigint)
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
#variable_conflict use_column
begin
    return query select h.person_id from koppeling.persons_having(p_asked, p_not, false, p_persons) h;
end $$;

CREATE FUNCTION koppeling.fill_persons(p_rows koppeling.person_input[], p_positions koppeling.position_row[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
begin
    if p_rows = '{}' then
        return;
    end if;
    insert into koppeling.email_address (person_id, kind, address)
    select r.person_id, g.kind, g.address
    from unnest(p_rows) r
    cross join unnest(r.email_kinds, r.addresses) g (kind, address)
    where g.address is not null;
    insert into koppeling.person_category (person_id, category_id)
    select r.person_id, c
    from unnest(p_rows) r
    cross join unnest(r.category_ids) c
    where 'categories' = any (r.fields);
    insert into koppeling.position (person_id, job_function_id, department_id, company_id)
    select v.person_id, v.job_function_id, v.department_id, v.company_id from unnest(p_positions) v;
end $$;

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

CREATE FUNCTION koppeling.find_company(label text) RETURNS bigint
    LANGUAGE plpgsql STABLE
    AS $_$
declare
    v_key text := coalesce(substring(label from '\s\[([^\[]*)\]\s*$'), label);
    v_found bigint[];
begin
    v_found := array(
        select coalesce(c.merged_into, c.id) from koppeling.company c
        where koppeling.fold(c.source) = koppeling.fold(koppeling.clean_text(split_part(v_key, '/', 1)))
            and koppeling.fold(c.external_id)
                = koppeling.fold(koppeling.clean_text(substr(v_key, strpos(v_key, '/') + 1))));
    if v_found = '{}' then
        v_found := array(
            select c.id from koppeling.company c
            where koppeling.fold(c.name) = koppeling.fold(koppeling.clean_text(label)) and c.merged_into is null
            order by c.id limit 2);
    end if;
    if cardinality(v_found) > 1 then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('several companies are named "%s"', label),
            hint = 'Write the one that is meant as "source/id".';
    end if;
    return v_found[1];
end $_$;

CREATE FUNCTION koppeling.find_company(source text, external_id text) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (SELECT COALESCE(c.merged_into, c.id) AS "coalesce" FROM koppeling.company c WHERE ((koppeling.fold(c.source) = koppeling.fold(koppeling.clean_text(find_company.source))) AND (koppeling.fold(c.external_id) = koppeling.fold(koppeling.clean_text(find_company.external_id)))));

CREATE FUNCTION koppeling.find_erasure(p_key bytea, source text, external_id text) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN (SELECT h.erasure_id FROM (koppeling.hash_pads(find_erasure.p_key) k(inner_pad, outer_pad) JOIN koppeling.erased_hash h ON (((h.subject = 'identity'::text) AND (h.hash = koppeling.keyed_hash(k.inner_pad, k.outer_pad, koppeling.identity_subject(find_erasure.source, find_erasure.external_id)))))));

CREATE FUNCTION koppeling.find_member(p_instance bigint, p_contact text, p_key text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_member bigint;
begin
    select id into v_member from koppeling.audience_member
    where instance_id = p_instance and contact_id = p_contact for update;
    if not found then
        select id into v_member from koppeling.audience_member
        where instance_id = p_instance and address_key = p_key and (contact_id is null or p_contact is null)
        for update;
    end if;
    return v_member;
end $$;

CREATE FUNCTION koppeling.find_person(source text, external_id text) RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (SELECT COALESCE(p.merged_into, p.id) AS "coalesce" FROM koppeling.person p WHERE ((koppeling.fold(p.source) = koppeling.fold(koppeling.clean_text(find_person.source))) AND (koppeling.fold(p.external_id) = koppeling.fold(koppeling.clean_text(find_person.external_id)))));

CREATE FUNCTION koppeling.find_traces(p_texts text[]) RETURNS TABLE(relation text, hits bigint)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $_$
declare
    v_table text;
    v_patterns text[] := array(
        select '%' || regexp_replace(lower(t), '([\\%_])', '\\\1', 'g') || '%' from unnest(p_texts) t);
begin
    for v_table in
        select c.relname::text from pg_class c
        where c.relnamespace = 'koppeling'::regnamespace and c.relkind = 'r' order by 1
    loop
        execute format('select count(*) from koppeling.%I t where lower(t::text) like any ($1)', v_table)
        into hits using v_patterns;
        if hits > 0 then
            relation := v_table;
            return next;
        end if;
    end loop;
end $_$;

CREATE FUNCTION koppeling.find_value(kind text, label text) RETURNS bigint
    LANGUAGE plpgsql STABLE
    AS $$
declare
    v_name text := koppeling.fold(koppeling.clean_text(label));
begin
    return case kind
        when 'personCategory' then koppeling.find_category(label)
        when 'company' then koppeling.find_company(label)
        when 'function' then (select v.id from koppeling.job_function v where koppeling.fold(v.name) = v_name)
        when 'department' then (select v.id from koppeling.department v where koppeling.fold(v.name) = v_name)
        when 'companyCategory' then
            (select v.id from koppeling.company_category v where koppeling.fold(v.name) = v_name)
    end;
end $$;

CREATE FUNCTION koppeling.finish_import(p_kind text, p_cause text) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    if p_kind = 'companies' then
        perform koppeling.note_value_changes('company', array(select c.id from import_change c), p_cause);
    else
        perform koppeling.request_evaluation(array(select c.id from import_change c), p_cause);
    end if;
end $$;

CREATE TABLE koppeling.former_contact (
    former_link_id bigint NOT NULL,
    contact_id text NOT NULL,
    person_id bigint NOT NULL
);

CREATE FUNCTION koppeling.finish_last_look(p_link bigint, p_list_is_gone boolean) RETURNS void
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 UPDATE koppeling.former_link f SET looked_at = koppeling.now(), is_gone = finish_last_look.p_list_is_gone
   WHERE ((f.id = finish_last_look.p_link) AND (f.looked_at IS NULL));
 DELETE FROM koppeling.former_contact c
   WHERE (c.former_link_id = finish_last_look.p_link);
END;

CREATE FUNCTION koppeling.finish_tasks(p_tasks bigint[], p_actor text DEFAULT SESSION_USER) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_done bigint;
    v_unknown bigint;
begin
    select u into v_unknown from unnest(p_tasks) u
    where not exists (select from koppeling.task t where t.id = u) limit 1;
    if found then
        raise exception using errcode = 'no_data_found', message = format('there is no task %s', v_unknown),
            hint = 'List the tasks to see their numbers.';
    end if;
    update koppeling.task t set done_at = koppeling.now(), done_by = p_actor
    where t.id = any (p_tasks) and t.done_at is null;
    get diagnostics v_done = row_count;
    return v_done;
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
        set (kind, args, run_at, priority, attempt, max_attempts, deaths, error, key_mode, order_key, limit_key, state,
            blocked_by) = (
            select f.kind, f.args, f.run_at, f.priority, f.attempt, f.max_attempts, f.deaths, f.error, f.key_mode,
                f.order_key, f.limit_key, f.state, f.blocked_by
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
        waiting.attempt := back.attempt;
        waiting.max_attempts := back.max_attempts;
        waiting.deaths := back.deaths;
        waiting.error := back.error;
        waiting.key_mode := back.key_mode;
        waiting.order_key := back.order_key;
        waiting.limit_key := back.limit_key;
        waiting.state := case when waiting.deaths > 0 then 'suspect' else 'returned' end;
        waiting.blocked_by := null;
    end if;
    return waiting;
end $$;

CREATE FUNCTION koppeling.followers(p_group bigint, p_key text, p_contact text) RETURNS bigint[]
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN ARRAY(WITH stands AS MATERIALIZED (SELECT m.id, m.instance_id, m.file_key FROM (koppeling.connector_instance i JOIN koppeling.audience_member m ON (((m.instance_id = i.id) AND (m.address_key = followers.p_key)))) WHERE (i.target_group_id = followers.p_group) UNION SELECT m.id, m.instance_id, m.file_key FROM (koppeling.connector_instance i JOIN koppeling.audience_member m ON (((m.instance_id = i.id) AND (m.contact_id = followers.p_contact)))) WHERE (i.target_group_id = followers.p_group)) SELECT c.person_id FROM (stands s JOIN koppeling.claim c ON ((c.member_id = s.id))) UNION SELECT e.person_id FROM (stands s JOIN koppeling.email_address e ON ((e.address_key = s.file_key))) WHERE (NOT (EXISTS (SELECT FROM koppeling.audience_member o WHERE ((o.instance_id = s.instance_id) AND (o.address_key = s.file_key) AND (o.status <> 'absent'::text))))));

CREATE FUNCTION koppeling.former_addresses(p_person bigint, p_members bigint[]) RETURNS SETOF text
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT m.address_key
    FROM koppeling.audience_member m
   WHERE (m.id = ANY (former_addresses.p_members))
 UNION
  SELECT m.file_key
    FROM koppeling.audience_member m
   WHERE ((m.id = ANY (former_addresses.p_members)) AND (m.file_key IS NOT NULL))
 UNION
  SELECT f.address_key
    FROM (koppeling.suppression s
      JOIN koppeling.suppression f ON (((f.id = s.follows) AND (f.address_key IS NOT NULL))))
   WHERE (s.person_id = former_addresses.p_person)
 UNION
  SELECT a.address_key
    FROM ((koppeling.suppression s
      JOIN koppeling.suppression f ON (((f.id = s.follows) AND (f.contact_id IS NOT NULL))))
      JOIN koppeling.suppression a ON (((a.follows = f.id) AND (a.address_key IS NOT NULL))))
   WHERE (s.person_id = former_addresses.p_person);
END;

CREATE FUNCTION koppeling.found_no(p_member bigint, p_reason text, p_said_at timestamp with time zone, p_found_in text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_member koppeling.audience_member;
    v_group  bigint;
    v_said   timestamptz := coalesce(p_said_at, koppeling.now());
begin
    select i.target_group_id into strict v_group
    from koppeling.connector_instance i
    join koppeling.audience_member m on m.instance_id = i.id
    where m.id = p_member;
    perform koppeling.lock_group(v_group);
    select * into strict v_member from koppeling.audience_member where id = p_member for update;
    insert into koppeling.restored_no (instance_id, contact_id, address, reason, said_at, found_in)
    select v_member.instance_id, v_member.contact_id, v_member.address, p_reason, v_said, p_found_in
    where v_member.contact_id is not null
    on conflict do nothing;
    update koppeling.audience_member set intent = null, intent_at = null, sent_fields = null where id = p_member;
    perform koppeling.open_suppression(v_group, p_reason, v_member.address, v_member.contact_id,
        koppeling.claimants(p_member), 'mailchimp', v_said, jsonb_build_object('found', p_found_in));
    perform koppeling.stage_members(v_member.instance_id, array[p_member]);
end $$;

CREATE FUNCTION koppeling.gender_value(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE lower((value COLLATE "C")) WHEN 'male'::text THEN 'male'::text WHEN 'man'::text THEN 'male'::text WHEN 'm'::text THEN 'male'::text WHEN 'female'::text THEN 'female'::text WHEN 'vrouw'::text THEN 'female'::text WHEN 'v'::text THEN 'female'::text WHEN 'f'::text THEN 'female'::text WHEN 'other'::text THEN 'other'::text WHEN 'anders'::text THEN 'other'::text WHEN 'x'::text THEN 'other'::text WHEN 'unknown'::text THEN 'unknown'::text WHEN 'onbekend'::text THEN 'unknown'::text ELSE NULL::text END;

CREATE FUNCTION koppeling.groups_concerned(p_persons bigint[]) RETURNS bigint[]
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
begin
    return array(
        select m.target_group_id from koppeling.membership m where m.person_id = any (p_persons)
        union
        select r.target_group_id
        from koppeling.person_value v
        join koppeling.criterion c on c.kind = v.kind and c.value_id = v.value_id and not c.negated
        join koppeling.rule r on r.id = c.rule_id
        where v.person_id = any (p_persons)
        union
        select r.target_group_id from koppeling.rule r
        where not exists (select from koppeling.criterion c where c.rule_id = r.id and not c.negated)
        order by 1);
end $$;

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

CREATE FUNCTION koppeling.held_by_erased(p_group bigint, p_person bigint) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN (EXISTS (SELECT FROM koppeling.entries_against(held_by_erased.p_group, held_by_erased.p_person) e(id, reason, source, occurred_at) WHERE ((e.reason = 'forgotten'::text) AND (e.source = 'user'::text))));

CREATE FUNCTION koppeling.import_company_chunk(p_after bigint, p_size bigint, p_source text, p_fields text[], p_put boolean, OUT last_line bigint, OUT seen bigint, OUT faults bigint, OUT put bigint, OUT created bigint, OUT changed bigint, OUT categories_made bigint) RETURNS record
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_rows koppeling.company_input[];
    v_done record;
begin
    select
        max(c.line), count(*),
        array_agg(row(
            c.line, coalesce(c.source, p_source), c.external_id, c.name,
            koppeling.cell_labels(c.categories),
            p_fields, null)::koppeling.company_input) filter (where c.fault is null)
    into last_line, seen, v_rows
    from (select * from import_row i where i.line > p_after order by i.line limit p_size) c;

    v_rows := koppeling.clean_companies(v_rows);
    with found as (
        select * from koppeling.company_faults(v_rows)
    ), noted as (
        insert into import_fault (line, field, message) select * from found
    )
    select count(distinct f.line) into faults
    from found f
    where not exists (select from import_fault known where known.line = f.line);

    put := 0;
    if p_put then
        v_rows := array(
            select r from unnest(v_rows) r
            where not exists (select from import_fault f where f.line = r.line));
        select * into v_done from koppeling.put_company_rows(v_rows);
        put := cardinality(v_rows);
        created := v_done.created;
        changed := cardinality(v_done.touched);
        categories_made := v_done.categories_made;
        insert into import_change (id) select unnest(v_done.touched);
    end if;
end $$;

CREATE FUNCTION koppeling.import_merged(p_kind text, p_source text) RETURNS TABLE(line bigint, id bigint)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
begin
    if not exists (select from koppeling.person p where p.merged_into is not null)
        and not exists (select from koppeling.company c where c.merged_into is not null)
    then
        return;
    end if;
    return query
    select i.line, m.into_id
    from (
        select p.source, p.external_id, coalesce(p.merged_into, p.id) as into_id
        from koppeling.person p
        where p_kind = 'persons' and (p.merged_into is not null
            or p.id in (select o.merged_into from koppeling.person o where o.merged_into is not null))
        union all
        select c.source, c.external_id, coalesce(c.merged_into, c.id)
        from koppeling.company c
        where p_kind = 'companies' and (c.merged_into is not null
            or c.id in (select o.merged_into from koppeling.company o where o.merged_into is not null))
    ) m
    join import_row i
        on koppeling.fold(koppeling.clean_text(coalesce(i.source, p_source))) = koppeling.fold(m.source)
        and koppeling.fold(koppeling.clean_text(i.external_id)) = koppeling.fold(m.external_id)
    where i.fault is null;
end $$;

CREATE FUNCTION koppeling.import_names(p_source text) RETURNS TABLE(line bigint, source text, external_id text)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
begin
    return query
    select i.line, coalesce(koppeling.fold(koppeling.clean_text(coalesce(i.source, p_source))), ''),
        coalesce(koppeling.fold(koppeling.clean_text(i.external_id)), '')
    from import_row i
    where i.fault is null and i.external_id is not null;
end $$;

CREATE FUNCTION koppeling.import_person_chunk(p_after bigint, p_size bigint, p_source text, p_kinds text[], p_fields text[], p_put boolean, OUT last_line bigint, OUT seen bigint, OUT faults bigint, OUT put bigint, OUT created bigint, OUT changed bigint, OUT categories_made bigint, OUT anonymised bigint) RETURNS record
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_kinds text[] := array(
        select coalesce(koppeling.fold(koppeling.clean_text(k)), '')
        from unnest(p_kinds) with ordinality as u (k, n) order by n);
    v_rows koppeling.person_input[];
    v_done record;
begin
    -- Cleaned on the way, column by column: what clean_persons would do to the arrays costs several times as much.
    select
        max(c.line), count(*),
        coalesce(array_agg(
            case when c.anonymised is not null and koppeling.cell_boolean(c.anonymised) then
                koppeling.anonymised_input(
                    c.line, koppeling.clean_text(coalesce(c.source, p_source)), koppeling.clean_text(c.external_id))
            else
                row(
                    c.line, koppeling.clean_text(coalesce(c.source, p_source)), koppeling.clean_text(c.external_id),
                    koppeling.clean_text(c.given_name), koppeling.clean_text(c.initials),
                    koppeling.clean_text(c.prefixes), koppeling.clean_text(c.family_name),
                    coalesce(koppeling.gender_value(koppeling.clean_text(c.gender)), koppeling.clean_text(c.gender)),
                    v_kinds, koppeling.cell_addresses(c.addresses), koppeling.cell_labels(c.categories),
                    koppeling.cell_positions(c.job_function, c.department, c.company),
                    p_fields, null, null)::koppeling.person_input
            end) filter (where c.fault is null), '{}')
    into last_line, seen, v_rows
    from (select * from import_row i where i.line > p_after order by i.line limit p_size) c;

    with found as (
        select * from koppeling.person_faults(v_rows)
    ), noted as (
        insert into import_fault (line, field, message) select * from found
    )
    select count(distinct f.line) into faults
    from found f
    where not exists (select from import_fault known where known.line = f.line);

    put := 0;
    if p_put then
        v_rows := array(
            select r from unnest(v_rows) r
            where not exists (select from import_fault f where f.line = r.line));
        anonymised := cardinality(v_rows);
        v_rows := koppeling.take_anonymised(v_rows);
        anonymised := anonymised - cardinality(v_rows);
        select * into v_done from koppeling.put_person_rows(v_rows);
        put := cardinality(v_rows);
        created := v_done.created;
        changed := v_done.changed - v_done.created;
        categories_made := v_done.categories_made;
        insert into import_change (id) select unnest(v_done.evaluate);
    end if;
end $$;

CREATE FUNCTION koppeling.in_utc(p_row json) RETURNS json
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT ((('{'::text || string_agg((((to_json(e.key))::text || ':'::text) || CASE WHEN ((e.key ~ '_(at|until)$|^(latest|tick)$'::text) AND (json_typeof(e.value) = 'string'::text)) THEN (to_json(koppeling.iso8601(((e.value #>> '{}'::text[]))::timestamp with time zone)))::text ELSE (e.value)::text END), ','::text ORDER BY e.place)) || '}'::text))::json AS json FROM json_each(in_utc.p_row) WITH ORDINALITY e(key, value, place));

CREATE FUNCTION koppeling.instance_queue(p_instance bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ('instance-'::text || p_instance);

CREATE FUNCTION koppeling.valid_invitations(p_member bigint) RETURNS SETOF koppeling.invitation
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT v.id,
     v.instance_id,
     v.target_group_id,
     v.member_id,
     v.person_id,
     v.requested_at,
     v.requested_by,
     v.about,
     v.sent_at,
     v.opted_in_before,
     v.ended_at,
     v.outcome,
     v.because
    FROM (((koppeling.invitation v
      JOIN koppeling.audience_member m ON ((m.id = v.member_id)))
      JOIN koppeling.target_group g ON ((g.id = v.target_group_id)))
      JOIN koppeling.person p ON (((p.id = v.person_id) AND (p.state = 'active'::text))))
   WHERE ((v.member_id = valid_invitations.p_member) AND (v.ended_at IS NULL) AND (EXISTS ( SELECT
            FROM koppeling.email_address e
           WHERE ((e.person_id = v.person_id) AND (e.kind = g.email_kind) AND (e.address_key = ANY (ARRAY[m.address_key, m.file_key]))))));
END;

CREATE FUNCTION koppeling.invitation_waits_for(p_member bigint) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 WITH holder AS (
          SELECT DISTINCT e.person_id,
             i.target_group_id,
             ( SELECT max(v.requested_at) AS max
                    FROM koppeling.valid_invitations(invitation_waits_for.p_member) v(id, instance_id, target_group_id, member_id, person_id, requested_at, requested_by, about, sent_at, opted_in_before, ended_at, outcome, because)
                   WHERE (v.person_id = e.person_id)) AS asked_at
            FROM ((koppeling.audience_member m
              JOIN koppeling.connector_instance i ON ((i.id = m.instance_id)))
              JOIN koppeling.email_address e ON (((e.address_key = m.address_key) OR (e.address_key = m.file_key))))
           WHERE (m.id = invitation_waits_for.p_member)
         )
  SELECT count(*) AS count
    FROM holder h
   WHERE (((h.asked_at IS NULL) AND (EXISTS ( SELECT
            FROM koppeling.open_suppression s
           WHERE ((s.person_id = h.person_id) AND (s.target_group_id = h.target_group_id) AND (s.reason = 'unsubscribed'::text))))) OR (EXISTS ( SELECT
            FROM (koppeling.spreading_no w
              JOIN koppeling.open_suppression s ON ((s.id = w.suppression_id)))
           WHERE ((s.reason = 'unsubscribed'::text) AND (s.occurred_at > COALESCE(h.asked_at, '-infinity'::timestamp with time zone)) AND ((s.person_id = h.person_id) OR (s.address_key IN ( SELECT e.address_key
                    FROM koppeling.email_address e
                   WHERE (e.person_id = h.person_id))))))));
END;

CREATE FUNCTION koppeling.invitation_json(p_invitation bigint) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN (SELECT jsonb_build_object('requested_at', koppeling.iso8601(v.requested_at), 'requested_by', v.requested_by, 'sent_at', koppeling.iso8601(v.sent_at), 'ended_at', koppeling.iso8601(v.ended_at), 'outcome', v.outcome, 'because', v.because, 'waits_for', CASE WHEN ((v.ended_at IS NULL) AND (v.sent_at IS NULL)) THEN koppeling.invitation_waits_for(v.member_id) ELSE (0)::bigint END) AS jsonb_build_object FROM koppeling.invitation v WHERE (v.id = invitation_json.p_invitation));

CREATE FUNCTION koppeling.invitation_obstacle(p_person bigint, p_group bigint, p_instance bigint, p_address text, p_key text, OUT message text, OUT hint text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_name text := (select g.name from koppeling.target_group g where g.id = p_group);
    v_kind text := (select g.email_kind from koppeling.target_group g where g.id = p_group);
    v_member koppeling.audience_member;
    v_reasons text[];
    v_other text;
begin
    select * into v_member from koppeling.audience_member m
    where m.instance_id = p_instance
      and (m.address_key = p_key or m.moving_to = p_key or m.file_key = p_key and m.status <> 'absent')
    order by m.address_key = p_key desc, m.moving_to = p_key desc nulls last, m.id limit 1;
    v_reasons := coalesce((select r.reasons from koppeling.open_reasons(p_group, false, array[p_person]) r), '{}');
    if (select p.state from koppeling.person p where p.id = p_person) <> 'active' then
        message := 'an archived person cannot be invited';
        hint := 'Make the person active again first.';
    elsif exists (select from koppeling.erasure_check q where q.person_id = p_person) then
        message := 'the person is new, and is still held against the erasures';
        hint := 'Try again in a moment; a worker must be running.';
    elsif p_key is null then
        message := format('the person has no e-mail address (%s), to which "%s" writes', v_kind, v_name);
        hint := 'Put one first, or name one group to which the person has an address.';
    elsif not koppeling.address_allowed(p_key) then
        message := 'the address is not among those that this training environment may write to';
        hint := 'See koppeling environment addresses.';
    else
        v_reasons := v_reasons || koppeling.binding_reasons(p_group, p_key, v_member.contact_id, v_member.id);
        v_other := (
            select e.kind from koppeling.email_address e
            join koppeling.open_suppression s on s.address_key = e.address_key
            where e.person_id = p_person and e.address_key <> p_key and s.target_group_id = p_group
              and s.reason = 'unsubscribed'
            order by e.kind limit 1);
        if 'complained' = any (v_reasons) then
            message := format('the contact reported a mailing as spam and stays out of "%s"', v_name);
            hint := 'Nobody can invite it.';
        elsif 'forgotten' = any (v_reasons) then
            message := format('the contact was deleted from the list of "%s" for good', v_name);
            hint := 'The person can sign up again through a form of Mailchimp''s, and in no other way.';
        elsif 'cleaned' = any (v_reasons) or v_member.status = 'cleaned' then
            message := format('mail to the address (%s) bounced', v_kind);
            hint := 'Put another address first.';
        elsif v_member.status = 'subscribed' then
            message := format('the contact is subscribed to the list of "%s" already', v_name);
            hint := 'There is nothing to ask. If a no was recorded just now, wait until Mailchimp was told of it.';
        elsif not 'unsubscribed' = any (v_reasons) then
            message := format('the person did not unsubscribe from "%s"', v_name);
            hint := 'An invitation takes back a no of the person''s own, and nothing else.';
        elsif v_other is not null then
            message := format('the person said no to "%s" at another address of hers (%s), too', v_name, v_other);
            hint := 'An invitation asks one address; take the other one out of the person file first.';
        end if;
    end if;
end $$;

CREATE FUNCTION koppeling.invitation_rest() RETURNS interval
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '7 days'::interval;

CREATE FUNCTION koppeling.invitation_rests(p_member bigint, p_person bigint, OUT message text, OUT hint text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_last koppeling.invitation;
    v_again text;
begin
    select * into v_last from koppeling.invitation v
    where v.member_id = p_member and v.sent_at is not null
      -- Another person may join an invitation that is out: nobody is mailed twice for it.
      and (v.ended_at is not null or v.person_id = p_person)
    order by v.ended_at is null desc, v.sent_at desc limit 1;
    v_again := koppeling.iso8601(v_last.sent_at + koppeling.invitation_rest());
    if v_last.ended_at is null and v_last.id is not null then
        message := format('an invitation is out since %s', koppeling.iso8601(v_last.sent_at));
        hint := format('Mailchimp waits for the answer and mails nobody twice. For another one record the no again, '
            'and invite from %s on.', v_again);
    elsif v_last.sent_at > koppeling.now() - koppeling.invitation_rest() then
        message := format('the contact was mailed an invitation at %s', koppeling.iso8601(v_last.sent_at));
        hint := format('Another one is allowed from %s on.', v_again);
    end if;
end $$;

CREATE FUNCTION koppeling.invite_person(source text, external_id text, p_group text DEFAULT NULL::text, p_actor text DEFAULT SESSION_USER) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_person bigint := koppeling.lock_person(koppeling.require_person(source, external_id));
    v_to record;
    v_no record;
    v_member bigint;
    v_count bigint := 0;
begin
    if p_group is not null and not exists (
        select from koppeling.target_group g where koppeling.fold(g.name) = koppeling.fold(p_group))
    then
        raise exception using errcode = 'no_data_found', message = format('there is no target group "%s"', p_group),
            hint = 'List the groups to see their names.';
    end if;
    for v_to in
        select g.id as group_id, i.id as instance_id
        from koppeling.target_group g
        join koppeling.connector_instance i on i.target_group_id = g.id
        where case when p_group is not null then koppeling.fold(g.name) = koppeling.fold(p_group)
                   else exists (
                       select from koppeling.open_reasons(g.id, false, array[v_person]) r
                       where 'unsubscribed' = any (r.reasons)) end
        order by g.id
    loop
        perform koppeling.lock_group(v_to.group_id);
        v_count := v_count + 1;
        select o.message, o.hint, e.address, e.address_key into v_no
        from koppeling.target_group g
        left join koppeling.email_address e on e.person_id = v_person and e.kind = g.email_kind
        cross join lateral koppeling.invitation_obstacle(
            v_person, g.id, v_to.instance_id, e.address, e.address_key) o
        where g.id = v_to.group_id;
        if v_no.message is null then
            -- Whoever was to move there said no before: she is asked at the address that she has.
            update koppeling.audience_member m set moving_to = null
            where m.instance_id = v_to.instance_id and m.moving_to = v_no.address_key and m.intent is null;
            v_member := koppeling.member_for(v_to.instance_id, v_no.address, v_no.address_key);
            select r.message, r.hint, v_no.address, v_no.address_key into v_no
            from koppeling.invitation_rests(v_member, v_person) r;
        end if;
        if v_no.message is not null then
            raise exception using errcode = 'restrict_violation', message = v_no.message, hint = v_no.hint;
        end if;
        perform koppeling.request_invitation(v_person, v_to.group_id, v_to.instance_id, v_member, p_actor);
    end loop;
    if v_count = 0 then
        raise exception using errcode = 'restrict_violation',
            message = case when p_group is null then 'the person did not unsubscribe from any linked group'
                           else format('the target group "%s" is linked to no list', p_group) end,
            hint = 'An invitation takes back a no of the person''s own, and nothing else.';
    end if;
    return v_count;
end $$;

CREATE FUNCTION koppeling.invited_at(p_member bigint) RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
declare
    v_member koppeling.audience_member;
    v_since timestamptz;
    v_group bigint;
begin
    select * into v_member from koppeling.audience_member where id = p_member;
    if v_member.erasure_id is not null
        or coalesce(v_member.status, 'absent') not in ('absent', 'unsubscribed', 'archived')
    then
        return null;
    end if;
    -- Of several who asked the first counts: a no after it is newer than one of the requests.
    select min(v.requested_at), min(v.target_group_id) into v_since, v_group
    from koppeling.valid_invitations(p_member) v
    where v.sent_at is null or v_member.intent = 'inviting';
    if v_since is null or not koppeling.address_allowed(v_member.address_key)
        or not koppeling.binding_reasons(v_group, v_member.address_key, v_member.contact_id, p_member)
            <@ '{unsubscribed}'
        or koppeling.invitation_waits_for(p_member) > 0
    then
        return null;
    end if;
    return v_since;
end $$;

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

CREATE FUNCTION koppeling.is_alive(p_worker bigint, at timestamp with time zone) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (EXISTS (SELECT FROM koppeling.worker w WHERE ((w.id = is_alive.p_worker) AND (w.ended_at IS NULL) AND (w.heartbeat_at > (is_alive.at - '00:00:15'::interval)))));

CREATE FUNCTION koppeling.is_faultless(r koppeling.person_input) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN COALESCE(((length((r).source) <= 100) AND (length((r).external_id) <= 200) AND (length(concat((r).given_name, (r).initials, (r).prefixes, (r).family_name)) <= 200) AND (((r).gender IS NULL) OR ((r).gender = ANY (ARRAY['male'::text, 'female'::text, 'other'::text, 'unknown'::text]))) AND ((cardinality((r).email_kinds) = 0) OR ((cardinality((r).email_kinds) = 1) AND ((length((r).email_kinds[1]) >= 1) AND (length((r).email_kinds[1]) <= 50)) AND (((r).addresses[1] IS NULL) OR ((length((r).addresses[1]) <= 100) AND ((r).addresses[1] ~ '^[A-Za-z0-9_+-]+([.][A-Za-z0-9_+-]+)*@([A-Za-z0-9-]+[.])+[A-Za-z]{2,}$'::text) AND (strpos((r).addresses[1], '@'::text) <= 65) AND ((length((r).addresses[1]) - strpos((r).addresses[1], '@'::text)) <= 63))))) AND (((r).categories = '{}'::text[]) OR ((length(array_to_string((r).categories, ''::text)) <= 200) AND ((array_to_string((r).categories, ''::text) || ''::text) ~ '^([^/\u0001-\u0020]+( [^/\u0001-\u0020]+)* ?/ ?[^\u0001-\u0020]+( [^\u0001-\u0020]+)*\u001f)+$'::text))) AND (((r).positions = '{}'::koppeling.position_input[]) OR (length(array_to_string((r).positions, ' '::text)) <= 200))), false);

CREATE FUNCTION koppeling.is_passing() RETURNS boolean
    LANGUAGE plpgsql
    AS $$
begin
    if pg_try_advisory_lock(hashtextextended('koppeling.pass', 0)) then
        perform pg_advisory_unlock(hashtextextended('koppeling.pass', 0));
        return false;
    end if;
    return true;
end $$;

CREATE FUNCTION koppeling.job_entry_fault(entry jsonb) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN (jsonb_typeof(entry) <> 'object'::text) THEN ': must be a JSON object'::text ELSE (SELECT CASE WHEN (f.key = ANY (ARRAY['kind'::text, 'queue'::text, 'key'::text, 'key_mode'::text, 'order_key'::text, 'limit_key'::text, 'run_at'::text])) THEN format('.%s: must be a string, not %s'::text, f.key, "left"((f.value)::text, 50)) WHEN (f.key = ANY (ARRAY['priority'::text, 'max_attempts'::text])) THEN format('.%s: must be a whole number, not %s'::text, f.key, "left"((f.value)::text, 50)) ELSE format('.%s: is not a field of a job'::text, "left"(f.key, 50)) END AS format FROM jsonb_each(job_entry_fault.entry) f(key, value) WHERE (((jsonb_typeof(f.value) <> 'null'::text) AND (NOT CASE WHEN (f.key = ANY (ARRAY['kind'::text, 'queue'::text, 'key'::text, 'key_mode'::text, 'order_key'::text, 'limit_key'::text, 'run_at'::text])) THEN (jsonb_typeof(f.value) = 'string'::text) WHEN (f.key = ANY (ARRAY['priority'::text, 'max_attempts'::text])) THEN ((f.value)::text ~ '^-?[0-9]{1,9}$'::text) ELSE (f.key = 'args'::text) END)) OR ((jsonb_typeof(f.value) = 'null'::text) AND (f.key <> ALL (ARRAY['kind'::text, 'args'::text, 'queue'::text, 'key'::text, 'key_mode'::text, 'order_key'::text, 'limit_key'::text, 'run_at'::text, 'priority'::text, 'max_attempts'::text])))) LIMIT 1) END;

CREATE FUNCTION koppeling.job_fault(job koppeling.job) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN ((job).kind IS NULL) THEN 'kind: is missing'::text WHEN (((job).queue = ''::text) OR (length((job).queue) > 200)) THEN 'queue: must have 1 to 200 characters'::text WHEN (((job).key = ''::text) OR (length((job).key) > 500)) THEN 'key: must have 1 to 500 characters'::text WHEN (((job).order_key = ''::text) OR (length((job).order_key) > 500)) THEN 'order_key: must have 1 to 500 characters'::text WHEN (((job).limit_key = ''::text) OR (length((job).limit_key) > 500)) THEN 'limit_key: must have 1 to 500 characters'::text WHEN ((job).key_mode <> ALL (ARRAY['keep'::text, 'replace'::text, 'append'::text])) THEN format('key_mode: must be keep, replace or append, not "%s"'::text, "left"((job).key_mode, 50)) WHEN (((job).priority < '-10000'::integer) OR ((job).priority > 10000)) THEN 'priority: must be from -10000 to 10000'::text WHEN (((job).max_attempts < 1) OR ((job).max_attempts > 1000)) THEN 'max_attempts: must be from 1 to 1000'::text WHEN (jsonb_typeof((job).args) <> ALL (ARRAY['object'::text, 'array'::text])) THEN format('args: must be a JSON object or array, not a %s'::text, jsonb_typeof((job).args)) WHEN (((job).key_mode = 'append'::text) AND ((job).key IS NULL)) THEN 'key_mode: append needs a key'::text WHEN (((job).key_mode = 'append'::text) AND (jsonb_typeof((job).args) <> 'array'::text)) THEN 'args: must be a JSON array when key_mode is append'::text WHEN (octet_length(((job).args)::text) > 262144) THEN format('args: are %s bytes long, and may be 262144'::text, octet_length(((job).args)::text)) WHEN ((job).run_at = '-infinity'::timestamp with time zone) THEN 'run_at: must be a moment, or infinity for a parked job'::text ELSE NULL::text END;

CREATE FUNCTION koppeling.join_claims(p_instance bigint, p_joins koppeling.claim_change[], OUT known bigint[], OUT made bigint[]) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET enable_nestloop TO 'off'
    SET enable_seqscan TO 'off'
    AS $$
begin
    if p_joins = '{}' then
        known := '{}';
        made := '{}';
        return;
    end if;
    with wanting as materialized (
        select d.*,
               (select m.id from koppeling.audience_member m
                where m.instance_id = p_instance and m.address_key = d.address_key) as member
        from unnest(p_joins) d
    ), made as (
        insert into koppeling.audience_member (instance_id, address, address_key)
        select distinct on (d.address_key) p_instance, d.address, d.address_key
        from wanting d
        where d.member is null
          -- By offset each is looked up through its index: statistics may be older than the whole list.
          and not exists (select from koppeling.audience_member m
                          where m.instance_id = p_instance and m.moving_to = d.address_key offset 0)
          and not exists (select from koppeling.audience_member m
                          where m.instance_id = p_instance and m.file_key = d.address_key and m.status <> 'absent'
                          offset 0)
        order by d.address_key, d.person_id
        on conflict (instance_id, address_key) do nothing
        returning id, address_key
    ), joined as (
        insert into koppeling.claim (instance_id, person_id, member_id, address, address_key, fields, manual)
        select p_instance, d.person_id,
               coalesce(d.member, n.id, koppeling.member_for(p_instance, d.address, d.address_key)),
               d.address, d.address_key, d.fields, d.manual
        from wanting d
        left join made n on n.address_key = d.address_key
        order by d.person_id
        returning member_id
    )
    select coalesce((select array_agg(n.id) from made n), '{}'),
           array(select distinct j.member_id from joined j except select n.id from made n)
    into made, known;
end $$;

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

CREATE FUNCTION koppeling.judge_import(p_kind text, p_source text) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    -- What of it is asked about: the rest would take as long as judging it.
    analyze import_row (line, source, external_id, anonymised, fault);
    insert into import_fault (line, field, message)
    select i.line, null, i.fault from import_row i where i.fault is not null;
    insert into import_fault (line, field, message)
    select i.line, 'anonymised', 'must be yes or no (ja, nee)'
    from import_row i where i.anonymised is not null and koppeling.cell_boolean(i.anonymised) is null;
    if p_kind in ('positions', 'categories') then
        perform koppeling.judge_list_import(p_source);
        return;
    end if;
    insert into import_fault (line, field, message)
    select n.line, 'id', format('is the same %s as line %s',
        case p_kind when 'companies' then 'company' else 'person' end, d.first)
    from (
        -- Hardly ever any: whoever stands there twice is found by counting, not by sorting the file.
        select n.source, n.external_id, min(n.line) as first
        from koppeling.import_names(p_source) n
        group by n.source, n.external_id
        having count(*) > 1
    ) d
    join koppeling.import_names(p_source) n
        on n.source = d.source and n.external_id = d.external_id and n.line > d.first;
    insert into import_fault (line, field, message)
    select d.line, 'id', format('was merged with line %s; keep one of the two', d.first)
    from (
        select n.line, min(n.line) over (partition by n.id) as first
        from koppeling.import_merged(p_kind, p_source) n
    ) d
    where d.line > d.first and not exists (select from import_fault f where f.line = d.line);
end $$;

CREATE FUNCTION koppeling.judge_list_import(p_source text) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
    v_bad record;
begin
    select i.line, i.fault into v_bad from import_row i where i.fault is not null order by i.line limit 1;
    if found then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('line %s: %s', v_bad.line, v_bad.fault),
            hint = 'Mend the line: nobody can tell whose list it belongs to, so that no list is complete.';
    end if;
    insert into import_list (line, person, first)
    select n.line, n.person, min(n.line) over (partition by n.person)
    from (
        select i.line, coalesce(
            coalesce(p.merged_into, p.id)::text,
            koppeling.fold(koppeling.clean_text(coalesce(i.source, p_source))) || e'\x1f'
                || koppeling.fold(koppeling.clean_text(i.external_id)), i.line::text) as person
        from import_row i
        left join koppeling.person p
            on koppeling.fold(p.source) = koppeling.fold(koppeling.clean_text(coalesce(i.source, p_source)))
            and koppeling.fold(p.external_id) = koppeling.fold(koppeling.clean_text(i.external_id))
    ) n;
    insert into import_fault (line, field, message)
    select i.line, 'id', 'names nobody; put the person first'
    from import_row i
    where i.fault is null and koppeling.clean_text(i.external_id) is not null
        and koppeling.clean_text(coalesce(i.source, p_source)) is not null
        and koppeling.find_person(coalesce(i.source, p_source), i.external_id) is null;
    insert into import_fault (line, field, message)
    select i.line, f.field, f.message
    from import_row i
    cross join lateral koppeling.person_faults(koppeling.clean_persons(array[row(
        i.line, coalesce(i.source, p_source), i.external_id, null, null, null, null, null, '{}', '{}',
        koppeling.cell_labels(i.categories), koppeling.cell_positions(i.job_function, i.department, i.company),
        '{}', null, null)::koppeling.person_input])) f
    where i.fault is null;
    create index on import_list (first);
    analyze import_list;
    insert into import_fault (line, field, message)
    select o.line, null, format('belongs to the same person as line %s, which has faults', min(l.line))
    from (select distinct f.line from import_fault f) f
    join import_list l on l.line = f.line
    join import_list o on o.first = l.first
    where not exists (select from import_fault x where x.line = o.line)
    group by o.line;

    create temporary table import_whole on commit drop as
    select l.first as line, (array_agg(coalesce(i.source, p_source) order by i.line))[1] as source,
        (array_agg(i.external_id order by i.line))[1] as external_id,
        string_agg(i.categories, e'\x1f' order by i.line) as categories,
        string_agg(coalesce(i.job_function, ''), e'\x1f' order by i.line) as job_function,
        string_agg(coalesce(i.department, ''), e'\x1f' order by i.line) as department,
        string_agg(coalesce(i.company, ''), e'\x1f' order by i.line) as company
    from import_list l
    join import_row i on i.line = l.line
    where not exists (select from import_fault f where f.line = l.line)
    group by l.first;
    truncate import_row;
    insert into import_row (line, source, external_id, categories, job_function, department, company)
    select line, source, external_id, categories, job_function, department, company from import_whole;
    analyze import_row;
end $$;

CREATE FUNCTION koppeling.keep_claimed(p_members bigint[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
begin
    with kept as (
        select m.id, m.erasure_id
        from unnest(p_members) g (id)
        cross join lateral (select * from koppeling.audience_member m where m.id = g.id offset 0) m
        where m.erasure_id is not null and m.status is distinct from 'absent'
          and m.intent is distinct from 'erasing' and exists (
              select from koppeling.claim c
              join koppeling.person p on p.id = c.person_id and p.state <> 'erased'
              where c.member_id = m.id)
    ), told as (
        update koppeling.erasure_contact c set outcome = 'kept', changed_at = koppeling.now()
        from kept k
        where c.erasure_id = k.erasure_id and c.member_id = k.id
    )
    update koppeling.audience_member m set erasure_id = null, erased_keys = null
    from kept k where m.id = k.id;
end $$;

CREATE FUNCTION koppeling.keep_ended_claims() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    insert into koppeling.former_claim (person_id, member_id)
    select g.person_id, g.member_id from gone g order by g.person_id, g.member_id
    on conflict do nothing;
    return null;
end $$;

CREATE FUNCTION koppeling.keep_moved_claims() RETURNS trigger
    LANGUAGE plpgsql
    SET enable_nestloop TO 'off'
    AS $$
begin
    insert into koppeling.former_claim (person_id, member_id)
    select g.person_id, g.member_id
    from gone g
    join given n on n.instance_id = g.instance_id and n.person_id = g.person_id
    where n.member_id <> g.member_id
    order by g.person_id, g.member_id
    on conflict do nothing;
    return null;
end $$;

CREATE FUNCTION koppeling.keep_number() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    raise exception using errcode = 'restrict_violation', message = format('%s: a number never changes', tg_table_name);
end $$;

CREATE FUNCTION koppeling.keep_template() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_instance text := (
        select i.name from koppeling.connector_instance i where i.id = old.instance_id and i.enabled);
begin
    if v_instance is not null then
        raise exception using errcode = 'restrict_violation',
            message = format('instance "%s" is on, and needs its template %s', v_instance, old.action),
            hint = 'Turn it off first, or make the template manual.';
    end if;
    return old;
end $$;

CREATE FUNCTION koppeling.keep_used_value() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
declare
    v_rules text;
begin
    select string_agg(distinct format('"%s" rule %s', g.name, r.position), ', ') into v_rules
    from koppeling.criterion c
    join koppeling.rule r on r.id = c.rule_id
    join koppeling.target_group g on g.id = r.target_group_id
    where c.kind = tg_argv[0] and c.value_id = old.id;
    if v_rules is not null then
        raise exception using errcode = 'restrict_violation',
            message = format('%s "%s" is used by %s', koppeling.kind_word(tg_argv[0]), old.name, v_rules),
            hint = 'Take it out of those rules first.';
    end if;
    return old;
end $$;

CREATE FUNCTION koppeling.keys_wait(p_queues text[], p_keys text[]) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    RETURN (EXISTS (SELECT FROM (UNNEST(keys_wait.p_queues, keys_wait.p_keys) g(queue, key) JOIN koppeling.job j ON (((j.queue = COALESCE(g.queue, 'default'::text)) AND (j.key = g.key) AND (j.state <> 'running'::text))))));

CREATE FUNCTION koppeling.kind_word(kind text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE kind WHEN 'personCategory'::text THEN 'category'::text WHEN 'companyCategory'::text THEN 'company category'::text ELSE kind END;

CREATE FUNCTION koppeling.learn_from_creates(p_instance bigint, p_answer jsonb) RETURNS text
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 UPDATE koppeling.connector_instance i SET web_id_seen = GREATEST(i.web_id_seen, a.web_id), own_source =
         CASE
             WHEN ((a.members >= (10)::numeric) AND (((a.most * 10))::numeric >= (a.members * (9)::numeric))) THEN a.source
             ELSE i.own_source
         END
    FROM ( SELECT max(s.web_id) AS web_id,
             sum(s.members) AS members,
             max(s.members) AS most,
             (array_agg(s.source ORDER BY s.members DESC))[1] AS source
            FROM ( SELECT o.source,
                     count(*) AS members,
                     max(o.web_id) AS web_id
                    FROM jsonb_to_recordset((learn_from_creates.p_answer -> 'new_members'::text)) o(web_id bigint, source text)
                   WHERE ((o.web_id IS NOT NULL) AND (o.source IS NOT NULL))
                   GROUP BY o.source) s) a
   WHERE ((i.id = learn_from_creates.p_instance) AND (a.members > (0)::numeric) AND ((a.web_id > i.web_id_seen) OR (a.source IS DISTINCT FROM i.own_source)));
 SELECT i.own_source
    FROM koppeling.connector_instance i
   WHERE (i.id = learn_from_creates.p_instance);
END;

CREATE FUNCTION koppeling.leave_to_address(p_member bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_member koppeling.audience_member;
    v_there bigint;
begin
    perform koppeling.lock_group(i.target_group_id)
    from koppeling.audience_member m
    join koppeling.connector_instance i on i.id = m.instance_id
    where m.id = p_member;
    select * into v_member from koppeling.audience_member where id = p_member for update;
    if v_member.erasure_id is not null then
        -- Whoever is at the address is somebody else.
        perform koppeling.record_erased(p_member, 'absent');
    end if;
    select o.id into v_there from koppeling.audience_member o
    where o.instance_id = v_member.instance_id and o.address_key = koppeling.address_key(v_member.address)
        and o.id <> p_member;
    update koppeling.audience_member m
    set address_key = case when v_there is null then koppeling.address_key(m.address) else m.address_key end,
        contact_id = null, remote_id = null, status = 'absent', ownership = 'none', archived_by_us = false,
        newness_unseen = false
    where m.id = p_member;
    if v_there is not null then
        perform koppeling.merge_members(v_there, p_member);
        perform koppeling.stage_members(v_member.instance_id, array[v_there]);
    end if;
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

CREATE FUNCTION koppeling.list_values(p_kind text, p_prefix text, p_after text, p_limit bigint) RETURNS TABLE(name text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    v_prefix text := koppeling.fold(coalesce(p_prefix, ''));
    v_after text := koppeling.fold(coalesce(p_after, ''));
    v_company bigint := case when p_kind = 'company' and p_after is not null then koppeling.find_company(p_after) end;
begin
    return query
    select v.name from (
        select f.name from koppeling.job_function f
        where p_kind = 'function' and koppeling.fold(f.name) > v_after and starts_with(koppeling.fold(f.name), v_prefix)
        order by koppeling.fold(f.name) limit p_limit) v
    union all
    select v.name from (
        select d.name from koppeling.department d
        where p_kind = 'department' and koppeling.fold(d.name) > v_after
            and starts_with(koppeling.fold(d.name), v_prefix)
        order by koppeling.fold(d.name) limit p_limit) v
    union all
    select v.name from (
        select c.name from koppeling.company_category c
        where p_kind = 'companyCategory' and koppeling.fold(c.name) > v_after
            and starts_with(koppeling.fold(c.name), v_prefix)
        order by koppeling.fold(c.name) limit p_limit) v
    union all
    select v.name from (
        select g.name || ' / ' || k.name as name
        from koppeling.category k
        join koppeling.category_group g on g.id = k.category_group_id
        where p_kind = 'personCategory' and koppeling.fold(g.name || ' / ' || k.name) > v_after
            and starts_with(koppeling.fold(g.name || ' / ' || k.name), v_prefix)
        order by koppeling.fold(g.name || ' / ' || k.name) limit p_limit) v
    union all
    select koppeling.value_label('company', v.id) from (
        select c.id from koppeling.company c
        where p_kind = 'company' and c.merged_into is null and starts_with(koppeling.fold(c.name), v_prefix)
            and (v_company is null or (koppeling.fold(c.name), c.id) > (
                select koppeling.fold(a.name), a.id from koppeling.company a where a.id = v_company))
        order by koppeling.fold(c.name), c.id limit p_limit) v;
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

CREATE FUNCTION koppeling.lock_mapping(p_instance bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    perform koppeling.lock_group(i.target_group_id) from koppeling.connector_instance i where i.id = p_instance;
    perform koppeling.begin_pass();
end $$;

CREATE FUNCTION koppeling.lock_noes() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    perform from koppeling.deployment for update;
    -- A statement of its own, which sees the link that was waited for.
    perform koppeling.lock_group(g.id)
    from (select g.id from koppeling.target_group g where g.linked order by g.id) g;
end $$;

CREATE FUNCTION koppeling.lock_person(p_person bigint) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
declare
    v_person bigint := p_person;
    v_into bigint;
begin
    loop
        select p.merged_into into v_into from koppeling.person p where p.id = v_person for no key update;
        if v_into is null then
            return v_person;
        end if;
        v_person := v_into;
    end loop;
end $$;

CREATE FUNCTION koppeling.look_at_created(p_instance bigint, p_page jsonb) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_doubtful bigint[];
begin
    if not exists (select from koppeling.audience_member m where m.instance_id = p_instance and m.newness_unseen) then
        return '{}';
    end if;
    with shown as materialized (
        select m.id, o.source,
               o.web_id > m.web_id_before and coalesce(o.timestamp_signup, '') = '' and coalesce(o.tags_count, 0) = 0
                   as is_new
        from jsonb_to_recordset(p_page -> 'members') o (contact_id text, web_id bigint, source text,
                                                        timestamp_signup text, tags_count int)
        join koppeling.audience_member m on m.instance_id = p_instance and m.contact_id = o.contact_id
        where m.newness_unseen
    ), learnt as (
        update koppeling.connector_instance i
        set own_source = coalesce((
            -- One source for nearly all of many: that is how calls of this account are named.
            select s.source
            from (select source, count(*) as members, sum(count(*)) over () as total from shown group by source) s
            where s.total >= 10 and s.members * 10 >= s.total * 9), i.own_source)
        where i.id = p_instance
        returning i.own_source
    ), seen as (
        update koppeling.audience_member m
        set newness_unseen = false,
            intent = case when not s.is_new and m.intent is null then 'creating' else m.intent end,
            -- The time of the call: by it an opting in of our own is told from one of his.
            intent_at = case when not s.is_new and m.intent is null then coalesce(m.subscribing_at, koppeling.now())
                             else m.intent_at end
        from (select s.id, coalesce(s.is_new and s.source = l.own_source, false) as is_new
              from shown s, learnt l) s
        where m.id = s.id
        returning m.id, s.is_new
    )
    select coalesce(array_agg(s.id) filter (where not s.is_new), '{}') into v_doubtful from seen s;
    return v_doubtful;
end $$;

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

CREATE FUNCTION koppeling.look_soon(p_instance bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_soon timestamptz := koppeling.now() + interval '20 seconds';
begin
    if not exists (
        select from koppeling.job j
        where j.queue = koppeling.instance_queue(p_instance) and j.key = 'pull' and j.state <> 'running'
          and (coalesce((j.args ->> 'full')::boolean, false)
               or j.run_at <= v_soon and not coalesce((j.args ->> 'after_creates')::boolean, false)
               or j.enqueued_at < koppeling.now() - interval '10 minutes' and j.run_at <= v_soon))
    then
        perform koppeling.enqueue('instance.pull',
            jsonb_build_object('instance', p_instance, 'full', false, 'after_creates', true),
            queue => koppeling.instance_queue(p_instance), key => 'pull', key_mode => 'replace', order_key => 'pull',
            run_at => v_soon, priority => -20);
    end if;
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

CREATE FUNCTION koppeling.make_position_values(p_rows koppeling.person_input[]) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
begin
    insert into koppeling.job_function (name)
    select distinct on (koppeling.fold(i.job_function)) i.job_function
    from (select distinct i.job_function from unnest(p_rows) r cross join unnest(r.positions) i) i
    where i.job_function is not null and not exists (
        select from koppeling.job_function f where koppeling.fold(f.name) = koppeling.fold(i.job_function))
    order by koppeling.fold(i.job_function), i.job_function
    on conflict do nothing;

    insert into koppeling.department (name)
    select distinct on (koppeling.fold(i.department)) i.department
    from (select distinct i.department from unnest(p_rows) r cross join unnest(r.positions) i) i
    where i.department is not null and not exists (
        select from koppeling.department d where koppeling.fold(d.name) = koppeling.fold(i.department))
    order by koppeling.fold(i.department), i.department
    on conflict do nothing;

    insert into koppeling.company (source, external_id, name)
    select distinct on (koppeling.fold(i.source), koppeling.fold(i.company)) i.source, i.company, i.company
    from (select distinct r.source, i.company from unnest(p_rows) r cross join unnest(r.positions) i) i
    where i.company is not null and not exists (
        select from koppeling.company c
        where koppeling.fold(c.source) = koppeling.fold(i.source)
            and koppeling.fold(c.external_id) = koppeling.fold(i.company) offset 0)
    order by koppeling.fold(i.source), koppeling.fold(i.company), i.company
    on conflict do nothing;
end $$;

CREATE FUNCTION koppeling.tell_field_faults(p_instance bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_faults jsonb := (
        select jsonb_object_agg(f.tag, f.fault) from koppeling.merge_fields f
        where f.instance_id = p_instance and f.fault is not null);
begin
    if v_faults is null then
        update koppeling.task set done_at = koppeling.now()
        where kind = 'mergeFieldMissing' and instance_id = p_instance and done_at is null;
        return;
    end if;
    perform koppeling.open_task('mergeFieldMissing', p_instance, null, v_faults);
    update koppeling.task set detail = v_faults
    where kind = 'mergeFieldMissing' and instance_id = p_instance and done_at is null and detail <> v_faults;
end $$;

CREATE TABLE koppeling.list_field (
    instance_id bigint NOT NULL,
    tag text NOT NULL,
    name text NOT NULL,
    type text NOT NULL,
    required boolean NOT NULL,
    choices text[] DEFAULT '{}'::text[] NOT NULL
);

CREATE FUNCTION koppeling.map_by_default(p_instance bigint) RETURNS void
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 INSERT INTO koppeling.gender_text (instance_id, gender, text, title) VALUES (map_by_default.p_instance,'male'::text,'man'::text,'heer'::text), (map_by_default.p_instance,'female'::text,'vrouw'::text,'mevrouw'::text), (map_by_default.p_instance,'other'::text,'anders'::text,''::text);
 INSERT INTO koppeling.merge_field (instance_id, tag, source)  SELECT map_by_default.p_instance AS p_instance,
             d.tag,
             d.source
            FROM (( VALUES ('FNAME'::text,'first_name'::text), ('LNAME'::text,'last_name'::text)) d(tag, source)
              JOIN koppeling.list_field f ON (((f.instance_id = map_by_default.p_instance) AND (f.tag = d.tag) AND (f.type = 'text'::text))));
 SELECT koppeling.tell_field_faults(p_instance) AS tell_field_faults;
END;

CREATE FUNCTION koppeling.map_merge_field(p_instance text, p_tag text, p_source text, p_triggers boolean DEFAULT true, p_actor text DEFAULT SESSION_USER) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_instance bigint := koppeling.require_instance(p_instance);
    v_old jsonb;
    v_fault text;
begin
    if coalesce(p_source, '') not in ('first_name', 'last_name', 'given_name', 'initials', 'prefixes', 'family_name',
                                      'gender', 'salutation', 'function', 'department', 'company')
    then
        raise exception using errcode = 'invalid_parameter_value', message = format('"%s" fills no field', p_source),
            hint = 'It is first_name, last_name, given_name, initials, prefixes, family_name, gender, salutation, '
                'function, department or company.';
    end if;
    perform koppeling.lock_mapping(v_instance);
    v_fault := koppeling.mapping_fault(v_instance, p_tag, p_source);
    if v_fault is not null then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('merge field %s: %s', p_tag, v_fault);
    end if;
    select to_jsonb(t) into v_old from koppeling.merge_field t where t.instance_id = v_instance and t.tag = p_tag;
    insert into koppeling.merge_field (instance_id, tag, source, triggers)
    values (v_instance, p_tag, p_source, p_triggers)
    on conflict (instance_id, tag) do update set source = excluded.source, triggers = excluded.triggers;
    perform koppeling.mapping_changed(v_instance, p_actor, v_old,
        jsonb_build_object('tag', p_tag, 'source', p_source, 'triggers', p_triggers));
    -- What differed so far without being sent is now a reason to.
    if p_triggers and not (v_old ->> 'triggers')::boolean then
        perform koppeling.stage_members(v_instance, d.members)
        from (
            select array_agg(m.id order by m.id) as members
            from (
                select m.id, row_number() over (order by m.id) / 5000 as part
                from koppeling.audience_member m
                where m.instance_id = v_instance and exists (
                    select from koppeling.claim c
                    where c.member_id = m.id and c.fields -> p_tag is distinct from m.applied_fields -> p_tag)
            ) m
            group by m.part
        ) d;
    end if;
end $$;

CREATE FUNCTION koppeling.mapping_changed(p_instance bigint, p_actor text, p_old jsonb, p_new jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_group bigint := (select i.target_group_id from koppeling.connector_instance i where i.id = p_instance);
begin
    insert into koppeling.audit_entry (target_group_id, kind, old, new, actor, cause)
    values (v_group, 'mergeField', p_old, p_new, p_actor, 'mapping');
    perform koppeling.tell_field_faults(p_instance);
    perform set_config('koppeling.cause', 'mapping', true);
    perform koppeling.membership_changed(v_group, null);
end $$;

CREATE FUNCTION koppeling.mapping_fault(p_instance bigint, p_tag text, p_source text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_field koppeling.list_field;
    v_words text[];
begin
    select * into v_field from koppeling.list_field f where f.instance_id = p_instance and f.tag = p_tag;
    if not found then
        return 'the list has no such field: make it in Mailchimp, or let it be made: --make NAME, or "make" over HTTP';
    elsif v_field.type = 'text' then
        return null;
    elsif v_field.type in ('radio', 'dropdown') and p_source = 'gender' then
        v_words := array(
            select g.text from koppeling.gender_text g
            where g.instance_id = p_instance and g.text <> '' and g.text <> all (v_field.choices)
            order by g.gender);
        return case when v_words <> '{}' then
            format('"%s" is none of its choices: change the words for the genders', array_to_string(v_words, '", "'))
        end;
    end if;
    return format('is of type %s, and takes no %s: map it to a field of type text', v_field.type, p_source);
end $$;

CREATE FUNCTION koppeling.mark_erased(p_members bigint[], p_person bigint, p_erasure bigint, p_keys text[]) RETURNS void
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 UPDATE koppeling.audience_member m SET erasure_id = mark_erased.p_erasure, erased_keys = (m.erased_keys || ARRAY( SELECT k.k
            FROM unnest(ARRAY[m.address_key, m.file_key]) k(k)
           WHERE (k.k = ANY (mark_erased.p_keys))))
   WHERE ((m.id = ANY (mark_erased.p_members)) AND (NOT (EXISTS ( SELECT
            FROM koppeling.claim c
           WHERE ((c.member_id = m.id) AND (c.person_id <> mark_erased.p_person))))));
 INSERT INTO koppeling.erasure_contact (erasure_id, member_id, instance_id, instance, outcome)  SELECT mark_erased.p_erasure AS p_erasure,
             m.id,
             i.id,
             i.name,
                 CASE
                     WHEN (m.erasure_id IS NULL) THEN 'kept'::text
                     ELSE 'waiting'::text
                 END AS "case"
            FROM (koppeling.audience_member m
              JOIN koppeling.connector_instance i ON ((i.id = m.instance_id)))
           WHERE (m.id = ANY (mark_erased.p_members));
END;

CREATE FUNCTION koppeling.matches_are_noted(p_group bigint) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '64MB'
    AS $$
declare
    v_rules bigint[] := array(select r.id from koppeling.rule r where r.target_group_id = p_group);
    -- A rule that is alone becomes part of the statement.
    v_only bigint := case when cardinality(v_rules) = 1 then v_rules[1] end;
    v_criteria koppeling.criterion[] := array(select c from koppeling.criterion c where c.rule_id = v_only);
    v_asked koppeling.criteria_values := koppeling.criteria_values(v_criteria, false);
    v_not koppeling.criteria_values := koppeling.criteria_values(v_criteria, true);
begin
    return (
        select (m.number, m.hashes) is not distinct from (n.number, n.hashes)
        from (
            select count(*) as number, sum(hashint8extended(a.person_id, a.rule_id)) as hashes
            from (
                select h.person_id, v_only as rule_id from koppeling.persons_having(v_asked, v_not, true, null) h
                where v_only is not null and koppeling.can_match(v_criteria, v_asked)
                union all
                select r.person_id, r.rule_id from koppeling.rule_matches(p_group, null) r where v_only is null
            ) a
        ) m
        cross join (
            select count(*) as number, sum(hashint8extended(s.person_id, s.matched_rule_id)) as hashes
            from koppeling.membership s
            where s.target_group_id = p_group and s.rule_match
        ) n);
end $$;

CREATE TABLE koppeling.restored_no (
    id bigint NOT NULL,
    instance_id bigint NOT NULL,
    contact_id text NOT NULL,
    address text NOT NULL,
    reason text NOT NULL,
    said_at timestamp with time zone NOT NULL,
    found_in text NOT NULL,
    found_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    restored_at timestamp with time zone,
    CONSTRAINT restored_no_found_in_check CHECK ((found_in = ANY (ARRAY['activity'::text, 'hook'::text])))
);

CREATE FUNCTION koppeling.member_facts(p_members bigint[]) RETURNS TABLE(known koppeling.audience_member, claims bigint, wanted_address text, wanted_key text, wanted_fields jsonb, reasons text[], target_reasons text[], unsubscribe_here boolean, reactivated boolean, keeps_adopted boolean, restores_no boolean, has_invitation boolean, web_id_seen bigint, own_source text)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT m.known,
     c.claims,
     p.address,
     p.address_key,
     p.fields,
     koppeling.binding_reasons(i.target_group_id, (m.known).address_key, (m.known).contact_id, g.id) AS binding_reasons,
         CASE
             WHEN ((m.known).moving_to IS NULL) THEN '{}'::text[]
             ELSE koppeling.binding_reasons(i.target_group_id, (m.known).moving_to, NULL::text, NULL::bigint)
         END AS binding_reasons,
     (EXISTS ( SELECT
            FROM ( SELECT s_1.id,
                     s_1.target_group_id,
                     s_1.reason,
                     s_1.contact_id,
                     s_1.address_key,
                     s_1.person_id,
                     s_1.file_key,
                     s_1.follows,
                     s_1.source,
                     s_1.occurred_at,
                     s_1.recorded_at,
                     s_1.detail
                    FROM koppeling.open_suppression s_1
                   WHERE ((s_1.address_key = ANY (ARRAY[(m.known).address_key, (m.known).file_key, (m.known).moving_to])) AND (s_1.target_group_id = i.target_group_id))
                 UNION ALL
                  SELECT s_1.id,
                     s_1.target_group_id,
                     s_1.reason,
                     s_1.contact_id,
                     s_1.address_key,
                     s_1.person_id,
                     s_1.file_key,
                     s_1.follows,
                     s_1.source,
                     s_1.occurred_at,
                     s_1.recorded_at,
                     s_1.detail
                    FROM koppeling.open_suppression s_1
                   WHERE ((s_1.target_group_id = i.target_group_id) AND (s_1.contact_id = (m.known).contact_id))) s
           WHERE ((s.reason = 'unsubscribed'::text) AND (s.source = 'user'::text) AND (NOT (((m.known).status IS DISTINCT FROM 'subscribed'::text) AND (EXISTS ( SELECT
                    FROM koppeling.invitation v
                   WHERE ((v.member_id = g.id) AND (v.ended_at IS NULL) AND (s.id = ANY (v.about))))))) AND (NOT (((m.known).ownership = ANY (ARRAY['none'::text, 'foreign'::text])) AND COALESCE(((m.known).opted_in_at > s.occurred_at), false)))))) AS "exists",
     (EXISTS ( SELECT
            FROM (( SELECT s_1.id,
                     s_1.target_group_id,
                     s_1.reason,
                     s_1.contact_id,
                     s_1.address_key,
                     s_1.person_id,
                     s_1.file_key,
                     s_1.follows,
                     s_1.source,
                     s_1.occurred_at,
                     s_1.recorded_at,
                     s_1.detail
                    FROM koppeling.suppression s_1
                   WHERE ((s_1.address_key = (m.known).address_key) AND (s_1.target_group_id = i.target_group_id))
                 UNION ALL
                  SELECT s_1.id,
                     s_1.target_group_id,
                     s_1.reason,
                     s_1.contact_id,
                     s_1.address_key,
                     s_1.person_id,
                     s_1.file_key,
                     s_1.follows,
                     s_1.source,
                     s_1.occurred_at,
                     s_1.recorded_at,
                     s_1.detail
                    FROM koppeling.suppression s_1
                   WHERE ((s_1.target_group_id = i.target_group_id) AND (s_1.contact_id = (m.known).contact_id))) s
              JOIN koppeling.suppression_lift l ON ((l.suppression_id = s.id)))
           WHERE ((s.reason = 'removedInMailchimp'::text) AND (GREATEST(s.occurred_at, l.lifted_at) >= (m.known).last_changed)))) AS "exists",
     i.keeps_adopted,
     (EXISTS ( SELECT
            FROM koppeling.restored_no r
           WHERE ((r.instance_id = i.id) AND (r.contact_id = (m.known).contact_id) AND (r.restored_at IS NULL)))) AS "exists",
     (EXISTS ( SELECT
            FROM koppeling.invitation v
           WHERE ((v.member_id = g.id) AND (v.ended_at IS NULL)))) AS "exists",
     i.web_id_seen,
     i.own_source
    FROM ((((unnest(member_facts.p_members) g(id)
      CROSS JOIN LATERAL ( SELECT m_1.*::koppeling.audience_member AS known
            FROM koppeling.audience_member m_1
           WHERE (m_1.id = g.id)
          OFFSET 0) m)
      JOIN koppeling.connector_instance i ON ((i.id = (m.known).instance_id)))
      CROSS JOIN LATERAL ( SELECT count(*) AS claims
            FROM koppeling.claim c_1
           WHERE (c_1.member_id = g.id)) c)
      LEFT JOIN LATERAL ( SELECT c_1.address,
             c_1.address_key,
             c_1.fields
            FROM koppeling.claim c_1
           WHERE (c_1.member_id = g.id)
           ORDER BY c_1.manual DESC, c_1.claimed_at, c_1.person_id
          LIMIT 1) p ON (true));
END;

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
    RETURN ('member-'::text || (p_member)::text);

CREATE FUNCTION koppeling.member_needs(p_instance bigint, p_members bigint[]) RETURNS SETOF koppeling.member_need
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
declare
    v_queue text := koppeling.instance_queue(p_instance);
    v_silent text[] := array(select tag from koppeling.merge_field where instance_id = p_instance and not triggers);
    -- Where archives wait for somebody; else nobody has to know whether a no wants them.
    v_parks bigint := (
        select i.target_group_id
        from koppeling.connector_instance i
        join koppeling.action_template t on t.instance_id = i.id and t.action = 'delete' and not t.automatic
        where i.id = p_instance);
begin
    return query
    select (s.known).id, s.key, case when s.needed is null or not (r.urgent and s.is_parked) then s.waiting end,
           s.needed,
           s.needed = 'create' and coalesce((s.known).archived_before > koppeling.now() - interval '1 hour', false)
               and not r.urgent,
           r.urgent
    from (
        select f.known, f.key, w.action as waiting, coalesce(w.is_parked, false) as is_parked,
               koppeling.needed_action(f.known, f.claims, f.wanted_key, f.wanted_fields, f.unsubscribe_here,
                   f.keeps_adopted, f.is_running, f.restores_no,
                   f.has_invitation and koppeling.invited_at((f.known).id) is not null, v_silent) as needed
        -- Step by step: what is named more than once below would be worked out as often.
        from (
            select f.*, exists (
                       select from koppeling.job j
                       where j.queue = v_queue and j.order_key = f.key and j.state = 'running') as is_running
            from (
                select f.known, f.claims, f.wanted_key, f.wanted_fields, f.unsubscribe_here, f.keeps_adopted,
                       f.restores_no, f.has_invitation, koppeling.member_key((f.known).id) as key
                from koppeling.member_facts(p_members) f
                offset 0
            ) f
            offset 0
        ) f
        left join lateral (
            select j.args ->> 'action' as action, j.run_at = 'infinity' as is_parked
            from koppeling.job j
            where j.queue = v_queue and j.key = f.key and j.state <> 'running'
            limit 1
        ) w on true
        offset 0
    ) s
    cross join lateral (
        select case when (s.known).intent = 'creating' then
                   -- A call of ours may have subscribed him over a no.
                   true
               when s.needed = 'delete' and v_parks is not null then
                   -- At the contact, or at whoever holds its address, or the one that it is known by or was to get.
                   koppeling.binding_reasons(v_parks, (s.known).address_key, (s.known).contact_id, (s.known).id)
                       || koppeling.binding_reasons(v_parks, (s.known).file_key, null, null)
                       || koppeling.binding_reasons(v_parks, (s.known).moving_to, null, null)
                       && koppeling.binding_noes()
               else false end as urgent
        offset 0
    ) r;
end $$;

CREATE FUNCTION koppeling.members_meant(p_instance bigint, p_key text) RETURNS SETOF bigint
    LANGUAGE sql STABLE
    BEGIN ATOMIC
 SELECT m.id
    FROM koppeling.audience_member m
   WHERE ((m.instance_id = members_meant.p_instance) AND (m.address_key = members_meant.p_key))
 UNION ALL
  SELECT m.id
    FROM koppeling.audience_member m
   WHERE ((m.instance_id = members_meant.p_instance) AND (m.file_key = members_meant.p_key))
 UNION ALL
  SELECT m.id
    FROM koppeling.audience_member m
   WHERE ((m.instance_id = members_meant.p_instance) AND (m.moving_to = members_meant.p_key));
END;

CREATE FUNCTION koppeling.membership_changed(p_group bigint, p_persons bigint[], p_by_hand boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_instance bigint;
    v_persons  bigint[];
    v_some     bigint[];
    v_last     int := 0;
    v_plan     bigint;
    v_is_new   boolean := false;
    v_joins    bigint := 0;
    v_removals bigint := 0;
    v_because  text;
    v_held     record;
    v_lines    record;
    v_changed  bigint := 0;
    v_exempt   bigint[] := '{}';
    v_applied  record;
begin
    select id into v_instance from koppeling.connector_instance where target_group_id = p_group;
    if not found then
        return;
    end if;
    perform koppeling.lock_group(p_group);
    v_persons := case when p_persons is null then koppeling.claim_candidates(p_group, v_instance)
                      else array(select distinct unnest(p_persons)) end;
    select id into v_plan from koppeling.change_plan where target_group_id = p_group and state = 'held' for update;
    -- Some at a time: counted until the brake would hold what was counted so far, and from then on written to the plan.
    while v_last < cardinality(v_persons) loop
        v_some := v_persons[v_last + 1:v_last + 5000];
        v_last := v_last + cardinality(v_some);
        if v_plan is null then
            v_held := koppeling.count_held(v_instance, v_some, p_by_hand);
            v_joins := v_joins + v_held.joins;
            v_removals := v_removals + v_held.removals;
            v_because := koppeling.brake(v_instance, v_joins, v_removals);
            if v_because is null then
                continue;
            end if;
            insert into koppeling.change_plan (target_group_id, held_because) values (p_group, v_because)
            returning id into v_plan;
            v_is_new := true;
            v_some := v_persons[:v_last];
        end if;
        v_lines := koppeling.rewrite_lines(v_plan, v_instance, v_some, p_by_hand);
        v_changed := v_changed + v_lines.changed;
        v_exempt := v_exempt || v_lines.exempt;
    end loop;
    if v_plan is null then
        v_exempt := v_persons;
        if v_joins + v_removals > 0 then
            insert into koppeling.unapproved_change (target_group_id, joins, removals)
            values (p_group, v_joins, v_removals);
        end if;
    else
        perform koppeling.settle_plan(v_plan, v_changed);
    end if;
    if v_is_new then
        update koppeling.change_plan p
        set held_because = coalesce((
            select koppeling.brake(v_instance, count(*) filter (where l.change = 'join'),
                                   count(*) filter (where l.change <> 'join'))
            from koppeling.change_plan_line l where l.plan_id = p.id), p.held_because)
        where p.id = v_plan;
    end if;
    select * into v_applied
    from koppeling.apply_claims(
        v_instance, koppeling.changes_due(v_instance, v_exempt, v_plan is not null, p_by_hand));
    perform koppeling.stage_members(v_instance, v_applied.touched, v_applied.made);
    perform koppeling.stage_told(v_instance, p_persons);
end $$;

CREATE FUNCTION koppeling.membership_differences(p_group bigint, p_rules bigint, p_persons bigint[], p_override text) RETURNS SETOF koppeling.membership_difference
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '64MB'
    AS $$
begin
    if koppeling.are_few(p_persons) then
        return query select * from koppeling.differences_among_few(p_group, p_rules, p_persons, p_override);
    else
        return query
        select * from koppeling.differences_among(p_group, p_rules, p_persons is null, p_persons, p_override);
    end if;
end $$;

CREATE FUNCTION koppeling.merge_companies(survivor_source text, survivor_id text, other_source text, other_id text, p_actor text DEFAULT SESSION_USER) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_survivor bigint := koppeling.require_company(survivor_source, survivor_id);
    v_other bigint := koppeling.require_company(other_source, other_id);
    v_group bigint;
    v_rules text;
    v_old jsonb;
begin
    if v_survivor = v_other then
        if koppeling.fold(koppeling.clean_text(survivor_source)) = koppeling.fold(koppeling.clean_text(other_source))
            and koppeling.fold(koppeling.clean_text(survivor_id)) = koppeling.fold(koppeling.clean_text(other_id))
        then
            raise exception using errcode = 'invalid_parameter_value',
                message = 'a company cannot be merged into itself', hint = 'Name two different ones.';
        end if;
        return v_survivor;
    end if;
    perform from koppeling.company c where c.id in (v_survivor, v_other) order by c.id for no key update;
    -- Waits for those who are giving a position there, and lets nobody begin.
    perform from koppeling.company c where c.id = v_other for update;
    if exists (
        select from koppeling.company c where c.id in (v_survivor, v_other) and c.merged_into is not null)
    then
        raise exception using errcode = 'serialization_failure',
            message = 'one of the two was merged meanwhile', hint = 'Look at both and try again.';
    end if;
    perform koppeling.note_value_changes('company', array[v_survivor, v_other], 'companies merged');
    for v_group in
        select distinct r.target_group_id
        from koppeling.criterion c
        join koppeling.rule r on r.id = c.rule_id
        where c.kind = 'company' and c.value_id = v_other
        order by r.target_group_id
    loop
        perform koppeling.lock_group(v_group);
    end loop;
    select string_agg(format('"%s" rule %s', g.name, r.position), ', ' order by g.name, r.position) into v_rules
    from koppeling.criterion c
    join koppeling.criterion s on s.rule_id = c.rule_id and s.kind = 'company' and s.value_id = v_survivor
    join koppeling.rule r on r.id = c.rule_id
    join koppeling.target_group g on g.id = r.target_group_id
    where c.kind = 'company' and c.value_id = v_other and s.negated <> c.negated;
    if v_rules is not null then
        raise exception using errcode = 'restrict_violation',
            message = format('one of the companies is asked for and the other excluded by %s', v_rules),
            hint = 'Take one of them out of those rules first.';
    end if;
    for v_group in
        select distinct r.target_group_id
        from koppeling.criterion c
        join koppeling.rule r on r.id = c.rule_id
        where c.kind = 'company' and c.value_id = v_other
        order by r.target_group_id
    loop
        v_old := koppeling.rules_json(v_group);
        delete from koppeling.criterion c
        using koppeling.rule r, koppeling.criterion s
        where r.id = c.rule_id and r.target_group_id = v_group and c.kind = 'company' and c.value_id = v_other
            and s.rule_id = c.rule_id and s.kind = 'company' and s.value_id = v_survivor;
        update koppeling.criterion c set value_id = v_survivor
        from koppeling.rule r
        where r.id = c.rule_id and r.target_group_id = v_group and c.kind = 'company' and c.value_id = v_other;
        update koppeling.target_group g set rules_version = g.rules_version + 1 where g.id = v_group;
        insert into koppeling.audit_entry (target_group_id, kind, old, new, actor, cause)
        values (v_group, 'rules', v_old, koppeling.rules_json(v_group), p_actor, 'companies merged');
    end loop;

    insert into koppeling.position (person_id, job_function_id, department_id, company_id)
    select o.person_id, o.job_function_id, o.department_id, v_survivor
    from koppeling.position o where o.company_id = v_other
    order by o.person_id
    on conflict do nothing;
    delete from koppeling.position where company_id = v_other;
    insert into koppeling.company_in_category (company_id, company_category_id)
    select v_survivor, i.company_category_id from koppeling.company_in_category i where i.company_id = v_other
    on conflict do nothing;
    delete from koppeling.company_in_category where company_id = v_other;
    update koppeling.company set merged_into = v_survivor, changed_at = koppeling.now()
    where id = v_other or merged_into = v_other;
    return v_survivor;
end $$;

CREATE FUNCTION koppeling.merge_members(p_member bigint, p_other bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    -- A call that may have subscribed over a no was meant for this contact, who has to be looked at all the same.
    update koppeling.audience_member m
    set newness_unseen = m.newness_unseen or o.newness_unseen,
        web_id_before = coalesce(least(m.web_id_before, o.web_id_before), m.web_id_before),
        subscribing_at = greatest(m.subscribing_at, o.subscribing_at),
        intent = coalesce(m.intent, o.intent), intent_at = coalesce(m.intent_at, o.intent_at),
        sent_fields = coalesce(m.sent_fields, o.sent_fields)
    from koppeling.audience_member o
    where m.id = p_member and o.id = p_other and (o.intent = 'creating' or o.newness_unseen);
    update koppeling.claim set member_id = p_member where member_id = p_other;
    update koppeling.invitation set member_id = p_member where member_id = p_other;
    perform koppeling.cancel_waiting(koppeling.instance_queue(m.instance_id), koppeling.member_key(p_other), 'merged')
    from koppeling.audience_member m where m.id = p_other;
    -- There is nothing of somebody erased at the address any more.
    perform koppeling.record_erased(m.id, 'absent')
    from koppeling.audience_member m where m.id = p_other and m.erasure_id is not null;
    delete from koppeling.audience_member where id = p_other;
end $$;

CREATE FUNCTION koppeling.merge_persons(survivor_source text, survivor_id text, other_source text, other_id text, p_actor text DEFAULT SESSION_USER) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_survivor bigint := koppeling.require_person(survivor_source, survivor_id);
    v_other bigint := koppeling.require_person(other_source, other_id);
    v_groups bigint[];
    v_group bigint;
    v_members bigint[];
    v_was jsonb;
begin
    if v_survivor = v_other then
        if koppeling.fold(koppeling.clean_text(survivor_source)) = koppeling.fold(koppeling.clean_text(other_source))
            and koppeling.fold(koppeling.clean_text(survivor_id)) = koppeling.fold(koppeling.clean_text(other_id))
        then
            raise exception using errcode = 'invalid_parameter_value',
                message = 'a person cannot be merged into herself', hint = 'Name two different ones.';
        end if;
        return v_survivor;
    end if;
    -- In the order of everybody who takes these: persons, requests, groups.
    perform from koppeling.person p where p.id in (v_survivor, v_other) order by p.id for no key update;
    if exists (
        select from koppeling.person p
        where p.id in (v_survivor, v_other) and (p.merged_into is not null or p.state = 'erased'))
    then
        raise exception using errcode = 'serialization_failure',
            message = 'one of the two was merged or erased meanwhile', hint = 'Look at both and try again.';
    end if;
    perform koppeling.request_evaluation(array[v_survivor, v_other], 'merge');
    v_groups := array(
        select m.target_group_id from koppeling.membership m where m.person_id in (v_survivor, v_other)
        union
        select s.target_group_id from koppeling.suppression s where s.person_id = v_other
        union
        select i.target_group_id from koppeling.claim c join koppeling.connector_instance i on i.id = c.instance_id
        where c.person_id in (v_survivor, v_other)
        order by 1);
    foreach v_group in array v_groups loop
        perform koppeling.lock_group(v_group);
    end loop;

    v_was := koppeling.person_json(v_other);
    perform koppeling.move_person_facts(v_survivor, v_other);
    perform koppeling.move_consent(v_survivor, v_other, p_actor);
    update koppeling.person set state = 'archived', merged_into = v_survivor, changed_at = koppeling.now()
    where id = v_other;
    update koppeling.person set merged_into = v_survivor where merged_into = v_other;
    insert into koppeling.audit_entry (person_id, kind, old, new, actor, cause) values
        (v_other, 'merge', v_was, jsonb_build_object('into', v_survivor), p_actor, 'merge'),
        (v_survivor, 'merge', null, jsonb_build_object('from', v_other), p_actor, 'merge');

    foreach v_group in array v_groups loop
        v_members := koppeling.move_claim(v_group, v_survivor, v_other);
        perform koppeling.derive_memberships(v_group, array[v_survivor, v_other], 'merge', p_actor);
        perform koppeling.membership_changed(v_group, array[v_survivor, v_other]);
        if cardinality(v_members) > 0 then
            perform koppeling.stage_members(i.id, v_members)
            from koppeling.connector_instance i where i.target_group_id = v_group;
        end if;
    end loop;

    update koppeling.task t set person_id = v_survivor
    where t.person_id = v_other and t.done_at is null and not exists (
        select from koppeling.task s
        where s.kind = t.kind and s.instance_id is not distinct from t.instance_id and s.person_id = v_survivor
            and s.done_at is null);
    update koppeling.task t set done_at = koppeling.now() where t.person_id = v_other and t.done_at is null;
    return v_survivor;
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

CREATE FUNCTION koppeling.move_claim(p_group bigint, p_survivor bigint, p_other bigint) RETURNS bigint[]
    LANGUAGE plpgsql
    AS $$
declare
    v_instance bigint := (select i.id from koppeling.connector_instance i where i.target_group_id = p_group);
    v_member bigint;
begin
    update koppeling.claim c set person_id = p_survivor
    where c.instance_id = v_instance and c.person_id = p_other and not exists (
        select from koppeling.claim s where s.instance_id = v_instance and s.person_id = p_survivor)
    returning c.member_id into v_member;
    if not found then
        delete from koppeling.claim c where c.instance_id = v_instance and c.person_id = p_other
        returning c.member_id into v_member;
    end if;
    return array_remove(array[v_member], null);
end $$;

CREATE FUNCTION koppeling.move_consent(p_survivor bigint, p_other bigint, p_actor text) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
begin
    insert into koppeling.suppression (
        target_group_id, reason, person_id, file_key, follows, source, occurred_at, detail)
    select distinct on (s.target_group_id, s.reason, s.file_key)
        s.target_group_id, s.reason, p_survivor, s.file_key, s.id, s.source, s.occurred_at, '{"because": "merge"}'
    from koppeling.open_suppression s
    where s.person_id = p_other and not exists (
        select from koppeling.open_suppression o
        where o.target_group_id = s.target_group_id and o.reason = s.reason and o.person_id = p_survivor
            and o.file_key is not distinct from s.file_key
            and koppeling.covers(o.occurred_at, s.reason, s.occurred_at))
    order by s.target_group_id, s.reason, s.file_key, s.occurred_at desc, s.id;

    with decided as (
        select
            o.target_group_id, coalesce(s.override, 'none') as old,
            koppeling.stricter_override(coalesce(s.override, 'none'), o.override, p.state) as new
        from koppeling.membership o
        join koppeling.person p on p.id = p_survivor
        left join koppeling.membership s on s.target_group_id = o.target_group_id and s.person_id = p_survivor
        where o.person_id = p_other
    )
    insert into koppeling.audit_entry (target_group_id, person_id, kind, old, new, actor, cause)
    select d.target_group_id, p_survivor, 'override', to_jsonb(d.old), to_jsonb(d.new), p_actor, 'merge'
    from decided d
    where d.old <> d.new;

    insert into koppeling.audit_entry (target_group_id, person_id, kind, new, actor, cause)
    select
        o.target_group_id, p_survivor, 'status',
        jsonb_build_object('status', o.status, 'via', o.via, 'reasons', o.reasons), p_actor, 'merge'
    from koppeling.membership o
    where o.person_id = p_other and not exists (
        select from koppeling.membership s
        where s.target_group_id = o.target_group_id and s.person_id = p_survivor);
    insert into koppeling.membership as m (
        target_group_id, person_id, matched_rule_id, rule_match, ever_member, override, overridden_by, status, via,
        reasons)
    select
        o.target_group_id, p_survivor, o.matched_rule_id, o.rule_match, o.ever_member,
        koppeling.stricter_override('none', o.override, p.state), o.overridden_by, o.status, o.via, o.reasons
    from koppeling.membership o
    join koppeling.person p on p.id = p_survivor
    where o.person_id = p_other
    order by o.target_group_id
    on conflict (target_group_id, person_id) do update set
        ever_member = m.ever_member or excluded.ever_member,
        overridden_by = case
            when koppeling.stricter_override(m.override, excluded.override, 'active') = m.override
            then m.overridden_by else excluded.overridden_by end,
        override = koppeling.stricter_override(m.override, excluded.override, 'active');
    update koppeling.membership set override = 'none', overridden_by = null
    where person_id = p_other and override <> 'none';
    perform koppeling.move_invitations(p_survivor, p_other);
end $$;

CREATE FUNCTION koppeling.move_invitations(p_survivor bigint, p_other bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    perform koppeling.end_invitations(array(
        select v.id
        from koppeling.invitation v
        where v.ended_at is null and (
            v.person_id = p_survivor and exists (
                select from koppeling.open_suppression s
                where s.person_id = p_other and s.target_group_id = v.target_group_id)
            or v.person_id = p_other and exists (
                select from koppeling.open_suppression s
                where s.person_id = p_survivor and s.target_group_id = v.target_group_id
                  and coalesce(s.follows, 0) <> all (v.about)))), 'withdrawn', 'merge');
    update koppeling.invitation v
    set person_id = p_survivor,
        about = v.about || array(
            select s.id from koppeling.suppression s where s.person_id = p_survivor and s.follows = any (v.about))
    where v.person_id = p_other;
end $$;

CREATE FUNCTION koppeling.move_person_facts(p_survivor bigint, p_other bigint) RETURNS void
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_address record;
    v_kind text;
    v_number int;
begin
    update koppeling.person s
    set given_name = coalesce(s.given_name, o.given_name),
        initials = coalesce(s.initials, o.initials),
        -- Prefixes belong to their family name.
        prefixes = case
            when s.family_name is null or koppeling.fold(s.family_name) = koppeling.fold(o.family_name)
            then coalesce(s.prefixes, o.prefixes) else s.prefixes end,
        family_name = coalesce(s.family_name, o.family_name),
        gender = case s.gender when 'unknown' then o.gender else s.gender end,
        changed_at = koppeling.now()
    from koppeling.person o
    where s.id = p_survivor and o.id = p_other;

    for v_address in
        select a.id, a.kind, a.address_key from koppeling.email_address a where a.person_id = p_other order by a.kind
    loop
        v_kind := v_address.kind;
        v_number := 1;
        while exists (
            select from koppeling.email_address a where a.person_id = p_survivor and a.kind = v_kind)
        loop
            v_number := v_number + 1;
            v_kind := v_address.kind || ' ' || v_number;
        end loop;
        -- A second address of a kind is kept under another one: a no that is said there is hers.
        if v_number = 1 or not exists (
            select from koppeling.email_address a
            where a.person_id = p_survivor and a.address_key = v_address.address_key)
        then
            update koppeling.email_address set person_id = p_survivor, kind = v_kind where id = v_address.id;
        end if;
    end loop;
    delete from koppeling.email_address where person_id = p_other;

    insert into koppeling.person_category (person_id, category_id)
    select p_survivor, c.category_id from koppeling.person_category c where c.person_id = p_other
    order by c.category_id
    on conflict do nothing;
    delete from koppeling.person_category where person_id = p_other;
    insert into koppeling.position (person_id, job_function_id, department_id, company_id)
    select p_survivor, o.job_function_id, o.department_id, o.company_id
    from koppeling.position o where o.person_id = p_other
    on conflict do nothing;
    delete from koppeling.position where person_id = p_other;
end $$;

CREATE FUNCTION koppeling.needed_action(s koppeling.audience_member, p_claims bigint, p_key text, p_fields jsonb, p_unsubscribe boolean, p_keeps_adopted boolean, p_running boolean, p_restores_no boolean, p_invites boolean, p_silent text[]) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (((s).erasure_id IS NOT NULL) AND (p_claims = 0)) THEN 'erase'::text WHEN (p_restores_no AND ((s).status = ANY (ARRAY['subscribed'::text, 'pending'::text, 'archived'::text]))) THEN 'unsubscribe'::text WHEN (p_unsubscribe AND (((s).status = ANY (ARRAY['subscribed'::text, 'pending'::text])) OR ((s).intent IS NOT NULL) OR p_running)) THEN 'unsubscribe'::text WHEN p_invites THEN 'invite'::text WHEN (p_claims = 0) THEN CASE WHEN ((((s).ownership = 'created'::text) AND ((s).status = 'subscribed'::text)) OR (((s).ownership = 'adopted'::text) AND ((s).status = 'subscribed'::text) AND (NOT p_keeps_adopted)) OR ((s).intent IS NOT NULL) OR p_running) THEN 'delete'::text ELSE NULL::text END WHEN (((s).status IS NULL) OR ((s).status = ANY (ARRAY['absent'::text, 'archived'::text]))) THEN 'create'::text WHEN (((s).status = 'subscribed'::text) AND ((s).ownership = ANY (ARRAY['none'::text, 'foreign'::text]))) THEN 'create'::text WHEN (((s).status = 'subscribed'::text) AND (((s).intent IS NOT NULL) OR ((s).moving_to IS NOT NULL) OR ((p_key IS DISTINCT FROM (s).file_key) AND (p_key IS DISTINCT FROM (s).address_key)) OR ((p_fields - p_silent) IS DISTINCT FROM ((s).applied_fields - p_silent)))) THEN 'update'::text ELSE NULL::text END;

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

CREATE FUNCTION koppeling.next_persons(p_plan bigint, p_after bigint, p_lines integer) RETURNS bigint[]
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    RETURN ARRAY(SELECT l.person_id FROM koppeling.change_plan_line l WHERE ((l.plan_id = next_persons.p_plan) AND (l.person_id > next_persons.p_after)) ORDER BY l.person_id LIMIT next_persons.p_lines);

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

CREATE FUNCTION koppeling.no_reason(p_status text, p_given text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (p_status = 'cleaned'::text) THEN 'cleaned'::text WHEN (p_given ~* '(abuse|spam)'::text) THEN 'complained'::text ELSE 'unsubscribed'::text END;

CREATE FUNCTION koppeling.note_instance(p_instance bigint, p_kind text, p_old jsonb, p_new jsonb, p_actor text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 INSERT INTO koppeling.audit_entry (target_group_id, kind, old, new, actor, cause)  SELECT i.target_group_id,
             note_instance.p_kind AS p_kind,
             note_instance.p_old AS p_old,
             note_instance.p_new AS p_new,
             COALESCE(note_instance.p_actor, (SESSION_USER)::text) AS "coalesce",
             'by hand'
            FROM koppeling.connector_instance i
           WHERE ((i.id = note_instance.p_instance) AND (note_instance.p_old IS DISTINCT FROM note_instance.p_new));
END;

CREATE FUNCTION koppeling.note_enabled(p_instance bigint, p_enabled boolean, p_actor text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT koppeling.note_instance(i.id, 'instance.enabled'::text, to_jsonb((i.enabled AND (NOT (note_enabled.p_enabled AND (i.paused_reason IS NOT NULL))))), to_jsonb(note_enabled.p_enabled), note_enabled.p_actor) AS note_instance
    FROM koppeling.connector_instance i
   WHERE (i.id = note_enabled.p_instance);
END;

CREATE FUNCTION koppeling.note_spreading() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    if not exists (select from koppeling.deployment d where d.noes_for_all_lists) then
        return null;
    end if;
    insert into koppeling.spreading_no (suppression_id)
    select s.id from said s
    where s.reason = any (koppeling.noes_for_all_lists()) and s.contact_id is null
      -- What came from another list, or was said to all, is in all of them already.
      and coalesce((s.detail ->> 'carried')::bigint, s.target_group_id) = s.target_group_id
      and not s.detail ? 'saidTo';
    -- Without a key: nothing waits here for another transaction while the group is locked.
    if found and current_setting('koppeling.noes_spread', true) is distinct from pg_current_xact_id()::text then
        perform koppeling.enqueue(kind => 'group.evaluate');
        perform set_config('koppeling.noes_spread', pg_current_xact_id()::text, true);
    end if;
    return null;
end $$;

CREATE FUNCTION koppeling.note_value_changes(p_kind text, p_values bigint[], p_cause text) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    if coalesce(cardinality(p_values), 0) = 0 then
        return;
    end if;
    insert into koppeling.value_change (kind, value_id, cause)
    select p_kind, v, p_cause from unnest(p_values) v group by v order by v
    on conflict (kind, value_id) do update set cause = excluded.cause;
    perform koppeling.enqueue(kind => 'group.evaluate', key => 'evaluate', order_key => 'evaluate');
end $$;

CREATE FUNCTION koppeling.observe_fields(p_instance bigint, p_fields jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    delete from koppeling.list_field f
    where f.instance_id = p_instance
      and f.tag not in (select n.tag from jsonb_to_recordset(p_fields) n (tag text));
    insert into koppeling.list_field as f (instance_id, tag, name, type, required, choices)
    select p_instance, n.tag, n.name, n.type, n.required, n.choices
    from jsonb_to_recordset(p_fields) n (tag text, name text, type text, required boolean, choices text[])
    on conflict (instance_id, tag) do update
        set name = excluded.name, type = excluded.type, required = excluded.required, choices = excluded.choices
        where (f.name, f.type, f.required, f.choices)
            is distinct from (excluded.name, excluded.type, excluded.required, excluded.choices);
    perform koppeling.tell_field_faults(p_instance);
end $$;

CREATE FUNCTION koppeling.observe_former(p_link bigint, p_page jsonb) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_link koppeling.former_link;
    v_said record;
    v_count bigint := 0;
begin
    select * into v_link from koppeling.former_link f where f.id = p_link and f.looked_at is null;
    if not found then
        return 0;
    end if;
    perform koppeling.lock_group(v_link.target_group_id);
    for v_said in
        select o.email_address, koppeling.no_reason(o.status, o.unsubscribe_reason) as reason,
               coalesce(nullif(o.last_changed, '')::timestamptz, koppeling.now()) as said_at, array(
                   select coalesce(p.merged_into, p.id)
                   from koppeling.former_contact c
                   join koppeling.person p on p.id = c.person_id
                   where c.former_link_id = p_link and c.contact_id = o.contact_id
                   order by 1) as persons
        from jsonb_to_recordset(p_page -> 'members') o (
            contact_id text, email_address text, status text, unsubscribe_reason text, last_changed text)
        where o.status in ('unsubscribed', 'cleaned') and koppeling.address_key(o.email_address) <> ''
        order by koppeling.address_key(o.email_address)
    loop
        -- By the address only: a contact's id means nothing in another list.
        perform koppeling.open_suppression(v_link.target_group_id, v_said.reason, v_said.email_address, null,
            v_said.persons, 'mailchimp', v_said.said_at, jsonb_build_object('formerLink', p_link));
        v_count := v_count + 1;
    end loop;
    return v_count;
end $$;

CREATE FUNCTION koppeling.observe_invited(p_member bigint, p_status text, p_is_newer boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_opted_in timestamptz := (select m.opted_in_at from koppeling.audience_member m where m.id = p_member);
    v_answered bigint[];
    v_one record;
begin
    if p_status = 'pending' then
        update koppeling.invitation v
        set sent_at = coalesce(v.sent_at, koppeling.now()), opted_in_before = v_opted_in
        where v.member_id = p_member and v.ended_at is null
          and (v.sent_at is null or v.opted_in_before is distinct from v_opted_in);
    elsif p_status in ('unsubscribed', 'cleaned') and p_is_newer then
        perform koppeling.end_invitations(array(
            select v.id from koppeling.invitation v
            where v.member_id = p_member and v.ended_at is null and v.sent_at is not null),
            case p_status when 'cleaned' then 'bounced' else 'declined' end);
    elsif p_status = 'subscribed' then
        v_answered := array(
            select v.id from koppeling.invitation v
            where v.member_id = p_member and v.ended_at is null
              and v_opted_in > coalesce(v.opted_in_before, '-infinity')
              -- Mailchimp's clock may differ from ours.
              and v_opted_in > v.sent_at - koppeling.clock_difference());
        perform koppeling.end_invitations(array(
            select v.id from koppeling.invitation v
            where v.id = any (v_answered)
              and not exists (select from koppeling.valid_invitations(p_member) h where h.id = v.id)), 'withdrawn');
        for v_one in
            select v.id, v.target_group_id, array(
                select s.id from koppeling.open_suppression s where s.id = any (v.about)
                union
                -- What was said there before she asked, and found since.
                select s.id from koppeling.open_suppression s
                where s.follows = any (v.about) and s.person_id = v.person_id and s.target_group_id = v.target_group_id
                  and s.occurred_at <= v.requested_at) as open
            from koppeling.invitation v
            where v.id = any (v_answered) and v.ended_at is null
            order by v.id
        loop
            perform koppeling.end_invitations(array[v_one.id], 'confirmed');
            perform koppeling.end_suppressions(
                v_one.target_group_id, v_one.open, 'mailchimp', format('invitation %s was confirmed', v_one.id));
        end loop;
        -- He opted in before he was asked: there is nothing to ask any more, and nothing is lifted.
        perform koppeling.end_invitations(array(
            select v.id from koppeling.invitation v
            where v.member_id = p_member and v.ended_at is null and v.sent_at is null), 'subscribed');
    end if;
end $$;

CREATE FUNCTION koppeling.observe_member(p_instance bigint, p_answer jsonb, p_direct boolean) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_group    bigint;
    v_sweep    bigint;
    v_key      text := koppeling.address_key(p_answer ->> 'email_address');
    v_contact  text := nullif(p_answer ->> 'contact_id', '');
    v_status   text := p_answer ->> 'status';
    v_changed  timestamptz := nullif(p_answer ->> 'last_changed', '')::timestamptz;
    v_opted_in timestamptz := nullif(p_answer ->> 'timestamp_opt', '')::timestamptz;
    v_old      koppeling.audience_member;
    v_id       bigint;
    v_ours     boolean;
    v_reason   text;
    v_came     boolean;
begin
    -- A contact without an address, as one reached by text message only, and a status that is not known yet can neither be
    -- kept nor cost the rest of a page.
    if coalesce(v_key, '') = '' or v_status is null or v_status not in (
        'subscribed', 'unsubscribed', 'cleaned', 'pending', 'transactional', 'archived')
    then
        return null;
    end if;
    select target_group_id, sweep into strict v_group, v_sweep
    from koppeling.connector_instance where id = p_instance;
    perform koppeling.lock_group(v_group);
    v_id := koppeling.find_member(p_instance, v_contact, v_key);
    select * into v_old from koppeling.audience_member where id = v_id;
    if v_changed < v_old.last_changed
        or not p_direct and v_changed = v_old.last_changed
           and koppeling.strictness(v_status) < koppeling.strictness(v_old.status)
    then
        return null;
    end if;
    v_came := koppeling.take_address(p_instance, v_id, v_key);
    if v_id is null then
        insert into koppeling.audience_member (instance_id, address, address_key, ownership)
        values (p_instance, p_answer ->> 'email_address', v_key, 'foreign')
        returning id into v_id;
    end if;
    select * into strict v_old from koppeling.audience_member where id = v_id;
    v_ours := v_status = 'archived' and (v_old.archived_by_us or coalesce(v_old.intent in ('archiving', 'moving'), false));

    update koppeling.audience_member m
    set contact_id = coalesce(v_contact, m.contact_id), remote_id = p_answer ->> 'id',
        address = p_answer ->> 'email_address', address_key = v_key, status = v_status,
        last_changed = coalesce(v_changed, m.last_changed), observed_at = koppeling.now(),
        -- Whoever is met while a sweep is under way, by whatever reading, is not missing.
        sweep = greatest(m.sweep, v_sweep), archived_by_us = v_ours, opted_in_at = coalesce(v_opted_in, m.opted_in_at),
        ownership = case
            when v_status = 'subscribed' and coalesce(m.intent, '') <> 'creating'
                 and (m.status in ('unsubscribed', 'cleaned', 'archived', 'absent', 'pending')
                      -- Deleted for good, and there again as another contact.
                      or m.contact_id <> v_contact) then 'foreign'
            when v_status = 'subscribed' and m.intent = 'creating' and m.ownership in ('none', 'foreign') then 'created'
            else m.ownership
        end,
        file_key = case when v_key = m.moving_to then v_key else coalesce(m.file_key, v_key) end,
        moving_to = case when v_key = m.moving_to then null else m.moving_to end,
        newness_unseen = m.newness_unseen and not coalesce(m.contact_id <> v_contact, false)
    where m.id = v_id;

    if v_status not in ('subscribed', 'pending', 'archived') then
        update koppeling.restored_no r set restored_at = koppeling.now()
        where r.instance_id = p_instance and r.contact_id = v_contact and r.restored_at is null;
    end if;
    -- Also when the contact was known so: he may have opted in and said it again, at another address, since.
    if v_status in ('unsubscribed', 'cleaned')
        and ((v_old.status, v_old.address_key) is distinct from (v_status, v_key) or v_changed > v_old.last_changed)
    then
        v_reason := koppeling.no_reason(v_status, p_answer ->> 'unsubscribe_reason');
        -- What we say there for a person is recorded already; that the contact complained before is not.
        if v_old.intent = 'unsubscribing' and v_reason <> 'complained' then
            v_reason := null;
        end if;
    elsif v_status = 'archived' and not v_ours and v_old.status is distinct from 'archived'
        and cardinality(koppeling.claimants(v_id)) > 0
    then
        v_reason := 'removedInMailchimp';
    end if;
    if v_reason is not null then
        perform koppeling.open_suppression(v_group, v_reason, p_answer ->> 'email_address', v_contact,
            koppeling.claimants(v_id), 'mailchimp', coalesce(v_changed, koppeling.now()), '{}');
    end if;

    if exists (select from koppeling.invitation v where v.member_id = v_id and v.ended_at is null) then
        perform koppeling.observe_invited(v_id, v_status,
            v_old.status is distinct from v_status or v_changed > v_old.last_changed);
    end if;
    if v_status = 'subscribed' then
        perform koppeling.resubscribed(p_instance, v_group, v_id,
            case when v_old.contact_id <> v_contact then 'absent' else v_old.status end);
    end if;
    if v_key <> koppeling.address_key(v_old.address) and v_old.contact_id is not null
        and v_key is distinct from v_old.moving_to
    then
        perform koppeling.open_task('addressDiffers', p_instance, c.person_id, jsonb_build_object('member', v_id))
        from koppeling.claim c
        where c.member_id = v_id;
    end if;
    -- The actions of the row that stood for the address went with it.
    if v_came then
        perform koppeling.stage_members(p_instance, array[v_id]);
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
    v_told    bigint[];
    v_back    bigint[];
begin
    perform koppeling.lock_group(i.target_group_id) from koppeling.connector_instance i where i.id = p_instance;
    -- Contacts nobody here knows and who said no to nothing: the bulk of a first pull, in one statement.
    with met as (
    insert into koppeling.audience_member (instance_id, contact_id, remote_id, address, address_key, file_key, status,
                                           last_changed, opted_in_at, observed_at, ownership, sweep)
    select distinct on (koppeling.address_key(o.email_address))
           p_instance, nullif(o.contact_id, ''), o.id, o.email_address, koppeling.address_key(o.email_address),
           koppeling.address_key(o.email_address), o.status, nullif(o.last_changed, '')::timestamptz,
           nullif(o.timestamp_opt, '')::timestamptz, koppeling.now(), 'foreign', p_sweep
    from jsonb_to_recordset(p_page -> 'members') o (id text, contact_id text, email_address text, status text,
                                                    last_changed text, timestamp_opt text)
    where o.status in ('subscribed', 'pending', 'transactional', 'archived') and o.email_address <> ''
      and not exists (select from koppeling.audience_member m
                      where m.instance_id = p_instance and m.contact_id = o.contact_id)
    order by koppeling.address_key(o.email_address)
    on conflict do nothing
    returning id, address_key, status
    )
    -- A user may have recorded a no at an address that Mailchimp is only now seen to write to; and whoever said no in
    -- another list may have signed up in this one.
    select coalesce(array_agg(m.id) filter (where n.is_told), '{}'),
           coalesce(array_agg(m.id) filter (where m.status = 'subscribed'), '{}')
    into v_told, v_back
    from met m
    cross join lateral (
        select bool_or(s.source = 'user') as is_told
        from koppeling.open_suppression s
        join koppeling.connector_instance i on i.target_group_id = s.target_group_id
        where i.id = p_instance and s.address_key = m.address_key
    ) n
    where n.is_told is not null;
    perform koppeling.resubscribed(p_instance, i.target_group_id, m, null)
    from koppeling.connector_instance i, unnest(v_back) m
    where i.id = p_instance;

    select coalesce(array_agg(t.id) filter (where t.id is not null), '{}') into v_touched
    from (
        select koppeling.observe_member(p_instance, o.member, false) as id
        from jsonb_array_elements(p_page -> 'members') o (member)
        where not exists (
            -- Nothing new, or older than what we did ourselves: the next overlapping pull reads it again.
            select from koppeling.audience_member m
            where m.instance_id = p_instance and m.contact_id = o.member ->> 'contact_id'
              -- What we did at a time to come we did before the clock went back.
              and (m.acted_at between p_read_at and koppeling.now()
                   or m.status = o.member ->> 'status' and m.address = o.member ->> 'email_address'
                      and m.last_changed = nullif(o.member ->> 'last_changed', '')::timestamptz))
    ) t;
    if p_sweep > 0 then
        update koppeling.audience_member m set sweep = p_sweep
        from jsonb_array_elements(p_page -> 'members') o (member)
        where m.instance_id = p_instance and m.contact_id = o.member ->> 'contact_id' and m.sweep < p_sweep;
    end if;
    perform koppeling.stage_members(p_instance, v_touched || v_told || koppeling.look_at_created(p_instance, p_page));
    update koppeling.connector_instance i set web_id_seen = o.web_id
    from (select max(o.web_id) as web_id from jsonb_to_recordset(p_page -> 'members') o (web_id bigint)) o
    where i.id = p_instance and o.web_id > i.web_id_seen;
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

CREATE FUNCTION koppeling.open_reasons(p_group bigint, p_all boolean, p_persons bigint[]) RETURNS TABLE(person_id bigint, reasons text[])
    LANGUAGE sql STABLE
    AS $$
    select b.person_id, array_agg(distinct b.reason)
    from (
        select s.person_id, s.reason
        from koppeling.open_suppression s
        where s.target_group_id = p_group and s.person_id is not null
            and (p_all or s.person_id = any (p_persons))
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
        where g.id = p_group and (p_all or e.person_id = any (p_persons))
            and (s.reason = any (koppeling.binding_noes())
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
    v_bound bigint[];
    v_is_hook boolean := coalesce(p_detail ? 'hook', false);
    v_renews boolean;
    v_first bigint;
    v_id bigint;
begin
    perform koppeling.lock_group(p_group);
    v_renews := p_reason in ('complained', 'unsubscribed')
        and exists (select from koppeling.deployment d where d.noes_for_all_lists);
    v_holders := array(select distinct e.person_id from koppeling.email_address e where e.address_key = v_key);
    v_bound := v_holders || p_persons;
    if p_reason = any (koppeling.binding_noes()) then
        v_bound := v_bound || koppeling.followers(p_group, v_key, p_contact_id);
    end if;
    perform koppeling.decline_invitations(p_group, p_reason, v_key, p_contact_id, v_bound,
        p_occurred_at, v_is_hook);

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
        where o.target_group_id = p_group and o.reason = p_reason and o.address_key = v_key
            -- A user's word stands beside what Mailchimp said, and beside his own before: the contact may have opted in
            -- since. What he says twice within a minute he says once.
            and (p_source <> 'user' or o.source = 'user' and o.occurred_at > p_occurred_at - interval '1 minute')
            and (not v_renews or o.occurred_at >= p_occurred_at))
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
        from unnest(v_bound) person_id
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
            and o.file_key is not distinct from b.file_key
            and (koppeling.covers(o.occurred_at, p_reason, p_occurred_at)
                -- Mailchimp delivers a hook for 75 minutes, until it is answered.
                or v_is_hook and not v_renews and o.detail ? 'hook'
                    and o.occurred_at > p_occurred_at - interval '2 hours'))
    order by b.person_id;

    if v_id is not null and p_reason = any (koppeling.binding_noes()) then
        insert into koppeling.holder_check (suppression_id) values (v_id);
        -- Without a key: nothing waits here for another transaction while the group is locked.
        if current_setting('koppeling.holders_checked', true) is distinct from pg_current_xact_id()::text then
            perform koppeling.enqueue(kind => 'group.evaluate');
            perform set_config('koppeling.holders_checked', pg_current_xact_id()::text, true);
        end if;
    end if;
    return query select * from koppeling.rederive(p_group, v_bound, p_reason, p_source);
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
    done_by text,
    CONSTRAINT task_check CHECK (((done_by IS NULL) OR (done_at IS NOT NULL))),
    CONSTRAINT task_kind_check CHECK ((kind = ANY (ARRAY['resubscribed'::text, 'addressDiffers'::text, 'addressBlocked'::text, 'listGone'::text, 'credentialRevoked'::text, 'rejections'::text, 'oscillation'::text, 'groupInvalid'::text, 'mergeFieldMissing'::text])))
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
           WHERE (i.id = open_task.p_instance) ON CONFLICT(kind, (COALESCE(instance_id, (0)::bigint)), (COALESCE(target_group_id, (0)::bigint)), (COALESCE(person_id, (0)::bigint)))
   WHERE (done_at IS NULL) DO NOTHING;
END;

CREATE FUNCTION koppeling.opted_in_since(p_group bigint, p_person bigint, p_moment timestamp with time zone) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT (EXISTS ( SELECT
            FROM (((koppeling.target_group g
              JOIN koppeling.connector_instance i ON ((i.target_group_id = g.id)))
              JOIN koppeling.email_address e ON (((e.person_id = opted_in_since.p_person) AND (e.kind = g.email_kind))))
              JOIN koppeling.audience_member m ON (((m.instance_id = i.id) AND (m.address_key = e.address_key))))
           WHERE ((g.id = opted_in_since.p_group) AND (m.status = 'subscribed'::text) AND (m.intent IS NULL) AND (m.ownership = ANY (ARRAY['none'::text, 'foreign'::text])) AND (m.opted_in_at > opted_in_since.p_moment) AND (NOT (EXISTS ( SELECT
                    FROM koppeling.restored_no r
                   WHERE ((r.instance_id = i.id) AND (r.contact_id = m.contact_id) AND (r.restored_at IS NULL)))))))) AS "exists";
END;

CREATE FUNCTION koppeling.ousted_members(p_instance bigint) RETURNS SETOF bigint
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT m.id
    FROM koppeling.audience_member m
   WHERE ((m.instance_id = ousted_members.p_instance) AND (m.address_key = m.contact_id))
   ORDER BY m.id;
END;

CREATE FUNCTION koppeling.parked_refusals(p_instance bigint, p_persons bigint[]) RETURNS bigint[]
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_group bigint := (
        select i.target_group_id
        from koppeling.connector_instance i
        join koppeling.action_template t on t.instance_id = i.id and t.action = 'delete' and not t.automatic
        where i.id = p_instance);
    v_refusing bigint[];
begin
    if v_group is null then
        return '{}';
    end if;
    v_refusing := array(
        select r.person_id from koppeling.open_reasons(v_group, p_persons is null, p_persons) r
        where r.reasons && koppeling.binding_noes());
    return array(
        select distinct m.id
        from koppeling.email_address e
        cross join lateral koppeling.members_meant(p_instance, e.address_key) m (id)
        join koppeling.job j on j.queue = koppeling.instance_queue(p_instance) and j.key = koppeling.member_key(m.id)
            and j.state <> 'running' and j.args ->> 'action' = 'delete' and j.run_at = 'infinity'
        where e.person_id = any (v_refusing));
end $$;

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

CREATE FUNCTION koppeling.pass_permit(p_permit bigint) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
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
    from (select * from unnest(p_rows) r where not koppeling.is_faultless(r)) r
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
        from (select distinct c from unnest(r.categories) c) c
        union all
        select 'positions.' || v.field, 'is longer than 200 characters'
        from unnest(r.positions) i
        cross join lateral (
            values ('function', i.job_function), ('department', i.department), ('company', i.company)
        ) v (field, value)
        where length(v.value) > 200
    ) f
    where f.message is not null
$$;

CREATE TABLE koppeling.person_category (
    person_id bigint NOT NULL,
    category_id bigint NOT NULL
);

CREATE FUNCTION koppeling.person_json(p_person bigint) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN (SELECT jsonb_build_object('id', p.id, 'source', p.source, 'external_id', p.external_id, 'given_name', p.given_name, 'initials', p.initials, 'prefixes', p.prefixes, 'family_name', p.family_name, 'gender', p.gender, 'state', p.state, 'emails', COALESCE((SELECT jsonb_object_agg(e.kind, e.address) AS jsonb_object_agg FROM koppeling.email_address e WHERE (e.person_id = p.id)), '{}'::jsonb), 'categories', COALESCE((SELECT jsonb_agg(((g.name || ' / '::text) || k.name) ORDER BY g.name, k.name) AS jsonb_agg FROM ((koppeling.person_category c JOIN koppeling.category k ON ((k.id = c.category_id))) JOIN koppeling.category_group g ON ((g.id = k.category_group_id))) WHERE (c.person_id = p.id)), '[]'::jsonb), 'positions', COALESCE((SELECT jsonb_agg(jsonb_build_object('function', f.name, 'department', d.name, 'company', c.external_id, 'company_name', c.name) ORDER BY c.name, d.name, f.name) AS jsonb_agg FROM (((koppeling."position" o LEFT JOIN koppeling.job_function f ON ((f.id = o.job_function_id))) LEFT JOIN koppeling.department d ON ((d.id = o.department_id))) LEFT JOIN koppeling.company c ON ((c.id = o.company_id))) WHERE (o.person_id = p.id)), '[]'::jsonb)) AS jsonb_build_object FROM koppeling.person p WHERE (p.id = person_json.p_person));

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
            when v.field = 'anonymised' then
                case when jsonb_typeof(v.value) not in ('boolean', 'null') then 'must be true or false' end
            when v.field = 'emails' then case
                when jsonb_typeof(v.value) not in ('object', 'null') then 'must be an object of addresses by kind'
                when jsonb_path_exists(v.value, '$.* ? (@.type() != "string" && @.type() != "null")')
                then 'must hold texts or nulls only' end
            when v.field = 'categories' then case
                when jsonb_typeof(v.value) not in ('array', 'null') then 'must be a list'
                when jsonb_typeof(v.value) = 'array'
                    and jsonb_path_exists(v.value, '$[*] ? (@.type() != "string")') then 'must hold texts only' end
            when v.field = 'positions' then case
                when jsonb_typeof(v.value) not in ('array', 'null') then 'must be a list'
                else koppeling.position_shape_fault(v.value) end
            else 'is not known; a person has source, id, given_name, initials, prefixes, family_name, gender, '
                'emails, categories, positions and anonymised'
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
            select row(i ->> 'function', i ->> 'department', i ->> 'company')::koppeling.position_input
            from jsonb_array_elements(
                case jsonb_typeof(p.person -> 'positions') when 'array' then p.person -> 'positions' else '[]' end) i),
        array(
            select f.field from jsonb_object_keys(p.person) f (field)
            where case f.field when 'emails' then jsonb_typeof(p.person -> 'emails') = 'null'
                               when 'anonymised' then p.person -> 'anonymised' = 'true' else true end),
        null, null)::koppeling.person_input))
    from jsonb_array_elements(p_persons) with ordinality as p (person, line)
    cross join lateral (
        select array_agg(v.kind order by v.kind) as kinds, array_agg(v.address order by v.kind) as addresses
        from jsonb_each_text(
            case jsonb_typeof(p.person -> 'emails') when 'object' then p.person -> 'emails' else '{}' end)
            v (kind, address)
    ) e
$$;

CREATE FUNCTION koppeling.persons_having(p_asked koppeling.criteria_values, p_not koppeling.criteria_values, p_all boolean, p_persons bigint[]) RETURNS TABLE(person_id bigint)
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    with placed as not materialized (
        select o.person_id
        from koppeling.position o
        where p_asked.placed and p_asked.circles = 0
            and (p_all or o.person_id = any (p_persons))
            and (cardinality(p_asked.functions) = 0 or o.job_function_id = p_asked.functions[1])
            and (cardinality(p_asked.departments) = 0 or o.department_id = p_asked.departments[1])
            and (cardinality(p_asked.companies) = 0 or o.company_id = p_asked.companies[1])
        union all
        select o.person_id
        from koppeling.position o
        join (
            select i.company_id from koppeling.company_in_category i
            where i.company_category_id = any (p_asked.company_categories)
            group by i.company_id having count(*) >= p_asked.circles
        ) k on k.company_id = o.company_id
        where p_asked.circles > 0
            and (p_all or o.person_id = any (p_persons))
            and (cardinality(p_asked.functions) = 0 or o.job_function_id = p_asked.functions[1])
            and (cardinality(p_asked.departments) = 0 or o.department_id = p_asked.departments[1])
            and (cardinality(p_asked.companies) = 0 or o.company_id = p_asked.companies[1])
    ), tagged as not materialized (
        select t.person_id
        from koppeling.person_category t
        where p_asked.tags = 1 and t.category_id = p_asked.categories[1]
            and (p_all or t.person_id = any (p_persons))
        union all
        select t.person_id
        from koppeling.person_category t
        where p_asked.tags > 1 and t.category_id = any (p_asked.categories)
            and (p_all or t.person_id = any (p_persons))
        group by t.person_id having count(*) >= p_asked.tags
    )
    select m.person_id
    from (
        select t.person_id from tagged t where not p_asked.placed
        union all
        select t.person_id from tagged t where p_asked.placed and t.person_id in (select o.person_id from placed o)
        union all
        select distinct o.person_id from placed o where p_asked.tags = 0
        union all
        select p.id from koppeling.person p
        where p_asked.tags = 0 and not p_asked.placed and (p_all or p.id = any (p_persons))
    ) m
    where not exists (
        select from (
            select n.person_id
            from koppeling.person_category n
            where p_not.tags > 0 and n.category_id = any (p_not.categories)
                and (p_all or n.person_id = any (p_persons))
            union all
            select n.person_id
            from koppeling.position n
            where p_not.seats > 0
                and (n.job_function_id = any (p_not.functions) or n.department_id = any (p_not.departments)
                    or n.company_id = any (p_not.companies))
                and (p_all or n.person_id = any (p_persons))
            union all
            select n.person_id
            from koppeling.position n
            join koppeling.company_in_category k on k.company_id = n.company_id
            where p_not.circles > 0 and k.company_category_id = any (p_not.company_categories)
                and (p_all or n.person_id = any (p_persons))
        ) n
        where n.person_id = m.person_id)
$$;

CREATE FUNCTION koppeling.persons_matching(p_criteria koppeling.criterion[], p_persons bigint[]) RETURNS TABLE(person_id bigint)
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '64MB'
    AS $$
#variable_conflict use_column
declare
    v_asked koppeling.criteria_values := koppeling.criteria_values(p_criteria, false);
    v_not koppeling.criteria_values := koppeling.criteria_values(p_criteria, true);
begin
    if not koppeling.can_match(p_criteria, v_asked) then
        return;
    elsif koppeling.are_few(p_persons) then
        return query select person_id from koppeling.few_having(v_asked, v_not, p_persons);
    else
        return query select person_id from koppeling.persons_having(v_asked, v_not, p_persons is null, p_persons);
    end if;
end $$;

CREATE FUNCTION koppeling.plan_cause() RETURNS text
    LANGUAGE sql STABLE
    RETURN COALESCE(NULLIF(current_setting('koppeling.cause'::text, true), ''::text), 'facts'::text);

CREATE FUNCTION koppeling.plan_group_checks() RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    if not exists (select from koppeling.job_schedule s where s.name = 'group.check') then
        perform koppeling.put_schedule(
            'group.check', '17 3 * * *', 'group.check', key => 'check', order_key => 'check');
    end if;
end $$;

CREATE FUNCTION koppeling.position_shape_fault(p_positions jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT f.message FROM (jsonb_array_elements(CASE jsonb_typeof(position_shape_fault.p_positions) WHEN 'array'::text THEN position_shape_fault.p_positions ELSE '[]'::jsonb END) i(value) CROSS JOIN LATERAL (SELECT CASE WHEN (jsonb_typeof(i.value) <> 'object'::text) THEN 'must hold objects only'::text WHEN (EXISTS (SELECT FROM jsonb_object_keys(i.value) k(k) WHERE (k.k <> ALL (ARRAY['function'::text, 'department'::text, 'company'::text])))) THEN 'must hold function, department and company only'::text WHEN (EXISTS (SELECT FROM jsonb_each(i.value) v(key, value) WHERE (jsonb_typeof(v.value) <> ALL (ARRAY['string'::text, 'number'::text, 'null'::text])))) THEN 'must hold texts or nulls only'::text WHEN (koppeling.clean_text(concat((i.value ->> 'function'::text), (i.value ->> 'department'::text), (i.value ->> 'company'::text))) IS NULL) THEN 'must have a function, a department or a company in each'::text ELSE NULL::text END AS message) f) WHERE (f.message IS NOT NULL) LIMIT 1);

CREATE FUNCTION koppeling.position_values(job_function bigint, department bigint, company bigint) RETURNS bigint[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY[COALESCE(job_function, (0)::bigint), COALESCE(department, (0)::bigint), COALESCE(company, (0)::bigint)];

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
    CONSTRAINT api_token_rights_check CHECK (((rights <@ ARRAY['enqueue'::text, 'read'::text, 'operate'::text, 'persons'::text, 'disclose'::text, 'groups'::text, 'link'::text]) AND (cardinality(rights) > 0))),
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

CREATE FUNCTION koppeling.preview_page(p_instance bigint, p_page jsonb, p_read_at timestamp with time zone, p_again text[]) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_group bigint := (select i.target_group_id from koppeling.connector_instance i where i.id = p_instance);
    v_entry bigint;
    v_audit bigint;
    v_contacts jsonb;
    v_page jsonb := jsonb_build_object('members', array(
        select o.member from jsonb_array_elements(p_page -> 'members') o (member)
        where coalesce(o.member ->> 'contact_id', '') <> all (p_again)));
begin
    -- Nobody else writes of this group until all of this is taken back.
    perform koppeling.lock_group(v_group);
    v_entry := (select coalesce(max(s.id), 0) from koppeling.suppression s);
    v_audit := (select coalesce(max(a.id), 0) from koppeling.audit_entry a);
    with shown as (
        select o.status, m.id is not null as is_known, m.status is distinct from o.status as differs
        from jsonb_to_recordset(v_page -> 'members') o (contact_id text, email_address text, status text)
        left join lateral (
            select m.id, m.status from koppeling.audience_member m
            where m.instance_id = p_instance
              and (m.contact_id = o.contact_id
                   or m.contact_id is null and m.address_key = koppeling.address_key(o.email_address))
            order by m.contact_id = o.contact_id desc nulls last
            limit 1
        ) m on true
    )
    select jsonb_build_object(
        'read', (select count(*) from shown),
        'known', (select count(*) from shown where is_known),
        'new', (select coalesce(jsonb_object_agg(n.status, n.contacts), '{}')
                from (select status, count(*) as contacts from shown where not is_known group by status) n),
        'changed', (select coalesce(jsonb_object_agg(n.status, n.contacts), '{}')
                    from (select status, count(*) as contacts from shown where is_known and differs
                          group by status) n))
    into v_contacts;
    perform koppeling.observe_page(p_instance, v_page, p_read_at, 0);
    return v_contacts || jsonb_build_object(
        -- One event leaves an entry at each that it concerns: the one at the address stands for it.
        'noes', (
            select coalesce(jsonb_object_agg(n.reason, n.entries), '{}')
            from (select s.reason, count(*) as entries from koppeling.suppression s
                  where s.id > v_entry and s.target_group_id = v_group and s.address_key is not null
                  group by s.reason) n),
        'inactive', (
            select count(distinct a.person_id) from koppeling.audit_entry a
            where a.id > v_audit and a.target_group_id = v_group and a.kind = 'status'
              and a.old ->> 'status' = 'active' and a.new ->> 'status' = 'inactive'));
end $$;

CREATE FUNCTION koppeling.preview_rules(p_group bigint, p_rules jsonb, p_persons bigint[] DEFAULT NULL::bigint[]) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_custom_plan'
    SET work_mem TO '64MB'
    AS $$
declare
    v_read koppeling.rule_criterion[] := koppeling.read_rules(p_rules);
    v_rules jsonb := '[]';
    v_criteria koppeling.criterion[];
    v_asked koppeling.criteria_values;
    v_not koppeling.criteria_values;
    -- Eight bytes a person; in arrays, whose length the planner knows.
    v_matching bigint[];
    v_found bigint[] := '{}';
    v_noted bigint[];
    v_new bigint[];
    v_plain bigint[];
    v_doubtful bigint[];
begin
    for v_position in 1..jsonb_array_length(p_rules) loop
        v_criteria := array(
            select row(null, null, c.kind, c.value_id, c.negated)::koppeling.criterion
            from unnest(v_read) c where c.position = v_position);
        v_asked := koppeling.criteria_values(v_criteria, false);
        v_not := koppeling.criteria_values(v_criteria, true);
        v_matching := array(
            select h.person_id from koppeling.persons_having(v_asked, v_not, p_persons is null, p_persons) h
            where koppeling.can_match(v_criteria, v_asked));
        v_found := v_found || koppeling.array_without(v_matching, v_found);
        v_rules := v_rules || jsonb_build_object(
            'rule', v_position, 'matches', cardinality(v_matching), 'total', cardinality(v_found));
    end loop;

    -- Only who matches now and did not, or the other way round, can join or leave.
    v_noted := array(
        select m.person_id from koppeling.membership m
        where m.target_group_id = p_group and m.rule_match
            and (p_persons is null or m.person_id = any (p_persons)));
    v_new := koppeling.array_without(v_found, v_noted);
    -- Of whom nothing is known that could stand against it, joins.
    v_plain := koppeling.array_without(v_new, array(
        select m.person_id from koppeling.membership m where m.target_group_id = p_group and not m.rule_match
        union all
        select o.person_id from koppeling.open_reasons(p_group, p_persons is null, p_persons) o
        union all
        select p.id from koppeling.person p where p.state <> 'active'));
    v_doubtful := case when cardinality(v_plain) < cardinality(v_new)
        then koppeling.array_without(v_new, v_plain) else '{}' end;
    if cardinality(v_found) - cardinality(v_new) < cardinality(v_noted) then
        v_doubtful := v_doubtful || koppeling.array_without(v_noted, v_found);
    end if;

    return (
        with suppressed as (
            select o.person_id, o.reasons from koppeling.open_reasons(p_group, p_persons is null, p_persons) o
        ), looked_at as (
            select person_id, coalesce(h.status, '') = 'active' as was, coalesce(d.status, '') = 'active' as becomes
            from unnest(v_doubtful) u (person_id)
            left join (select * from koppeling.membership m where m.target_group_id = p_group) h using (person_id)
            left join suppressed o using (person_id)
            left join (select p.id as person_id, p.state from koppeling.person p where p.state <> 'active') b
                using (person_id)
            cross join lateral koppeling.derive_status(
                not coalesce(h.rule_match, false), coalesce(h.override, 'none'), coalesce(b.state, 'active'),
                coalesce(o.reasons, '{}'), coalesce(h.ever_member, false)) d
        ), moved as materialized (
            select l.person_id, case when l.becomes then 'join' else 'leave' end as change
            from looked_at l where l.was <> l.becomes
        )
        select jsonb_build_object(
            'rules', v_rules,
            'matches', cardinality(v_found),
            'joins', cardinality(v_plain) + (select count(*) from moved where change = 'join'),
            'leaves', (select count(*) from moved where change = 'leave'),
            'unsubscribed', (
                select count(*) from unnest(v_found) f (person_id) join suppressed s using (person_id)
                where s.reasons && koppeling.binding_noes()),
            'sample', coalesce((
                select jsonb_agg(jsonb_build_object(
                    'change', t.change, 'source', p.source, 'id', p.external_id,
                    'name', btrim(koppeling.first_name(p.given_name, p.initials) || ' '
                        || koppeling.last_name(p.prefixes, p.family_name))) order by t.change, p.id)
                from (
                    (select j.person_id, 'join' as change
                     from (select unnest(v_plain) as person_id
                           union all
                           select m.person_id from moved m where m.change = 'join') j
                     order by j.person_id limit 5)
                    union all
                    (select m.person_id, m.change from moved m where m.change = 'leave'
                     order by m.person_id limit 5)
                ) t
                join koppeling.person p on p.id = t.person_id), '[]'),
            'estimated', p_persons is not null));
end $$;

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

CREATE FUNCTION koppeling.pulled_recently(p_pulled_at timestamp with time zone) RETURNS boolean
    LANGUAGE sql PARALLEL SAFE
    RETURN COALESCE(((p_pulled_at >= (koppeling.now() - '00:14:00'::interval)) AND (p_pulled_at <= koppeling.now())), false);

CREATE FUNCTION koppeling.put_companies(companies jsonb) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    if companies is null or jsonb_typeof(companies) <> 'array' then
        raise exception using errcode = 'invalid_parameter_value', message = 'companies must be a list',
            hint = 'Give a JSON array of companies, or use put_company for one.';
    end if;
    perform koppeling.accept_companies(companies, true);
    return jsonb_array_length(companies);
end $$;

CREATE FUNCTION koppeling.put_company(company jsonb) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    perform koppeling.accept_companies(jsonb_build_array(company), false);
    return koppeling.require_company(company ->> 'source', company ->> 'id');
end $$;

CREATE FUNCTION koppeling.put_company_rows(p_rows koppeling.company_input[], OUT created bigint, OUT touched bigint[], OUT categories_made bigint) RETURNS record
    LANGUAGE plpgsql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_rows koppeling.company_input[];
    v_new bigint[];
begin
    insert into koppeling.company_category (name)
    select distinct on (koppeling.fold(c)) c
    from unnest(p_rows) r
    cross join unnest(r.categories) c
    where not exists (
        select from koppeling.company_category k where koppeling.fold(k.name) = koppeling.fold(c))
    order by koppeling.fold(c), c
    on conflict do nothing;
    get diagnostics categories_made = row_count;

    with made as (
        insert into koppeling.company (source, external_id, name)
        select r.source, r.external_id, coalesce(r.name, r.external_id)
        from unnest(p_rows) r
        where not exists (
            select from koppeling.company c
            where koppeling.fold(c.source) = koppeling.fold(r.source)
                and koppeling.fold(c.external_id) = koppeling.fold(r.external_id) offset 0)
        order by koppeling.fold(r.source), koppeling.fold(r.external_id)
        on conflict do nothing
        returning id
    )
    select coalesce(array_agg(id), '{}') into v_new from made;
    created := cardinality(v_new);

    v_rows := array(
        select row(
            r.line, r.source, r.external_id, r.name, r.categories, r.fields,
            coalesce(c.merged_into, c.id))::koppeling.company_input
        from unnest(p_rows) r
        join koppeling.company c on koppeling.fold(c.source) = koppeling.fold(r.source)
            and koppeling.fold(c.external_id) = koppeling.fold(r.external_id));

    -- By rising id, so that two puts of the same companies wait for each other.
    perform from koppeling.company c
    where c.id = any (array(select r.company_id from unnest(v_rows) r)) order by c.id for no key update;

    with renamed as (
        update koppeling.company c
        set name = coalesce(r.name, c.external_id), changed_at = koppeling.now()
        from unnest(v_rows) r
        where c.id = r.company_id and 'name' = any (r.fields) and c.name <> coalesce(r.name, c.external_id)
        returning c.id
    ), wanted as (
        select r.company_id, k.id as company_category_id
        from unnest(v_rows) r
        cross join unnest(r.categories) l
        join koppeling.company_category k on koppeling.fold(k.name) = koppeling.fold(l)
        where 'categories' = any (r.fields)
    ), taken as (
        delete from koppeling.company_in_category i
        using unnest(v_rows) r
        where i.company_id = r.company_id and 'categories' = any (r.fields) and not exists (
            select from wanted w
            where w.company_id = i.company_id and w.company_category_id = i.company_category_id)
        returning i.company_id
    ), given as (
        insert into koppeling.company_in_category (company_id, company_category_id)
        select distinct w.company_id, w.company_category_id from wanted w
        on conflict do nothing
        returning company_id
    )
    select coalesce(array_agg(t.id), '{}') into touched
    from (
        select id from renamed union select company_id from taken union select company_id from given
    ) t
    where t.id <> all (v_new);
end $$;

CREATE FUNCTION koppeling.put_jobs(p_jobs koppeling.job[]) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
declare
    v_ids bigint[];
    v_next record;
    v_job koppeling.job;
    v_waiting koppeling.job;
    v_queues text[];
    v_order_keys text[];
    v_limit_keys text[];
begin
    insert into koppeling.job select j.* from unnest(p_jobs) j where j.key is null;
    select array_agg(j.id order by j.ordinality) into v_ids from unnest(p_jobs) with ordinality j;
    -- One after the other in the order of the keys, so that two callers never wait for each other.
    for v_next in
        select j.job, j.n
        from (select row_number() over () as n, u as job from unnest(p_jobs) u) j
        where (j.job).key is not null
        order by (j.job).queue, (j.job).key
    loop
        v_job := v_next.job;
        loop
            -- The one that waits may not start before this transaction has ended, or it would not see what the
            -- transaction wrote. But nobody is waited for here: who started it meanwhile, and now puts it back, may wait
            -- for a key that was put before this one.
            if v_job.key_mode = 'keep' then
                select w.* into v_waiting from koppeling.job w
                where w.queue = v_job.queue and w.key = v_job.key and w.state <> 'running'
                for key share skip locked;
            else
                select w.* into v_waiting from koppeling.job w
                where w.queue = v_job.queue and w.key = v_job.key and w.state <> 'running'
                for no key update skip locked;
            end if;
            exit when found;
            insert into koppeling.job select v_job.*
            on conflict (queue, key) where state <> 'running' and key is not null do nothing;
            exit when found;
            -- Somebody holds it and has not changed it yet, which takes no longer than a statement.
            perform pg_sleep(0.001);
        end loop;
        continue when v_waiting.id is null;
        v_ids[v_next.n] := v_waiting.id;
        if v_job.key_mode = 'append' then
            -- Whoever opens its gate meanwhile passes it over.
            update koppeling.job j
            set key_mode = v_job.key_mode, kind = v_job.kind, priority = least(v_waiting.priority, v_job.priority),
                args = koppeling.joined_args(v_waiting, v_job.kind, v_job.key_mode, v_job.args),
                state = case when j.state <> 'blocked' then j.state when j.deaths > 0 then 'suspect' else 'returned' end,
                blocked_by = null
            where j.id = v_waiting.id;
        elsif v_job.key_mode = 'replace' then
            -- What it stood before or took up is free when it gets other keys, or another time.
            if num_nonnulls(v_waiting.order_key, v_waiting.limit_key) > 0 then
                v_queues := array_append(v_queues, v_waiting.queue);
                v_order_keys := array_append(v_order_keys, v_waiting.order_key);
                v_limit_keys := array_append(v_limit_keys, v_waiting.limit_key);
            end if;
            update koppeling.job j
            set key_mode = v_job.key_mode, kind = v_job.kind, priority = least(v_waiting.priority, v_job.priority),
                args = koppeling.joined_args(v_waiting, v_job.kind, v_job.key_mode, v_job.args),
                run_at = v_job.run_at, order_key = v_job.order_key, limit_key = v_job.limit_key, attempt = 0,
                max_attempts = v_job.max_attempts, deaths = 0, state = 'returned', blocked_by = null
            where j.id = v_waiting.id;
        end if;
    end loop;
    if v_queues is not null then
        perform koppeling.open_gates(v_queues, v_order_keys, v_limit_keys);
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
    if person -> 'anonymised' = 'true' then
        return koppeling.find_person(person ->> 'source', person ->> 'id');
    end if;
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
    v_positions koppeling.position_row[] := '{}';
    v_new bigint[];
    v_touched bigint[];
begin
    select made, ids into categories_made, v_categories
    from koppeling.make_categories(array(select distinct c from unnest(p_rows) r cross join unnest(r.categories) c));

    if exists (select from unnest(p_rows) r where cardinality(r.positions) > 0) then
        perform koppeling.make_position_values(p_rows);
    end if;

    with made as (
        insert into koppeling.person (source, external_id, given_name, initials, prefixes, family_name, gender)
        select r.source, r.external_id, r.given_name, r.initials, r.prefixes, r.family_name,
            coalesce(koppeling.gender_value(r.gender), 'unknown')
        from unnest(p_rows) r
        -- Each is looked up, by offset: a join would sort everybody there is for every piece of a file.
        where not exists (
            select from koppeling.person p
            where koppeling.fold(p.source) = koppeling.fold(r.source)
                and koppeling.fold(p.external_id) = koppeling.fold(r.external_id) offset 0)
        order by koppeling.fold(r.source), koppeling.fold(r.external_id)
        on conflict (koppeling.fold(source), koppeling.fold(external_id)) do nothing
        returning id
    )
    select coalesce(array_agg(id), '{}') into v_new from made;
    created := cardinality(v_new);

    v_rows := koppeling.resolve_persons(p_rows, v_categories);
    if exists (select from unnest(p_rows) r where cardinality(r.positions) > 0) then
        v_positions := koppeling.resolve_positions(v_rows);
    end if;

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
            union all
            select v.person_id, true
            from unnest(v_positions) v
            join unnest(v_old) r on r.person_id = v.person_id and 'positions' = any (r.fields)
            where not exists (
                select from koppeling.position o
                where o.person_id = v.person_id
                    and koppeling.position_values(o.job_function_id, o.department_id, o.company_id)
                        = koppeling.position_values(v.job_function_id, v.department_id, v.company_id))
            union all
            select r.person_id, true
            from unnest(v_old) r
            join koppeling.position o on o.person_id = r.person_id
            where 'positions' = any (r.fields) and not exists (
                select from unnest(v_positions) v
                where v.person_id = o.person_id
                    and koppeling.position_values(o.job_function_id, o.department_id, o.company_id)
                        = koppeling.position_values(v.job_function_id, v.department_id, v.company_id))
        ) t
        group by t.person_id
    ) d;
    changed := cardinality(v_touched);
    -- By rising id, so that two puts of the same persons wait for each other instead of deadlocking.
    -- Who was erased meanwhile gets nothing back.
    v_touched := array(
        select p.id
        from (select p.id, p.state from koppeling.person p
              where p.id = any (v_touched) order by p.id for no key update) p
        where p.state <> 'erased');
    if exists (select from koppeling.person p where p.id = any (v_touched) and p.merged_into is not null) then
        raise exception using errcode = 'serialization_failure',
            message = 'a person was merged into another one meanwhile', hint = 'Put the persons again.';
    end if;

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
    from unnest(v_old) r
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
    from unnest(v_old) r
    cross join unnest(r.category_ids) c
    where r.person_id = any (v_touched) and 'categories' = any (r.fields)
    order by r.person_id, c
    on conflict do nothing;

    delete from koppeling.position o
    using unnest(v_old) r
    where o.person_id = r.person_id and r.person_id = any (v_touched)
        and 'positions' = any (r.fields) and not exists (
            select from unnest(v_positions) v
            where v.person_id = o.person_id
                and koppeling.position_values(o.job_function_id, o.department_id, o.company_id)
                    = koppeling.position_values(v.job_function_id, v.department_id, v.company_id));
    insert into koppeling.position (person_id, job_function_id, department_id, company_id)
    select v.person_id, v.job_function_id, v.department_id, v.company_id
    from unnest(v_positions) v
    where v.person_id = any (v_touched) and v.person_id <> all (v_new)
    order by v.person_id, v.job_function_id, v.department_id, v.company_id
    on conflict do nothing;
    perform koppeling.fill_persons(array(select r from unnest(v_rows) r where r.person_id = any (v_new)),
        array(select v from unnest(v_positions) v where v.person_id = any (v_new)));
    if exists (
        select from unnest(v_positions) v join koppeling.company c on c.id = v.company_id
        where c.merged_into is not null)
    then
        raise exception using errcode = 'serialization_failure',
            message = 'a company was merged into another one meanwhile', hint = 'Put the persons again.';
    end if;
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
    v_person bigint := koppeling.lock_person(koppeling.require_person(source, external_id));
begin
    update koppeling.person set state = 'active', changed_at = koppeling.now()
    where id = v_person and state = 'archived';
    if found then
        insert into koppeling.audit_entry (person_id, kind, old, new, actor, cause)
        values (v_person, 'person', '"archived"', '"active"', p_actor, 'reactivate');
        perform koppeling.request_evaluation(array[v_person], 'reactivate', true);
    end if;
    return v_person;
end $$;

CREATE FUNCTION koppeling.read_rules(p_rules jsonb) RETURNS koppeling.rule_criterion[]
    LANGUAGE plpgsql STABLE
    AS $_$
declare
    v_fault text;
    v_read koppeling.rule_criterion[];
    v_unknown record;
begin
    v_fault := case
        when p_rules is null or jsonb_typeof(p_rules) <> 'array' then 'rules must be a list of lists of criteria'
        when jsonb_array_length(p_rules) > 100 then 'a group has at most 100 rules'
        when jsonb_path_exists(p_rules, 'strict $[*] ? (@.type() != "array")') then 'a rule must be a list of criteria'
        when jsonb_path_exists(p_rules, 'strict $[*] ? (@.size() > 100)') then 'a rule has at most 100 criteria'
        when jsonb_path_exists(p_rules, 'strict $[*][*] ? (@.type() != "object")') then 'a criterion must be an object'
        when jsonb_path_exists(p_rules, '$[*][*] ? (!exists(@.value) || @.value.type() != "string")')
            then 'the value of a criterion must be a text'
        when jsonb_path_exists(p_rules, '$[*][*] ? (exists(@.negated) && @.negated.type() != "boolean")')
            then 'negated must be true or false'
        when jsonb_path_exists(p_rules,
            '$[*][*].keyvalue() ? (@.key != "kind" && @.key != "value" && @.key != "negated")')
            then 'a criterion has kind, value and negated'
        when exists (
            select from jsonb_path_query(p_rules, '$[*][*].kind') k
            where k #>> '{}' not in ('function', 'department', 'company', 'personCategory', 'companyCategory'))
            then 'the kind of a criterion is function, department, company, personCategory or companyCategory'
    end;
    if v_fault is not null then
        raise exception using errcode = 'invalid_parameter_value', message = v_fault,
            hint = 'For example: [[{"kind": "function", "value": "Directeur"}, {"value": "Group / Name"}]].';
    end if;
    select array_agg(row(
        r.position, k.kind, koppeling.find_value(k.kind, c.criterion ->> 'value'),
        coalesce((c.criterion ->> 'negated')::boolean, false))::koppeling.rule_criterion) into v_read
    from jsonb_array_elements(p_rules) with ordinality as r (criteria, position)
    cross join jsonb_array_elements(r.criteria) c (criterion)
    cross join lateral (select coalesce(c.criterion ->> 'kind', 'personCategory') as kind) k;

    select k.kind, c.criterion ->> 'value' as value into v_unknown
    from jsonb_array_elements(p_rules) with ordinality as r (criteria, position)
    cross join jsonb_array_elements(r.criteria) c (criterion)
    cross join lateral (select coalesce(c.criterion ->> 'kind', 'personCategory') as kind) k
    where koppeling.find_value(k.kind, c.criterion ->> 'value') is null
    limit 1;
    if found then
        raise exception using errcode = 'no_data_found',
            message = format('there is no %s "%s"', koppeling.kind_word(v_unknown.kind), v_unknown.value),
            hint = case v_unknown.kind
                when 'personCategory' then
                    'Categories are written "Group / Name" and come with the persons who have them.'
                when 'company' then 'Companies are written "source/id", or by a name that only one of them has.'
                else 'It comes with the persons or companies that have it.'
            end;
    end if;
    select n.kind, koppeling.value_label(n.kind, n.value_id) as value into v_unknown
    from unnest(v_read) n group by n.position, n.kind, n.value_id having count(distinct n.negated) > 1 limit 1;
    if found then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('a rule asks for %s "%s" and excludes it', koppeling.kind_word(v_unknown.kind),
                v_unknown.value),
            hint = 'Nobody can match that; take one of the two out.';
    end if;
    return coalesce(v_read, '{}');
end $_$;

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

CREATE FUNCTION koppeling.readmission_obstacle(p_group bigint, p_person bigint, p_clocks_differ_by interval, OUT message text, OUT hint text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_reasons text[] := array(select distinct e.reason from koppeling.entries_against(p_group, p_person) e);
    v_said timestamptz := (
        select max(e.occurred_at + case e.source when 'user' then p_clocks_differ_by else '0' end)
        from koppeling.entries_against(p_group, p_person) e where e.reason = 'unsubscribed');
begin
    if (select p.state from koppeling.person p where p.id = p_person) <> 'active' then
        message := 'the person is archived';
        hint := 'Make her active again first: koppeling person reactivate.';
    elsif 'complained' = any (v_reasons) then
        message := 'the contact reported a mailing as spam';
        hint := 'Nobody but the contact can end that; she stays out of this list.';
    elsif koppeling.held_by_erased(p_group, p_person) then
        message := 'somebody who was erased held the address';
        hint := 'That never ends here. She can sign up by a form of Mailchimp''s herself, with another address.';
    elsif 'forgotten' = any (v_reasons) then
        message := 'the contact was deleted for good';
        hint := 'She comes back by a form of Mailchimp''s that she fills in herself.';
    elsif exists (
        select from koppeling.email_address e
        join koppeling.target_group g on g.id = p_group and e.kind <> g.email_kind
        join koppeling.open_suppression s on s.target_group_id = p_group and s.address_key = e.address_key
        where e.person_id = p_person and s.reason = any (koppeling.binding_noes()))
    then
        message := 'a no stands at another address that she has';
        hint := 'It binds her as long as she has that address, and belongs to whoever else holds it.';
    elsif v_said is not null and not koppeling.opted_in_since(p_group, p_person, v_said) then
        message := 'she said no, and the contact has not signed up again in Mailchimp since';
        hint := 'When she asks for it, have Mailchimp ask the contact: koppeling person invite.';
    elsif not v_reasons && array['unsubscribed', 'removedInMailchimp'] then
        message := 'no unsubscribe and no removal keeps her out of this group';
        hint := 'koppeling why shows what does.';
    end if;
end $$;

CREATE FUNCTION koppeling.readmit(p_group bigint, p_person bigint, p_actor text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_obstacle record;
begin
    perform koppeling.lock_group(p_group);
    select * into v_obstacle from koppeling.readmission_obstacle(p_group, p_person, '0');
    if v_obstacle.message is not null then
        raise exception using errcode = 'restrict_violation', message = v_obstacle.message, hint = v_obstacle.hint;
    end if;
    return koppeling.end_entries_against(p_group, p_person, 'user', p_actor, 'by hand');
end $$;

CREATE FUNCTION koppeling.readmit_person(source text, external_id text, p_group text, p_actor text DEFAULT SESSION_USER) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_person bigint := koppeling.require_person(source, external_id);
    v_group bigint := (
        select g.id from koppeling.target_group g
        where koppeling.fold(g.name) = koppeling.fold(koppeling.clean_text(p_group)));
begin
    if v_group is null then
        raise exception using errcode = 'no_data_found', message = format('there is no target group "%s"', p_group),
            hint = 'List the groups to see their names.';
    end if;
    return koppeling.readmit(v_group, v_person, p_actor);
end $$;

CREATE FUNCTION koppeling.readmit_resubscribed(p_instance bigint, p_group bigint, p_person bigint) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    if not (select i.reactivate_on_resubscribe from koppeling.connector_instance i where i.id = p_instance) then
        return false;
    end if;
    perform koppeling.lock_group(p_group);
    if (select o.message from koppeling.readmission_obstacle(p_group, p_person, koppeling.clock_difference()) o) is not null then
        return false;
    end if;
    perform koppeling.end_entries_against(
        p_group, p_person, 'mailchimp', 'connector', 'the contact signed up again in Mailchimp');
    return true;
end $$;

CREATE FUNCTION koppeling.receive_webhook(p_instance bigint, p_secret_hash bytea, p_body jsonb) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_hash bytea;
begin
    -- Whoever ends the link waits for this, or this waits for him and finds no instance: the list is read after that.
    select webhook_secret_hash into v_hash from koppeling.connector_instance where id = p_instance for key share;
    -- Both sides are SHA-256 of the secret: where they first differ tells nothing about it.
    if v_hash is null or v_hash <> p_secret_hash then
        return 'unknown';
    end if;
    insert into koppeling.webhook_inbox (instance_id, body) values (p_instance, p_body);
    update koppeling.connector_instance set webhook_heard_at = koppeling.now()
    where id = p_instance and webhook_heard_at < koppeling.now() - interval '1 hour';
    perform koppeling.enqueue_internal('instance.webhooks', jsonb_build_object('instance', p_instance),
        queue => koppeling.instance_queue(p_instance), key => 'webhooks', order_key => 'webhooks', priority => -20);
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
    select i.target_group_id into strict v_group
    from koppeling.audience_member m
    join koppeling.connector_instance i on i.id = m.instance_id
    where m.id = p_member;
    perform koppeling.lock_group(v_group);
    select m.* into strict v_old from koppeling.audience_member m where m.id = p_member for update;
    if exists (
        select from koppeling.audience_member o
        where o.instance_id = v_old.instance_id and o.address_key = koppeling.address_key(v_old.address)
          and o.id <> p_member)
    then
        perform koppeling.leave_to_address(p_member);
        return;
    end if;
    update koppeling.audience_member
    set address_key = koppeling.address_key(address), status = 'absent', archived_by_us = false, contact_id = null,
        remote_id = null, ownership = 'none', intent = null, intent_at = null, sent_fields = null,
        applied_fields = null, moving_to = null,
        -- Whoever comes there next is another contact, and not ours.
        newness_unseen = false, observed_at = koppeling.now(), acted_at = koppeling.now()
    where id = p_member;
    update koppeling.restored_no r set restored_at = koppeling.now()
    where r.instance_id = v_old.instance_id and r.contact_id = v_old.contact_id and r.restored_at is null;
    if v_old.contact_id is not null and v_old.status is distinct from 'absent' and v_old.erasure_id is null then
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
    update koppeling.audience_member m
    set status = 'archived', archived_by_us = true, intent = null, intent_at = null, sent_fields = null,
        archived_before = m.archived_at, archived_at = koppeling.now(),
        sweep = (select i.sweep from koppeling.connector_instance i where i.id = m.instance_id),
        applied_fields = null, acted_at = koppeling.now(), observed_at = koppeling.now(), note = null
    where m.id = p_member
    returning m.instance_id into v_instance;
    -- Where nobody claims it, and no no is to be restored, an archived contact needs nothing: and the job that archived
    -- it runs still, which would be taken for something under way.
    if exists (
        select from koppeling.audience_member m
        where m.id = p_member
          and (exists (select from koppeling.claim c where c.member_id = m.id) or m.erasure_id is not null
               or exists (select from koppeling.restored_no r
                          where r.instance_id = m.instance_id and r.contact_id = m.contact_id
                            and r.restored_at is null)))
    then
        perform koppeling.stage_members(v_instance, array[p_member]);
    end if;
end $$;

CREATE FUNCTION koppeling.record_call(p_member bigint, p_ownership text, p_fields jsonb, p_answer jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_member koppeling.audience_member;
begin
    -- First of all, as everybody who writes members: two who took their locks in opposite orders would meet.
    perform koppeling.lock_group(i.target_group_id)
    from koppeling.audience_member m
    join koppeling.connector_instance i on i.id = m.instance_id
    where m.id = p_member;
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
        -- Whoever follows the contact from the address of the person file keeps doing so.
        file_key = case when m.status = 'subscribed' and m.moving_to is null
                             and not exists (select from koppeling.claim c
                                             where c.member_id = m.id and c.address_key = m.file_key)
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
    v_created := koppeling.take_created(p_members, p_answer, koppeling.learn_from_creates(p_instance, p_answer));
    if exists (select from koppeling.audience_member m where m.id = any (v_created) and m.newness_unseen) then
        perform koppeling.look_soon(p_instance);
    end if;
    -- Most are as they should be now; whatever was edited meanwhile, or lost its claim, goes on.
    perform koppeling.stage_members(p_instance, array(
        select m.id
        from koppeling.audience_member m
        where m.id = any (v_created)
          and (m.applied_fields, m.file_key) not in (
              select k.fields, k.address_key from koppeling.claim k where k.member_id = m.id)));
    return v_created;
end $$;

CREATE FUNCTION koppeling.record_deleted(p_member bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_member koppeling.audience_member;
begin
    perform koppeling.lock_group(i.target_group_id)
    from koppeling.audience_member m
    join koppeling.connector_instance i on i.id = m.instance_id
    where m.id = p_member;
    update koppeling.audience_member m
    set status = 'absent', ownership = 'none', archived_by_us = false, intent = null, intent_at = null,
        acted_at = koppeling.now(), observed_at = koppeling.now()
    where m.id = p_member and m.erasure_id is not null
    returning * into v_member;
    if not found then
        return;
    end if;
    update koppeling.erasure_contact c set outcome = 'deleted', changed_at = koppeling.now()
    where c.erasure_id = v_member.erasure_id and c.member_id = p_member;
    perform koppeling.enqueue_internal('erase', jsonb_build_object('action', 'erase', 'member', p_member),
        queue => koppeling.instance_queue(v_member.instance_id), key => koppeling.member_key(p_member),
        key_mode => 'replace', order_key => koppeling.member_key(p_member),
        run_at => koppeling.now() + interval '20 minutes');
end $$;

CREATE FUNCTION koppeling.record_erased(p_member bigint, p_outcome text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_member koppeling.audience_member;
    v_group bigint;
    v_keys text[];
begin
    select i.target_group_id into v_group
    from koppeling.audience_member m
    join koppeling.connector_instance i on i.id = m.instance_id
    where m.id = p_member;
    perform koppeling.lock_group(v_group);
    select * into v_member from koppeling.audience_member
    where id = p_member and erasure_id is not null for update;
    if not found then
        return;
    end if;
    update koppeling.erasure_contact c set outcome = p_outcome, changed_at = koppeling.now()
    where c.erasure_id = v_member.erasure_id and c.member_id = p_member and c.outcome = 'waiting';
    v_keys := array(
        select k from unnest(array[v_member.address_key, v_member.file_key] || v_member.erased_keys) k
        where k is not null and not exists (select from koppeling.email_address e where e.address_key = k));
    perform koppeling.wipe_suppressions(array(
        select s.id from koppeling.suppression s
        where s.address_key = any (v_keys) and s.address_key = any (v_member.erased_keys)
        union
        select s.id from koppeling.suppression s
        where s.target_group_id = v_group and s.contact_id = v_member.contact_id));
    perform koppeling.wipe_contacts(array[p_member], array[v_member.contact_id], v_keys);
    perform koppeling.wipe_jobs('{}', v_keys);
    if exists (select from koppeling.claim c where c.member_id = p_member) then
        -- Somebody else wants the address by now: the row is his.
        update koppeling.audience_member m
        set erasure_id = null, erased_keys = null, contact_id = null, remote_id = null, status = 'absent',
            ownership = 'none'
        where m.id = p_member;
    else
        delete from koppeling.audience_member m where m.id = p_member;
    end if;
end $$;

CREATE FUNCTION koppeling.record_invited(p_member bigint, p_answer jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_instance bigint := (select m.instance_id from koppeling.audience_member m where m.id = p_member);
begin
    perform koppeling.lock_group(i.target_group_id) from koppeling.connector_instance i where i.id = v_instance;
    perform koppeling.observe_member(v_instance, p_answer, true);
    update koppeling.audience_member m
    set intent = null, intent_at = null, sent_fields = null, acted_at = koppeling.now(), note = null
    where m.id = p_member;
    -- Whoever said no while it was under way is told to Mailchimp now.
    perform koppeling.stage_members(v_instance, array[p_member]);
end $$;

CREATE FUNCTION koppeling.record_nothing(p_member bigint, p_note text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 UPDATE koppeling.audience_member SET intent = NULL::text, intent_at = NULL::timestamp with time zone, sent_fields = NULL::jsonb, note = record_nothing.p_note
   WHERE (audience_member.id = record_nothing.p_member);
 SELECT koppeling.open_task('addressBlocked'::text, m.instance_id, c.person_id, jsonb_build_object('member', m.id, 'reason', record_nothing.p_note)) AS open_task
    FROM (koppeling.audience_member m
      JOIN koppeling.claim c ON ((c.member_id = m.id)))
   WHERE ((m.id = record_nothing.p_member) AND (record_nothing.p_note = ANY (koppeling.binding_noes())) AND (m.status IS DISTINCT FROM record_nothing.p_note));
END;

CREATE FUNCTION koppeling.record_own_no(p_group bigint, p_person bigint, p_actor text, p_to_all boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_kind text := (select g.email_kind from koppeling.target_group g where g.id = p_group);
    v_address text;
    v_said timestamptz := koppeling.now();
begin
    for v_address in
        select e.address from (values (null)) n
        left join koppeling.email_address e on e.person_id = p_person and e.kind = coalesce(v_kind, e.kind)
        order by e.kind
    loop
        perform koppeling.open_suppression(p_group, 'unsubscribed', v_address, null, array[p_person], 'user',
            v_said, jsonb_build_object('actor', p_actor)
                || case when p_to_all then '{"saidTo": "every group"}' else '{}'::jsonb end);
    end loop;
end $$;

CREATE FUNCTION koppeling.rederive(p_group bigint, p_persons bigint[], p_cause text, p_actor text, p_by_hand boolean DEFAULT false) RETURNS SETOF bigint
    LANGUAGE plpgsql
    AS $$
declare
    v_changed bigint[];
begin
    if coalesce(cardinality(p_persons), 0) = 0 then
        return;
    end if;
    v_changed := koppeling.derive_memberships(p_group, p_persons, p_cause, p_actor);
    perform koppeling.membership_changed(p_group, p_persons, p_by_hand);
    return query select unnest(v_changed);
end $$;

CREATE FUNCTION koppeling.refresh_claims() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_group bigint;
begin
    for v_group in select i.target_group_id from koppeling.connector_instance i order by i.target_group_id loop
        perform koppeling.lock_group(v_group);
        perform koppeling.membership_changed(v_group, null);
    end loop;
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
    -- Only an erasure takes anything out, by name.
    if current_setting('koppeling.erasing', true) = pg_current_xact_id()::text then
        return null;
    end if;
    raise exception 'the ledger %.% is append-only', tg_table_schema, tg_table_name using errcode = 'restrict_violation';
end $$;

CREATE FUNCTION koppeling.refuse_claimed_member() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    perform koppeling.require_read_committed();
    if exists (select from koppeling.claim c join gone g on g.id = c.member_id) then
        perform koppeling.refuse_deletion(tg_table_name, 'claim');
    end if;
    return null;
end $$;

CREATE FUNCTION koppeling.refuse_deletion(p_table name, p_by text) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    raise exception using errcode = 'foreign_key_violation',
        message = format('%s: a row is still used by %s', p_table, p_by);
end $$;

CREATE FUNCTION koppeling.refuse_invitation(p_member bigint, p_because text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    perform koppeling.lock_group(i.target_group_id)
    from koppeling.audience_member m
    join koppeling.connector_instance i on i.id = m.instance_id
    where m.id = p_member;
    perform koppeling.end_invitations(array(
        select v.id from koppeling.invitation v where v.member_id = p_member and v.ended_at is null),
        'refused', p_because);
    perform koppeling.record_nothing(p_member, p_because);
end $$;

CREATE FUNCTION koppeling.refuse_reference(p_table name, p_column text) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    raise exception using errcode = 'foreign_key_violation',
        message = format('%s: %s names nothing that is there', p_table, p_column);
end $$;

CREATE FUNCTION koppeling.refuse_used_value() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    perform koppeling.require_read_committed();
    if tg_table_name = 'category' and exists (
        select from koppeling.person_category u join gone g on g.id = u.category_id)
    then
        perform koppeling.refuse_deletion(tg_table_name, 'person_category');
    elsif tg_table_name = 'job_function' and exists (
            select from koppeling.position u join gone g on g.id = u.job_function_id)
        or tg_table_name = 'department' and exists (
            select from koppeling.position u join gone g on g.id = u.department_id)
        or tg_table_name = 'company' and exists (
            select from koppeling.position u join gone g on g.id = u.company_id)
    then
        perform koppeling.refuse_deletion(tg_table_name, 'position');
    end if;
    return null;
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

CREATE FUNCTION koppeling.relink_instance(p_instance bigint, p_account bigint, p_list text, p_list_name text, p_fields jsonb, p_secret_hash bytea, p_secret bytea, p_list_is_gone boolean, p_actor text) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_old koppeling.connector_instance := koppeling.require_endable(p_instance, p_list_is_gone);
    v_templates koppeling.action_template[] := array(
        select t from koppeling.action_template t where t.instance_id = p_instance);
    v_fields koppeling.merge_field[] := array(select t from koppeling.merge_field t where t.instance_id = p_instance);
    v_genders koppeling.gender_text[] := array(select t from koppeling.gender_text t where t.instance_id = p_instance);
    v_left bigint := koppeling.count_ours(p_instance);
    v_group bigint := v_old.target_group_id;
    v_new bigint;
begin
    perform koppeling.begin_pass();
    perform koppeling.end_link(p_instance, p_list_is_gone, p_actor);
    insert into koppeling.connector_instance (
        account_id, name, list_id, list_name, target_group_id, keeps_adopted, reactivate_on_resubscribe, dry_run,
        webhook_secret_hash, webhook_secret, removals_count, removals_share, removals_cap, joins_count, joins_share,
        joins_cap)
    values (
        p_account, v_old.name, p_list, p_list_name, v_group, v_old.keeps_adopted, v_old.reactivate_on_resubscribe,
        v_old.dry_run, p_secret_hash, p_secret, v_old.removals_count, v_old.removals_share, v_old.removals_cap,
        v_old.joins_count, v_old.joins_share, v_old.joins_cap)
    returning id into v_new;
    insert into koppeling.action_template (instance_id, action, automatic)
    select v_new, t.action, t.automatic from unnest(v_templates) t;
    insert into koppeling.gender_text (instance_id, gender, text, title)
    select v_new, t.gender, t.text, t.title from unnest(v_genders) t;
    insert into koppeling.merge_field (instance_id, tag, source, triggers)
    select v_new, t.tag, t.source, t.triggers from unnest(v_fields) t;
    perform koppeling.observe_fields(v_new, p_fields);
    insert into koppeling.audit_entry (target_group_id, kind, old, new, actor, cause)
    values (v_group, 'instance.relinked',
        jsonb_build_object('instance', p_instance, 'list', v_old.list_id, 'list_is_gone', p_list_is_gone),
        jsonb_build_object('instance', v_new, 'list', p_list), p_actor, 'relinking');
    perform koppeling.begin_consent(v_group, p_account, p_list, false, p_actor);
    perform set_config('koppeling.cause', 'relinking', true);
    perform koppeling.membership_changed(v_group, null);
    return jsonb_build_object('instance', v_new, 'left', v_left, 'noes', (
            select count(distinct s.address_key) from koppeling.open_suppression s
            where s.target_group_id = v_group and s.reason = any (koppeling.binding_noes())))
        || coalesce((
            select jsonb_build_object('plan', p.id, 'version', p.version, 'joins', p.joins) from koppeling.plans p
            where p.id = (select h.id from koppeling.change_plan h
                          where h.target_group_id = v_group and h.state = 'held')), '{}');
end $$;

CREATE FUNCTION koppeling.remember_erased(p_person bigint, p_key bytea, p_keys text[], p_erasure bigint) RETURNS void
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 INSERT INTO koppeling.erased_hash (hash, subject, erasure_id)  SELECT koppeling.keyed_hash(k.inner_pad, k.outer_pad, s.text) AS keyed_hash,
             s.subject,
             remember_erased.p_erasure AS p_erasure
            FROM (koppeling.hash_pads(remember_erased.p_key) k(inner_pad, outer_pad)
              CROSS JOIN LATERAL ( SELECT 'identity'::text AS subject,
                     koppeling.identity_subject(p.source, p.external_id) AS text
                    FROM koppeling.person p
                   WHERE (p.id = remember_erased.p_person)
                 UNION ALL
                  SELECT 'address'::text,
                     koppeling.address_subject(a.a) AS address_subject
                    FROM unnest(remember_erased.p_keys) a(a)) s) ON CONFLICT(hash) DO NOTHING;
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

CREATE FUNCTION koppeling.rename_value(p_kind text, p_old text, p_new text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_old text := koppeling.clean_text(p_old);
    v_new text := koppeling.clean_text(p_new);
    v_group bigint;
    v_parts record;
    v_value bigint;
begin
    select * into v_parts from koppeling.category_parts(v_new);
    if p_kind is null or p_kind not in ('function', 'department', 'personCategory', 'companyCategory') then
        raise exception using errcode = 'invalid_parameter_value', message = format('kind "%s" is not known', p_kind),
            hint = 'It is function, department, personCategory or companyCategory; a company is put with another name.';
    end if;
    if v_new is null or length(v_new) > 200
        or p_kind = 'personCategory' and num_nulls(v_parts.category_group, v_parts.name) > 0
    then
        raise exception using errcode = 'invalid_parameter_value', message = format('"%s" is not a name', p_new),
            hint = 'A name has 1 to 200 characters; a category of persons is written "Group / Name".';
    end if;
    if p_kind = 'function' then
        update koppeling.job_function set name = v_new where koppeling.fold(name) = koppeling.fold(v_old)
        returning id into v_value;
    elsif p_kind = 'department' then
        update koppeling.department set name = v_new where koppeling.fold(name) = koppeling.fold(v_old)
        returning id into v_value;
    elsif p_kind = 'companyCategory' then
        update koppeling.company_category set name = v_new where koppeling.fold(name) = koppeling.fold(v_old)
        returning id into v_value;
    else
        insert into koppeling.category_group (name) values (v_parts.category_group) on conflict do nothing;
        select g.id into v_group from koppeling.category_group g
        where koppeling.fold(g.name) = koppeling.fold(v_parts.category_group);
        update koppeling.category set name = v_parts.name, category_group_id = v_group
        where id = koppeling.find_category(v_old)
        returning id into v_value;
    end if;
    if v_value is null then
        raise exception using errcode = 'no_data_found', message = format('there is no %s "%s"', p_kind, p_old),
            hint = 'Values come with the persons and companies that have them.';
    end if;
    if p_kind in ('function', 'department') then
        perform koppeling.note_value_changes(p_kind, array[v_value], 'renamed');
    end if;
    return v_value;
exception when unique_violation then
    raise exception using errcode = 'restrict_violation', message = format('there is a %s "%s" already', p_kind, v_new),
        hint = 'A rename never merges two values; choose another name.';
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

CREATE FUNCTION koppeling.request_erasure_check(p_persons bigint[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    if cardinality(p_persons) = 0 or not exists (select from koppeling.erasure) then
        return;
    end if;
    insert into koppeling.erasure_check (person_id)
    select p from unnest(p_persons) p group by p order by p
    on conflict do nothing;
    perform koppeling.enqueue_internal('erasure.check', key => 'erasure.check', order_key => 'erasure.check');
end $$;

CREATE FUNCTION koppeling.request_evaluation(persons bigint[], cause text, by_hand boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    if coalesce(cardinality(persons), 0) = 0 then
        return;
    end if;
    -- The update locks a request that waits already, so that no evaluation takes it before this change is committed.
    insert into koppeling.evaluation_request as r (person_id, cause, by_hand)
    select p, request_evaluation.cause, request_evaluation.by_hand from unnest(persons) p group by p order by p
    on conflict (person_id) do update
    set cause = excluded.cause, requested_at = excluded.requested_at, after_pass = false,
        after_check = false, by_hand = r.by_hand or excluded.by_hand;
    perform koppeling.enqueue(kind => 'group.evaluate', key => 'evaluate', order_key => 'evaluate');
end $$;

CREATE FUNCTION koppeling.request_invitation(p_person bigint, p_group bigint, p_instance bigint, p_member bigint, p_actor text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
begin
    -- At an address that she had before: her answer there would be somebody else's by now.
    perform koppeling.end_invitations(array(
        select v.id from koppeling.invitation v
        where v.person_id = p_person and v.instance_id = p_instance and v.member_id <> p_member
          and v.ended_at is null), 'withdrawn', 'invited at another address');
    if not exists (
        select from koppeling.invitation v
        where v.member_id = p_member and v.person_id = p_person and v.ended_at is null)
    then
        insert into koppeling.invitation (
            instance_id, target_group_id, member_id, person_id, requested_by, about, sent_at, opted_in_before)
        select p_instance, p_group, p_member, p_person, p_actor, array(
                select s.id from koppeling.open_suppression s
                where s.target_group_id = p_group and s.reason = 'unsubscribed'
                  and (s.person_id = p_person or s.address_key in (m.address_key, m.file_key)
                      or s.contact_id = m.contact_id)
                order by s.id),
            o.sent_at, coalesce(o.opted_in_before, m.opted_in_at)
        from koppeling.audience_member m
        left join lateral (
            -- Somebody else asked at the same address: Mailchimp has mailed already.
            select v.sent_at, v.opted_in_before from koppeling.invitation v
            where v.member_id = m.id and v.ended_at is null and v.sent_at is not null
            order by v.sent_at limit 1
        ) o on true
        where m.id = p_member;
        insert into koppeling.audit_entry (target_group_id, person_id, kind, new, actor, cause)
        values (p_group, p_person, 'invitation', '"requested"', p_actor, 'invite');
    end if;
    perform koppeling.stage_members(p_instance, array[p_member]);
end $$;

CREATE FUNCTION koppeling.request_last_look(p_link bigint, p_instance bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
begin
    insert into koppeling.former_contact (former_link_id, contact_id, person_id)
    select p_link, m.contact_id, c.person_id
    from koppeling.claim c
    join koppeling.audience_member m on m.id = c.member_id
    where c.instance_id = p_instance and c.address_key <> m.address_key and m.contact_id is not null
    union
    select p_link, m.contact_id, e.person_id
    from koppeling.audience_member m
    join koppeling.email_address e on e.address_key in (m.file_key, m.moving_to) and e.address_key <> m.address_key
    where m.instance_id = p_instance and m.contact_id is not null
        and (m.file_key <> m.address_key or m.moving_to is not null);
    -- Whoever ends the link looks at once; a minute later also that is seen which Mailchimp shows late.
    perform koppeling.enqueue_internal('link.look', jsonb_build_object('link', p_link), key => 'look-' || p_link,
        run_at => koppeling.now() + interval '1 minute');
end $$;

CREATE FUNCTION koppeling.request_pull(p_instance bigint, p_full boolean, p_run_at timestamp with time zone) RETURNS bigint
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    RETURN koppeling.enqueue('instance.pull'::text, jsonb_build_object('instance', p_instance, 'full', p_full), queue => koppeling.instance_queue(p_instance), key => 'pull'::text, key_mode => CASE WHEN (p_run_at > koppeling.now()) THEN 'keep'::text ELSE 'replace'::text END, order_key => 'pull'::text, run_at => p_run_at, priority => '-20'::integer);

CREATE FUNCTION koppeling.require_company(source text, external_id text) RETURNS bigint
    LANGUAGE plpgsql STABLE
    AS $$
declare
    v_company bigint := koppeling.find_company(source, external_id);
begin
    if v_company is null then
        raise exception using errcode = 'no_data_found',
            message = format('there is no company with source "%s" and id "%s"', source, external_id),
            hint = 'Put the company first, or check the source and the id.';
    end if;
    return v_company;
end $$;

CREATE FUNCTION koppeling.require_endable(p_instance bigint, p_list_is_gone boolean) RETURNS koppeling.connector_instance
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_instance koppeling.connector_instance;
    v_open record;
    v_undone text;
begin
    perform koppeling.lock_noes();
    select * into v_instance from koppeling.connector_instance i where i.id = p_instance for update;
    if not found then
        raise exception using errcode = 'no_data_found', message = format('there is no instance %s', p_instance),
            hint = 'List the instances to see their names.';
    end if;
    if v_instance.enabled then
        raise exception using errcode = 'KS001', message = format('instance "%s" is on', v_instance.name),
            hint = format('Turn it off first: koppeling instance disable "%s".', v_instance.name);
    end if;
    select * into v_open from koppeling.unfinished_at_list(p_instance);
    if v_open.running > 0 then
        raise exception using errcode = 'KS001',
            message = format('%s of its jobs still run', v_open.running), hint = 'Try again in a moment.';
    end if;
    v_undone := case
        when v_open.erasures + v_open.noes > 0 then
            format('Mailchimp was not told yet of %s erasures and %s unsubscribes in list "%s"',
                v_open.erasures, v_open.noes, v_instance.list_name)
        when v_open.doubts > 0 then
            format('%s contacts of list "%s" may have been subscribed over a no that nobody has looked for yet',
                v_open.doubts, v_instance.list_name) end;
    if v_undone is not null and not p_list_is_gone then
        raise exception using errcode = 'KS001', message = v_undone,
            hint = format('Turn the instance on until they are carried out (koppeling action list), then off again: '
                'koppeling instance enable "%s".', v_instance.name);
    end if;
    return v_instance;
end $$;

CREATE FUNCTION koppeling.require_held_plan(p_plan bigint, p_version integer) RETURNS koppeling.change_plan
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_plan koppeling.change_plan;
begin
    select * into v_plan from koppeling.change_plan where id = p_plan;
    if not found then
        raise exception using errcode = 'no_data_found', message = format('there is no plan %s', p_plan),
            hint = 'List the plans to see their numbers.';
    end if;
    perform koppeling.lock_group(v_plan.target_group_id);
    select * into v_plan from koppeling.change_plan where id = p_plan for update;
    if v_plan.state <> 'held' then
        raise exception using errcode = 'KS001', message = format('plan %s is %s already', p_plan, v_plan.state),
            hint = 'List the plans to see which are held.';
    end if;
    if v_plan.version is distinct from p_version then
        raise exception using errcode = 'KS001', message = format(
            'plan %s has changed: you saw version %s, it is at version %s', p_plan, p_version, v_plan.version),
            hint = 'Look at it again, and name the version that you see then.';
    end if;
    return v_plan;
end $$;

CREATE FUNCTION koppeling.require_instance(p_name text) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_instance bigint := (
        select i.id from koppeling.connector_instance i
        where i.name = p_name or i.id::text = p_name
        order by i.name = p_name desc limit 1);
begin
    if v_instance is null then
        raise exception using errcode = 'no_data_found', message = format('there is no instance "%s"', p_name),
            hint = 'List the instances to see their names.';
    end if;
    return v_instance;
end $$;

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

CREATE FUNCTION koppeling.require_read_committed() RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = 'feature_not_supported',
            message = 'what others may name is deleted in transactions of isolation level read committed only';
    end if;
end $$;

CREATE FUNCTION koppeling.require_templates() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_missing text := (
        select string_agg(a, ', ' order by a) from unnest(array['create', 'delete', 'update']) a
        where not exists (select from koppeling.action_template t where t.instance_id = new.id and t.action = a));
begin
    if v_missing is not null then
        raise exception using errcode = 'restrict_violation',
            message = format('instance "%s" lacks the template %s', new.name, v_missing),
            hint = 'Make it automatic or manual, then turn the instance on.';
    end if;
    return new;
end $$;

CREATE FUNCTION koppeling.resolve_persons(p_rows koppeling.person_input[], p_categories jsonb) RETURNS koppeling.person_input[]
    LANGUAGE sql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
    select coalesce(array_agg(row(
        r.line, r.source, r.external_id, r.given_name, r.initials, r.prefixes, r.family_name, r.gender,
        r.email_kinds, r.addresses, r.categories, r.positions, r.fields, coalesce(p.merged_into, p.id),
        array(select distinct (p_categories ->> c)::bigint from unnest(r.categories) c))::koppeling.person_input
        order by coalesce(p.merged_into, p.id)), '{}')
    from unnest(p_rows) r
    join koppeling.person p on koppeling.fold(p.source) = koppeling.fold(r.source)
        and koppeling.fold(p.external_id) = koppeling.fold(r.external_id)
$$;

CREATE FUNCTION koppeling.resolve_positions(p_rows koppeling.person_input[]) RETURNS koppeling.position_row[]
    LANGUAGE sql
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
    select coalesce(array_agg(distinct row(
        r.person_id, f.id, d.id, coalesce(c.merged_into, c.id))::koppeling.position_row), '{}')
    from unnest(p_rows) r
    cross join unnest(r.positions) i
    left join koppeling.job_function f on koppeling.fold(f.name) = koppeling.fold(i.job_function)
    left join koppeling.department d on koppeling.fold(d.name) = koppeling.fold(i.department)
    left join koppeling.company c on koppeling.fold(c.source) = koppeling.fold(r.source)
        and koppeling.fold(c.external_id) = koppeling.fold(i.company)
$$;

CREATE FUNCTION koppeling.restore_by_hook(p_instance bigint, p_hook bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_hook   koppeling.webhook_inbox;
    v_member bigint;
begin
    select * into strict v_hook from koppeling.webhook_inbox where id = p_hook;
    if v_hook.body ->> 'type' not in ('unsubscribe', 'cleaned')
        or v_hook.body ->> 'type' = 'unsubscribe' and v_hook.body #>> '{data,action}' = 'delete'
        or v_hook.body ->> 'type' = 'cleaned' and v_hook.body #>> '{data,reason}' is distinct from 'abuse'
        or exists (select from koppeling.webhook_inbox e
                   where e.instance_id = p_instance and e.id < v_hook.id and e.body = v_hook.body
                     and e.received_at > v_hook.received_at - interval '1 day')
    then
        return;
    end if;
    select m.id into v_member
    from koppeling.audience_member m
    where m.instance_id = p_instance and m.address_key = koppeling.address_key(v_hook.body #>> '{data,email}')
      and m.status = 'subscribed' and m.ownership = 'created'
      -- The opt-in that Mailchimp shows is that of our own call; the clocks may differ a little.
      and m.opted_in_at between m.subscribing_at - interval '2 minutes' and m.subscribing_at + interval '4 minutes'
      -- Mailchimp delivers for 75 minutes at most: what comes later has nothing to do with the call.
      and v_hook.received_at < m.subscribing_at + interval '2 hours';
    if found then
        perform koppeling.found_no(v_member,
            case when v_hook.body #>> '{data,reason}' = 'abuse' then 'complained' else 'unsubscribed' end,
            v_hook.received_at, 'hook');
    end if;
end $$;

CREATE FUNCTION koppeling.resubscribed(p_instance bigint, p_group bigint, p_member bigint, p_before text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_member koppeling.audience_member;
    v_person bigint;
begin
    select * into strict v_member from koppeling.audience_member where id = p_member;
    perform koppeling.lift_suppression(s.id, 'mailchimp', 'subscribed again')
    from koppeling.open_suppression s
    where s.target_group_id = p_group and s.reason = 'cleaned'
      and (s.address_key = v_member.address_key or s.contact_id = v_member.contact_id);
    if p_before = 'subscribed' or v_member.ownership not in ('none', 'foreign') then
        return;
    end if;
    perform koppeling.end_suppressions(
        p_group, koppeling.ended_deletions(p_group, v_member), 'mailchimp', 'signed up again');
    for v_person in
        select distinct s.person_id
        from (
            select e.person_id from koppeling.email_address e
            -- Who moved inside Mailchimp is in the person file at the address of before.
            where e.address_key in (v_member.address_key, v_member.file_key)
            union
            select c.person_id from koppeling.claim c where c.member_id = p_member
        ) h
        join koppeling.open_suppression s on s.person_id = h.person_id
        where s.target_group_id = p_group and s.reason = any (koppeling.binding_noes())
          and (p_before is not null or v_member.opted_in_at > s.occurred_at)
        order by s.person_id
    loop
        -- Nobody can let in who was given an address of somebody erased: no task tells of that.
        if not koppeling.readmit_resubscribed(p_instance, p_group, v_person)
            and not koppeling.held_by_erased(p_group, v_person)
        then
            perform koppeling.open_task('resubscribed', p_instance, v_person, jsonb_build_object('member', p_member));
        end if;
    end loop;
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

CREATE FUNCTION koppeling.rewrite_lines(p_plan bigint, p_instance bigint, p_persons bigint[], p_by_hand boolean, OUT changed bigint, OUT exempt bigint[]) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET enable_seqscan TO 'off'
    AS $$
declare
    v_cause text := koppeling.plan_cause();
begin
    with differing as materialized (
        select d.person_id, d.change, d.reason, d.emptied, d.exempt
        from koppeling.claim_difference(p_instance, p_persons, p_by_hand) d
    ), gone as (
        -- By their numbers: joined with the lines, all those that were written before would be read.
        delete from koppeling.change_plan_line l
        where l.plan_id = p_plan and l.person_id = any (array(
            select unnest(p_persons) except select d.person_id from differing d where not d.exempt))
        returning 1
    ), written as (
        insert into koppeling.change_plan_line as l (plan_id, person_id, change, reason, cause, fields)
        select p_plan, d.person_id, d.change, d.reason, v_cause, d.emptied from differing d where not d.exempt
        on conflict (plan_id, person_id) do update
            set change = excluded.change, reason = excluded.reason, cause = excluded.cause, fields = excluded.fields
            where (l.change, l.reason, l.fields) is distinct from (excluded.change, excluded.reason, excluded.fields)
        returning 1
    )
    select (select count(*) from gone) + (select count(*) from written),
           array(select d.person_id from differing d where d.exempt)
    into changed, exempt;
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
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    select distinct on (m.person_id) m.person_id, r.id
    from koppeling.rule r
    cross join lateral koppeling.persons_matching(
        array(select c from koppeling.criterion c where c.rule_id = r.id), p_persons) m
    where r.target_group_id = p_group
    order by m.person_id, r.position
$$;

CREATE FUNCTION koppeling.rule_text(p_rule bigint) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    return (
        select string_agg(case when c.negated then 'not ' else '' end || koppeling.value_label(c.kind, c.value_id),
            ', ' order by c.negated, c.id)
        from koppeling.criterion c
        where c.rule_id = p_rule);
end $$;

CREATE FUNCTION koppeling.run_actions(p_actions bigint[], p_actor text DEFAULT SESSION_USER) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_parked bigint[] := array(
        select j.id from koppeling.job j
        where j.id = any (p_actions) and j.kind = 'action' and j.run_at = 'infinity');
    v_rejected bigint[] := array(
        select h.id from koppeling.job_history h
        where h.id = any (p_actions) and h.kind = 'action' and h.outcome = 'rejected'
        order by h.id
        for update skip locked);
begin
    if p_actions <> '{}' and not exists (
        select from koppeling.job j where j.id = any (p_actions) and j.kind = 'action'
        union all
        select from koppeling.job_history h where h.id = any (p_actions) and h.kind = 'action')
    then
        raise exception using errcode = 'no_data_found',
            message = format('there is no action %s', array_to_string(p_actions, ', ')),
            hint = 'List the actions to see their numbers.';
    end if;
    -- Whoever looked at it has seen what the task was about.
    update koppeling.task t set done_at = koppeling.now()
    from koppeling.job j
    join koppeling.claim c on c.member_id = (j.args ->> 'member')::bigint
    where j.id = any (v_parked) and t.kind = 'oscillation' and t.done_at is null
      and t.instance_id = c.instance_id and t.person_id = c.person_id;
    insert into koppeling.audit_entry (target_group_id, kind, new, actor, cause)
    select i.target_group_id, 'actions.run', jsonb_build_object('actions', count(*)), p_actor, 'by hand'
    from (
        select j.queue from koppeling.job j where j.id = any (v_parked)
        union all
        select h.queue from koppeling.job_history h where h.id = any (v_rejected)
    ) r
    join koppeling.connector_instance i on koppeling.instance_queue(i.id) = r.queue
    group by i.target_group_id;
    perform koppeling.retry_job(r) from unnest(v_rejected) r;
    return koppeling.release_parked(v_parked) + cardinality(v_rejected);
end $$;

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

CREATE FUNCTION koppeling.run_rejected_actions(p_instance text, p_reason text, p_action text DEFAULT NULL::text, p_actor text DEFAULT SESSION_USER) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_queue text := koppeling.instance_queue(koppeling.require_instance(p_instance));
begin
    return koppeling.run_actions(array(
        select h.id from koppeling.job_history h
        where h.queue = v_queue and h.outcome = 'rejected' and h.kind = 'action' and h.reason = p_reason
          and (p_action is null or h.args ->> 'action' = p_action)
        order by h.finished_at, h.id
        limit 10000), p_actor);
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

CREATE FUNCTION koppeling.run_waiting_actions(p_instance text, p_action text DEFAULT NULL::text, p_actor text DEFAULT SESSION_USER) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_queue text := koppeling.instance_queue(koppeling.require_instance(p_instance));
begin
    return koppeling.run_actions(array(
        select j.id from koppeling.job j
        where j.queue = v_queue and j.kind = 'action' and j.run_at = 'infinity'
          and (p_action is null or j.args ->> 'action' = p_action)), p_actor);
end $$;

CREATE FUNCTION koppeling.save_rules(p_group bigint, p_version integer, p_rules jsonb, p_confirmed boolean, p_actor text, OUT version integer, OUT changed bigint) RETURNS record
    LANGUAGE plpgsql
    AS $$
declare
    v_old jsonb;
    v_new koppeling.rule_criterion[];
    v_rule record;
    v_matches bigint;
begin
    perform koppeling.lock_group(p_group);
    perform koppeling.begin_pass();
    update koppeling.target_group g set rules_version = g.rules_version + 1
    where g.id = p_group and g.rules_version = p_version
    returning g.rules_version into version;
    if version is null then
        raise exception using errcode = 'KS001',
            message = 'the rules were changed by somebody else meanwhile; nothing was saved',
            hint = 'Read them again and repeat the change.';
    end if;
    v_old := koppeling.rules_json(p_group);
    v_new := koppeling.read_rules(p_rules);

    -- A rule that keeps its place keeps its id, so that the memberships it explains need not be written again.
    insert into koppeling.rule (target_group_id, position)
    select p_group, n from generate_series(1, jsonb_array_length(p_rules)) n
    on conflict (target_group_id, position) do nothing;
    delete from koppeling.rule r where r.target_group_id = p_group and r.position > jsonb_array_length(p_rules);
    delete from koppeling.criterion c using koppeling.rule r where c.rule_id = r.id and r.target_group_id = p_group;
    insert into koppeling.criterion (rule_id, kind, value_id, negated)
    select distinct r.id, n.kind, n.value_id, n.negated
    from unnest(v_new) n
    join koppeling.rule r on r.target_group_id = p_group and r.position = n.position;

    for v_rule in
        select r.id, r.position from koppeling.rule r
        where r.target_group_id = p_group and not p_confirmed
            and exists (select from koppeling.criterion c where c.rule_id = r.id)
            and not exists (select from koppeling.criterion c where c.rule_id = r.id and not c.negated)
        order by r.position
    loop
        select count(*) into v_matches
        from koppeling.persons_matching(
            array(select c from koppeling.criterion c where c.rule_id = v_rule.id), null);
        raise exception using errcode = 'KC001',
            message = format('rule %s only excludes and so matches nearly everybody: %s persons', v_rule.position,
                v_matches),
            hint = 'Add something that a person must have, or confirm that this is meant.';
    end loop;

    insert into koppeling.audit_entry (target_group_id, kind, old, new, actor, cause)
    values (p_group, 'rules', v_old, koppeling.rules_json(p_group), p_actor, 'rules');
    changed := koppeling.refresh_memberships(p_group, null, 'rules', p_actor);
end $$;

CREATE FUNCTION koppeling.set_gender_text(p_instance text, p_gender text, p_text text, p_title text DEFAULT NULL::text, p_actor text DEFAULT SESSION_USER) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_instance bigint := koppeling.require_instance(p_instance);
    v_gender text := koppeling.gender_value(p_gender);
    v_old jsonb;
    v_fault record;
begin
    if v_gender is null or octet_length(p_text) > 255 or octet_length(p_title) > 100 then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('"%s" is no gender, or its text or title is too long', p_gender),
            hint = 'It is male, female, other or unknown (man, vrouw, anders, onbekend); a text has at most 255 bytes, a title 100.';
    end if;
    perform koppeling.lock_mapping(v_instance);
    select to_jsonb(g) into v_old from koppeling.gender_text g where g.instance_id = v_instance and g.gender = v_gender;
    insert into koppeling.gender_text as g (instance_id, gender, text, title)
    values (v_instance, v_gender, coalesce(p_text, ''), coalesce(p_title, ''))
    on conflict (instance_id, gender) do update
        set text = excluded.text, title = case when p_title is null then g.title else excluded.title end;
    select f.tag, f.fault into v_fault from koppeling.merge_fields f
    where f.instance_id = v_instance and f.source = 'gender' and f.fault is not null and f.type is not null;
    if found then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('merge field %s: %s', v_fault.tag, v_fault.fault);
    end if;
    perform koppeling.mapping_changed(v_instance, p_actor, v_old,
        jsonb_build_object('gender', v_gender, 'text', p_text, 'title', p_title));
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
    v_person bigint := koppeling.lock_person(p_person);
    v_old text;
begin
    if p_override is null or p_override not in ('none', 'include', 'exclude') then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('override "%s" is not known', p_override), hint = 'It is none, include or exclude.';
    end if;
    if not exists (select from koppeling.person p where p.id = v_person)
        or not exists (select from koppeling.target_group g where g.id = p_group)
    then
        raise exception using errcode = 'no_data_found',
            message = format('there is no person %s or no target group %s', p_person, p_group);
    end if;
    perform koppeling.lock_group(p_group);
    v_old := coalesce((
        select m.override from koppeling.membership m
        where m.target_group_id = p_group and m.person_id = v_person), 'none');
    if v_old = p_override then
        return;
    end if;
    insert into koppeling.audit_entry (target_group_id, person_id, kind, old, new, actor, cause)
    values (p_group, v_person, 'override', to_jsonb(v_old), to_jsonb(p_override), p_actor, 'by hand');
    perform koppeling.derive_memberships(p_group, array[v_person], 'by hand', p_actor, p_override);
    perform koppeling.membership_changed(p_group, array[v_person], true);
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

CREATE FUNCTION koppeling.set_template(p_instance bigint, p_action text, p_mode text, p_actor text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_old text := (
        select case when t.automatic then 'automatic' else 'manual' end
        from koppeling.action_template t where t.instance_id = p_instance and t.action = p_action);
begin
    if p_mode is null then
        delete from koppeling.action_template t where t.instance_id = p_instance and t.action = p_action;
    else
        insert into koppeling.action_template (instance_id, action, automatic)
        values (p_instance, p_action, p_mode = 'automatic')
        on conflict (instance_id, action) do update set automatic = excluded.automatic;
    end if;
    perform koppeling.note_instance(p_instance, 'template.' || p_action, to_jsonb(v_old), to_jsonb(p_mode), p_actor);
    return coalesce(p_mode, v_old) is not null;
end $$;

CREATE FUNCTION koppeling.set_thresholds(p_group text, p_thresholds jsonb, p_actor text DEFAULT SESSION_USER) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_old koppeling.plan_thresholds;
    v_bad text;
begin
    select t.* into v_old from koppeling.plan_thresholds t
    where koppeling.fold(t.target_group) = koppeling.fold(p_group);
    if not found then
        raise exception using errcode = 'no_data_found', message = format('no linked target group "%s"', p_group),
            hint = 'List the groups to see their names; only those of an instance have thresholds.';
    end if;
    select t.key into v_bad
    from jsonb_each(p_thresholds) t
    where case
        when t.key in ('removals_share', 'joins_share')
        then jsonb_typeof(t.value) <> 'number' or not (t.value)::numeric between 0 and 1
        when t.key in ('removals_count', 'removals_cap', 'joins_count', 'joins_cap')
        then jsonb_typeof(t.value) <> 'number' or not (t.value)::numeric between 0 and 1000000000
             or (t.value)::numeric % 1 <> 0
        else true end
    limit 1;
    if found then
        raise exception using errcode = 'invalid_parameter_value', column = v_bad,
            message = format('threshold "%s" is not known, or has no such value', v_bad),
            hint = 'Counts and caps are whole numbers from 0; shares are from 0 to 1.';
    end if;
    perform koppeling.lock_group(v_old.target_group_id);
    update koppeling.connector_instance i
    set removals_count = coalesce((p_thresholds ->> 'removals_count')::int, i.removals_count),
        removals_share = coalesce((p_thresholds ->> 'removals_share')::numeric, i.removals_share),
        removals_cap = coalesce((p_thresholds ->> 'removals_cap')::int, i.removals_cap),
        joins_count = coalesce((p_thresholds ->> 'joins_count')::int, i.joins_count),
        joins_share = coalesce((p_thresholds ->> 'joins_share')::numeric, i.joins_share),
        joins_cap = coalesce((p_thresholds ->> 'joins_cap')::int, i.joins_cap)
    where i.target_group_id = v_old.target_group_id;
    insert into koppeling.audit_entry (target_group_id, kind, old, new, actor, cause)
    values (v_old.target_group_id, 'thresholds', to_jsonb(v_old), p_thresholds, p_actor, 'by hand');
end $$;

CREATE FUNCTION koppeling.set_training_addresses(p_patterns text[], p_actor text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_odd text := (select p from unnest(p_patterns) p where p !~ '[@*]' limit 1);
begin
    if v_odd is not null then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('"%s" is the pattern of no address', v_odd),
            hint = 'Write a whole address, or * for any text, as in *@test.example.org.';
    end if;
    insert into koppeling.audit_entry (kind, old, new, actor, cause)
    values ('training.addresses', (select jsonb_agg(t.pattern) from koppeling.training_address t),
        to_jsonb(p_patterns), p_actor, 'set');
    delete from koppeling.training_address;
    insert into koppeling.training_address (pattern)
    select distinct koppeling.fold(p) from unnest(p_patterns) p;
    perform koppeling.refresh_claims();
end $$;

CREATE FUNCTION koppeling.settle_claims(p_instance bigint, p_members bigint[]) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
declare
    v_strays bigint[];
    v_came bigint[];
begin
    -- Once its call may be under way a move is not called back: who stays behind is settled when it is recorded.
    update koppeling.audience_member m set moving_to = null
    where m.id = any (p_members) and m.moving_to is not null and m.intent is distinct from 'moving'
      and exists (select from koppeling.claim c where c.member_id = m.id and c.address_key <> m.moving_to);
    -- One by one: a plan that was made while there were few would go through all claims for each.
    v_strays := array(
        select c.person_id
        from unnest(p_members) g (id)
        cross join lateral (select * from koppeling.audience_member m where m.id = g.id offset 0) m
        cross join lateral (select * from koppeling.claim c where c.member_id = m.id offset 0) c
        where c.address_key <> m.address_key and m.moving_to is null and c.address_key is distinct from m.file_key);
    if v_strays = '{}' then
        return v_strays;
    end if;
    with settled as (
        update koppeling.claim c set member_id = koppeling.member_for(p_instance, c.address, c.address_key)
        where c.instance_id = p_instance and c.person_id = any (v_strays)
        returning c.member_id
    )
    select coalesce(array_agg(distinct member_id), '{}') into v_came from settled;
    return v_came;
end $$;

CREATE FUNCTION koppeling.settle_plan(p_plan bigint, p_changed bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET enable_seqscan TO 'off'
    AS $$
begin
    if koppeling.plan_cause() = 'rules' then
        update koppeling.change_plan p
        set rules_entry = (select max(a.id) from koppeling.audit_entry a
                           where a.target_group_id = p.target_group_id and a.kind = 'rules')
        where p.id = p_plan and p.rules_entry is null
          and exists (select from koppeling.change_plan_line l where l.plan_id = p_plan and l.cause = 'rules');
    end if;
    if not exists (select from koppeling.change_plan_line where plan_id = p_plan) then
        update koppeling.change_plan
        set state = 'dissolved', decided_at = koppeling.now(), changed_at = koppeling.now()
        where id = p_plan;
    elsif p_changed > 0 then
        update koppeling.change_plan set version = version + 1, changed_at = koppeling.now() where id = p_plan;
    end if;
end $$;

CREATE FUNCTION koppeling.shared_addresses(p_person bigint, p_keys text[]) RETURNS SETOF text
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT e.address_key
    FROM koppeling.email_address e
   WHERE ((e.address_key = ANY (shared_addresses.p_keys)) AND (e.person_id <> shared_addresses.p_person))
 UNION
  SELECT m.address_key
    FROM ((koppeling.connector_instance i
      JOIN koppeling.audience_member m ON (((m.instance_id = i.id) AND (m.address_key = ANY (shared_addresses.p_keys)))))
      JOIN koppeling.claim c ON (((c.member_id = m.id) AND (c.person_id <> shared_addresses.p_person))));
END;

CREATE FUNCTION koppeling.spread_noes() RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_copied bigint[];
begin
    with taken as (
        delete from koppeling.spreading_no where suppression_id = any (array(
            select suppression_id from koppeling.spreading_no order by suppression_id for update skip locked))
        returning suppression_id
    ), said as (
        select distinct on (s.target_group_id, s.reason, s.address_key, s.person_id, s.source) s.*
        from taken t
        join koppeling.open_suppression s on s.id = t.suppression_id
        order by s.target_group_id, s.reason, s.address_key, s.person_id, s.source, s.occurred_at desc
    ), copied as (
        insert into koppeling.suppression (
            target_group_id, reason, address_key, person_id, follows, source, occurred_at, detail)
        select g.id, s.reason, s.address_key, s.person_id, s.id, s.source, s.occurred_at,
               jsonb_build_object('carried', s.target_group_id)
        from said s
        join koppeling.target_group g on g.linked and g.id <> s.target_group_id
        where not exists (
            select from koppeling.open_suppression o
            where o.target_group_id = g.id and o.reason = s.reason
              and o.occurred_at >= s.occurred_at
              and (o.person_id = s.person_id
                   or o.address_key = s.address_key and (s.source <> 'user' or o.source = 'user')))
        returning id
    )
    select coalesce(array_agg(id), '{}') into v_copied from copied;
    if exists (
        select from koppeling.suppression s
        join koppeling.invitation v on v.target_group_id = s.target_group_id and v.ended_at is null
        where s.id = any (v_copied))
    then
        -- Every group, since the evaluation locks more of them after this.
        perform koppeling.lock_group(g.id) from (select g.id from koppeling.target_group g order by g.id) g;
        perform koppeling.decline_carried(v_copied);
    end if;
    if v_copied <> '{}' then
        perform koppeling.request_evaluation(koppeling.bind_carried(v_copied), 'allLists');
    end if;
    return v_copied;
end $$;

CREATE FUNCTION koppeling.spread_value_changes() RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    if not exists (select from koppeling.value_change) then
        return;
    end if;
    with taken as (
        delete from koppeling.value_change v
        using (select kind, value_id from koppeling.value_change order by kind, value_id for update skip locked) t
        where v.kind = t.kind and v.value_id = t.value_id
        returning v.*
    ), reached as (
        select o.person_id, t.cause from taken t join koppeling.position o on o.company_id = t.value_id
        where t.kind = 'company'
        union all
        select o.person_id, t.cause from taken t join koppeling.position o on o.job_function_id = t.value_id
        where t.kind = 'function'
        union all
        select o.person_id, t.cause from taken t join koppeling.position o on o.department_id = t.value_id
        where t.kind = 'department'
    )
    insert into koppeling.evaluation_request (person_id, cause)
    select r.person_id, min(r.cause) from reached r group by r.person_id order by r.person_id
    on conflict (person_id) do update
    set cause = excluded.cause, requested_at = excluded.requested_at, after_pass = false;
end $$;

CREATE FUNCTION koppeling.stage_carried(p_entries bigint[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
begin
    perform koppeling.stage_members(t.instance_id, t.members)
    from (
        select i.id as instance_id, array_agg(distinct m.id) as members
        from koppeling.suppression s
        join koppeling.connector_instance i on i.target_group_id = s.target_group_id
        cross join lateral koppeling.members_meant(i.id, s.address_key) m (id)
        where s.id = any (p_entries) and s.source = 'user'
        group by i.id
        order by i.target_group_id
    ) t;
end $$;

CREATE FUNCTION koppeling.stage_members(p_instance bigint, p_members bigint[], p_made bigint[] DEFAULT '{}'::bigint[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_queue text := koppeling.instance_queue(p_instance);
    -- By itself: what is needed is read from a snapshot that has to hold what this moves.
    v_members bigint[] := p_members || koppeling.settle_claims(p_instance, p_members);
    v_needs koppeling.member_need[];
    -- The keys of what waits and is needed no more.
    v_idle text[];
begin
    perform koppeling.rederive(i.target_group_id, koppeling.bind_claimants(v_members), 'claimed', 'system')
    from koppeling.connector_instance i where i.id = p_instance;
    perform koppeling.keep_claimed(v_members);
    v_needs := array(select n from koppeling.member_needs(p_instance, v_members) n)
        || array(
            select row(m, koppeling.member_key(m), null, 'create', false, false)::koppeling.member_need
            from unnest(p_made) m
            where m <> all (v_members));
    v_idle := array(select n.key from unnest(v_needs) n where n.needed is null and n.waiting is not null);
    perform koppeling.cancel_jobs(array(
        select j.id from koppeling.job j
        where j.queue = v_queue and j.key = any (v_idle) and j.state <> 'running'), 'superseded')
    where cardinality(v_idle) > 0;

    perform koppeling.enqueue_rows(
        array_agg(case n.needed when 'erase' then 'erase' else 'action' end),
        array_agg(jsonb_build_object('action', n.needed, 'member', n.member_id)),
        array_agg(v_queue), array_agg(n.key), array_agg('replace'::text), array_agg(n.key), array_agg(null::text),
        array_agg(case when n.automatic is false and not n.urgent or n.oscillates then 'infinity'::timestamptz end),
        array_agg(case when n.needed in ('unsubscribe', 'erase') or n.urgent then -10
                       when cardinality(p_members) + cardinality(p_made) > 100 then 10 else 0 end),
        array_agg(null::int), false)
    from (
        -- Ordered here, and not in each of the lists.
        select n.*, t.automatic, row_number() over (order by n.member_id) / 5000 as part
        from unnest(v_needs) n
        left join koppeling.action_template t on t.instance_id = p_instance and t.action = n.needed
        where n.needed is not null and n.waiting is distinct from n.needed
        order by n.member_id
    ) n
    group by n.part
    order by n.part;
    perform koppeling.open_task('oscillation', p_instance, c.person_id, jsonb_build_object('member', n.member_id))
    from unnest(v_needs) n
    join koppeling.claim c on c.member_id = n.member_id
    where n.oscillates and n.needed is not null and n.waiting is distinct from n.needed;
end $$;

CREATE FUNCTION koppeling.stage_told(p_instance bigint, p_persons bigint[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_members bigint[] := koppeling.told_members(p_instance, p_persons)
        || koppeling.parked_refusals(p_instance, p_persons);
begin
    if cardinality(v_members) > 0 then
        perform koppeling.stage_members(p_instance, v_members);
    end if;
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

CREATE FUNCTION koppeling.stricter_override(a text, b text, person_state text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ('exclude'::text = ANY (ARRAY[a, b])) THEN 'exclude'::text WHEN (('include'::text = ANY (ARRAY[a, b])) AND (person_state = 'active'::text)) THEN 'include'::text ELSE 'none'::text END;

CREATE FUNCTION koppeling.strictness(p_status text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE p_status WHEN 'unsubscribed'::text THEN 4 WHEN 'cleaned'::text THEN 3 WHEN 'archived'::text THEN 2 WHEN 'pending'::text THEN 1 ELSE 0 END;

CREATE FUNCTION koppeling.suppressions_of(p_person bigint, p_keys text[]) RETURNS SETOF bigint
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 WITH own AS (
          SELECT s.id,
             s.follows
            FROM koppeling.suppression s
           WHERE (s.person_id = suppressions_of.p_person)
         UNION
          SELECT s.id,
             s.follows
            FROM koppeling.suppression s
           WHERE (s.address_key = ANY (suppressions_of.p_keys))
         )
  SELECT o.id
    FROM own o
 UNION
  SELECT f.id
    FROM (own o
      JOIN koppeling.suppression f ON (((f.id = o.follows) AND (f.contact_id IS NOT NULL))))
   WHERE (NOT (EXISTS ( SELECT
            FROM koppeling.suppression x
           WHERE ((x.follows = f.id) AND (x.person_id <> suppressions_of.p_person)))));
END;

CREATE FUNCTION koppeling.switch_instance(p_instance bigint, p_setting text, p_on boolean, p_actor text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT koppeling.note_instance(i.id, ('instance.'::text || switch_instance.p_setting), to_jsonb(
         CASE switch_instance.p_setting
             WHEN 'dryRun'::text THEN i.dry_run
             WHEN 'reactivateOnResubscribe'::text THEN i.reactivate_on_resubscribe
             WHEN 'keepAdopted'::text THEN i.keeps_adopted
             ELSE NULL::boolean
         END), to_jsonb(switch_instance.p_on), switch_instance.p_actor) AS note_instance
    FROM koppeling.connector_instance i
   WHERE (i.id = switch_instance.p_instance);
 UPDATE koppeling.connector_instance i SET dry_run =
         CASE switch_instance.p_setting
             WHEN 'dryRun'::text THEN switch_instance.p_on
             ELSE i.dry_run
         END, reactivate_on_resubscribe =
         CASE switch_instance.p_setting
             WHEN 'reactivateOnResubscribe'::text THEN switch_instance.p_on
             ELSE i.reactivate_on_resubscribe
         END, keeps_adopted =
         CASE switch_instance.p_setting
             WHEN 'keepAdopted'::text THEN switch_instance.p_on
             ELSE i.keeps_adopted
         END
   WHERE (i.id = switch_instance.p_instance);
 UPDATE koppeling.job j SET run_at = koppeling.now()
   WHERE ((switch_instance.p_setting = 'dryRun'::text) AND (NOT switch_instance.p_on) AND (j.queue = koppeling.instance_queue(switch_instance.p_instance)) AND (j.kind = ANY (ARRAY['action'::text, 'erase'::text])) AND (j.state = ANY (ARRAY['ready'::text, 'returned'::text])) AND (j.run_at > koppeling.now()) AND (j.run_at <= (koppeling.now() + '00:05:00'::interval)));
END;

CREATE FUNCTION koppeling.take_address(p_instance bigint, p_member bigint, p_key text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_other koppeling.audience_member;
begin
    select * into v_other from koppeling.audience_member
    where instance_id = p_instance and address_key = p_key and id is distinct from p_member for update;
    if v_other.contact_id is not null then
        update koppeling.audience_member set address_key = contact_id where id = v_other.id;
    elsif v_other.id is not null then
        perform koppeling.merge_members(p_member, v_other.id);
        return true;
    end if;
    return false;
end $$;

CREATE FUNCTION koppeling.take_anonymised(p_rows koppeling.person_input[]) RETURNS koppeling.person_input[]
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_gone text[] := array(
        select koppeling.identity_subject(r.source, r.external_id) from unnest(p_rows) r
        where 'anonymised' = any (r.fields));
begin
    if v_gone = '{}' then
        return p_rows;
    end if;
    perform koppeling.await_first_puts(array(select r from unnest(p_rows) r where 'anonymised' = any (r.fields)));
    perform koppeling.enqueue_internal_many(c.jobs)
    from (
        select jsonb_agg(jsonb_build_object(
            'kind', 'person.erase', 'args', jsonb_build_object('person', p.id, 'actor', session_user),
            'key', 'erase-' || p.id, 'priority', -20)) as jobs
        from (
            select k.id, row_number() over (order by k.id) / 1000 as part
            from (
                select distinct coalesce(p.merged_into, p.id) as id
                from unnest(p_rows) r
                join koppeling.person p on koppeling.fold(p.source) = koppeling.fold(r.source)
                    and koppeling.fold(p.external_id) = koppeling.fold(r.external_id)
                where 'anonymised' = any (r.fields)
            ) k
        ) p
        group by p.part
    ) c;
    if exists (select from koppeling.erasure) then
        insert into koppeling.anonymised_put (source, external_id)
        select r.source, r.external_id from unnest(p_rows) r
        where 'anonymised' = any (r.fields) and koppeling.find_person(r.source, r.external_id) is null;
        perform koppeling.enqueue_internal('erasure.check', key => 'erasure.check', order_key => 'erasure.check');
    end if;
    return array(
        select r from unnest(p_rows) r where koppeling.identity_subject(r.source, r.external_id) <> all (v_gone));
end $$;

CREATE FUNCTION koppeling.take_created(p_members bigint[], p_answer jsonb, p_source text) RETURNS bigint[]
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
             o.web_id,
             o.source,
             o.timestamp_signup,
             o.timestamp_opt,
             o.tags_count,
             koppeling.address_key(o.email_address) AS address_key
            FROM jsonb_to_recordset((take_created.p_answer -> 'new_members'::text)) o(id text, contact_id text, email_address text, status text, last_changed text, web_id bigint, source text, timestamp_signup text, timestamp_opt text, tags_count integer)
           WHERE ((o.status = 'subscribed'::text) AND (COALESCE(o.timestamp_signup, ''::text) = ''::text) AND (COALESCE(o.tags_count, 0) = 0) AND (((o.web_id IS NULL) AND (o.source IS NULL)) OR (o.source = take_created.p_source)))
         ), created AS (
          UPDATE koppeling.audience_member m SET contact_id = NULLIF(a.contact_id, ''::text), remote_id = a.id, status = 'subscribed'::text, ownership = 'created'::text, last_changed = (NULLIF(a.last_changed, ''::text))::timestamp with time zone, observed_at = koppeling.now(), acted_at = koppeling.now(), file_key = a.address_key, applied_fields = m.sent_fields, opted_in_at = (NULLIF(a.timestamp_opt, ''::text))::timestamp with time zone, sweep = i.sweep, newness_unseen = (a.web_id IS NULL), intent = NULL::text, intent_at = NULL::timestamp with time zone, sent_fields = NULL::jsonb, note = NULL::text
            FROM answered a,
             koppeling.connector_instance i
           WHERE ((i.id = m.instance_id) AND (m.id = ANY (take_created.p_members)) AND (m.address_key = a.address_key) AND (m.intent = 'creating'::text) AND COALESCE((a.web_id > m.web_id_before), (a.source IS NULL)) AND (NOT (EXISTS ( SELECT
                    FROM koppeling.audience_member o
                   WHERE ((o.instance_id = m.instance_id) AND (o.contact_id = a.contact_id) AND (o.id <> m.id))))))
           RETURNING m.id
         )
  SELECT COALESCE(array_agg(created.id), '{}'::bigint[]) AS "coalesce"
    FROM created;
END;

CREATE FUNCTION koppeling.tell_validity() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
begin
    if new.valid then
        update koppeling.task set done_at = koppeling.now()
        where kind = 'groupInvalid' and target_group_id = new.id and done_at is null;
    else
        insert into koppeling.task (kind, instance_id, target_group_id, detail)
        select 'groupInvalid', i.id, new.id, '{}'
        from (select) one
        left join koppeling.connector_instance i on i.target_group_id = new.id
        on conflict do nothing;
    end if;
    return null;
end $$;

CREATE FUNCTION koppeling.texts_of(p_person bigint) RETURNS text[]
    LANGUAGE sql STABLE
    RETURN (SELECT array_agg(DISTINCT t.text) AS array_agg FROM (SELECT e.address AS text FROM koppeling.email_address e WHERE (e.person_id = texts_of.p_person) UNION ALL SELECT m.address FROM (koppeling.contacts_of(texts_of.p_person, '{}'::text[]) c(c) JOIN koppeling.audience_member m ON ((m.id = c.c)))) t);

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

CREATE FUNCTION koppeling.told_members(p_instance bigint, p_persons bigint[]) RETURNS bigint[]
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
begin
    return array(
        select distinct m.id
        from koppeling.connector_instance i
        cross join unnest(p_persons) g (id)
        cross join lateral (select * from koppeling.email_address e where e.person_id = g.id offset 0) e
        cross join lateral (
            select * from koppeling.open_suppression s where s.address_key = e.address_key offset 0
        ) s
        cross join lateral koppeling.members_meant(i.id, s.address_key) n (id)
        join koppeling.audience_member m on m.id = n.id
        where i.id = p_instance and s.target_group_id = i.target_group_id and s.source = 'user'
            -- What a call under way will have made of it is not known yet.
            and (m.status in ('subscribed', 'pending') or m.intent is not null));
end $$;

CREATE FUNCTION koppeling.traces(p_texts text[]) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN CASE WHEN (p_texts <> '{}'::text[]) THEN (SELECT COALESCE(jsonb_object_agg(t.relation, t.hits), '{}'::jsonb) AS "coalesce" FROM koppeling.find_traces(traces.p_texts) t(relation, hits)) ELSE NULL::jsonb END;

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

CREATE FUNCTION koppeling.untold_noes(p_instance bigint) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 WITH said AS (
          SELECT s.address_key,
             s.contact_id
            FROM (koppeling.connector_instance i
              JOIN koppeling.open_suppression s ON (((s.target_group_id = i.target_group_id) AND (s.reason = 'unsubscribed'::text) AND (s.source = 'user'::text))))
           WHERE (i.id = untold_noes.p_instance)
         UNION
          SELECT NULL::text,
             r.contact_id
            FROM koppeling.restored_no r
           WHERE ((r.instance_id = untold_noes.p_instance) AND (r.restored_at IS NULL))
         )
  SELECT count(*) AS count
    FROM koppeling.member_facts(ARRAY( SELECT m.m
            FROM (said s
              CROSS JOIN LATERAL koppeling.members_meant(untold_noes.p_instance, s.address_key) m(m))
         UNION
          SELECT m.id
            FROM (said s
              JOIN koppeling.audience_member m ON ((m.contact_id = s.contact_id)))
           WHERE (m.instance_id = untold_noes.p_instance))) f(known, claims, wanted_address, wanted_key, wanted_fields, reasons, target_reasons, unsubscribe_here, reactivated, keeps_adopted, restores_no, has_invitation, web_id_seen, own_source)
   WHERE ((f.unsubscribe_here AND ((f.known).status = ANY (ARRAY['subscribed'::text, 'pending'::text]))) OR (f.restores_no AND ((f.known).status = ANY (ARRAY['subscribed'::text, 'pending'::text, 'archived'::text]))));
END;

CREATE FUNCTION koppeling.unfinished_at_list(p_instance bigint, OUT running bigint, OUT erasures bigint, OUT noes bigint, OUT doubts bigint) RETURNS record
    LANGUAGE sql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    BEGIN ATOMIC
 SELECT ( SELECT count(*) AS count
            FROM koppeling.job j
           WHERE ((j.queue = koppeling.instance_queue(unfinished_at_list.p_instance)) AND (j.state = 'running'::text))) AS count,
     ( SELECT count(*) AS count
            FROM (koppeling.audience_member m
              JOIN koppeling.erasure_contact c ON (((c.erasure_id = m.erasure_id) AND (c.member_id = m.id))))
           WHERE ((m.instance_id = unfinished_at_list.p_instance) AND (c.outcome = 'waiting'::text))) AS count,
     GREATEST(koppeling.untold_noes(p_instance), ( SELECT count(*) AS count
            FROM koppeling.job j
           WHERE ((j.queue = koppeling.instance_queue(unfinished_at_list.p_instance)) AND (j.kind = 'action'::text) AND (j.state <> 'running'::text) AND ((j.args ->> 'action'::text) = 'unsubscribe'::text)))) AS "greatest",
     ( SELECT count(*) AS count
            FROM koppeling.audience_member m
           WHERE ((m.instance_id = unfinished_at_list.p_instance) AND ((m.intent = 'creating'::text) OR m.newness_unseen))) AS count;
END;

CREATE FUNCTION koppeling.unmap_merge_field(p_instance text, p_tag text, p_actor text DEFAULT SESSION_USER) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_instance bigint := koppeling.require_instance(p_instance);
    v_old jsonb;
begin
    perform koppeling.lock_mapping(v_instance);
    delete from koppeling.merge_field t where t.instance_id = v_instance and t.tag = p_tag
    returning to_jsonb(t) into v_old;
    if v_old is null then
        raise exception using errcode = 'no_data_found', message = format('nothing fills merge field %s', p_tag),
            hint = 'List the merge fields to see which are filled.';
    end if;
    update koppeling.claim c set fields = c.fields - p_tag where c.instance_id = v_instance and c.fields ? p_tag;
    update koppeling.audience_member m
    set applied_fields = m.applied_fields - p_tag, sent_fields = m.sent_fields - p_tag
    where m.instance_id = v_instance and (m.applied_fields ? p_tag or m.sent_fields ? p_tag);
    perform koppeling.mapping_changed(v_instance, p_actor, v_old, null);
end $$;

CREATE FUNCTION koppeling.unsubscribe_person(source text, external_id text, p_group text DEFAULT NULL::text, p_actor text DEFAULT SESSION_USER) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_person bigint := koppeling.lock_person(koppeling.require_person(source, external_id));
    v_group bigint;
    v_count bigint := 0;
begin
    if p_group is null then
        -- First of all: a group that is being made waits for this, or is there when the groups are listed.
        perform koppeling.record_own_no(koppeling.every_group(), v_person, p_actor, true);
    end if;
    for v_group in
        select g.id from koppeling.target_group g
        where p_group is null or koppeling.fold(g.name) = koppeling.fold(p_group)
        order by g.id
    loop
        v_count := v_count + 1;
        perform koppeling.record_own_no(v_group, v_person, p_actor, p_group is null);
    end loop;
    if v_count = 0 and p_group is not null then
        raise exception using errcode = 'no_data_found', message = format('there is no target group "%s"', p_group),
            hint = 'List the groups to see their names.';
    end if;
    return v_count;
end $$;

CREATE FUNCTION koppeling.value_label(kind text, value_id bigint) RETURNS text
    LANGUAGE plpgsql STABLE
    AS $$
begin
    return case kind
        when 'personCategory' then (
            select g.name || ' / ' || v.name
            from koppeling.category v
            join koppeling.category_group g on g.id = v.category_group_id
            where v.id = value_id)
        when 'company' then (
            select format('%s [%s/%s]', n.name, n.source, n.external_id)
            from koppeling.company v
            join koppeling.company n on n.id = coalesce(v.merged_into, v.id)
            where v.id = value_id)
        when 'function' then (select v.name from koppeling.job_function v where v.id = value_id)
        when 'department' then (select v.name from koppeling.department v where v.id = value_id)
        when 'companyCategory' then (select v.name from koppeling.company_category v where v.id = value_id)
    end;
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

CREATE FUNCTION koppeling.why(source text, external_id text, p_group text, p_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_person bigint := koppeling.require_person(source, external_id);
    v_group bigint := (
        select g.id from koppeling.target_group g where koppeling.fold(g.name) = koppeling.fold(p_group));
begin
    if v_group is null then
        raise exception using errcode = 'no_data_found', message = format('there is no target group "%s"', p_group),
            hint = 'List the groups to see their names.';
    end if;
    return koppeling.explain_membership(v_group, v_person, p_at)
        || jsonb_build_object('person', koppeling.person_json(v_person),
            'delivery', koppeling.explain_delivery(v_group, v_person, p_at));
end $$;

CREATE FUNCTION koppeling.wipe_contacts(p_members bigint[], p_contacts text[], p_keys text[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_count bigint;
    v_total bigint;
begin
    delete from koppeling.webhook_inbox w
    where koppeling.address_key(w.body #>> '{data,email}') = any (p_keys)
        or koppeling.address_key(w.body #>> '{data,old_email}') = any (p_keys)
        or koppeling.address_key(w.body #>> '{data,new_email}') = any (p_keys);
    get diagnostics v_total = row_count;
    delete from koppeling.restored_no r
    where r.contact_id = any (p_contacts) or koppeling.address_key(r.address) = any (p_keys);
    get diagnostics v_count = row_count;
    v_total := v_total + v_count;
    delete from koppeling.task t where (t.detail ->> 'member')::bigint = any (p_members);
    get diagnostics v_count = row_count;
    return v_total + v_count;
end $$;

CREATE FUNCTION koppeling.wipe_jobs(p_identities text[], p_keys text[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_count bigint;
    v_total bigint := 0;
begin
    update koppeling.job j set args = n.args, error = n.error
    from (
        select o.id, case o.kind when 'persons.put' then koppeling.without_persons(o.args, p_identities, p_keys)
                                 else o.args end as args,
               koppeling.without_addresses(o.error, p_keys) as error
        from koppeling.job o
        where o.kind = 'persons.put' or o.error is not null
    ) n
    where j.id = n.id and (j.error is distinct from n.error or j.kind = 'persons.put'
        and jsonb_array_length(n.args)
            < case jsonb_typeof(j.args) when 'array' then jsonb_array_length(j.args) else 1 end);
    get diagnostics v_total = row_count;
    update koppeling.job_history h
    set args = case h.kind when 'persons.put' then koppeling.without_persons(h.args, p_identities, p_keys)
                           else h.args end,
        reason = koppeling.without_addresses(h.reason, p_keys),
        result = koppeling.without_addresses(h.result::text, p_keys)::jsonb
    where h.kind = 'persons.put'
            and jsonb_array_length(koppeling.without_persons(h.args, p_identities, p_keys))
                < case jsonb_typeof(h.args) when 'array' then jsonb_array_length(h.args) else 1 end
        or h.reason is not null and koppeling.without_addresses(h.reason, p_keys) <> h.reason
        or h.result is not null and koppeling.without_addresses(h.result::text, p_keys) <> h.result::text;
    get diagnostics v_count = row_count;
    v_total := v_total + v_count;
    update koppeling.job_attempt a set error = koppeling.without_addresses(a.error, p_keys)
    where a.error is not null and koppeling.without_addresses(a.error, p_keys) <> a.error;
    get diagnostics v_count = row_count;
    return v_total + v_count;
end $$;

CREATE FUNCTION koppeling.wipe_person(p_person bigint, p_key bytea, p_erasure bigint, p_actor text) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
declare
    v_group bigint;
    v_instance bigint;
    v_groups bigint[];
    v_identity text;
    v_keys text[];
    v_members bigint[];
    v_contacts text[];
    v_removed jsonb := '{}';
    v_count bigint;
    v_other bigint;
begin
    -- Before any group is locked: whoever holds her against the ledger now may wait for an evaluation that wants a group.
    delete from koppeling.erasure_check q where q.person_id = p_person;
    v_groups := array(
        select m.target_group_id from koppeling.membership m where m.person_id = p_person
        union
        select s.target_group_id from koppeling.suppression s where s.person_id = p_person
        union
        select i.target_group_id from koppeling.connector_instance i
        order by 1);
    foreach v_group in array v_groups loop
        perform koppeling.lock_group(v_group);
    end loop;
    select koppeling.identity_subject(p.source, p.external_id) into v_identity
    from koppeling.person p where p.id = p_person for update;

    v_keys := array(select e.address_key from koppeling.email_address e where e.person_id = p_person);
    v_members := array(select koppeling.contacts_of(p_person, v_keys) where p_key is not null);
    v_keys := v_keys || array(select koppeling.former_addresses(p_person, v_members) where p_key is not null);
    v_keys := array(select unnest(v_keys) except select koppeling.shared_addresses(p_person, v_keys) order by 1);

    if p_key is not null then
        perform koppeling.remember_erased(p_person, p_key, v_keys, p_erasure);
        perform koppeling.mark_erased(v_members, p_person, p_erasure, v_keys);
    end if;

    delete from koppeling.email_address where person_id = p_person;
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('addresses', v_count);
    delete from koppeling.person_category where person_id = p_person;
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('categories', v_count);
    delete from koppeling.position where person_id = p_person;
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('positions', v_count);
    update koppeling.person p
    set state = 'erased', source = '(erased)', external_id = p.id::text, given_name = null, initials = null,
        prefixes = null, family_name = null, gender = 'unknown', changed_at = koppeling.now()
    where p.id = p_person;

    v_contacts := array(
        select m.contact_id from koppeling.audience_member m
        where m.id = any (v_members) and m.erasure_id is not null and m.contact_id is not null);
    v_count := koppeling.wipe_suppressions(array(
        select koppeling.suppressions_of(p_person, case when p_key is null then '{}' else v_keys end)
        union
        select s.id from koppeling.suppression s
        where s.target_group_id = any (v_groups) and s.contact_id = any (v_contacts)));
    v_removed := v_removed || jsonb_build_object('suppressions', v_count);

    -- Out of every group by the way that everybody goes: the claims end, and each contact is looked at.
    foreach v_group in array v_groups loop
        perform koppeling.derive_memberships(v_group, array[p_person], 'erase', p_actor);
        perform koppeling.membership_changed(v_group, array[p_person]);
    end loop;
    -- The claims of an instance whose group said nothing end as well.
    delete from koppeling.claim c where c.person_id = p_person;
    -- Names are needed no longer; the address is, until the contact is gone.
    update koppeling.audience_member m
    set applied_fields = null, sent_fields = null, note = null, moving_to = null
    where m.id = any (v_members) and m.erasure_id is not null;
    for v_instance in
        select distinct m.instance_id from koppeling.audience_member m where m.id = any (v_members) order by 1
    loop
        perform koppeling.stage_members(v_instance, array(
            select m.id from koppeling.audience_member m where m.id = any (v_members) and m.instance_id = v_instance));
    end loop;

    v_count := koppeling.wipe_contacts(array(
        select m.id from koppeling.audience_member m where m.id = any (v_members) and m.erasure_id is not null),
        v_contacts, v_keys);
    delete from koppeling.task t where t.person_id = p_person;
    get diagnostics v_other = row_count;
    v_removed := v_removed || jsonb_build_object('contact_records', v_count + v_other);
    delete from koppeling.change_plan_line l where l.person_id = p_person;
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('plan_lines', v_count);
    v_removed := v_removed || jsonb_build_object('jobs', koppeling.wipe_jobs(array[v_identity], v_keys));
    delete from koppeling.audit_entry a where a.person_id = p_person;
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('audit_entries', v_count);
    delete from koppeling.invitation v where v.person_id = p_person;
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('invitations', v_count);
    update koppeling.membership m set overridden_by = null where m.person_id = p_person;
    delete from koppeling.former_contact c where c.person_id = p_person;
    delete from koppeling.former_claim c where c.person_id = p_person;
    insert into koppeling.audit_entry (person_id, kind, new, actor, cause)
    values (p_person, 'person', '"erased"', p_actor, 'erase');
    return v_removed;
end $$;

CREATE FUNCTION koppeling.wipe_suppressions(p_ids bigint[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'koppeling', 'pg_temp'
    AS $$
declare
    v_count bigint;
begin
    perform set_config('koppeling.erasing', pg_current_xact_id()::text, true);
    delete from koppeling.holder_check where suppression_id = any (p_ids);
    delete from koppeling.suppression_lift where suppression_id = any (p_ids);
    update koppeling.suppression set follows = null where follows = any (p_ids) and id <> all (p_ids);
    delete from koppeling.suppression where id = any (p_ids);
    get diagnostics v_count = row_count;
    perform set_config('koppeling.erasing', '', true);
    return v_count;
end $$;

CREATE FUNCTION koppeling.without_addresses(p_text text, p_keys text[]) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
declare
    v_key text;
begin
    foreach v_key in array p_keys loop
        p_text := regexp_replace(p_text, regexp_replace(v_key, '([^[:alnum:]@_ -])', '\\\1', 'g'), '(erased)', 'gi');
    end loop;
    return p_text;
end $$;

CREATE FUNCTION koppeling.without_persons(p_args jsonb, p_identities text[], p_keys text[]) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT COALESCE(jsonb_agg(a.person ORDER BY a.n), '[]'::jsonb) AS "coalesce" FROM jsonb_array_elements(CASE jsonb_typeof(without_persons.p_args) WHEN 'array'::text THEN without_persons.p_args ELSE jsonb_build_array(without_persons.p_args) END) WITH ORDINALITY a(person, n) WHERE ((koppeling.identity_subject((a.person ->> 'source'::text), (a.person ->> 'id'::text)) <> ALL (without_persons.p_identities)) AND (NOT (EXISTS (SELECT FROM jsonb_each_text(CASE jsonb_typeof((a.person -> 'emails'::text)) WHEN 'object'::text THEN (a.person -> 'emails'::text) ELSE '{}'::jsonb END) e(key, value) WHERE (koppeling.address_key(e.value) = ANY (without_persons.p_keys)))))));

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

CREATE UNLOGGED TABLE koppeling.permit_wait (
    resource text NOT NULL,
    holder text NOT NULL,
    seen_at timestamp with time zone NOT NULL,
    since timestamp with time zone NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='500');

CREATE VIEW koppeling.permits AS
 SELECT p.resource,
    p.holder,
    w.name AS worker,
    p.call_started_at,
    p.expires_at
   FROM (koppeling.permit p
     LEFT JOIN koppeling.worker w ON (((w.id = p.worker_id) AND (w.ended_at IS NULL) AND (w.heartbeat_at > (koppeling.now() - '00:00:15'::interval)))))
  WHERE ((p.expires_at > koppeling.now()) OR (w.id IS NOT NULL));

COMMENT ON VIEW koppeling.permits IS 'What is under way under a permit, and on whose behalf.';

CREATE VIEW koppeling.account_permits AS
 SELECT a.id AS account_id,
    COALESCE(b.budget, 6) AS budget,
    COALESCE(koppeling.allowed_permits(b.*, koppeling.now()), 6) AS allowed_now,
    ( SELECT count(*) AS count
           FROM koppeling.permits p
          WHERE (p.resource = a.permit_resource)) AS calls_in_flight,
    ( SELECT count(*) AS count
           FROM koppeling.permit_wait w
          WHERE ((w.resource = a.permit_resource) AND (w.seen_at > (koppeling.now() - '00:00:01'::interval)))) AS waiting,
        CASE
            WHEN (koppeling.allowed_permits(b.*, koppeling.now()) < b.budget) THEN (b.lowered_at + make_interval(mins => (b.budget - b.allowed)))
            ELSE NULL::timestamp with time zone
        END AS throttled_until
   FROM (koppeling.mailchimp_account a
     LEFT JOIN koppeling.permit_budget b ON ((b.resource = a.permit_resource)));

COMMENT ON VIEW koppeling.account_permits IS 'How many calls of each account may be under way at once, over all workers and instances.';

CREATE VIEW koppeling.account_status AS
 SELECT a.id,
    a.name AS account,
    a.data_centre,
    a.login_id,
    a.credential_kind AS credential,
    a.authenticated,
    ( SELECT count(*) AS count
           FROM koppeling.connector_instance i
          WHERE (i.account_id = a.id)) AS instances,
    p.budget,
    p.allowed_now,
    p.calls_in_flight,
    p.waiting,
    p.throttled_until,
    a.created_at,
    a.renewed_at
   FROM (koppeling.mailchimp_account a
     JOIN koppeling.account_permits p ON ((p.account_id = a.id)));

COMMENT ON VIEW koppeling.account_status IS 'Each connected account, without its credential.';

CREATE TABLE koppeling.account_ticket (
    id bigint NOT NULL,
    ticket_hash bytea NOT NULL,
    account_name text,
    renews bigint,
    created_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    expires_at timestamp with time zone DEFAULT (koppeling.now() + '00:10:00'::interval) NOT NULL,
    browser_hash bytea,
    state_hash bytea,
    state_expires_at timestamp with time zone,
    outcome text,
    detail text,
    account_id bigint,
    finished_at timestamp with time zone,
    CONSTRAINT account_ticket_account_name_check CHECK ((account_name <> ''::text)),
    CONSTRAINT account_ticket_browser_hash_check CHECK ((octet_length(browser_hash) = 32)),
    CONSTRAINT account_ticket_check CHECK (((finished_at IS NULL) = (outcome IS NULL))),
    CONSTRAINT account_ticket_check1 CHECK (((state_hash IS NULL) OR ((browser_hash IS NOT NULL) AND (state_expires_at IS NOT NULL) AND (finished_at IS NULL)))),
    CONSTRAINT account_ticket_state_hash_check CHECK ((octet_length(state_hash) = 32)),
    CONSTRAINT account_ticket_ticket_hash_check CHECK ((octet_length(ticket_hash) = 32))
);

ALTER TABLE koppeling.account_ticket ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.account_ticket_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
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
            WHEN ((j.state = 'rejected'::text) AND ((m.acted_at > j.finished_at) OR (EXISTS ( SELECT
               FROM koppeling.job w
              WHERE ((w.queue = j.queue) AND (w.order_key = j.order_key) AND (w.id <> j.id)))))) THEN 'superseded'::text
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

CREATE TABLE koppeling.anonymised_put (
    id bigint NOT NULL,
    source text NOT NULL,
    external_id text NOT NULL
);

ALTER TABLE koppeling.anonymised_put ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.anonymised_put_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

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

ALTER TABLE koppeling.change_plan ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.change_plan_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE koppeling.company_category ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.company_category_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE koppeling.company ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.company_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
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

ALTER TABLE koppeling.criterion ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.criterion_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE koppeling.department ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.department_id_seq
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

ALTER TABLE koppeling.erasure ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.erasure_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE koppeling.erasure_key (
    only_one boolean DEFAULT true NOT NULL,
    sealed bytea NOT NULL,
    CONSTRAINT erasure_key_only_one_check CHECK (only_one)
);

CREATE VIEW koppeling.erasures AS
 SELECT e.id,
    e.person_id,
    e.erased_at,
    e.actor,
    e.puts_skipped,
    e.last_skipped_at,
    ( SELECT count(*) AS count
           FROM koppeling.erasure_contact c
          WHERE (c.erasure_id = e.id)) AS contacts,
    ( SELECT count(*) AS count
           FROM koppeling.erasure_contact c
          WHERE ((c.erasure_id = e.id) AND (c.outcome = 'waiting'::text))) AS contacts_waiting
   FROM koppeling.erasure e;

COMMENT ON VIEW koppeling.erasures IS 'Who was erased, by number only, and whether contacts in Mailchimp still wait.';

CREATE TABLE koppeling.evaluation_request (
    person_id bigint NOT NULL,
    cause text NOT NULL,
    requested_at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    after_pass boolean DEFAULT false NOT NULL,
    after_check boolean DEFAULT false NOT NULL,
    by_hand boolean DEFAULT false NOT NULL
);

ALTER TABLE koppeling.former_link ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.former_link_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE koppeling.group_check (
    target_group_id bigint NOT NULL,
    checked_at timestamp with time zone NOT NULL,
    defects bigint NOT NULL,
    all_defects bigint NOT NULL
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

CREATE VIEW koppeling.instance_status AS
 SELECT i.id,
    i.name AS instance,
    a.name AS account,
    i.list_name,
    g.name AS target_group,
    a.authenticated,
    i.enabled,
    i.dry_run,
    i.activated,
    i.paused_reason,
    koppeling.deployment_fault() AS off_because,
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
    p.calls_in_flight,
    ( SELECT count(*) AS count
           FROM koppeling.task t
          WHERE ((t.instance_id = i.id) AND (t.done_at IS NULL))) AS open_tasks,
    p.budget,
    p.allowed_now,
    ( SELECT count(*) AS count
           FROM koppeling.permits o
          WHERE ((o.resource = a.permit_resource) AND (o.holder = koppeling.instance_queue(i.id)))) AS own_calls_in_flight,
    (EXISTS ( SELECT
           FROM koppeling.permit_wait w
          WHERE ((w.resource = a.permit_resource) AND (w.holder = koppeling.instance_queue(i.id)) AND (w.seen_at > (koppeling.now() - '00:00:01'::interval))))) AS waits_for_permit,
    p.throttled_until,
    i.reactivate_on_resubscribe,
    i.keeps_adopted AS keep_adopted
   FROM (((koppeling.connector_instance i
     JOIN koppeling.mailchimp_account a ON ((a.id = i.account_id)))
     JOIN koppeling.account_permits p ON ((p.account_id = a.id)))
     JOIN koppeling.target_group g ON ((g.id = i.target_group_id)));

COMMENT ON VIEW koppeling.instance_status IS 'Each instance with its two flags, what it is doing, and the permits of its account''s login.';

ALTER TABLE koppeling.invitation ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.invitation_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW koppeling.invitations AS
 SELECT v.id,
    i.name AS instance,
    v.person_id,
    m.address AS contact,
    v.requested_at,
    v.requested_by,
    v.sent_at,
    v.ended_at,
    COALESCE(v.outcome,
        CASE
            WHEN (v.sent_at IS NULL) THEN 'waiting'::text
            ELSE 'sent'::text
        END) AS state,
    v.because
   FROM ((koppeling.invitation v
     JOIN koppeling.connector_instance i ON ((i.id = v.instance_id)))
     JOIN koppeling.audience_member m ON ((m.id = v.member_id)));

COMMENT ON VIEW koppeling.invitations IS 'Who asked to be invited again after a no, and what Mailchimp said of it.';

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

ALTER TABLE koppeling.job_function ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.job_function_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
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

CREATE VIEW koppeling.merge_fields AS
 SELECT i.id AS instance_id,
    i.name AS instance,
    COALESCE(t.tag, f.tag) AS tag,
    f.name,
    f.type,
    f.required,
    t.source,
    t.triggers,
        CASE
            WHEN (t.tag IS NOT NULL) THEN koppeling.mapping_fault(i.id, t.tag, t.source)
            WHEN f.required THEN 'is required in Mailchimp, and nothing fills it: its forms ask for it, our calls leave it empty'::text
            ELSE NULL::text
        END AS fault
   FROM (((koppeling.connector_instance i
     CROSS JOIN LATERAL ( SELECT list_field.tag
           FROM koppeling.list_field
          WHERE (list_field.instance_id = i.id)
        UNION
         SELECT merge_field.tag
           FROM koppeling.merge_field
          WHERE (merge_field.instance_id = i.id)) a)
     LEFT JOIN koppeling.list_field f ON (((f.instance_id = i.id) AND (f.tag = a.tag))))
     LEFT JOIN koppeling.merge_field t ON (((t.instance_id = i.id) AND (t.tag = a.tag))));

COMMENT ON VIEW koppeling.merge_fields IS 'The merge fields of each list, what fills them, and what is wrong with that.';

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

ALTER TABLE koppeling.person ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.person_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW koppeling.person_value AS
 SELECT c.person_id,
    'personCategory'::text AS kind,
    c.category_id AS value_id
   FROM koppeling.person_category c
UNION ALL
 SELECT p.person_id,
    'function'::text AS kind,
    p.job_function_id AS value_id
   FROM koppeling."position" p
  WHERE (p.job_function_id IS NOT NULL)
UNION ALL
 SELECT p.person_id,
    'department'::text AS kind,
    p.department_id AS value_id
   FROM koppeling."position" p
  WHERE (p.department_id IS NOT NULL)
UNION ALL
 SELECT p.person_id,
    'company'::text AS kind,
    p.company_id AS value_id
   FROM koppeling."position" p
  WHERE (p.company_id IS NOT NULL)
UNION ALL
 SELECT p.person_id,
    'company'::text AS kind,
    c.id AS value_id
   FROM (koppeling."position" p
     JOIN koppeling.company c ON ((c.merged_into = p.company_id)))
UNION ALL
 SELECT p.person_id,
    'companyCategory'::text AS kind,
    k.company_category_id AS value_id
   FROM (koppeling."position" p
     JOIN koppeling.company_in_category k ON ((k.company_id = p.company_id)));

CREATE VIEW koppeling.plan_causes AS
 SELECT l.plan_id AS plan,
    l.cause,
    l.change,
    l.reason,
    count(*) AS persons
   FROM koppeling.change_plan_line l
  GROUP BY l.plan_id, l.cause, l.change, l.reason;

COMMENT ON VIEW koppeling.plan_causes IS 'What brought the lines of each plan about, and how many they are.';

CREATE TABLE koppeling.rule (
    id bigint NOT NULL,
    target_group_id bigint NOT NULL,
    "position" integer NOT NULL,
    CONSTRAINT rule_position_check CHECK (("position" > 0))
);

CREATE VIEW koppeling.plan_lines AS
 SELECT l.plan_id AS plan,
    l.person_id AS person,
    p.source,
    p.external_id AS id,
    concat_ws(' '::text, NULLIF(koppeling.first_name(p.given_name, p.initials), ''::text), koppeling.last_name(p.prefixes, p.family_name)) AS name,
    e.address,
    l.change,
    l.reason,
    l.cause,
        CASE
            WHEN (l.change = 'join'::text) THEN ( SELECT r."position"
               FROM (koppeling.membership m
                 JOIN koppeling.rule r ON ((r.id = m.matched_rule_id)))
              WHERE ((m.target_group_id = c.target_group_id) AND (m.person_id = l.person_id)))
            ELSE NULL::integer
        END AS rule,
    array_to_string(l.fields, ', '::text) AS fields
   FROM ((((koppeling.change_plan_line l
     JOIN koppeling.change_plan c ON ((c.id = l.plan_id)))
     JOIN koppeling.target_group g ON ((g.id = c.target_group_id)))
     JOIN koppeling.person p ON ((p.id = l.person_id)))
     LEFT JOIN koppeling.email_address e ON (((e.person_id = l.person_id) AND (e.kind = g.email_kind))));

COMMENT ON VIEW koppeling.plan_lines IS 'Who would join or leave by a plan, why, by which rule, and what brought it about.';

CREATE VIEW koppeling.plan_thresholds AS
 SELECT g.id AS target_group_id,
    g.name AS target_group,
    i.removals_count,
    i.removals_share,
    i.removals_cap,
    i.joins_count,
    i.joins_share,
    i.joins_cap
   FROM (koppeling.connector_instance i
     JOIN koppeling.target_group g ON ((g.id = i.target_group_id)));

COMMENT ON VIEW koppeling.plan_thresholds IS 'Changes are held beyond the larger of count and share, and beyond the cap, within a day.';

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

ALTER TABLE koppeling."position" ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.position_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

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

CREATE VIEW koppeling.rejected_reasons AS
SELECT
    NULL::bigint AS instance_id,
    NULL::text AS instance,
    NULL::text AS action,
    NULL::text AS reason,
    NULL::bigint AS actions,
    NULL::timestamp with time zone AS latest;

COMMENT ON VIEW koppeling.rejected_reasons IS 'Why actions were rejected, and how many for each reason: run_rejected_actions runs them again.';

ALTER TABLE koppeling.restored_no ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.restored_no_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW koppeling.restored_nos AS
 SELECT r.id,
    i.name AS instance,
    r.address,
    r.contact_id,
    r.reason,
    r.said_at,
    r.found_in,
    r.found_at,
    r.restored_at
   FROM (koppeling.restored_no r
     JOIN koppeling.connector_instance i ON ((i.id = r.instance_id)));

COMMENT ON VIEW koppeling.restored_nos IS 'Contacts whom a call made subscribed although they had said no, and when they were unsubscribed again.';

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
        CASE
            WHEN (t.done_at IS NULL) THEN 'open'::text
            ELSE 'done'::text
        END AS state,
    i.name AS instance,
    g.name AS target_group,
    t.person_id,
    NULLIF(concat_ws(' '::text, NULLIF(koppeling.first_name(p.given_name, p.initials), ''::text), koppeling.last_name(p.prefixes, p.family_name)), ''::text) AS person,
    p.source,
    p.external_id,
    e.address,
    m.address AS contact,
    t.detail,
    t.created_at,
    t.done_at,
    t.done_by
   FROM (((((koppeling.task t
     LEFT JOIN koppeling.connector_instance i ON ((i.id = t.instance_id)))
     LEFT JOIN koppeling.target_group g ON ((g.id = t.target_group_id)))
     LEFT JOIN koppeling.person p ON ((p.id = t.person_id)))
     LEFT JOIN koppeling.email_address e ON (((e.person_id = p.id) AND (e.kind = g.email_kind))))
     LEFT JOIN koppeling.audience_member m ON ((m.id = ((t.detail ->> 'member'::text))::bigint)));

COMMENT ON VIEW koppeling.tasks IS 'What only a person can settle.';

CREATE TABLE koppeling.unapproved_change (
    id bigint NOT NULL,
    target_group_id bigint NOT NULL,
    at timestamp with time zone DEFAULT koppeling.now() NOT NULL,
    joins bigint NOT NULL,
    removals bigint NOT NULL
);

ALTER TABLE koppeling.unapproved_change ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME koppeling.unapproved_change_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE koppeling.value_change (
    kind text NOT NULL,
    value_id bigint NOT NULL,
    cause text NOT NULL,
    CONSTRAINT value_change_kind_check CHECK ((kind = ANY (ARRAY['function'::text, 'department'::text, 'company'::text])))
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
    RETURN (SELECT COALESCE(jsonb_agg(r.criteria ORDER BY r."position"), '[]'::jsonb) AS "coalesce" FROM (SELECT r_1."position", COALESCE(jsonb_agg(jsonb_build_object('kind', c.kind, 'value', c.value, 'negated', c.negated) ORDER BY c.negated, c.kind, c.value, c.id) FILTER (WHERE (c.id IS NOT NULL)), '[]'::jsonb) AS criteria FROM (koppeling.rule r_1 LEFT JOIN (SELECT c_1.id, c_1.rule_id, c_1.kind, c_1.value_id, c_1.negated, koppeling.value_label(c_1.kind, c_1.value_id) AS value FROM koppeling.criterion c_1) c ON ((c.rule_id = r_1.id))) WHERE (r_1.target_group_id = rules_json.p_group) GROUP BY r_1.id) r);

ALTER TABLE ONLY koppeling.account_ticket
    ADD CONSTRAINT account_ticket_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.account_ticket
    ADD CONSTRAINT account_ticket_state_hash_key UNIQUE (state_hash);

ALTER TABLE ONLY koppeling.account_ticket
    ADD CONSTRAINT account_ticket_ticket_hash_key UNIQUE (ticket_hash);

ALTER TABLE ONLY koppeling.action_template
    ADD CONSTRAINT action_template_pkey PRIMARY KEY (instance_id, action);

ALTER TABLE ONLY koppeling.anonymised_put
    ADD CONSTRAINT anonymised_put_pkey PRIMARY KEY (id);

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

ALTER TABLE ONLY koppeling.company_category
    ADD CONSTRAINT company_category_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.company_in_category
    ADD CONSTRAINT company_in_category_pkey PRIMARY KEY (company_id, company_category_id);

ALTER TABLE ONLY koppeling.company
    ADD CONSTRAINT company_pkey PRIMARY KEY (id);

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

ALTER TABLE ONLY koppeling.department
    ADD CONSTRAINT department_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.deployment
    ADD CONSTRAINT deployment_pkey PRIMARY KEY (only_one);

ALTER TABLE ONLY koppeling.email_address
    ADD CONSTRAINT email_address_person_id_kind_key UNIQUE (person_id, kind);

ALTER TABLE ONLY koppeling.email_address
    ADD CONSTRAINT email_address_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.erased_hash
    ADD CONSTRAINT erased_hash_pkey PRIMARY KEY (hash);

ALTER TABLE ONLY koppeling.erasure_check
    ADD CONSTRAINT erasure_check_pkey PRIMARY KEY (person_id);

ALTER TABLE ONLY koppeling.erasure_contact
    ADD CONSTRAINT erasure_contact_pkey PRIMARY KEY (erasure_id, member_id);

ALTER TABLE ONLY koppeling.erasure_key
    ADD CONSTRAINT erasure_key_pkey PRIMARY KEY (only_one);

ALTER TABLE ONLY koppeling.erasure
    ADD CONSTRAINT erasure_person_id_key UNIQUE (person_id);

ALTER TABLE ONLY koppeling.erasure
    ADD CONSTRAINT erasure_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.evaluation_request
    ADD CONSTRAINT evaluation_request_pkey PRIMARY KEY (person_id);

ALTER TABLE ONLY koppeling.former_claim
    ADD CONSTRAINT former_claim_pkey PRIMARY KEY (person_id, member_id);

ALTER TABLE ONLY koppeling.former_contact
    ADD CONSTRAINT former_contact_pkey PRIMARY KEY (former_link_id, contact_id, person_id);

ALTER TABLE ONLY koppeling.former_link
    ADD CONSTRAINT former_link_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.gender_text
    ADD CONSTRAINT gender_text_pkey PRIMARY KEY (instance_id, gender);

ALTER TABLE ONLY koppeling.group_check
    ADD CONSTRAINT group_check_pkey PRIMARY KEY (target_group_id);

ALTER TABLE ONLY koppeling.holder_check
    ADD CONSTRAINT holder_check_pkey PRIMARY KEY (suppression_id);

ALTER TABLE ONLY koppeling.idempotent_request
    ADD CONSTRAINT idempotent_request_pkey PRIMARY KEY (token_id, key);

ALTER TABLE ONLY koppeling.invitation
    ADD CONSTRAINT invitation_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.job_cancellation
    ADD CONSTRAINT job_cancellation_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY koppeling.job_function
    ADD CONSTRAINT job_function_pkey PRIMARY KEY (id);

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

ALTER TABLE ONLY koppeling.list_field
    ADD CONSTRAINT list_field_pkey PRIMARY KEY (instance_id, tag);

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

ALTER TABLE ONLY koppeling."position"
    ADD CONSTRAINT position_once UNIQUE NULLS NOT DISTINCT (person_id, job_function_id, department_id, company_id);

ALTER TABLE ONLY koppeling."position"
    ADD CONSTRAINT position_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.restored_no
    ADD CONSTRAINT restored_no_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.rule
    ADD CONSTRAINT rule_target_group_id_position_key UNIQUE (target_group_id, "position");

ALTER TABLE ONLY koppeling.spreading_no
    ADD CONSTRAINT spreading_no_pkey PRIMARY KEY (suppression_id);

ALTER TABLE ONLY koppeling.suppression_lift
    ADD CONSTRAINT suppression_lift_pkey PRIMARY KEY (suppression_id);

ALTER TABLE ONLY koppeling.suppression
    ADD CONSTRAINT suppression_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.target_group
    ADD CONSTRAINT target_group_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.task
    ADD CONSTRAINT task_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.training_address
    ADD CONSTRAINT training_address_pkey PRIMARY KEY (pattern);

ALTER TABLE ONLY koppeling.unapproved_change
    ADD CONSTRAINT unapproved_change_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.value_change
    ADD CONSTRAINT value_change_pkey PRIMARY KEY (kind, value_id);

ALTER TABLE ONLY koppeling.webhook_inbox
    ADD CONSTRAINT webhook_inbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY koppeling.worker
    ADD CONSTRAINT worker_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.koppeling_migration
    ADD CONSTRAINT koppeling_migration_pkey PRIMARY KEY (version);

CREATE INDEX account_ticket_expiry ON koppeling.account_ticket USING btree (expires_at);

CREATE UNIQUE INDEX api_token_name ON koppeling.api_token USING btree (name) WHERE (revoked_at IS NULL);

CREATE UNIQUE INDEX audience_member_address ON koppeling.audience_member USING btree (instance_id, address_key);

CREATE UNIQUE INDEX audience_member_contact ON koppeling.audience_member USING btree (instance_id, contact_id) WHERE (contact_id IS NOT NULL);

CREATE INDEX audience_member_erasing ON koppeling.audience_member USING btree (erasure_id, instance_id) WHERE (erasure_id IS NOT NULL);

CREATE INDEX audience_member_file ON koppeling.audience_member USING btree (instance_id, file_key) WHERE (file_key IS NOT NULL);

CREATE UNIQUE INDEX audience_member_moving ON koppeling.audience_member USING btree (instance_id, moving_to) WHERE (moving_to IS NOT NULL);

CREATE INDEX audience_member_newness ON koppeling.audience_member USING btree (instance_id) WHERE newness_unseen;

CREATE INDEX audience_member_ousted ON koppeling.audience_member USING btree (instance_id) WHERE (address_key = contact_id);

CREATE INDEX audit_entry_by_group ON koppeling.audit_entry USING btree (target_group_id, id);

CREATE INDEX audit_entry_by_person ON koppeling.audit_entry USING btree (person_id, target_group_id, id);

CREATE INDEX audit_entry_rules ON koppeling.audit_entry USING btree (target_group_id, id) WHERE (kind = 'rules'::text);

CREATE UNIQUE INDEX category_group_name ON koppeling.category_group USING btree (koppeling.fold(name));

CREATE UNIQUE INDEX category_name ON koppeling.category USING btree (category_group_id, koppeling.fold(name));

CREATE UNIQUE INDEX change_plan_approved ON koppeling.change_plan USING btree (target_group_id) WHERE (state = 'approved'::text);

CREATE UNIQUE INDEX change_plan_open ON koppeling.change_plan USING btree (target_group_id) WHERE (state = 'held'::text);

CREATE INDEX claim_member ON koppeling.claim USING btree (member_id);

CREATE INDEX company_by_name ON koppeling.company USING btree (koppeling.fold(name), id);

CREATE UNIQUE INDEX company_category_name ON koppeling.company_category USING btree (koppeling.fold(name));

CREATE UNIQUE INDEX company_identity ON koppeling.company USING btree (koppeling.fold(source), koppeling.fold(external_id));

CREATE INDEX company_in_category_by_category ON koppeling.company_in_category USING btree (company_category_id, company_id);

CREATE INDEX company_merged ON koppeling.company USING btree (merged_into) WHERE (merged_into IS NOT NULL);

CREATE INDEX connector_instance_account ON koppeling.connector_instance USING btree (account_id);

CREATE UNIQUE INDEX connector_instance_list ON koppeling.connector_instance USING btree (list_id);

CREATE INDEX consumer_by_queue ON koppeling.consumer USING btree (queue);

CREATE INDEX consumer_by_worker ON koppeling.consumer USING btree (worker_id);

CREATE INDEX criterion_by_value ON koppeling.criterion USING btree (kind, value_id);

CREATE UNIQUE INDEX department_name ON koppeling.department USING btree (koppeling.fold(name));

CREATE INDEX email_address_by_key ON koppeling.email_address USING btree (address_key);

CREATE INDEX former_claim_member ON koppeling.former_claim USING btree (member_id);

CREATE INDEX former_contact_person ON koppeling.former_contact USING btree (person_id);

CREATE INDEX former_link_list ON koppeling.former_link USING btree (list_id);

CREATE INDEX idempotent_request_created_at ON koppeling.idempotent_request USING btree (created_at);

CREATE INDEX invitation_by_member ON koppeling.invitation USING btree (member_id);

CREATE INDEX invitation_by_person ON koppeling.invitation USING btree (person_id);

CREATE INDEX invitation_open ON koppeling.invitation USING btree (target_group_id) WHERE (ended_at IS NULL);

CREATE INDEX job_attempt_job_id_idx ON ONLY koppeling.job_attempt USING btree (job_id);

CREATE INDEX job_attempt_rest_job_id_idx ON koppeling.job_attempt_rest USING btree (job_id);

CREATE INDEX job_cancelled_id_idx ON ONLY koppeling.job_cancelled USING btree (id);

CREATE INDEX job_cancelled_rest_id_idx ON koppeling.job_cancelled_rest USING btree (id);

CREATE INDEX job_done_id_idx ON ONLY koppeling.job_done USING brin (id int8_minmax_multi_ops);

CREATE INDEX job_done_rest_id_idx ON koppeling.job_done_rest USING brin (id int8_minmax_multi_ops);

CREATE UNIQUE INDEX job_function_name ON koppeling.job_function USING btree (koppeling.fold(name));

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

CREATE INDEX membership_not_plain ON koppeling.membership USING btree (target_group_id, person_id) WHERE ((via IS DISTINCT FROM 'rule'::text) OR (override <> 'none'::text) OR (NOT rule_match));

CREATE INDEX person_by_name ON koppeling.person USING btree (koppeling.fold(COALESCE(family_name, ''::text)) COLLATE "nl-x-icu", id);

CREATE INDEX person_category_by_category ON koppeling.person_category USING btree (category_id, person_id);

CREATE UNIQUE INDEX person_identity ON koppeling.person USING btree (koppeling.fold(source), koppeling.fold(external_id));

CREATE INDEX person_merged ON koppeling.person USING btree (merged_into) WHERE (merged_into IS NOT NULL);

CREATE INDEX person_not_active ON koppeling.person USING btree (id) WHERE (state <> 'active'::text);

CREATE INDEX position_by_company ON koppeling."position" USING btree (company_id, person_id) WHERE (company_id IS NOT NULL);

CREATE INDEX position_by_department ON koppeling."position" USING btree (department_id, person_id) WHERE (department_id IS NOT NULL);

CREATE INDEX position_by_function ON koppeling."position" USING btree (job_function_id, person_id) WHERE (job_function_id IS NOT NULL);

CREATE UNIQUE INDEX restored_no_open ON koppeling.restored_no USING btree (instance_id, contact_id) WHERE (restored_at IS NULL);

CREATE INDEX suppression_by_address ON koppeling.suppression USING btree (address_key) WHERE (address_key IS NOT NULL);

CREATE INDEX suppression_by_cause ON koppeling.suppression USING btree (follows) WHERE (follows IS NOT NULL);

CREATE INDEX suppression_by_contact ON koppeling.suppression USING btree (target_group_id, contact_id) WHERE (contact_id IS NOT NULL);

CREATE INDEX suppression_by_person ON koppeling.suppression USING btree (person_id) WHERE (person_id IS NOT NULL);

CREATE UNIQUE INDEX target_group_name ON koppeling.target_group USING btree (koppeling.fold(name));

CREATE UNIQUE INDEX task_open ON koppeling.task USING btree (kind, COALESCE(instance_id, (0)::bigint), COALESCE(target_group_id, (0)::bigint), COALESCE(person_id, (0)::bigint)) WHERE (done_at IS NULL);

CREATE INDEX unapproved_change_recent ON koppeling.unapproved_change USING btree (target_group_id, at);

CREATE INDEX webhook_inbox_waiting ON koppeling.webhook_inbox USING btree (instance_id, id) WHERE (processed_at IS NULL);

CREATE INDEX worker_alive ON koppeling.worker USING btree (id) WHERE (ended_at IS NULL);

ALTER INDEX koppeling.job_attempt_job_id_idx ATTACH PARTITION koppeling.job_attempt_rest_job_id_idx;

ALTER INDEX koppeling.job_cancelled_id_idx ATTACH PARTITION koppeling.job_cancelled_rest_id_idx;

ALTER INDEX koppeling.job_done_id_idx ATTACH PARTITION koppeling.job_done_rest_id_idx;

ALTER INDEX koppeling.job_rejected_id_idx ATTACH PARTITION koppeling.job_rejected_rest_id_idx;

ALTER INDEX koppeling.job_rejected_queue_finished_at_idx ATTACH PARTITION koppeling.job_rejected_rest_queue_finished_at_idx;

CREATE OR REPLACE VIEW koppeling.rejected_reasons AS
 SELECT i.id AS instance_id,
    i.name AS instance,
    (h.args ->> 'action'::text) AS action,
    h.reason,
    count(*) AS actions,
    max(h.finished_at) AS latest
   FROM (koppeling.connector_instance i
     JOIN koppeling.job_history h ON (((h.queue = koppeling.instance_queue(i.id)) AND (h.outcome = 'rejected'::text) AND (h.kind = 'action'::text))))
  GROUP BY i.id, (h.args ->> 'action'::text), h.reason;

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON koppeling.suppression FOR EACH STATEMENT EXECUTE FUNCTION koppeling.refuse_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON koppeling.suppression_lift FOR EACH STATEMENT EXECUTE FUNCTION koppeling.refuse_change();

CREATE TRIGGER begin_with_noes AFTER INSERT ON koppeling.target_group FOR EACH ROW EXECUTE FUNCTION koppeling.begin_with_noes();

CREATE TRIGGER bind_inserted AFTER INSERT ON koppeling.email_address REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.bind_given_addresses();

CREATE TRIGGER bind_updated AFTER UPDATE ON koppeling.email_address REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.bind_given_addresses();

CREATE TRIGGER check_erasures AFTER INSERT ON koppeling.person REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.check_new_persons();

CREATE TRIGGER check_erasures_inserted AFTER INSERT ON koppeling.email_address REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.check_given_addresses();

CREATE TRIGGER check_erasures_updated AFTER UPDATE ON koppeling.email_address REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.check_given_addresses();

CREATE TRIGGER delete_with_it AFTER DELETE ON koppeling.change_plan REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION koppeling.delete_with_plans();

CREATE TRIGGER delete_with_it AFTER DELETE ON koppeling.connector_instance REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION koppeling.delete_with_instances();

CREATE TRIGGER instance_stays BEFORE UPDATE OF instance_id ON koppeling.audience_member FOR EACH ROW WHEN ((old.instance_id <> new.instance_id)) EXECUTE FUNCTION koppeling.keep_number();

CREATE TRIGGER keep_ended AFTER DELETE ON koppeling.claim REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION koppeling.keep_ended_claims();

CREATE TRIGGER keep_moved AFTER UPDATE ON koppeling.claim REFERENCING OLD TABLE AS gone NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.keep_moved_claims();

CREATE TRIGGER keep_template BEFORE DELETE ON koppeling.action_template FOR EACH ROW EXECUTE FUNCTION koppeling.keep_template();

CREATE TRIGGER keep_used BEFORE DELETE ON koppeling.category FOR EACH ROW EXECUTE FUNCTION koppeling.keep_used_value('personCategory');

CREATE TRIGGER keep_used BEFORE DELETE ON koppeling.company FOR EACH ROW EXECUTE FUNCTION koppeling.keep_used_value('company');

CREATE TRIGGER keep_used BEFORE DELETE ON koppeling.company_category FOR EACH ROW EXECUTE FUNCTION koppeling.keep_used_value('companyCategory');

CREATE TRIGGER keep_used BEFORE DELETE ON koppeling.department FOR EACH ROW EXECUTE FUNCTION koppeling.keep_used_value('department');

CREATE TRIGGER keep_used BEFORE DELETE ON koppeling.job_function FOR EACH ROW EXECUTE FUNCTION koppeling.keep_used_value('function');

CREATE TRIGGER limit_changed AFTER DELETE OR UPDATE OF concurrency, rate, period ON koppeling.job_limit FOR EACH ROW EXECUTE FUNCTION koppeling.limit_was_changed();

CREATE TRIGGER limit_changes BEFORE UPDATE OF concurrency, rate, period ON koppeling.job_limit FOR EACH ROW EXECUTE FUNCTION koppeling.limit_changed();

CREATE TRIGGER number_stays BEFORE UPDATE OF id ON koppeling.audience_member FOR EACH ROW WHEN ((old.id <> new.id)) EXECUTE FUNCTION koppeling.keep_number();

CREATE TRIGGER number_stays BEFORE UPDATE OF id ON koppeling.category FOR EACH ROW WHEN ((old.id <> new.id)) EXECUTE FUNCTION koppeling.keep_number();

CREATE TRIGGER number_stays BEFORE UPDATE OF id ON koppeling.change_plan FOR EACH ROW WHEN ((old.id <> new.id)) EXECUTE FUNCTION koppeling.keep_number();

CREATE TRIGGER number_stays BEFORE UPDATE OF id ON koppeling.company FOR EACH ROW WHEN ((old.id <> new.id)) EXECUTE FUNCTION koppeling.keep_number();

CREATE TRIGGER number_stays BEFORE UPDATE OF id ON koppeling.connector_instance FOR EACH ROW WHEN ((old.id <> new.id)) EXECUTE FUNCTION koppeling.keep_number();

CREATE TRIGGER number_stays BEFORE UPDATE OF id ON koppeling.department FOR EACH ROW WHEN ((old.id <> new.id)) EXECUTE FUNCTION koppeling.keep_number();

CREATE TRIGGER number_stays BEFORE UPDATE OF id ON koppeling.job_function FOR EACH ROW WHEN ((old.id <> new.id)) EXECUTE FUNCTION koppeling.keep_number();

CREATE TRIGGER pause_ended AFTER DELETE ON koppeling.job_pause FOR EACH ROW EXECUTE FUNCTION koppeling.pause_ended();

CREATE TRIGGER plan_stays BEFORE UPDATE OF plan_id ON koppeling.change_plan_line FOR EACH ROW WHEN ((old.plan_id <> new.plan_id)) EXECUTE FUNCTION koppeling.keep_number();

CREATE TRIGGER references_inserted AFTER INSERT ON koppeling.audience_member REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.check_member_instances();

CREATE TRIGGER references_inserted AFTER INSERT ON koppeling.change_plan_line REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.check_line_plans();

CREATE TRIGGER references_inserted AFTER INSERT ON koppeling.claim REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.check_claim_members();

CREATE TRIGGER references_inserted AFTER INSERT ON koppeling.person_category REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.check_person_categories();

CREATE TRIGGER references_inserted AFTER INSERT ON koppeling."position" REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.check_position_values();

CREATE TRIGGER references_updated AFTER UPDATE ON koppeling.claim REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.check_claim_members();

CREATE TRIGGER references_updated AFTER UPDATE ON koppeling.person_category REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.check_person_categories();

CREATE TRIGGER references_updated AFTER UPDATE ON koppeling."position" REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION koppeling.check_position_values();

CREATE TRIGGER refuse_used AFTER DELETE ON koppeling.audience_member REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION koppeling.refuse_claimed_member();

CREATE TRIGGER refuse_used AFTER DELETE ON koppeling.category REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION koppeling.refuse_used_value();

CREATE TRIGGER refuse_used AFTER DELETE ON koppeling.company REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION koppeling.refuse_used_value();

CREATE TRIGGER refuse_used AFTER DELETE ON koppeling.department REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION koppeling.refuse_used_value();

CREATE TRIGGER refuse_used AFTER DELETE ON koppeling.job_function REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION koppeling.refuse_used_value();

CREATE TRIGGER require_templates BEFORE UPDATE OF enabled ON koppeling.connector_instance FOR EACH ROW WHEN ((new.enabled AND (NOT old.enabled))) EXECUTE FUNCTION koppeling.require_templates();

CREATE TRIGGER spread AFTER INSERT ON koppeling.suppression REFERENCING NEW TABLE AS said FOR EACH STATEMENT EXECUTE FUNCTION koppeling.note_spreading();

CREATE TRIGGER tell_validity AFTER UPDATE OF valid ON koppeling.target_group FOR EACH ROW WHEN ((new.valid <> old.valid)) EXECUTE FUNCTION koppeling.tell_validity();

ALTER TABLE ONLY koppeling.account_ticket
    ADD CONSTRAINT account_ticket_account_id_fkey FOREIGN KEY (account_id) REFERENCES koppeling.mailchimp_account(id) ON DELETE SET NULL;

ALTER TABLE ONLY koppeling.account_ticket
    ADD CONSTRAINT account_ticket_renews_fkey FOREIGN KEY (renews) REFERENCES koppeling.mailchimp_account(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.action_template
    ADD CONSTRAINT action_template_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES koppeling.connector_instance(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.category
    ADD CONSTRAINT category_category_group_id_fkey FOREIGN KEY (category_group_id) REFERENCES koppeling.category_group(id);

ALTER TABLE ONLY koppeling.change_plan
    ADD CONSTRAINT change_plan_target_group_id_fkey FOREIGN KEY (target_group_id) REFERENCES koppeling.target_group(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.company_in_category
    ADD CONSTRAINT company_in_category_company_category_id_fkey FOREIGN KEY (company_category_id) REFERENCES koppeling.company_category(id);

ALTER TABLE ONLY koppeling.company_in_category
    ADD CONSTRAINT company_in_category_company_id_fkey FOREIGN KEY (company_id) REFERENCES koppeling.company(id);

ALTER TABLE ONLY koppeling.company
    ADD CONSTRAINT company_merged_into_fkey FOREIGN KEY (merged_into) REFERENCES koppeling.company(id);

ALTER TABLE ONLY koppeling.connector_instance
    ADD CONSTRAINT connector_instance_account_id_fkey FOREIGN KEY (account_id) REFERENCES koppeling.mailchimp_account(id);

ALTER TABLE ONLY koppeling.connector_instance
    ADD CONSTRAINT connector_instance_target_group_id_fkey FOREIGN KEY (target_group_id) REFERENCES koppeling.target_group(id);

ALTER TABLE ONLY koppeling.criterion
    ADD CONSTRAINT criterion_rule_id_fkey FOREIGN KEY (rule_id) REFERENCES koppeling.rule(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.erased_hash
    ADD CONSTRAINT erased_hash_erasure_id_fkey FOREIGN KEY (erasure_id) REFERENCES koppeling.erasure(id);

ALTER TABLE ONLY koppeling.erasure_contact
    ADD CONSTRAINT erasure_contact_erasure_id_fkey FOREIGN KEY (erasure_id) REFERENCES koppeling.erasure(id);

ALTER TABLE ONLY koppeling.former_claim
    ADD CONSTRAINT former_claim_member_id_fkey FOREIGN KEY (member_id) REFERENCES koppeling.audience_member(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.former_contact
    ADD CONSTRAINT former_contact_former_link_id_fkey FOREIGN KEY (former_link_id) REFERENCES koppeling.former_link(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.former_contact
    ADD CONSTRAINT former_contact_person_id_fkey FOREIGN KEY (person_id) REFERENCES koppeling.person(id);

ALTER TABLE ONLY koppeling.gender_text
    ADD CONSTRAINT gender_text_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES koppeling.connector_instance(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.group_check
    ADD CONSTRAINT group_check_target_group_id_fkey FOREIGN KEY (target_group_id) REFERENCES koppeling.target_group(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.holder_check
    ADD CONSTRAINT holder_check_suppression_id_fkey FOREIGN KEY (suppression_id) REFERENCES koppeling.suppression(id);

ALTER TABLE ONLY koppeling.idempotent_request
    ADD CONSTRAINT idempotent_request_token_id_fkey FOREIGN KEY (token_id) REFERENCES koppeling.api_token(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.invitation
    ADD CONSTRAINT invitation_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES koppeling.connector_instance(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.invitation
    ADD CONSTRAINT invitation_member_id_fkey FOREIGN KEY (member_id) REFERENCES koppeling.audience_member(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.invitation
    ADD CONSTRAINT invitation_person_id_fkey FOREIGN KEY (person_id) REFERENCES koppeling.person(id);

ALTER TABLE ONLY koppeling.invitation
    ADD CONSTRAINT invitation_target_group_id_fkey FOREIGN KEY (target_group_id) REFERENCES koppeling.target_group(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.list_field
    ADD CONSTRAINT list_field_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES koppeling.connector_instance(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.membership
    ADD CONSTRAINT membership_target_group_id_fkey FOREIGN KEY (target_group_id) REFERENCES koppeling.target_group(id);

ALTER TABLE ONLY koppeling.merge_field
    ADD CONSTRAINT merge_field_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES koppeling.connector_instance(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.permit
    ADD CONSTRAINT permit_resource_fkey FOREIGN KEY (resource) REFERENCES koppeling.permit_budget(resource);

ALTER TABLE ONLY koppeling.person
    ADD CONSTRAINT person_merged_into_fkey FOREIGN KEY (merged_into) REFERENCES koppeling.person(id);

ALTER TABLE ONLY koppeling.restored_no
    ADD CONSTRAINT restored_no_instance_id_fkey FOREIGN KEY (instance_id) REFERENCES koppeling.connector_instance(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.rule
    ADD CONSTRAINT rule_target_group_id_fkey FOREIGN KEY (target_group_id) REFERENCES koppeling.target_group(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.spreading_no
    ADD CONSTRAINT spreading_no_suppression_id_fkey FOREIGN KEY (suppression_id) REFERENCES koppeling.suppression(id) ON DELETE CASCADE;

ALTER TABLE ONLY koppeling.suppression
    ADD CONSTRAINT suppression_follows_fkey FOREIGN KEY (follows) REFERENCES koppeling.suppression(id);

ALTER TABLE ONLY koppeling.suppression_lift
    ADD CONSTRAINT suppression_lift_suppression_id_fkey FOREIGN KEY (suppression_id) REFERENCES koppeling.suppression(id);

ALTER TABLE ONLY koppeling.suppression
    ADD CONSTRAINT suppression_person_id_fkey FOREIGN KEY (person_id) REFERENCES koppeling.person(id);

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

REVOKE ALL ON FUNCTION koppeling.apply_noes_to_all_lists(p_all boolean, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.approve_plan(p_plan bigint, p_version integer, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.archive_person(source text, external_id text, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.archive_person(source text, external_id text, p_actor text) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.are_job_entries(jobs jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.as_waiting(job koppeling.job, next_at timestamp with time zone, outcome text, note text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.await_first_puts(p_rows koppeling.person_input[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.beat(p_worker bigint, p_dead_after interval) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.begin_call_under_permit(p_permit bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.begin_consent(p_group bigint, p_account bigint, p_list text, p_others boolean, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.begin_invitation(p_member bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.cancel_job(id bigint, reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.cancel_jobs(p_ids bigint[], p_reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.waiting_job(p_queue text, p_key text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.cancel_waiting(queue text, key text, reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.cancelled_jobs(p_worker bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.carry_noes(p_from bigint, p_to bigint, p_actor text, p_reasons text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.check_deployment(p_marks text[], p_environment text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.check_erasures(p_key bytea, p_limit bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.check_group_erasures(p_key bytea, p_group bigint, p_after bigint, p_limit bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.check_kinds(p_kinds text[], p_public boolean, p_prefixes text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.check_queue(numbers_back bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.check_schedule_is_public(p_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.claim_jobs(p_worker bigint, p_consumer bigint, p_limit integer, p_mark_kinds text[], p_mark_priorities integer[], p_mark_times timestamp with time zone[], p_suspects boolean, p_alone boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.complete_jobs(p_worker bigint, p_ids bigint[], p_claims integer[], p_outcomes text[], p_notes text[], p_delays double precision[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.confirm_deployment(p_marks text[], p_environment text, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.count_anonymised(p_inner_pad bytea, p_outer_pad bytea, p_limit bigint) FROM PUBLIC;

GRANT SELECT ON TABLE koppeling.former_link TO koppeling_reader;

REVOKE ALL ON FUNCTION koppeling.delete_group(p_group bigint, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.delete_linked_group(p_instance bigint, p_archives boolean, p_list_is_gone boolean, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.discard_plan(p_plan bigint, p_version integer, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.drop_history_partition(p_partition text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.empty_group(p_group bigint, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.end_entries_against(p_group bigint, p_person bigint, p_source text, p_actor text, p_cause text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.end_link(p_instance bigint, p_list_is_gone boolean, p_actor text) FROM PUBLIC;

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

REVOKE ALL ON FUNCTION koppeling.entries_against(p_group bigint, p_person bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.erase_person(source text, external_id text, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.erase_person(source text, external_id text, p_actor text) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.erase_person_now(p_person bigint, p_key bytea, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.erased_among(p_key bytea, p_persons jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.erased_in_import(p_key bytea) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.erasure_of(p_person bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.erasure_of(p_person bigint) TO koppeling_writer;

GRANT SELECT ON TABLE koppeling.job_retention TO koppeling_reader;

REVOKE ALL ON FUNCTION koppeling.history_tables() FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.history_partitions() FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.expired_history_partitions() FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.export_person(source text, external_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.final_outcome(job koppeling.job, outcome text, note text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.find_traces(p_texts text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.finish_last_look(p_link bigint, p_list_is_gone boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.finish_tasks(p_tasks bigint[], p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.fold_back(p_jobs koppeling.job[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.folded(waiting koppeling.job, back koppeling.job) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.found_no(p_member bigint, p_reason text, p_said_at timestamp with time zone, p_found_in text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.held_back(p_by text, p_open bigint[], p_held bigint[], p_holders bigint[], p_locked bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.held_by_erased(p_group bigint, p_person bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.invite_person(source text, external_id text, p_group text, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.invite_person(source text, external_id text, p_group text, p_actor text) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.job_entry_fault(entry jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.learn_from_creates(p_instance bigint, p_answer jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.limit_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.limit_was_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.list_values(p_kind text, p_prefix text, p_after text, p_limit bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.lock_noes() FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.look_at_created(p_instance bigint, p_page jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.look_for_work(p_worker bigint, p_mark_queues text[], p_mark_kinds text[], p_mark_priorities integer[], p_mark_times timestamp with time zone[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.look_soon(p_instance bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.make_history_partition(p_parent text, p_moment text, p_day date) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.make_history_partitions(p_ahead integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.tell_field_faults(p_instance bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.map_by_default(p_instance bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.map_merge_field(p_instance text, p_tag text, p_source text, p_triggers boolean, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.mapping_changed(p_instance bigint, p_actor text, p_old jsonb, p_new jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.merge_companies(survivor_source text, survivor_id text, other_source text, other_id text, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.merge_companies(survivor_source text, survivor_id text, other_source text, other_id text, p_actor text) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.merge_persons(survivor_source text, survivor_id text, other_source text, other_id text, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.merge_persons(survivor_source text, survivor_id text, other_source text, other_id text, p_actor text) TO koppeling_writer;

GRANT SELECT ON TABLE koppeling.jobs TO koppeling_reader;

REVOKE ALL ON FUNCTION koppeling.newest_jobs(max_jobs integer, state text, queue text, kind text, before bigint, key text) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.newest_jobs(max_jobs integer, state text, queue text, kind text, before bigint, key text) TO koppeling_reader;

REVOKE ALL ON FUNCTION koppeling.next_priority(p_queue text, p_kinds text[], p_after integer, p_mark_kinds text[], p_mark_priorities integer[], p_mark_times timestamp with time zone[], p_suspects boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.note_instance(p_instance bigint, p_kind text, p_old jsonb, p_new jsonb, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.note_enabled(p_instance bigint, p_enabled boolean, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.observe_fields(p_instance bigint, p_fields jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.observe_former(p_link bigint, p_page jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.open_gates(p_queues text[], p_order_keys text[], p_limit_keys text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.open_kinds(p_queue text, p_kinds text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.open_limits(p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.open_stale_gates(p_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.opted_in_since(p_group bigint, p_person bigint, p_moment timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.pass_gates(p_queue text, p_ids bigint[], p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.pass_permit(p_permit bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.pause(queue text, kind text, key text, reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.pause_ended() FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.pause_schedule(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.present_token(p_hash bytea) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.preview_page(p_instance bigint, p_page jsonb, p_read_at timestamp with time zone, p_again text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.prune_history(p_max integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.put_companies(companies jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.put_companies(companies jsonb) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.put_company(company jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.put_company(company jsonb) TO koppeling_writer;

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

REVOKE ALL ON FUNCTION koppeling.readmission_obstacle(p_group bigint, p_person bigint, p_clocks_differ_by interval, OUT message text, OUT hint text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.readmit(p_group bigint, p_person bigint, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.readmit_person(source text, external_id text, p_group text, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.readmit_person(source text, external_id text, p_group text, p_actor text) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.readmit_resubscribed(p_instance bigint, p_group bigint, p_person bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.receive_webhook(p_instance bigint, p_secret_hash bytea, p_body jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.record_erased(p_member bigint, p_outcome text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.record_invited(p_member bigint, p_answer jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.record_own_no(p_group bigint, p_person bigint, p_actor text, p_to_all boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.refresh_claims() FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.refuse_invitation(p_member bigint, p_because text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.register_consumer(p_worker bigint, p_queue text, p_kinds text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.register_worker(p_name text, p_host text, p_pid integer, p_version text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.release_parked(ids bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.release_permit(p_permit bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.relink_instance(p_instance bigint, p_account bigint, p_list text, p_list_name text, p_fields jsonb, p_secret_hash bytea, p_secret bytea, p_list_is_gone boolean, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.remove_limit(limit_key text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.remove_schedule(name text, public_only boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.rename_value(p_kind text, p_old text, p_new text) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.rename_value(p_kind text, p_old text, p_new text) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.request_erasure_check(p_persons bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.request_last_look(p_link bigint, p_instance bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.require_endable(p_instance bigint, p_list_is_gone boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.require_held_plan(p_plan bigint, p_version integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.restore_by_hook(p_instance bigint, p_hook bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.resume(queue text, kind text, key text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.resume_schedule(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.retry_job(id bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.retry_rejected(queue text, kind text, reason text, rejected_since timestamp with time zone, rejected_until timestamp with time zone, max_jobs integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.return_jobs(p_back bigint[], p_ids bigint[], p_outcomes text[], p_notes text[], p_delays double precision[], p_now timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.room_under(l koppeling.job_limit) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.run_actions(p_actions bigint[], p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.run_at_fault(jobs jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.run_due_schedules(p_limit integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.run_rejected_actions(p_instance text, p_reason text, p_action text, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.run_schedule(name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.run_waiting_actions(p_instance text, p_action text, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.set_gender_text(p_instance text, p_gender text, p_text text, p_title text, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.set_limit(limit_key text, concurrency integer, rate integer, period interval) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.set_permit_budget(resource text, budget integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.set_retention(outcome text, keep interval) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.set_template(p_instance bigint, p_action text, p_mode text, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.set_thresholds(p_group text, p_thresholds jsonb, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.set_training_addresses(p_patterns text[], p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.stop_worker(p_worker bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.switch_instance(p_instance bigint, p_setting text, p_on boolean, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.take_anonymised(p_rows koppeling.person_input[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.throttle(p_resource text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.unblock(p_ids bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.unmap_merge_field(p_instance text, p_tag text, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.unsubscribe_person(source text, external_id text, p_group text, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION koppeling.unsubscribe_person(source text, external_id text, p_group text, p_actor text) TO koppeling_writer;

REVOKE ALL ON FUNCTION koppeling.wake(p_queues text[], p_kinds text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.wake_schedulers() FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.why(source text, external_id text, p_group text, p_at timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.wipe_contacts(p_members bigint[], p_contacts text[], p_keys text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.wipe_jobs(p_identities text[], p_keys text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.wipe_person(p_person bigint, p_key bytea, p_erasure bigint, p_actor text) FROM PUBLIC;

REVOKE ALL ON FUNCTION koppeling.wipe_suppressions(p_ids bigint[]) FROM PUBLIC;

GRANT SELECT ON TABLE koppeling.permits TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.account_permits TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.account_status TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.actions TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.audience_members TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.erasures TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.group_check TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.instance_status TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.invitations TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.job_attempts TO koppeling_reader;

GRANT SELECT ON SEQUENCE koppeling.job_id_seq TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.limits TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.merge_fields TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.pauses TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.plan_causes TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.plan_lines TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.plan_thresholds TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.plans TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.queue_status TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.rejected_reasons TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.restored_nos TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.schedules TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.target_group_members TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.tasks TO koppeling_reader;

GRANT SELECT ON TABLE koppeling.workers TO koppeling_reader;
