-- The ledger of erasures: keyed hashes of who was erased, so that no put brings anybody back and nobody reads it.

-- The key of the hashes, made once and never replaced; sealed with the deployment's key, which only the program has.
create table koppeling.erasure_key (
    only_one boolean primary key default true check (only_one),
    sealed bytea not null
);

create table koppeling.erasure (
    id bigint generated always as identity primary key,
    person_id bigint not null unique,
    erased_at timestamptz not null default koppeling.now(),
    actor text not null,
    -- How many rows went or were emptied, by what they were.
    removed jsonb not null default '{}',
    -- How often the same person was put again since, and not taken in.
    puts_skipped bigint not null default 0,
    last_skipped_at timestamptz
);

create table koppeling.erased_hash (
    hash bytea primary key check (octet_length(hash) = 32),
    subject text not null check (subject in ('identity', 'address')),
    erasure_id bigint not null references koppeling.erasure
);

-- What becomes of each contact of the erased person: nothing here says who that was.
create table koppeling.erasure_contact (
    erasure_id bigint not null references koppeling.erasure,
    member_id bigint not null,
    instance_id bigint not null,
    instance text not null,
    outcome text not null default 'waiting' check (outcome in ('waiting', 'deleted', 'absent', 'kept', 'listGone')),
    changed_at timestamptz not null default koppeling.now(),
    primary key (erasure_id, member_id)
);

-- Persons who came in or got an address since the first erasure: until the ledger has been looked at, no claim of
-- theirs changes.
create table koppeling.erasure_check (
    person_id bigint primary key
);

create function koppeling.awaits_check(p_person bigint) returns boolean
    language sql stable
    return exists (select from koppeling.erasure_check q where q.person_id = p_person);

-- Who was put as anonymised and is not there: when that is somebody erased, the put is counted.
create table koppeling.anonymised_put (
    id bigint generated always as identity primary key,
    source text not null,
    external_id text not null
);

-- HMAC-SHA-256 (RFC 2104) in two steps, since the pads are the same for everything that one key hashes.
create function koppeling.hash_pads(p_key bytea, out inner_pad bytea, out outer_pad bytea)
    language plpgsql immutable parallel safe
as $$
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

create function koppeling.keyed_hash(p_inner_pad bytea, p_outer_pad bytea, p_text text) returns bytea
    language sql immutable parallel safe
    return sha256(p_outer_pad || sha256(p_inner_pad || convert_to(p_text, 'UTF8')));

-- What is hashed: no text that was cleaned holds the separator.
create function koppeling.identity_subject(source text, external_id text) returns text
    language sql immutable parallel safe
    return concat_ws(e'\x1f', 'identity', koppeling.fold(koppeling.clean_text(source)),
        koppeling.fold(koppeling.clean_text(external_id)));

create function koppeling.address_subject(address_key text) returns text
    language sql immutable parallel safe
    return concat_ws(e'\x1f', 'address', address_key);

-- Whoever comes in, or is given an address, is held against the ledger once there is something in it.
create function koppeling.request_erasure_check(p_persons bigint[]) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    if cardinality(p_persons) = 0 or not exists (select from koppeling.erasure) then
        return;
    end if;
    insert into koppeling.erasure_check (person_id)
    select p from unnest(p_persons) p group by p order by p
    on conflict do nothing;
    perform koppeling.enqueue_internal('erasure.check', key => 'erasure.check', order_key => 'erasure.check');
end $$;

create function koppeling.check_new_persons() returns trigger
    language plpgsql
as $$
begin
    if exists (select from koppeling.erasure) then
        perform koppeling.request_erasure_check(array(select n.id from given n));
    end if;
    return null;
end $$;
create trigger check_erasures after insert on koppeling.person
    referencing new table as given for each statement execute function koppeling.check_new_persons();

create function koppeling.check_given_addresses() returns trigger
    language plpgsql
as $$
begin
    if exists (select from koppeling.erasure) then
        perform koppeling.request_erasure_check(array(select n.person_id from given n));
    end if;
    return null;
end $$;
create trigger check_erasures_inserted after insert on koppeling.email_address
    referencing new table as given for each statement execute function koppeling.check_given_addresses();
create trigger check_erasures_updated after update on koppeling.email_address
    referencing new table as given for each statement execute function koppeling.check_given_addresses();

-- The erasure of this identity, or null.
create function koppeling.find_erasure(p_key bytea, source text, external_id text) returns bigint
    language sql stable set search_path = koppeling, pg_temp
    return (
        select h.erasure_id
        from koppeling.hash_pads(p_key) k
        join koppeling.erased_hash h on h.subject = 'identity' and h.hash = koppeling.keyed_hash(
            k.inner_pad, k.outer_pad, koppeling.identity_subject(source, external_id)));

-- How many of these persons, in the JSON of a put, were erased.
create function koppeling.erased_among(p_key bytea, p_persons jsonb) returns bigint
    language sql stable set search_path = koppeling, pg_temp
    return (
        select count(*)
        from koppeling.hash_pads(p_key) k
        cross join jsonb_array_elements(
            case jsonb_typeof(p_persons) when 'array' then p_persons else jsonb_build_array(p_persons) end) g (person)
        join koppeling.erased_hash h on h.subject = 'identity' and h.hash = koppeling.keyed_hash(
            k.inner_pad, k.outer_pad, koppeling.identity_subject(g.person ->> 'source', g.person ->> 'id')));

-- How many whom the session's import made were erased: they wait to be held against the ledger.
create function koppeling.erased_in_import(p_key bytea) returns bigint
    language plpgsql stable
as $$
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

-- Persons whom their administration anonymised, by writing chance over what they were: nothing of that is looked at.
create function koppeling.bare_anonymised(p_persons jsonb) returns jsonb
    language sql immutable parallel safe
    return case when jsonb_path_exists(p_persons, '$[*] ? (@.anonymised == true)') then (
        select jsonb_agg(case when p.person @> '{"anonymised": true}'
                then jsonb_strip_nulls(jsonb_build_object('anonymised', true, 'source', p.person -> 'source',
                                                          'id', p.person -> 'id'))
                else p.person end order by p.n)
        from jsonb_array_elements(p_persons) with ordinality p (person, n)) else p_persons end;

create function koppeling.anonymised_input(p_line bigint, p_source text, p_id text) returns koppeling.person_input
    language sql immutable parallel safe
    return row(p_line, p_source, p_id, null, null, null, null, null, '{}'::text[], '{}'::text[], '{}'::text[],
        '{}'::koppeling.position_input[], '{anonymised}'::text[], null, null)::koppeling.person_input;

-- Yes or no in a file, in English or Dutch; null for anything else.
create function koppeling.cell_boolean(cell text) returns boolean
    language sql immutable parallel safe
    return case when koppeling.fold(koppeling.clean_text(cell)) in ('true', 'yes', 'ja', 'waar', '1') then true
                when koppeling.fold(koppeling.clean_text(cell)) in ('false', 'no', 'nee', 'onwaar', '0') then false end;

-- Waits for whoever is putting one of these for the first time in another transaction: what he commits is seen after
-- this. What is inserted for that is taken back.
create function koppeling.await_first_puts(p_rows koppeling.person_input[]) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
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

-- Has those among these rows erased who were anonymised, and returns the others: of whoever is among them nothing is put.
create function koppeling.take_anonymised(p_rows koppeling.person_input[]) returns koppeling.person_input[]
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
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

-- Counts the puts of erased persons who were put as anonymised, and takes them out of the jobs they came in. Returns how
-- many it looked at.
create function koppeling.count_anonymised(p_inner_pad bytea, p_outer_pad bytea, p_limit bigint) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
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

-- Holds up to p_limit persons against the ledger. Who was erased is taken out again and counted; who was given an
-- address of somebody erased is suppressed in every linked group. Returns how many it looked at.
create function koppeling.check_erasures(p_key bytea, p_limit bigint) returns bigint
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
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

insert into koppeling.job_kind (kind, public, description) values
    ('erasure.check', false, 'Holds new persons and addresses against the ledger of erasures'),
    ('person.erase', false, 'Erases one person; args: {"person": number, "actor": who}');

revoke execute on function
    koppeling.request_erasure_check(bigint[]), koppeling.check_erasures(bytea, bigint),
    koppeling.await_first_puts(koppeling.person_input[]), koppeling.take_anonymised(koppeling.person_input[]),
    koppeling.count_anonymised(bytea, bytea, bigint), koppeling.erased_among(bytea, jsonb),
    koppeling.erased_in_import(bytea)
from public;
