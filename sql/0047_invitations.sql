-- Invitations: the recorded request of a person who said no to be asked again, which Mailchimp does (`pending`), and
-- what her answer means. Nothing but the contact's own yes to it lifts anything.

-- For how long a contact is mailed no second invitation.
create function koppeling.invitation_rest() returns interval
    language sql immutable parallel safe
    return interval '7 days';

-- The open invitations of a contact that still hold: the person takes part and has the address that it stands for.
create function koppeling.valid_invitations(p_member bigint) returns setof koppeling.invitation
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select v.*
    from koppeling.invitation v
    join koppeling.audience_member m on m.id = v.member_id
    join koppeling.target_group g on g.id = v.target_group_id
    join koppeling.person p on p.id = v.person_id and p.state = 'active'
    where v.member_id = p_member and v.ended_at is null
      and exists (
          select from koppeling.email_address e
          where e.person_id = v.person_id and e.kind = g.email_kind and e.address_key in (m.address_key, m.file_key));
end;

-- How many hold the contact's address and said no, and have not asked to be invited themselves, or not since what they
-- said to another list, which is on its way to this one: it waits for them, since each of them would be mailed.
create function koppeling.invitation_waits_for(p_member bigint) returns bigint
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    with holder as (
        select distinct e.person_id, i.target_group_id, (
            select max(v.requested_at) from koppeling.valid_invitations(p_member) v
            where v.person_id = e.person_id) as asked_at
        from koppeling.audience_member m
        join koppeling.connector_instance i on i.id = m.instance_id
        join koppeling.email_address e on e.address_key in (m.address_key, m.file_key)
        where m.id = p_member
    )
    select count(*)
    from holder h
    where h.asked_at is null and exists (
            select from koppeling.open_suppression s
            where s.person_id = h.person_id and s.target_group_id = h.target_group_id and s.reason = 'unsubscribed')
       or exists (
            select from koppeling.spreading_no w
            join koppeling.open_suppression s on s.id = w.suppression_id
            where s.reason = 'unsubscribed' and s.occurred_at > coalesce(h.asked_at, '-infinity')
              and (s.person_id = h.person_id or s.address_key in (
                  select e.address_key from koppeling.email_address e where e.person_id = h.person_id)));
end;

-- Since when a contact is to be invited; null when it is not, or not now. Once Mailchimp has asked it is over: a call
-- whose answer was lost is repeated only where the contact is seen to be as before.
create function koppeling.invited_at(p_member bigint) returns timestamptz
    language plpgsql stable set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
as $$
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

-- Ends open invitations, and says so in the audit.
create function koppeling.end_invitations(p_ids bigint[], p_outcome text, p_because text default null) returns void
    language sql volatile set search_path = koppeling, pg_temp
begin atomic
    with ended as (
        update koppeling.invitation v
        set ended_at = koppeling.now(), outcome = p_outcome, because = p_because,
            -- Mailchimp mailed nobody whom it refused to ask.
            sent_at = case p_outcome when 'refused' then null else v.sent_at end
        where v.id = any (p_ids) and v.ended_at is null
        returning v.*
    )
    insert into koppeling.audit_entry (target_group_id, person_id, kind, old, new, actor, cause)
    select e.target_group_id, e.person_id, 'invitation', '"open"', to_jsonb(p_outcome), 'connector',
        coalesce(p_because, 'invitation ' || e.id)
    from ended e
    order by e.id;
end;

-- A no that came after the request ends the invitations that it concerns: at the contact, at the address, of whoever it
-- binds. A hook is only a hint: the reading that follows tells an old no from a new one.
create function koppeling.decline_invitations(
    p_group bigint, p_reason text, p_key text, p_contact text, p_persons bigint[], p_occurred_at timestamptz,
    p_is_hook boolean) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
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

-- What a reading of an invited contact means. Pending: Mailchimp has asked, whoever made it. Subscribed: she said yes,
-- when she opted in after it was sent; the noes that it was about end. A no, or a bounce, that is newer than what was
-- known when it was sent is her answer as well.
create function koppeling.observe_invited(p_member bigint, p_status text, p_is_newer boolean) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
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

-- Commits the intent of the call that has Mailchimp ask, if what it was decided on still holds. False: decide again.
create function koppeling.begin_invitation(p_member bigint) returns boolean
    language plpgsql set search_path = koppeling, pg_temp
as $$
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

-- Records that Mailchimp asks, as its answer shows the contact.
create function koppeling.record_invited(p_member bigint, p_answer jsonb) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
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

-- Records that the contact is not asked, and why: she asks again, once that is out of the way.
create function koppeling.refuse_invitation(p_member bigint, p_because text) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
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

-- Two records of a person become one: an invitation goes over where it was about all that binds the survivor now, else
-- it ends.
create function koppeling.move_invitations(p_survivor bigint, p_other bigint) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
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
