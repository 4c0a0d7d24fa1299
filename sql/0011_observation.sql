-- What Mailchimp says: single members, pages of a pull, hooks. Facts are written from what it says now, never from a hook.

-- The stricter of two statuses seen within the same second wins.
create function koppeling.strictness(p_status text) returns int
    language sql immutable parallel safe
    return case p_status when 'unsubscribed' then 4 when 'cleaned' then 3 when 'archived' then 2
                         when 'pending' then 1 else 0 end;

-- Which no a contact's status tells of, and the reason that Mailchimp gives with it.
create function koppeling.no_reason(p_status text, p_given text) returns text
    language sql immutable parallel safe
    return case when p_status = 'cleaned' then 'cleaned'
                when p_given ~* '(abuse|spam)' then 'complained'
                else 'unsubscribed' end;

-- The claimants of a member: a no binds them.
create function koppeling.claimants(p_member bigint) returns bigint[]
    language sql stable set search_path = koppeling, pg_temp
    return array(select c.person_id from koppeling.claim c where c.member_id = p_member);

-- The row of a contact: by its id, else by its address, unless another contact stands there.
create function koppeling.find_member(p_instance bigint, p_contact text, p_key text) returns bigint
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
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

-- Takes in one member as Mailchimp shows it: {"id", "contact_id", "email_address", "status", "last_changed",
-- "unsubscribe_reason"}. A direct answer is newer than what is stored unless it says otherwise itself; one of a page
-- may be older. Returns the row when something about it may need an action, else null.
create function koppeling.observe_member(p_instance bigint, p_answer jsonb, p_direct boolean) returns bigint
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
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

-- The entries by which a contact who was deleted for good is forgotten, and whatever followed from them, when he has
-- signed up by himself since: no call brings him back. Our clock says when the deletion was found, and may differ from
-- Mailchimp's. What an erasure left stays.
create function koppeling.ended_deletions(p_group bigint, p_member koppeling.audience_member) returns bigint[]
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    with recursive said as (
        select s.id, s.follows
        from koppeling.open_suppression s
        where s.target_group_id = p_group and s.reason = 'forgotten' and s.source = 'mailchimp'
          and (s.address_key = (p_member).address_key or s.contact_id = (p_member).contact_id)
          and (p_member).opted_in_at > s.occurred_at + koppeling.clock_difference()
    ), ended as (
        select s.id from said s
        union
        -- What stands at the address follows from what stands at the contact, who has another id by now.
        select s.follows from said s where s.follows is not null
        union
        select s.id
        from ended e
        join koppeling.open_suppression s on s.follows = e.id
        where s.target_group_id = p_group and s.reason = 'forgotten' and s.source = 'mailchimp'
    )
    select coalesce(array_agg(e.id order by e.id), '{}') from ended e;
end;

-- Mailchimp reports a contact subscribed: a bounce is over, and a deletion for good when he signed up by himself. A no
-- of the person stands, and somebody is told when the contact came back by himself, unless the instance lets back in
-- who does and nothing stands against that. Before is null when he was never seen: then what was said earlier counts.
create function koppeling.resubscribed(p_instance bigint, p_group bigint, p_member bigint, p_before text) returns void
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
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

-- Takes in a page of a pull, read at p_read_at: what we carried out since is newer. Returns how many it told of.
create function koppeling.observe_page(p_instance bigint, p_page jsonb, p_read_at timestamptz, p_sweep bigint)
    returns table (members bigint, latest timestamptz)
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
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

-- Contacts that a full sweep did not meet: each is looked up by its id before anything is believed.
create function koppeling.missing_members(p_instance bigint, p_sweep bigint, p_limit int)
    returns table (id bigint, contact_id text)
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select m.id, m.contact_id
    from koppeling.audience_member m
    where m.instance_id = p_instance and m.contact_id is not null and m.sweep < p_sweep and m.status <> 'absent'
    order by m.id
    limit p_limit;
end;

-- The webhook door: stores a hook for an instance whose secret is right, and wakes the instance.
create function koppeling.receive_webhook(p_instance bigint, p_secret_hash bytea, p_body jsonb)
    returns text
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
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
revoke execute on function koppeling.receive_webhook(bigint, bytea, jsonb) from public;

-- A verified unsubscribe, complaint or bounce counts at once; only a later reading that says subscribed overrules it.
create function koppeling.believe_webhook(p_instance bigint, p_body jsonb) returns void
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
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
