-- Many contacts created in one call: what it is decided on, and its record.

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

-- Takes in the contacts that came back from a bulk create as new and subscribed, and returns their members.
-- Whoever does not look new was archived, and a no may lie beneath: he keeps the intent, and is looked at singly.
create function koppeling.take_created(p_members bigint[], p_answer jsonb, p_source text) returns bigint[]
    language sql
    -- The planner takes the answer for a single row; a nested loop over it would be quadratic.
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan set enable_nestloop = off
begin atomic
    with answered as materialized (
        select o.*, koppeling.address_key(o.email_address) as address_key
        from jsonb_to_recordset(p_answer -> 'new_members') o (id text, contact_id text, email_address text,
                                                              status text, last_changed text, web_id bigint,
                                                              source text, timestamp_signup text, timestamp_opt text,
                                                              tags_count int)
        where o.status = 'subscribed' and coalesce(o.timestamp_signup, '') = '' and coalesce(o.tags_count, 0) = 0
          -- The documented answer of a bulk call has neither; the pull that follows shows both.
          and (o.web_id is null and o.source is null or o.source = p_source)
    ), created as (
        update koppeling.audience_member m
        set contact_id = nullif(a.contact_id, ''), remote_id = a.id, status = 'subscribed', ownership = 'created',
            last_changed = nullif(a.last_changed, '')::timestamptz, observed_at = koppeling.now(),
            acted_at = koppeling.now(), file_key = a.address_key, applied_fields = m.sent_fields,
            opted_in_at = nullif(a.timestamp_opt, '')::timestamptz, sweep = i.sweep, newness_unseen = a.web_id is null,
            intent = null, intent_at = null, sent_fields = null, note = null
        from answered a, koppeling.connector_instance i
        where i.id = m.instance_id and m.id = any (p_members) and m.address_key = a.address_key
          and m.intent = 'creating'
          and coalesce(a.web_id > m.web_id_before, a.source is null)
          -- Known at another address: the two rows become one when the contact is looked at.
          and not exists (select from koppeling.audience_member o
                          where o.instance_id = m.instance_id and o.contact_id = a.contact_id and o.id <> m.id)
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
