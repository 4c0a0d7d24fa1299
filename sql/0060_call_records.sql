-- The record of a call: its intent before it, and what came of it.

-- Commits the intent of one call, if what it was decided on still holds, also the address that it sends. False: decide
-- again.
create function koppeling.begin_call(p_member bigint, p_intent text, p_fields jsonb, p_key text) returns boolean
    language sql
    set search_path = koppeling, pg_temp
begin atomic
    update koppeling.audience_member m
    set intent = p_intent, intent_at = koppeling.now(), sent_fields = p_fields,
        -- What the contact has is not known again before the answer is recorded.
        applied_fields = case when p_intent in ('creating', 'updating', 'moving') then null else m.applied_fields end,
        subscribing_at = case when p_intent = 'creating' then koppeling.now() else m.subscribing_at end
    from koppeling.member_states(array[p_member]) s
    where m.id = p_member
      and case p_intent
              when 'creating' then s.claims > 0 and s.reasons = '{}' and s.wanted_fields = p_fields
                                   and s.wanted_key = p_key
              when 'updating' then s.claims > 0 and s.wanted_fields = p_fields
              when 'moving' then s.claims > 0 and s.reasons = '{}' and s.target_reasons = '{}'
                                 and s.moving_to = p_key and s.wanted_key = p_key
              when 'archiving' then s.claims = 0 and s.status = 'subscribed' or s.moving_to is not null
              when 'unsubscribing' then s.unsubscribe_here or s.restores_no
              when 'erasing' then s.is_erased and s.claims = 0
          end
    returning true;
end;

-- Records what one call carried out, as Mailchimp's answer shows the contact; then looks at what is needed next.
create function koppeling.record_call(p_member bigint, p_ownership text, p_fields jsonb, p_answer jsonb) returns void
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
declare
    v_member koppeling.audience_member;
begin
    -- First of all, as everybody who writes members: two who took their locks in opposite orders would meet.
    perform koppeling.lock_group(i.target_group_id)
    from koppeling.audience_member m
    join koppeling.connector_instance i on i.id = m.instance_id
    where m.id = p_member;
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
        -- Whoever follows the contact from the address of the person file keeps doing so.
        file_key = case when m.status = 'subscribed' and m.moving_to is null
                             and not exists (select from koppeling.claim c
                                             where c.member_id = m.id and c.address_key = m.file_key)
                        then coalesce((select c.address_key from koppeling.claim c where c.member_id = m.id
                                       order by c.manual desc, c.claimed_at, c.person_id limit 1), m.file_key)
                        else m.file_key end
    where m.id = p_member
    returning * into v_member;
    perform koppeling.stage_members(v_member.instance_id, array[p_member]);
end $$;

-- Records an archive: Mailchimp's answer to it is empty.
create function koppeling.record_archived(p_member bigint) returns void
    language plpgsql
    set search_path = koppeling, pg_temp
as $$
declare
    v_instance bigint;
begin
    update koppeling.audience_member m
    set status = 'archived', archived_by_us = true, intent = null, intent_at = null, sent_fields = null,
        archived_before = m.archived_at, archived_at = koppeling.now(),
        sweep = (select i.sweep from koppeling.connector_instance i where i.id = m.instance_id),
        applied_fields = null, acted_at = koppeling.now(), observed_at = koppeling.now(), note = null
    where m.id = p_member
    returning m.instance_id into v_instance;
    -- Where nobody claims it, and no no is to be restored, an archived contact needs nothing: and the job that archived
    -- it runs still, which would be taken for something under way.
    if exists (
        select from koppeling.audience_member m
        where m.id = p_member
          and (exists (select from koppeling.claim c where c.member_id = m.id) or m.erasure_id is not null
               or exists (select from koppeling.restored_no r
                          where r.instance_id = m.instance_id and r.contact_id = m.contact_id
                            and r.restored_at is null)))
    then
        perform koppeling.stage_members(v_instance, array[p_member]);
    end if;
end $$;

-- Records that nothing was sent, and why; null when there is nothing to say.
create function koppeling.record_nothing(p_member bigint, p_note text) returns void
    language sql
    set search_path = koppeling, pg_temp
begin atomic
    update koppeling.audience_member
    set intent = null, intent_at = null, sent_fields = null, note = p_note
    where id = p_member;
    -- Somebody else's no stands at the address, or it would be no claim: only a person can settle that.
    select koppeling.open_task('addressBlocked', m.instance_id, c.person_id,
                               jsonb_build_object('member', m.id, 'reason', p_note))
    from koppeling.audience_member m
    join koppeling.claim c on c.member_id = m.id
    where m.id = p_member and p_note = any (koppeling.binding_noes())
      and m.status is distinct from p_note;
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
    select i.target_group_id into strict v_group
    from koppeling.audience_member m
    join koppeling.connector_instance i on i.id = m.instance_id
    where m.id = p_member;
    perform koppeling.lock_group(v_group);
    select m.* into strict v_old from koppeling.audience_member m where m.id = p_member for update;
    if exists (
        select from koppeling.audience_member o
        where o.instance_id = v_old.instance_id and o.address_key = koppeling.address_key(v_old.address)
          and o.id <> p_member)
    then
        perform koppeling.leave_to_address(p_member);
        return;
    end if;
    update koppeling.audience_member
    set address_key = koppeling.address_key(address), status = 'absent', archived_by_us = false, contact_id = null,
        remote_id = null, ownership = 'none', intent = null, intent_at = null, sent_fields = null,
        applied_fields = null, moving_to = null,
        -- Whoever comes there next is another contact, and not ours.
        newness_unseen = false, observed_at = koppeling.now(), acted_at = koppeling.now()
    where id = p_member;
    update koppeling.restored_no r set restored_at = koppeling.now()
    where r.instance_id = v_old.instance_id and r.contact_id = v_old.contact_id and r.restored_at is null;
    if v_old.contact_id is not null and v_old.status is distinct from 'absent' and v_old.erasure_id is null then
        perform koppeling.open_suppression(v_group, 'forgotten', v_old.address, v_old.contact_id,
            array(select c.person_id from koppeling.claim c where c.member_id = p_member), 'mailchimp',
            koppeling.now(), '{}');
    end if;
end $$;
