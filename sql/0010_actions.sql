-- What each audience member needs, staged as jobs of the instance's queue, and what a call is decided on.

-- Noes that are to hold in every list and do not yet: they bind all the same.
create table koppeling.spreading_no (
    suppression_id bigint primary key references koppeling.suppression on delete cascade
);

-- Open suppressions that bind an address or a contact: at it, or at a person who holds it or claims it.
create function koppeling.binding_reasons(p_group bigint, p_key text, p_contact text, p_member bigint)
    returns text[]
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select coalesce(array_agg(distinct s.reason), '{}')
    from (
        select reason from koppeling.open_suppression
        where target_group_id = p_group and address_key = p_key
        union all
        select reason from koppeling.open_suppression
        where target_group_id = p_group and contact_id = p_contact
        union all
        select s.reason
        from koppeling.open_suppression s
        where s.target_group_id = p_group and s.reason = any (koppeling.binding_noes())
          and s.person_id = any (array(
              select e.person_id from koppeling.email_address e where e.address_key = p_key
              union all
              select c.person_id from koppeling.claim c where c.member_id = p_member))
        union all
        select s.reason
        from koppeling.spreading_no w
        join koppeling.suppression s on s.id = w.suppression_id
        where s.address_key = p_key or s.person_id = any (array(
            select e.person_id from koppeling.email_address e where e.address_key = p_key
            union all
            select c.person_id from koppeling.claim c where c.member_id = p_member))
    ) s;
end;

-- Everything that a step is decided on, read now: what is wanted of the member, and what is known of it. In SQL without
-- settings, so that it becomes part of its caller's statement, which pays only for what it asks for.
create function koppeling.member_facts(p_members bigint[])
    returns table (
        known koppeling.audience_member, claims bigint, wanted_address text, wanted_key text, wanted_fields jsonb,
        reasons text[], target_reasons text[], unsubscribe_here boolean, reactivated boolean, keeps_adopted boolean,
        restores_no boolean, has_invitation boolean, web_id_seen bigint, own_source text
    )
    language sql stable
begin atomic
    select m.known, c.claims, p.address, p.address_key, p.fields,
           koppeling.binding_reasons(i.target_group_id, (m.known).address_key, (m.known).contact_id, g.id),
           case when (m.known).moving_to is null then '{}'
                else koppeling.binding_reasons(i.target_group_id, (m.known).moving_to, null, null) end,
           exists (
               -- Two looks, each along its index: one with "or" would go through the noes of the whole group.
               select
               from (
                   -- Said of the person file's address, which the contact may have left inside Mailchimp, or not have
                   -- got yet.
                   select s.* from koppeling.open_suppression s
                   where s.address_key in ((m.known).address_key, (m.known).file_key, (m.known).moving_to)
                     and s.target_group_id = i.target_group_id
                   union all
                   select s.* from koppeling.open_suppression s
                   where s.target_group_id = i.target_group_id and s.contact_id = (m.known).contact_id
               ) s
               where s.reason = 'unsubscribed' and s.source = 'user'
                 -- Nor when he asked since to be invited, and has not answered: then he is not subscribed.
                 and not ((m.known).status is distinct from 'subscribed' and exists (
                     select from koppeling.invitation v
                     where v.member_id = g.id and v.ended_at is null and s.id = any (v.about)))
                 -- Whoever opted in again himself since then has the last word.
                 and not ((m.known).ownership in ('none', 'foreign')
                          and coalesce((m.known).opted_in_at > s.occurred_at, false))),
           exists (
               select
               from (
                   select s.* from koppeling.suppression s
                   where s.address_key = (m.known).address_key and s.target_group_id = i.target_group_id
                   union all
                   select s.* from koppeling.suppression s
                   where s.target_group_id = i.target_group_id and s.contact_id = (m.known).contact_id
               ) s
               join koppeling.suppression_lift l on l.suppression_id = s.id
               where s.reason = 'removedInMailchimp'
                 -- Of the archiving that stands, and not of one before it that nobody was there to be told of.
                 and greatest(s.occurred_at, l.lifted_at) >= (m.known).last_changed),
           i.keeps_adopted,
           exists (
               select from koppeling.restored_no r
               where r.instance_id = i.id and r.contact_id = (m.known).contact_id and r.restored_at is null),
           exists (select from koppeling.invitation v where v.member_id = g.id and v.ended_at is null),
           i.web_id_seen, i.own_source
    from unnest(p_members) g (id)
    cross join lateral (select m as known from koppeling.audience_member m where m.id = g.id offset 0) m
    join koppeling.connector_instance i on i.id = (m.known).instance_id
    cross join lateral (select count(*) as claims from koppeling.claim c where c.member_id = g.id) c
    left join lateral (
        select c.address, c.address_key, c.fields
        from koppeling.claim c
        where c.member_id = g.id
        order by c.manual desc, c.claimed_at, c.person_id
        limit 1
    ) p on true;
end;

-- The same, column by column, for whoever decides a call.
create function koppeling.member_states(p_members bigint[])
    returns table (
        id bigint, instance_id bigint, contact_id text, remote_id text, address text, address_key text, file_key text,
        status text, ownership text, archived_by_us boolean, intent text, moving_to text, applied_fields jsonb,
        claims bigint, wanted_address text, wanted_key text, wanted_fields jsonb,
        reasons text[], target_reasons text[], unsubscribe_here boolean, reactivated boolean, keeps_adopted boolean,
        restores_no boolean, intent_at timestamptz, opted_in_at timestamptz, web_id_seen bigint, own_source text,
        is_erased boolean, invited_at timestamptz
    )
    language plpgsql stable
    -- Each member through its index, whatever the statistics say: they are old where many come in.
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
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

-- The key, and order key, of a member's actions: at most one waits, and never two run.
create function koppeling.member_key(p_member bigint) returns text
    language sql immutable parallel safe
    return 'member-' || p_member::text;

-- The action that a member needs now, or null; silent fields are no reason for one. The executor decides again.
create function koppeling.needed_action(s koppeling.audience_member, p_claims bigint, p_key text, p_fields jsonb,
                                        p_unsubscribe boolean, p_keeps_adopted boolean, p_running boolean,
                                        p_restores_no boolean, p_invites boolean, p_silent text[])
    returns text
    language sql immutable parallel safe
    return case
        when s.erasure_id is not null and p_claims = 0 then 'erase'
        when p_restores_no and s.status in ('subscribed', 'pending', 'archived') then 'unsubscribe'
        when p_unsubscribe and (s.status in ('subscribed', 'pending') or s.intent is not null or p_running)
            then 'unsubscribe'
        when p_invites then 'invite'
        when p_claims = 0 then
            case when s.ownership = 'created' and s.status = 'subscribed'
                   or s.ownership = 'adopted' and s.status = 'subscribed' and not p_keeps_adopted
                   or s.intent is not null or p_running
                then 'delete' end
        when s.status is null or s.status in ('absent', 'archived') then 'create'
        when s.status = 'subscribed' and s.ownership in ('none', 'foreign') then 'create'
        when s.status = 'subscribed'
             and (s.intent is not null or s.moving_to is not null
                  or p_key is distinct from s.file_key and p_key is distinct from s.address_key
                  or p_fields - p_silent is distinct from s.applied_fields - p_silent)
            then 'update'
    end;

-- An address flips too often when it is to be created for the second time after an archive of the same hour. Urgent: no
-- template holds it back, since a no binds who is to be archived, or has to be looked for.
create type koppeling.member_need as (
    member_id bigint, key text, waiting text, needed text, oscillates boolean, urgent boolean
);

-- Stages what these members need, and supersedes what they no longer need. Of those that were made just now for those
-- who claim them nothing is known that could be read: they are to be created.
create function koppeling.stage_members(p_instance bigint, p_members bigint[], p_made bigint[] default '{}') returns void
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
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

-- What each member needs beside what already waits for it.
create function koppeling.member_needs(p_instance bigint, p_members bigint[])
    returns setof koppeling.member_need
    language plpgsql stable
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
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
