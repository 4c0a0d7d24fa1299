-- Letting somebody back in: what a user may end, once it is said why.

-- The open noes and removals that keep a person out of a group, and since when: hers, and those at the address that the
-- group writes to or at the contact that stands there. What stands at another address of hers is not hers to end.
create function koppeling.entries_against(p_group bigint, p_person bigint)
    returns table (id bigint, reason text, source text, occurred_at timestamptz)
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    with held as (
        select e.address_key
        from koppeling.target_group g
        join koppeling.email_address e on e.person_id = p_person and e.kind = g.email_kind
        where g.id = p_group
    )
    select s.id, s.reason, s.source, s.occurred_at
    from koppeling.open_suppression s where s.target_group_id = p_group and s.person_id = p_person
    union
    select s.id, s.reason, s.source, s.occurred_at
    from koppeling.open_suppression s join held h on h.address_key = s.address_key
    where s.target_group_id = p_group
    union
    select s.id, s.reason, s.source, s.occurred_at
    from koppeling.connector_instance i
    join koppeling.audience_member m on m.instance_id = i.id
    join held h on h.address_key in (m.address_key, m.file_key)
    join koppeling.open_suppression s on s.target_group_id = p_group and s.contact_id = m.contact_id
    where i.target_group_id = p_group;
end;

-- Whether the contact at her address opted in by itself after this moment, and is subscribed.
create function koppeling.opted_in_since(p_group bigint, p_person bigint, p_moment timestamptz) returns boolean
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select exists (
        select from koppeling.target_group g
        join koppeling.connector_instance i on i.target_group_id = g.id
        join koppeling.email_address e on e.person_id = p_person and e.kind = g.email_kind
        join koppeling.audience_member m on m.instance_id = i.id and m.address_key = e.address_key
        where g.id = p_group and m.status = 'subscribed' and m.intent is null
            and m.ownership in ('none', 'foreign') and m.opted_in_at > p_moment
            and not exists (
                select from koppeling.restored_no r
                where r.instance_id = i.id and r.contact_id = m.contact_id and r.restored_at is null));
end;

-- Whether she was given an address that somebody erased held: nobody can end that.
create function koppeling.held_by_erased(p_group bigint, p_person bigint) returns boolean
    language sql stable set search_path = koppeling, pg_temp
    return exists (
        select from koppeling.entries_against(p_group, p_person) e
        -- Mailchimp tells of every other one.
        where e.reason = 'forgotten' and e.source = 'user');

-- What stands against letting a person back in, and what to do; null when nothing does. What a user recorded was said
-- by our clock, and may have been said that much later by Mailchimp's.
create function koppeling.readmission_obstacle(
    p_group bigint, p_person bigint, p_clocks_differ_by interval, out message text, out hint text)
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
declare
    v_reasons text[] := array(select distinct e.reason from koppeling.entries_against(p_group, p_person) e);
    v_said timestamptz := (
        select max(e.occurred_at + case e.source when 'user' then p_clocks_differ_by else '0' end)
        from koppeling.entries_against(p_group, p_person) e where e.reason = 'unsubscribed');
begin
    if (select p.state from koppeling.person p where p.id = p_person) <> 'active' then
        message := 'the person is archived';
        hint := 'Make her active again first: koppeling person reactivate.';
    elsif 'complained' = any (v_reasons) then
        message := 'the contact reported a mailing as spam';
        hint := 'Nobody but the contact can end that; she stays out of this list.';
    elsif koppeling.held_by_erased(p_group, p_person) then
        message := 'somebody who was erased held the address';
        hint := 'That never ends here. She can sign up by a form of Mailchimp''s herself, with another address.';
    elsif 'forgotten' = any (v_reasons) then
        message := 'the contact was deleted for good';
        hint := 'She comes back by a form of Mailchimp''s that she fills in herself.';
    elsif exists (
        select from koppeling.email_address e
        join koppeling.target_group g on g.id = p_group and e.kind <> g.email_kind
        join koppeling.open_suppression s on s.target_group_id = p_group and s.address_key = e.address_key
        where e.person_id = p_person and s.reason = any (koppeling.binding_noes()))
    then
        message := 'a no stands at another address that she has';
        hint := 'It binds her as long as she has that address, and belongs to whoever else holds it.';
    elsif v_said is not null and not koppeling.opted_in_since(p_group, p_person, v_said) then
        message := 'she said no, and the contact has not signed up again in Mailchimp since';
        hint := 'When she asks for it, have Mailchimp ask the contact: koppeling person invite.';
    elsif not v_reasons && array['unsubscribed', 'removedInMailchimp'] then
        message := 'no unsubscribe and no removal keeps her out of this group';
        hint := 'koppeling why shows what does.';
    end if;
end $$;

-- Ends what is open of a person's unsubscribes and removals, when nothing stands against it. No call makes anybody
-- subscribed by that: who signed up is subscribed, and who was archived is looked at first. Returns how many.
create function koppeling.end_entries_against(
    p_group bigint, p_person bigint, p_source text, p_actor text, p_cause text) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_ids bigint[] := array(
        select e.id from koppeling.entries_against(p_group, p_person) e
        where e.reason in ('unsubscribed', 'removedInMailchimp') order by e.id);
begin
    insert into koppeling.audit_entry (target_group_id, person_id, kind, old, actor, cause)
    values (p_group, p_person, 'readmitted', to_jsonb(array(
        select distinct e.reason from koppeling.entries_against(p_group, p_person) e order by e.reason)), p_actor,
        p_cause);
    perform koppeling.end_suppressions(p_group, v_ids, p_source, 'readmitted', p_source = 'user');
    update koppeling.task t
    set done_at = koppeling.now(), done_by = case p_source when 'user' then p_actor end
    where t.kind = 'resubscribed' and t.target_group_id = p_group and t.person_id = p_person and t.done_at is null;
    return cardinality(v_ids);
end $$;

-- A user lets a person back in who was archived inside Mailchimp, or who said no and whose contact has signed up again
-- since. Returns how many entries it ended.
create function koppeling.readmit(p_group bigint, p_person bigint, p_actor text) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_obstacle record;
begin
    perform koppeling.lock_group(p_group);
    select * into v_obstacle from koppeling.readmission_obstacle(p_group, p_person, '0');
    if v_obstacle.message is not null then
        raise exception using errcode = 'restrict_violation', message = v_obstacle.message, hint = v_obstacle.hint;
    end if;
    return koppeling.end_entries_against(p_group, p_person, 'user', p_actor, 'by hand');
end $$;

-- Where the instance is set so, the contact's own signing up again does what a user would do. Says whether it did.
create function koppeling.readmit_resubscribed(p_instance bigint, p_group bigint, p_person bigint) returns boolean
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    if not (select i.reactivate_on_resubscribe from koppeling.connector_instance i where i.id = p_instance) then
        return false;
    end if;
    perform koppeling.lock_group(p_group);
    if (select o.message from koppeling.readmission_obstacle(p_group, p_person, koppeling.clock_difference()) o) is not null then
        return false;
    end if;
    perform koppeling.end_entries_against(
        p_group, p_person, 'mailchimp', 'connector', 'the contact signed up again in Mailchimp');
    return true;
end $$;

-- The same, by names, for whoever may write.
create function koppeling.readmit_person(
    source text, external_id text, p_group text, p_actor text default session_user) returns bigint
    language plpgsql security definer set search_path = koppeling, pg_temp
as $$
declare
    v_person bigint := koppeling.require_person(source, external_id);
    v_group bigint := (
        select g.id from koppeling.target_group g
        where koppeling.fold(g.name) = koppeling.fold(koppeling.clean_text(p_group)));
begin
    if v_group is null then
        raise exception using errcode = 'no_data_found', message = format('there is no target group "%s"', p_group),
            hint = 'List the groups to see their names.';
    end if;
    return koppeling.readmit(v_group, v_person, p_actor);
end $$;

revoke execute on function
    koppeling.entries_against(bigint, bigint), koppeling.opted_in_since(bigint, bigint, timestamptz),
    koppeling.readmission_obstacle(bigint, bigint, interval), koppeling.held_by_erased(bigint, bigint),
    koppeling.end_entries_against(bigint, bigint, text, text, text), koppeling.readmit(bigint, bigint, text),
    koppeling.readmit_resubscribed(bigint, bigint, bigint),
    koppeling.readmit_person(text, text, text, text)
from public;
grant execute on function koppeling.readmit_person(text, text, text, text) to koppeling_writer;
