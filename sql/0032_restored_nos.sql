-- A no that fell in between: who was there before a call of ours made him, what is found, and its restoring.

-- Notes what a bulk create tells of the list, its highest web_id and the source that our own contacts have, and returns
-- that source.
create function koppeling.learn_from_creates(p_instance bigint, p_answer jsonb) returns text
    language sql
    set search_path = koppeling, pg_temp
begin atomic
    update koppeling.connector_instance i
    set web_id_seen = greatest(i.web_id_seen, a.web_id),
        -- One source for nearly all of many: that is how calls of this account are named.
        own_source = case when a.members >= 10 and a.most * 10 >= a.members * 9 then a.source else i.own_source end
    from (
        select max(s.web_id) as web_id, sum(s.members) as members, max(s.members) as most,
               (array_agg(s.source order by s.members desc))[1] as source
        from (
            select o.source, count(*) as members, max(o.web_id) as web_id
            from jsonb_to_recordset(p_answer -> 'new_members') o (web_id bigint, source text)
            where o.web_id is not null and o.source is not null
            group by o.source
        ) s
    ) a
    where i.id = p_instance and a.members > 0
      and (a.web_id > i.web_id_seen or a.source is distinct from i.own_source);
    select i.own_source from koppeling.connector_instance i where i.id = p_instance;
end;

-- Has the list read once the creating is over: the answers did not show who was there before. A reading that was asked
-- for otherwise is never put off, nor is this one beyond the usual ten minutes.
create function koppeling.look_soon(p_instance bigint) returns void
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
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

-- What a page shows of contacts that bulk calls made: who looks new is; who does not was there before, and a no may lie
-- beneath: he gets his intent back, so that he is looked at singly. Returns those.
create function koppeling.look_at_created(p_instance bigint, p_page jsonb) returns bigint[]
    language plpgsql
    set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
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

-- A contact whom our call made subscribed had said no: that binds whoever it concerns, and the contact is to be
-- unsubscribed again. The next step of the member's action does it.
create function koppeling.found_no(p_member bigint, p_reason text, p_said_at timestamptz, p_found_in text)
    returns void
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
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

-- A hook brought a no of a contact whom the reading after it shows subscribed. When that is so by our own call, and not
-- by a later word of his, the no stands. A hook that came before says nothing new.
create function koppeling.restore_by_hook(p_instance bigint, p_hook bigint) returns void
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
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

create view koppeling.restored_nos as
select r.id, i.name as instance, r.address, r.contact_id, r.reason, r.said_at, r.found_in, r.found_at, r.restored_at
from koppeling.restored_no r
join koppeling.connector_instance i on i.id = r.instance_id;
comment on view koppeling.restored_nos is
    'Contacts whom a call made subscribed although they had said no, and when they were unsubscribed again.';
grant select on koppeling.restored_nos to koppeling_reader;

revoke execute on function
    koppeling.learn_from_creates(bigint, jsonb), koppeling.found_no(bigint, text, timestamptz, text),
    koppeling.restore_by_hook(bigint, bigint), koppeling.look_soon(bigint),
    koppeling.look_at_created(bigint, jsonb)
from public;
