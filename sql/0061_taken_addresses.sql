-- Contacts that come to an address where another one was thought to be: it has moved on, or was deleted for good.

-- What hangs on a row that only stands for an address goes over to the contact that is there.
create function koppeling.merge_members(p_member bigint, p_other bigint) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    -- A call that may have subscribed over a no was meant for this contact, who has to be looked at all the same.
    update koppeling.audience_member m
    set newness_unseen = m.newness_unseen or o.newness_unseen,
        web_id_before = coalesce(least(m.web_id_before, o.web_id_before), m.web_id_before),
        subscribing_at = greatest(m.subscribing_at, o.subscribing_at),
        intent = coalesce(m.intent, o.intent), intent_at = coalesce(m.intent_at, o.intent_at),
        sent_fields = coalesce(m.sent_fields, o.sent_fields)
    from koppeling.audience_member o
    where m.id = p_member and o.id = p_other and (o.intent = 'creating' or o.newness_unseen);
    update koppeling.claim set member_id = p_member where member_id = p_other;
    update koppeling.invitation set member_id = p_member where member_id = p_other;
    perform koppeling.cancel_waiting(koppeling.instance_queue(m.instance_id), koppeling.member_key(p_other), 'merged')
    from koppeling.audience_member m where m.id = p_other;
    -- There is nothing of somebody erased at the address any more.
    perform koppeling.record_erased(m.id, 'absent')
    from koppeling.audience_member m where m.id = p_other and m.erasure_id is not null;
    delete from koppeling.audience_member where id = p_other;
end $$;

-- Makes room for the contact of this row, null for one that nobody has seen, at an address where it was found. A row that
-- only stood for the address goes over into the contact's: true. Another contact that stood there keeps its row, with its
-- claims, its erasure and what is in doubt, and stands at its id until it is read itself.
create function koppeling.take_address(p_instance bigint, p_member bigint, p_key text) returns boolean
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_other koppeling.audience_member;
begin
    select * into v_other from koppeling.audience_member
    where instance_id = p_instance and address_key = p_key and id is distinct from p_member for update;
    if v_other.contact_id is not null then
        update koppeling.audience_member set address_key = contact_id where id = v_other.id;
    elsif v_other.id is not null then
        perform koppeling.merge_members(p_member, v_other.id);
        return true;
    end if;
    return false;
end $$;

-- The contacts of a list whose addresses others were found at, and that were not read since.
create function koppeling.ousted_members(p_instance bigint) returns setof bigint
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select m.id from koppeling.audience_member m
    where m.instance_id = p_instance and m.address_key = m.contact_id
    order by m.id;
end;

-- The contact of this row is not in the list any more, and another one is at its address: the row is the address's, or
-- goes over into that of whoever stands there.
create function koppeling.leave_to_address(p_member bigint) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_member koppeling.audience_member;
    v_there bigint;
begin
    perform koppeling.lock_group(i.target_group_id)
    from koppeling.audience_member m
    join koppeling.connector_instance i on i.id = m.instance_id
    where m.id = p_member;
    select * into v_member from koppeling.audience_member where id = p_member for update;
    if v_member.erasure_id is not null then
        -- Whoever is at the address is somebody else.
        perform koppeling.record_erased(p_member, 'absent');
    end if;
    select o.id into v_there from koppeling.audience_member o
    where o.instance_id = v_member.instance_id and o.address_key = koppeling.address_key(v_member.address)
        and o.id <> p_member;
    update koppeling.audience_member m
    set address_key = case when v_there is null then koppeling.address_key(m.address) else m.address_key end,
        contact_id = null, remote_id = null, status = 'absent', ownership = 'none', archived_by_us = false,
        newness_unseen = false
    where m.id = p_member;
    if v_there is not null then
        perform koppeling.merge_members(v_there, p_member);
        perform koppeling.stage_members(v_member.instance_id, array[v_there]);
    end if;
end $$;
