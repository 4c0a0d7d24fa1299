-- What each audience member needs, staged as jobs of the instance's queue; what a call is decided on, and its record.

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
        where s.target_group_id = p_group and s.reason in ('complained', 'unsubscribed', 'forgotten')
          and s.person_id = any (array(
              select e.person_id from koppeling.email_address e where e.address_key = p_key
              union all
              select c.person_id from koppeling.claim c where c.member_id = p_member))
    ) s;
end;

-- Everything that a step is decided on, read now: what is wanted of the member, and what is known of it.
create function koppeling.member_states(p_members bigint[])
    returns table (
        id bigint, instance_id bigint, contact_id text, remote_id text, address text, address_key text, file_key text,
        status text, ownership text, archived_by_us boolean, intent text, moving_to text, applied_fields jsonb,
        claims bigint, wanted_address text, wanted_key text, wanted_fields jsonb,
        reasons text[], target_reasons text[], unsubscribe_here boolean, reactivated boolean, keeps_adopted boolean
    )
    language sql stable
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan set enable_nestloop = on
begin atomic
    select m.id, m.instance_id, m.contact_id, m.remote_id, m.address, m.address_key, m.file_key, m.status,
           m.ownership, m.archived_by_us, m.intent, m.moving_to, m.applied_fields,
           c.claims, p.address, p.address_key, p.fields,
           koppeling.binding_reasons(i.target_group_id, m.address_key, m.contact_id, m.id),
           case when m.moving_to is null then '{}'
                else koppeling.binding_reasons(i.target_group_id, m.moving_to, null, null) end,
           exists (
               select from koppeling.open_suppression s
               where s.target_group_id = i.target_group_id and s.reason = 'unsubscribed' and s.source = 'user'
                 -- Said of the person file's address, which the contact may have left inside Mailchimp.
                 and (s.address_key in (m.address_key, m.file_key) or s.contact_id = m.contact_id)),
           exists (
               select from koppeling.suppression s
               join koppeling.suppression_lift l on l.suppression_id = s.id
               where s.target_group_id = i.target_group_id and s.reason = 'removedInMailchimp'
                 and (s.address_key = m.address_key or s.contact_id = m.contact_id)),
           i.keeps_adopted
    from koppeling.audience_member m
    join koppeling.connector_instance i on i.id = m.instance_id
    cross join lateral (select count(*) as claims from koppeling.claim c where c.member_id = m.id) c
    left join lateral (
        select c.address, c.address_key, c.fields
        from koppeling.claim c
        where c.member_id = m.id
        order by c.manual desc, c.claimed_at, c.person_id
        limit 1
    ) p on true
    where m.id = any (p_members);
end;

-- The key, and order key, of a member's actions: at most one waits, and never two run.
create function koppeling.member_key(p_member bigint) returns text
    language sql immutable parallel safe
    return 'member-' || p_member;

-- The action that a member needs now, or null. The executor decides again when it runs.
create function koppeling.needed_action(s koppeling.audience_member, p_claims bigint, p_key text, p_fields jsonb,
                                        p_unsubscribe boolean, p_keeps_adopted boolean, p_running boolean)
    returns text
    language sql immutable parallel safe
    return case
        when p_unsubscribe and (s.status in ('subscribed', 'pending') or s.intent is not null or p_running)
            then 'unsubscribe'
        when p_claims = 0 then
            case when s.ownership = 'created' and s.status = 'subscribed'
                   or s.ownership = 'adopted' and s.status = 'subscribed' and not p_keeps_adopted
                   or s.intent is not null or p_running
                then 'delete' end
        when s.status is null or s.status in ('absent', 'archived') then 'create'
        when s.status = 'subscribed' and s.ownership in ('none', 'foreign') then 'create'
        when s.status = 'subscribed'
             and (s.intent is not null or s.moving_to is not null or p_key is distinct from s.file_key
                  or p_fields is distinct from s.applied_fields)
            then 'update'
    end;

create type koppeling.member_need as (member_id bigint, key text, waiting text, needed text);

-- Stages what these members need, and supersedes what they no longer need.
create function koppeling.stage_members(p_instance bigint, p_members bigint[]) returns void
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
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

-- What each member needs beside what already waits for it.
create function koppeling.member_needs(p_instance bigint, p_members bigint[])
    returns setof koppeling.member_need
    language sql stable
    -- The planner takes the gathered sets for single rows; a nested loop over them would be quadratic.
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan set enable_nestloop = off
begin atomic
    -- Gathered first, in one look each: joined member by member, a queue whose statistics are old is walked through
    -- for every one of them.
    with keys as materialized (
        select array_agg(koppeling.member_key(id)) as all from unnest(p_members) id
    ), waiting as materialized (
        select w.key, w.args ->> 'action' as action
        from koppeling.job w
        where w.queue = koppeling.instance_queue(p_instance) and w.state <> 'running'
          and w.key = any ((select "all" from keys)::text[])
    ), running as materialized (
        select r.order_key
        from koppeling.job r
        where r.queue = koppeling.instance_queue(p_instance) and r.state = 'running'
          and r.order_key = any ((select "all" from keys)::text[])
    )
    select m.id, koppeling.member_key(m.id), w.action,
           koppeling.needed_action(m, s.claims, s.wanted_key, s.wanted_fields, s.unsubscribe_here, s.keeps_adopted,
               r.order_key is not null)
    from koppeling.audience_member m
    join koppeling.member_states(p_members) s on s.id = m.id
    left join waiting w on w.key = koppeling.member_key(m.id)
    left join running r on r.order_key = koppeling.member_key(m.id)
    where m.id = any (p_members);
end;

-- Commits the intent of one call, if what it was decided on still holds. False: decide again.
create function koppeling.begin_call(p_member bigint, p_intent text, p_fields jsonb) returns boolean
    language sql
    set search_path = koppeling, pg_temp
begin atomic
    update koppeling.audience_member m
    set intent = p_intent, intent_at = koppeling.now(), sent_fields = p_fields
    from koppeling.member_states(array[p_member]) s
    where m.id = p_member
      and case p_intent
              when 'creating' then s.claims > 0 and s.reasons = '{}' and s.wanted_fields = p_fields
              when 'updating' then s.claims > 0 and s.wanted_fields = p_fields
              when 'moving' then s.claims > 0 and s.reasons = '{}' and s.target_reasons = '{}'
                                 and s.moving_to is not null
              when 'archiving' then s.claims = 0 or s.moving_to is not null
              when 'unsubscribing' then s.unsubscribe_here
          end
    returning true;
end;

-- Commits the intents of a bulk create for those members that are known to be absent and that nothing forbids.
-- The call's body is made here: a client that built it from rows would only copy it.
create function koppeling.begin_creates(p_members bigint[])
    returns table (members bigint[], body text)
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
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

-- Records what one call carried out, as Mailchimp's answer shows the contact; then looks at what is needed next.
create function koppeling.record_call(p_member bigint, p_ownership text, p_fields jsonb, p_answer jsonb) returns void
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
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

-- Takes in the contacts that came back from a bulk create as new and subscribed, and returns their members.
create function koppeling.take_created(p_members bigint[], p_answer jsonb) returns bigint[]
    language sql
    -- The planner takes the answer for a single row; a nested loop over it would be quadratic.
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan set enable_nestloop = off
begin atomic
    with answered as materialized (
        select o.*, koppeling.address_key(o.email_address) as address_key
        from jsonb_to_recordset(p_answer -> 'new_members') o (id text, contact_id text, email_address text,
                                                              status text, last_changed text)
        where o.status = 'subscribed'
    ), created as (
        update koppeling.audience_member m
        set contact_id = nullif(a.contact_id, ''), remote_id = a.id, status = 'subscribed', ownership = 'created',
            last_changed = nullif(a.last_changed, '')::timestamptz, observed_at = koppeling.now(),
            acted_at = koppeling.now(), file_key = a.address_key, applied_fields = m.sent_fields,
            intent = null, intent_at = null, sent_fields = null, note = null
        from answered a
        where m.id = any (p_members) and m.address_key = a.address_key and m.intent = 'creating'
        returning m.id
    )
    select coalesce(array_agg(id), '{}') from created;
end;

-- Records a bulk create. Returns the members it made; the others, if any, are decided one by one.
create function koppeling.record_creates(p_instance bigint, p_members bigint[], p_answer jsonb) returns bigint[]
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
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

-- Records an archive: Mailchimp's answer to it is empty.
create function koppeling.record_archived(p_member bigint) returns void
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
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

-- Records that nothing was sent, and why; null when there is nothing to say.
create function koppeling.record_nothing(p_member bigint, p_note text) returns void
    language sql
    set search_path = koppeling, pg_temp
begin atomic
    update koppeling.audience_member
    set intent = null, intent_at = null, sent_fields = null, note = p_note
    where id = p_member;
end;

-- Records that neither the address nor the contact is in the list. A contact that was there is gone for good.
create function koppeling.record_absent(p_member bigint) returns void
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
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

-- The claimants' move cannot be made: the old address is left, and each claim goes to the new one.
create function koppeling.replace_contact(p_member bigint) returns void
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
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
