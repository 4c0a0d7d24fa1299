-- The person file: persons, their addresses and categories, and the one way in that SQL, jobs and CSV share.

-- Without case and without locale: the same in every database, whatever its collation. Like the next ones it is not
-- declared strict, or the planner could not inline it.
create function koppeling.fold(value text) returns text
    language sql immutable parallel safe
    return case
        when octet_length(value) = length(value) then lower(value collate "C") collate "default"
        else normalize(lower(normalize(value, nfc) collate "und-x-icu") collate "default", nfc)
    end;

-- Whether a text is surely as clean_text leaves it: ASCII, with single spaces between what is not one.
create function koppeling.is_plain(value text) returns boolean
    language sql immutable parallel safe
    return value ~ '^[\u0021-\u007e]+( [\u0021-\u007e]+)*$';

-- Composed (NFC), every run of white space or control characters one space, none at the ends; nothing left is null.
-- Most texts are clean ASCII already, which is seen twelve times faster than it is made.
create function koppeling.clean_text(value text) returns text
    language sql immutable parallel safe
    return case
        when koppeling.is_plain(value) then value
        else nullif(btrim(regexp_replace(
            normalize(value, nfc),
            '[\u0001-\u0020\u007f-\u00a0\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]+', ' ', 'g')), '')
    end;

-- One label of a domain name in its ASCII form (RFC 3492).
create function koppeling.ascii_label(label text) returns text
    language plpgsql immutable parallel safe strict
as $$
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

-- The key of an address with letters beyond ASCII: composed, the domain in its ASCII form.
create function koppeling.international_address_key(address text) returns text
    language sql immutable parallel safe
    return koppeling.fold(split_part(koppeling.clean_text(address), '@', 1)) || '@' || (
        select string_agg(koppeling.ascii_label(label), '.' order by place)
        from regexp_split_to_table(
            normalize(koppeling.fold(split_part(koppeling.clean_text(address), '@', 2)), nfkc), '\.')
            with ordinality as labels (label, place));

-- What all spellings of one address have in common.
create function koppeling.address_key(address text) returns text
    language sql immutable parallel safe
    return case
        when octet_length(address) = length(address)
        then lower(btrim(address, E' \t\r\n') collate "C") collate "default"
        else koppeling.international_address_key(address)
    end;

-- Null when mail can be sent there, else what is wrong with it.
create function koppeling.address_fault(address text) returns text
    language sql immutable parallel safe
    return case
        when length(address) > 254 then 'is longer than 254 characters'
        when length(address) - length(replace(address, '@', '')) <> 1 then 'must hold exactly one @'
        when address ~ '[\u0001-\u0020\u007f-\u00a0]' then 'must not hold spaces or control characters'
        when address !~ '^[^][@<>(),;:\\"]{1,64}@[^][@<>(),;:\\"]+$' then 'is not an e-mail address'
        when address !~ '@([^.@]{1,63}\.)+[^.@]{2,63}$' then 'must end in a full domain name'
        when address ~ '(^\.|\.\.|\.@)' then 'must not have a dot there'
    end;

create function koppeling.gender_value(value text) returns text
    language sql immutable parallel safe
    return case lower(value collate "C")
        when 'male' then 'male' when 'man' then 'male' when 'm' then 'male'
        when 'female' then 'female' when 'vrouw' then 'female' when 'v' then 'female' when 'f' then 'female'
        when 'other' then 'other' when 'anders' then 'other' when 'x' then 'other'
        when 'unknown' then 'unknown' when 'onbekend' then 'unknown'
    end;

-- The names as they are shown to the outside.
create function koppeling.first_name(given_name text, initials text) returns text
    language sql immutable parallel safe
    return coalesce(given_name, initials, '');

-- Prefixes that were typed into the family name as well are not said twice. Without concat_ws, which is not immutable:
-- the planner could not inline it.
create function koppeling.last_name(prefixes text, family_name text) returns text
    language sql immutable parallel safe
    return case
        when prefixes is null then coalesce(family_name, '')
        when family_name is null then prefixes
        when starts_with(koppeling.fold(family_name), koppeling.fold(prefixes) || ' ') then family_name
        else prefixes || ' ' || family_name
    end;

create table koppeling.person (
    id bigint generated always as identity primary key,
    source text not null check (length(source) between 1 and 100),
    external_id text not null check (length(external_id) between 1 and 200),
    given_name text check (length(given_name) between 1 and 200),
    initials text check (length(initials) between 1 and 200),
    prefixes text check (length(prefixes) between 1 and 200),
    family_name text check (length(family_name) between 1 and 200),
    gender text not null default 'unknown' check (gender in ('male', 'female', 'other', 'unknown')),
    state text not null default 'active' check (state in ('active', 'archived', 'erased')),
    -- The person that this one was merged into: whoever names the old one means the new one. Never a chain.
    merged_into bigint references koppeling.person,
    created_at timestamptz not null default koppeling.now(),
    changed_at timestamptz not null default koppeling.now(),
    constraint merged_is_no_more_active check (merged_into is null or state <> 'active')
);
create unique index person_identity on koppeling.person (koppeling.fold(source), koppeling.fold(external_id));
create index person_merged on koppeling.person (merged_into) where merged_into is not null;
create index person_not_active on koppeling.person (id) where state <> 'active';
-- As a Dutch list is sorted, whatever the database's own collation.
create index person_by_name on koppeling.person (koppeling.fold(coalesce(family_name, '')) collate "nl-x-icu", id);

-- A person is archived or erased but never deleted, so the big tables name persons without a foreign key. What else
-- they name is checked a statement at a time: see the file on references.
create table koppeling.email_address (
    id bigint generated always as identity primary key,
    person_id bigint not null,
    kind text not null check (kind <> '' and kind = koppeling.fold(kind)),
    address text not null check (length(address) <= 254),
    address_key text not null generated always as (koppeling.address_key(address)) stored,
    unique (person_id, kind)
);
create index email_address_by_key on koppeling.email_address (address_key);

create table koppeling.category_group (
    id bigint generated always as identity primary key,
    name text not null check (length(name) between 1 and 200 and strpos(name, '/') = 0)
);
create unique index category_group_name on koppeling.category_group (koppeling.fold(name));

create table koppeling.category (
    id bigint generated always as identity primary key,
    category_group_id bigint not null references koppeling.category_group,
    name text not null check (length(name) between 1 and 200)
);
create unique index category_name on koppeling.category (category_group_id, koppeling.fold(name));

create table koppeling.person_category (
    person_id bigint not null,
    category_id bigint not null,
    primary key (person_id, category_id)
);
create index person_category_by_category on koppeling.person_category (category_id, person_id);

-- What a person is, and where: all three may be unknown, but not at once. Companies are merged but never deleted.
create table koppeling.company (
    id bigint generated always as identity primary key,
    source text not null check (length(source) between 1 and 100),
    external_id text not null check (length(external_id) between 1 and 200),
    name text not null check (length(name) between 1 and 200),
    -- The company that this one was merged into: whoever names the old one means the new one. Never a chain.
    merged_into bigint references koppeling.company,
    created_at timestamptz not null default koppeling.now(),
    changed_at timestamptz not null default koppeling.now()
);
create unique index company_identity on koppeling.company (koppeling.fold(source), koppeling.fold(external_id));
create index company_merged on koppeling.company (merged_into) where merged_into is not null;
create index company_by_name on koppeling.company (koppeling.fold(name), id);

create table koppeling.company_category (
    id bigint generated always as identity primary key,
    name text not null check (length(name) between 1 and 200)
);
create unique index company_category_name on koppeling.company_category (koppeling.fold(name));

create table koppeling.company_in_category (
    company_id bigint not null references koppeling.company,
    company_category_id bigint not null references koppeling.company_category,
    primary key (company_id, company_category_id)
);
create index company_in_category_by_category
    on koppeling.company_in_category (company_category_id, company_id);

create table koppeling.job_function (
    id bigint generated always as identity primary key,
    name text not null check (length(name) between 1 and 200)
);
create unique index job_function_name on koppeling.job_function (koppeling.fold(name));

create table koppeling.department (
    id bigint generated always as identity primary key,
    name text not null check (length(name) between 1 and 200)
);
create unique index department_name on koppeling.department (koppeling.fold(name));

create table koppeling.position (
    id bigint generated always as identity primary key,
    person_id bigint not null,
    job_function_id bigint,
    department_id bigint,
    company_id bigint,
    constraint position_says_something check (num_nonnulls(job_function_id, department_id, company_id) > 0),
    constraint position_once unique nulls not distinct (person_id, job_function_id, department_id, company_id)
);
create index position_by_function on koppeling.position (job_function_id, person_id) where job_function_id is not null;
create index position_by_department on koppeling.position (department_id, person_id) where department_id is not null;
create index position_by_company on koppeling.position (company_id, person_id) where company_id is not null;

-- Persons whose facts changed and who wait for an evaluation; after_pass: once more, when no group is passed in full.
create table koppeling.evaluation_request (
    person_id bigint primary key,
    cause text not null,
    requested_at timestamptz not null default koppeling.now(),
    after_pass boolean not null default false,
    -- Evaluated already; once more when the ledger of erasures has been looked at.
    after_check boolean not null default false,
    -- Somebody changed this one person by hand: what follows from it is never held.
    by_hand boolean not null default false
);

create function koppeling.request_evaluation(persons bigint[], cause text, by_hand boolean default false) returns void
    language plpgsql
as $$
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

-- The id of a person by its external identity, which is compared without case; null when there is none. Who was merged
-- is the survivor.
create function koppeling.find_person(source text, external_id text) returns bigint
    language sql stable parallel safe
    return (
        select coalesce(p.merged_into, p.id) from koppeling.person p
        where koppeling.fold(p.source) = koppeling.fold(koppeling.clean_text(find_person.source))
            and koppeling.fold(p.external_id) = koppeling.fold(koppeling.clean_text(find_person.external_id)));

-- The same, but an error that names the identity when there is none.
create function koppeling.require_person(source text, external_id text) returns bigint
    language plpgsql stable
as $$
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

-- The person of this number, or whom she was merged into, who is neither merged nor erased by anybody else until the
-- transaction ends. Before any group is locked, as by everybody who takes both.
create function koppeling.lock_person(p_person bigint) returns bigint
    language plpgsql
as $$
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
