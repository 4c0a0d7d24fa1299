-- The ledger of consent and deliverability: what was said, at what it was said, whom it binds, and its end.

-- The noes that bind whoever holds the address or claimed the contact, and outlive the address; a bounce is of the
-- address alone.
create function koppeling.binding_noes() returns text[]
    language sql immutable parallel safe
    return array['complained', 'unsubscribed', 'forgotten'];

-- Whether a no that is open says as much as one of the same reason that was said, perhaps at another address, at this
-- moment: of a complaint and an unsubscribe the last counts, since whoever opts in after the first may say it again.
create function koppeling.covers(p_open timestamptz, p_reason text, p_said timestamptz) returns boolean
    language sql immutable parallel safe
    return p_open >= p_said or p_reason not in ('complained', 'unsubscribed');

-- By how much Mailchimp's clock may be ahead of ours, where a moment of the one is held against one of the other.
create function koppeling.clock_difference() returns interval
    language sql immutable parallel safe
    return interval '4 minutes';

-- An entry stands at a contact, at an address, or at a person; one event leaves one of each that it concerns.
create table koppeling.suppression (
    id bigint generated always as identity primary key,
    -- Outlives its group: whoever said no has said so when the list is linked again.
    target_group_id bigint not null,
    reason text not null
        check (reason in ('complained', 'unsubscribed', 'cleaned', 'forgotten', 'removedInMailchimp')),
    contact_id text,
    address_key text,
    person_id bigint references koppeling.person,
    -- For a bounce of a person whose contact moved inside Mailchimp: the address of the person file it goes with.
    file_key text,
    -- The entry this one follows from.
    follows bigint references koppeling.suppression,
    source text not null check (source in ('mailchimp', 'user')),
    occurred_at timestamptz not null,
    recorded_at timestamptz not null default koppeling.now(),
    detail jsonb not null default '{}',
    constraint stands_at_one check (num_nonnulls(contact_id, address_key, person_id) = 1),
    constraint file_key_of_a_bounce check (file_key is null or (person_id is not null and reason = 'cleaned'))
);
create index suppression_by_contact on koppeling.suppression (target_group_id, contact_id) where contact_id is not null;
create index suppression_by_address on koppeling.suppression (address_key) where address_key is not null;
create index suppression_by_person on koppeling.suppression (person_id) where person_id is not null;
create index suppression_by_cause on koppeling.suppression (follows) where follows is not null;

-- Where a no stands that was said to every group. It is recorded in each group of that moment, and each that is made
-- later, as by linking a list, begins with it. Who asks one list to be let back in is let in there: it holds elsewhere.
create function koppeling.every_group() returns bigint
    language sql immutable parallel safe
    return 0;

create table koppeling.suppression_lift (
    suppression_id bigint primary key references koppeling.suppression,
    lifted_at timestamptz not null default koppeling.now(),
    source text not null check (source in ('mailchimp', 'user')),
    cause text not null
);

create function koppeling.refuse_change() returns trigger
    language plpgsql
as $$
begin
    -- Only an erasure takes anything out, by name.
    if current_setting('koppeling.erasing', true) = pg_current_xact_id()::text then
        return null;
    end if;
    raise exception 'the ledger %.% is append-only', tg_table_schema, tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger append_only before update or delete or truncate on koppeling.suppression
    for each statement execute function koppeling.refuse_change();
create trigger append_only before update or delete or truncate on koppeling.suppression_lift
    for each statement execute function koppeling.refuse_change();

create view koppeling.open_suppression as
select s.*
from koppeling.suppression s
where not exists (select from koppeling.suppression_lift l where l.suppression_id = s.id);

-- Addresses at which a no was recorded and whose holders are looked for once more after it is committed: somebody may
-- have been given the address in a transaction that could not see the no, and that it could not see.
create table koppeling.holder_check (
    suppression_id bigint primary key references koppeling.suppression
);

-- A no belongs to whoever holds the address; a bounce to the address the group writes to; the rest to the person. Of
-- everybody when p_all is true, and else of p_persons.
create function koppeling.open_reasons(p_group bigint, p_all boolean, p_persons bigint[])
    returns table (person_id bigint, reasons text[])
    language sql stable
as $$
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

-- Binds these persons to every open no at an address that they hold now, so that it outlives the address.
create function koppeling.bind_holders(p_persons bigint[]) returns void
    language plpgsql
    -- Each person through his addresses, whatever the statistics say: nearly nobody said no.
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
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

create function koppeling.bind_given_addresses() returns trigger
    language plpgsql
as $$
begin
    perform koppeling.bind_holders(array(
        select g.person_id from given g
        where exists (select from koppeling.suppression s where s.address_key = g.address_key)));
    return null;
end $$;
create trigger bind_inserted after insert on koppeling.email_address
    referencing new table as given for each statement execute function koppeling.bind_given_addresses();
create trigger bind_updated after update on koppeling.email_address
    referencing new table as given for each statement execute function koppeling.bind_given_addresses();

-- Derives again the memberships that an entry of the ledger touched, and lets the connector know of all of them.
create function koppeling.rederive(
    p_group bigint, p_persons bigint[], p_cause text, p_actor text, p_by_hand boolean default false)
    returns setof bigint
    language plpgsql
as $$
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

-- Records what was said or found. An entry that is open already is not repeated, unless it is older and stands at a
-- person, or what is said is to hold in every list: in another one the older may have been lifted since. Returns whose
-- status changed.
create function koppeling.open_suppression(
    p_group bigint, p_reason text, p_address text, p_contact_id text, p_persons bigint[], p_source text,
    p_occurred_at timestamptz, p_detail jsonb) returns setof bigint
    language plpgsql set plan_cache_mode = force_custom_plan
as $$
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

-- Every group that these persons' facts can touch, by rising id: where they have a membership, where a rule asks for
-- something they have, where a rule asks for nothing.
create function koppeling.groups_concerned(p_persons bigint[]) returns bigint[]
    language plpgsql stable
    -- Each person through its index, whatever the statistics say; planned once, not for every edit.
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
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

-- Takes up to p_limit requests and brings the memberships of those persons up to date, in every group that can be
-- touched.
create function koppeling.evaluate_requests(p_limit bigint) returns bigint
    language plpgsql set plan_cache_mode = force_custom_plan
as $$
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

insert into koppeling.job_kind (kind, public, description) values
    ('group.evaluate', true, 'Brings memberships up to date with the persons whose facts changed.'),
    ('persons.put', true, 'Adds and changes persons; its args are a list of them, as put_persons takes it.')
on conflict (kind) do nothing;
