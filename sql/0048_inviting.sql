-- Asking for an invitation, and seeing what became of it.

create view koppeling.invitations as
select v.id, i.name as instance, v.person_id, m.address as contact, v.requested_at, v.requested_by, v.sent_at,
       v.ended_at, coalesce(v.outcome, case when v.sent_at is null then 'waiting' else 'sent' end) as state, v.because
from koppeling.invitation v
join koppeling.connector_instance i on i.id = v.instance_id
join koppeling.audience_member m on m.id = v.member_id;
comment on view koppeling.invitations is
    'Who asked to be invited again after a no, and what Mailchimp said of it.';
grant select on koppeling.invitations to koppeling_reader;

-- The last invitation of a person to a list, as `why` and the export show it.
create function koppeling.invitation_json(p_invitation bigint) returns jsonb
    language sql stable set search_path = koppeling, pg_temp
    return (
        select jsonb_build_object(
            'requested_at', koppeling.iso8601(v.requested_at), 'requested_by', v.requested_by,
            'sent_at', koppeling.iso8601(v.sent_at), 'ended_at', koppeling.iso8601(v.ended_at),
            'outcome', v.outcome, 'because', v.because,
            'waits_for', case when v.ended_at is null and v.sent_at is null
                             then koppeling.invitation_waits_for(v.member_id) else 0 end)
        from koppeling.invitation v
        where v.id = p_invitation);

-- Why a person cannot be invited to a group's list, and what to do about it; nulls when she can.
create function koppeling.invitation_obstacle(
    p_person bigint, p_group bigint, p_instance bigint, p_address text, p_key text, out message text, out hint text)
    language plpgsql stable set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
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

-- Why a contact is not mailed an invitation again yet; nulls when it may be. One that waits to be sent is no obstacle.
create function koppeling.invitation_rests(
    p_member bigint, p_person bigint, out message text, out hint text)
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
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

-- Records the request of a person who said no to be invited again, to one group or to every one that she said no to,
-- and has her contact invited: Mailchimp asks, and her yes alone brings her back. A request that was recorded and not
-- sent yet is not repeated. Returns to how many.
create function koppeling.invite_person(
    source text, external_id text, p_group text default null, p_actor text default session_user) returns bigint
    language plpgsql security definer set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
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

-- Enters one request, and has the contact looked at.
create function koppeling.request_invitation(
    p_person bigint, p_group bigint, p_instance bigint, p_member bigint, p_actor text) returns void
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
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

revoke execute on function
    koppeling.invite_person(text, text, text, text), koppeling.begin_invitation(bigint),
    koppeling.record_invited(bigint, jsonb), koppeling.refuse_invitation(bigint, text)
from public;
grant execute on function koppeling.invite_person(text, text, text, text) to koppeling_writer;
