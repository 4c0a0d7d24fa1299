-- The last look at a list whose link has ended. Between the last reading and the end somebody may have said no there; what
-- came by a hook then found no instance. So the list is read once more, and again, until it was read to its end.

-- Persons for whom a contact stood who do not hold its address: a no of the contact binds them too. Nothing here says
-- who that is, and it goes when the list was looked at.
create table koppeling.former_contact (
    former_link_id bigint not null references koppeling.former_link on delete cascade,
    contact_id text not null,
    person_id bigint not null references koppeling.person,
    primary key (former_link_id, contact_id, person_id)
);
create index former_contact_person on koppeling.former_contact (person_id);

insert into koppeling.job_kind (kind, public, description) values
    ('link.look', false, 'Looks for the last noes of a list that is linked no more; args: {"link": number}');

-- Has the list of a link that is about to end looked at once it has ended.
create function koppeling.request_last_look(p_link bigint, p_instance bigint) returns void
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
begin
    insert into koppeling.former_contact (former_link_id, contact_id, person_id)
    select p_link, m.contact_id, c.person_id
    from koppeling.claim c
    join koppeling.audience_member m on m.id = c.member_id
    where c.instance_id = p_instance and c.address_key <> m.address_key and m.contact_id is not null
    union
    select p_link, m.contact_id, e.person_id
    from koppeling.audience_member m
    join koppeling.email_address e on e.address_key in (m.file_key, m.moving_to) and e.address_key <> m.address_key
    where m.instance_id = p_instance and m.contact_id is not null
        and (m.file_key <> m.address_key or m.moving_to is not null);
    -- Whoever ends the link looks at once; a minute later also that is seen which Mailchimp shows late.
    perform koppeling.enqueue_internal('link.look', jsonb_build_object('link', p_link), key => 'look-' || p_link,
        run_at => koppeling.now() + interval '1 minute');
end $$;

-- Takes in the noes of a page of such a list. Who was archived there meanwhile said nothing. Returns how many said no.
create function koppeling.observe_former(p_link bigint, p_page jsonb) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_link koppeling.former_link;
    v_said record;
    v_count bigint := 0;
begin
    select * into v_link from koppeling.former_link f where f.id = p_link and f.looked_at is null;
    if not found then
        return 0;
    end if;
    perform koppeling.lock_group(v_link.target_group_id);
    for v_said in
        select o.email_address, koppeling.no_reason(o.status, o.unsubscribe_reason) as reason,
               coalesce(nullif(o.last_changed, '')::timestamptz, koppeling.now()) as said_at, array(
                   select coalesce(p.merged_into, p.id)
                   from koppeling.former_contact c
                   join koppeling.person p on p.id = c.person_id
                   where c.former_link_id = p_link and c.contact_id = o.contact_id
                   order by 1) as persons
        from jsonb_to_recordset(p_page -> 'members') o (
            contact_id text, email_address text, status text, unsubscribe_reason text, last_changed text)
        where o.status in ('unsubscribed', 'cleaned') and koppeling.address_key(o.email_address) <> ''
        order by koppeling.address_key(o.email_address)
    loop
        -- By the address only: a contact's id means nothing in another list.
        perform koppeling.open_suppression(v_link.target_group_id, v_said.reason, v_said.email_address, null,
            v_said.persons, 'mailchimp', v_said.said_at, jsonb_build_object('formerLink', p_link));
        v_count := v_count + 1;
    end loop;
    return v_count;
end $$;

-- The list was read to its end, or is gone.
create function koppeling.finish_last_look(p_link bigint) returns void
    language sql set search_path = koppeling, pg_temp
begin atomic
    update koppeling.former_link f set looked_at = koppeling.now() where f.id = p_link and f.looked_at is null;
    delete from koppeling.former_contact c where c.former_link_id = p_link;
end;

revoke execute on function
    koppeling.request_last_look(bigint, bigint), koppeling.observe_former(bigint, jsonb),
    koppeling.finish_last_look(bigint)
from public;
