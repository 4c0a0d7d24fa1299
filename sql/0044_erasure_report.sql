-- The end of an erasure at Mailchimp, and the report of it.

-- A contact of somebody erased was deleted from its list. The row stays for a while, so that a page that was read
-- before does not bring the contact back; then it is looked for once more, and forgotten here too.
create function koppeling.record_deleted(p_member bigint) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_member koppeling.audience_member;
begin
    perform koppeling.lock_group(i.target_group_id)
    from koppeling.audience_member m
    join koppeling.connector_instance i on i.id = m.instance_id
    where m.id = p_member;
    update koppeling.audience_member m
    set status = 'absent', ownership = 'none', archived_by_us = false, intent = null, intent_at = null,
        acted_at = koppeling.now(), observed_at = koppeling.now()
    where m.id = p_member and m.erasure_id is not null
    returning * into v_member;
    if not found then
        return;
    end if;
    update koppeling.erasure_contact c set outcome = 'deleted', changed_at = koppeling.now()
    where c.erasure_id = v_member.erasure_id and c.member_id = p_member;
    perform koppeling.enqueue_internal('erase', jsonb_build_object('action', 'erase', 'member', p_member),
        queue => koppeling.instance_queue(v_member.instance_id), key => koppeling.member_key(p_member),
        key_mode => 'replace', order_key => koppeling.member_key(p_member),
        run_at => koppeling.now() + interval '20 minutes');
end $$;

-- A contact of somebody erased is gone from its list, or the list is: nothing of it is kept any longer. What it was
-- known by may have come in while it waited; a no at an address that the ledger of erasures does not keep stays.
create function koppeling.record_erased(p_member bigint, p_outcome text) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_member koppeling.audience_member;
    v_group bigint;
    v_keys text[];
begin
    select i.target_group_id into v_group
    from koppeling.audience_member m
    join koppeling.connector_instance i on i.id = m.instance_id
    where m.id = p_member;
    perform koppeling.lock_group(v_group);
    select * into v_member from koppeling.audience_member
    where id = p_member and erasure_id is not null for update;
    if not found then
        return;
    end if;
    update koppeling.erasure_contact c set outcome = p_outcome, changed_at = koppeling.now()
    where c.erasure_id = v_member.erasure_id and c.member_id = p_member and c.outcome = 'waiting';
    v_keys := array(
        select k from unnest(array[v_member.address_key, v_member.file_key] || v_member.erased_keys) k
        where k is not null and not exists (select from koppeling.email_address e where e.address_key = k));
    perform koppeling.wipe_suppressions(array(
        select s.id from koppeling.suppression s
        where s.address_key = any (v_keys) and s.address_key = any (v_member.erased_keys)
        union
        select s.id from koppeling.suppression s
        where s.target_group_id = v_group and s.contact_id = v_member.contact_id));
    perform koppeling.wipe_contacts(array[p_member], array[v_member.contact_id], v_keys);
    perform koppeling.wipe_jobs('{}', v_keys);
    if exists (select from koppeling.claim c where c.member_id = p_member) then
        -- Somebody else wants the address by now: the row is his.
        update koppeling.audience_member m
        set erasure_id = null, erased_keys = null, contact_id = null, remote_id = null, status = 'absent',
            ownership = 'none'
        where m.id = p_member;
    else
        delete from koppeling.audience_member m where m.id = p_member;
    end if;
end $$;

-- Contacts that were to be deleted and that somebody claims who was not erased: they are kept, unless that is done
-- already, or may be.
create function koppeling.keep_claimed(p_members bigint[]) returns void
    language plpgsql
    -- Each member through its index, whatever the statistics say: nearly none waits for that.
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
begin
    with kept as (
        select m.id, m.erasure_id
        from unnest(p_members) g (id)
        cross join lateral (select * from koppeling.audience_member m where m.id = g.id offset 0) m
        where m.erasure_id is not null and m.status is distinct from 'absent'
          and m.intent is distinct from 'erasing' and exists (
              select from koppeling.claim c
              join koppeling.person p on p.id = c.person_id and p.state <> 'erased'
              where c.member_id = m.id)
    ), told as (
        update koppeling.erasure_contact c set outcome = 'kept', changed_at = koppeling.now()
        from kept k
        where c.erasure_id = k.erasure_id and c.member_id = k.id
    )
    update koppeling.audience_member m set erasure_id = null, erased_keys = null
    from kept k where m.id = k.id;
end $$;

-- Lists that were linked once and were not when the person was erased, as far as they are still there: nobody looked
-- for a contact of hers in them.
create function koppeling.lists_not_reached(p_erased_at timestamptz) returns jsonb
    language sql stable set search_path = koppeling, pg_temp
    return (
        select coalesce(jsonb_agg(jsonb_build_object(
            'account', l.account, 'list', l.list_name, 'list_id', l.list_id, 'group', l.target_group,
            'until', koppeling.iso8601(l.ended_at)) order by l.list_name, l.list_id), '[]')
        from (
            select distinct on (f.list_id) f.*, a.name as account
            from koppeling.former_link f
            left join koppeling.mailchimp_account a on a.id = f.account_id
            where f.ended_at < p_erased_at
                and not exists (
                    select from koppeling.connector_instance i
                    where i.list_id = f.list_id and i.created_at <= p_erased_at)
            order by f.list_id, f.ended_at desc
        ) l
        where not l.is_gone);

-- What an erasure did, and what it still waits for.
create function koppeling.erasure_report(p_erasure bigint) returns jsonb
    language sql stable
    return (
        select jsonb_build_object(
            'erasure', e.id, 'person', e.person_id, 'erased_at', koppeling.iso8601(e.erased_at), 'actor', e.actor,
            'removed', e.removed,
            'contacts', coalesce((
                select jsonb_agg(jsonb_build_object(
                    'instance', c.instance, 'outcome', c.outcome, 'at', koppeling.iso8601(c.changed_at))
                    order by c.instance, c.member_id)
                from koppeling.erasure_contact c where c.erasure_id = e.id), '[]'),
            'lists_not_reached', koppeling.lists_not_reached(e.erased_at),
            'is_complete', not exists (select from koppeling.audience_member m where m.erasure_id = e.id),
            'puts_skipped', e.puts_skipped,
            'last_skipped_at', koppeling.iso8601(e.last_skipped_at))
        from koppeling.erasure e
        where e.id = p_erasure);

-- The report on the erasure of the person of this number, or that it waits for a worker; null when neither is so.
create function koppeling.erasure_of(p_person bigint) returns jsonb
    language sql stable security definer set search_path = koppeling, pg_temp
    return coalesce(
        (select koppeling.erasure_report(e.id) from koppeling.erasure e where e.person_id = p_person),
        (select jsonb_build_object('person', p_person, 'erased_at', null, 'is_complete', false)
         from koppeling.job j
         where j.queue = 'default' and j.kind = 'person.erase' and j.key = 'erase-' || p_person
         limit 1));

-- Where any of these texts stands, without case, in whatever table: the proof of an erasure. Reads the whole database.
create function koppeling.find_traces(p_texts text[]) returns table (relation text, hits bigint)
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
declare
    v_table text;
    v_patterns text[] := array(
        select '%' || regexp_replace(lower(t), '([\\%_])', '\\\1', 'g') || '%' from unnest(p_texts) t);
begin
    for v_table in
        select c.relname::text from pg_class c
        where c.relnamespace = 'koppeling'::regnamespace and c.relkind = 'r' order by 1
    loop
        execute format('select count(*) from koppeling.%I t where lower(t::text) like any ($1)', v_table)
        into hits using v_patterns;
        if hits > 0 then
            relation := v_table;
            return next;
        end if;
    end loop;
end $$;

-- The same as one value: {"table": rows}; null where there is nothing to search for, which proves nothing.
create function koppeling.traces(p_texts text[]) returns jsonb
    language sql stable
    return case when p_texts <> '{}' then (
        select coalesce(jsonb_object_agg(t.relation, t.hits), '{}') from koppeling.find_traces(p_texts) t) end;

-- The addresses by which a person is known, for looking whether any of it is left anywhere.
create function koppeling.texts_of(p_person bigint) returns text[]
    language sql stable
    return (
        select array_agg(distinct t.text)
        from (
            select e.address as text from koppeling.email_address e where e.person_id = p_person
            union all
            select m.address
            from koppeling.contacts_of(p_person, '{}') c
            join koppeling.audience_member m on m.id = c
        ) t);

create view koppeling.erasures as
select e.id, e.person_id, e.erased_at, e.actor, e.puts_skipped, e.last_skipped_at,
       (select count(*) from koppeling.erasure_contact c where c.erasure_id = e.id) as contacts,
       (select count(*) from koppeling.erasure_contact c
        where c.erasure_id = e.id and c.outcome = 'waiting') as contacts_waiting
from koppeling.erasure e;
comment on view koppeling.erasures is 'Who was erased, by number only, and whether contacts in Mailchimp still wait.';
grant select on koppeling.erasures to koppeling_reader;

revoke execute on function
    koppeling.erase_person(text, text, text), koppeling.erase_person_now(bigint, bytea, text),
    koppeling.wipe_person(bigint, bytea, bigint, text), koppeling.wipe_jobs(text[], text[]),
    koppeling.wipe_suppressions(bigint[]), koppeling.wipe_contacts(bigint[], text[], text[]),
    koppeling.record_erased(bigint, text), koppeling.find_traces(text[]), koppeling.erasure_of(bigint)
from public;
grant execute on function koppeling.erase_person(text, text, text), koppeling.erasure_of(bigint) to koppeling_writer;
