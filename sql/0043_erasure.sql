-- Erasing a person: everything that tells who it was goes, in one transaction; contacts in Mailchimp follow.

-- A text without these addresses, however they are spelt.
create function koppeling.without_addresses(p_text text, p_keys text[]) returns text
    language plpgsql immutable parallel safe
as $$
declare
    v_key text;
begin
    foreach v_key in array p_keys loop
        p_text := regexp_replace(p_text, regexp_replace(v_key, '([^[:alnum:]@_ -])', '\\\1', 'g'), '(erased)', 'gi');
    end loop;
    return p_text;
end $$;

-- The persons of a job's args, without those of these identities and those who hold one of these addresses.
create function koppeling.without_persons(p_args jsonb, p_identities text[], p_keys text[]) returns jsonb
    language sql immutable parallel safe
    return (
        select coalesce(jsonb_agg(a.person order by a.n), '[]')
        from jsonb_array_elements(case jsonb_typeof(p_args) when 'array' then p_args else jsonb_build_array(p_args) end)
            with ordinality a (person, n)
        where koppeling.identity_subject(a.person ->> 'source', a.person ->> 'id') <> all (p_identities)
            and not exists (
                select from jsonb_each_text(
                    case jsonb_typeof(a.person -> 'emails') when 'object' then a.person -> 'emails' else '{}' end) e
                where koppeling.address_key(e.value) = any (p_keys)));

-- Takes persons out of jobs, waiting and finished, and addresses out of what was said of them. Returns how many.
create function koppeling.wipe_jobs(p_identities text[], p_keys text[]) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_count bigint;
    v_total bigint := 0;
begin
    update koppeling.job j set args = n.args, error = n.error
    from (
        select o.id, case o.kind when 'persons.put' then koppeling.without_persons(o.args, p_identities, p_keys)
                                 else o.args end as args,
               koppeling.without_addresses(o.error, p_keys) as error
        from koppeling.job o
        where o.kind = 'persons.put' or o.error is not null
    ) n
    where j.id = n.id and (j.error is distinct from n.error or j.kind = 'persons.put'
        and jsonb_array_length(n.args)
            < case jsonb_typeof(j.args) when 'array' then jsonb_array_length(j.args) else 1 end);
    get diagnostics v_total = row_count;
    update koppeling.job_history h
    set args = case h.kind when 'persons.put' then koppeling.without_persons(h.args, p_identities, p_keys)
                           else h.args end,
        reason = koppeling.without_addresses(h.reason, p_keys),
        result = koppeling.without_addresses(h.result::text, p_keys)::jsonb
    where h.kind = 'persons.put'
            and jsonb_array_length(koppeling.without_persons(h.args, p_identities, p_keys))
                < case jsonb_typeof(h.args) when 'array' then jsonb_array_length(h.args) else 1 end
        or h.reason is not null and koppeling.without_addresses(h.reason, p_keys) <> h.reason
        or h.result is not null and koppeling.without_addresses(h.result::text, p_keys) <> h.result::text;
    get diagnostics v_count = row_count;
    v_total := v_total + v_count;
    update koppeling.job_attempt a set error = koppeling.without_addresses(a.error, p_keys)
    where a.error is not null and koppeling.without_addresses(a.error, p_keys) <> a.error;
    get diagnostics v_count = row_count;
    return v_total + v_count;
end $$;

-- Takes entries out of the ledger of consent; what followed from them at others stays theirs.
create function koppeling.wipe_suppressions(p_ids bigint[]) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_count bigint;
begin
    perform set_config('koppeling.erasing', pg_current_xact_id()::text, true);
    delete from koppeling.holder_check where suppression_id = any (p_ids);
    delete from koppeling.suppression_lift where suppression_id = any (p_ids);
    update koppeling.suppression set follows = null where follows = any (p_ids) and id <> all (p_ids);
    delete from koppeling.suppression where id = any (p_ids);
    get diagnostics v_count = row_count;
    perform set_config('koppeling.erasing', '', true);
    return v_count;
end $$;

-- What is known of contacts and addresses beside the lists: hooks, restored noes, tasks. Returns how many rows went.
create function koppeling.wipe_contacts(p_members bigint[], p_contacts text[], p_keys text[]) returns bigint
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_count bigint;
    v_total bigint;
begin
    delete from koppeling.webhook_inbox w
    where koppeling.address_key(w.body #>> '{data,email}') = any (p_keys)
        or koppeling.address_key(w.body #>> '{data,old_email}') = any (p_keys)
        or koppeling.address_key(w.body #>> '{data,new_email}') = any (p_keys);
    get diagnostics v_total = row_count;
    delete from koppeling.restored_no r
    where r.contact_id = any (p_contacts) or koppeling.address_key(r.address) = any (p_keys);
    get diagnostics v_count = row_count;
    v_total := v_total + v_count;
    delete from koppeling.task t where (t.detail ->> 'member')::bigint = any (p_members);
    get diagnostics v_count = row_count;
    return v_total + v_count;
end $$;

-- The contacts that a person has or had in the lists: claimed now or once, at an address of hers, or told of in the
-- ledger.
create function koppeling.contacts_of(p_person bigint, p_keys text[]) returns setof bigint
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select c.member_id from koppeling.claim c
    join koppeling.connector_instance i on i.id = c.instance_id
    where c.person_id = p_person
    union
    select m.id
    from koppeling.connector_instance i
    join koppeling.audience_member m on m.instance_id = i.id
        and (m.address_key = any (p_keys) or m.file_key = any (p_keys) or m.moving_to = any (p_keys))
    union
    select m.id
    from koppeling.suppression s
    join koppeling.suppression f on f.id = s.follows and f.contact_id is not null
    join koppeling.connector_instance i on i.target_group_id = f.target_group_id
    join koppeling.audience_member m on m.instance_id = i.id and m.contact_id = f.contact_id
    where s.person_id = p_person
    union
    -- What stood for her once, unless the address is somebody else's by now.
    select f.member_id
    from koppeling.former_claim f
    join koppeling.audience_member m on m.id = f.member_id
    where f.person_id = p_person and not exists (
        select from koppeling.email_address e where e.address_key = m.address_key and e.person_id <> p_person);
end;

-- Where contacts stand and what the person file knew them by, and where it was that somebody said the no which binds the
-- person: addresses that were hers, though she may hold none of them any more.
create function koppeling.former_addresses(p_person bigint, p_members bigint[]) returns setof text
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select m.address_key from koppeling.audience_member m where m.id = any (p_members)
    union
    select m.file_key from koppeling.audience_member m where m.id = any (p_members) and m.file_key is not null
    union
    select f.address_key
    from koppeling.suppression s
    join koppeling.suppression f on f.id = s.follows and f.address_key is not null
    where s.person_id = p_person
    union
    -- Her entry and the address's may both follow from the contact's.
    select a.address_key
    from koppeling.suppression s
    join koppeling.suppression f on f.id = s.follows and f.contact_id is not null
    join koppeling.suppression a on a.follows = f.id and a.address_key is not null
    where s.person_id = p_person;
end;

-- Those of these addresses that somebody else holds, or at which a contact stands that somebody else claims.
create function koppeling.shared_addresses(p_person bigint, p_keys text[]) returns setof text
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select e.address_key from koppeling.email_address e
    where e.address_key = any (p_keys) and e.person_id <> p_person
    union
    select m.address_key
    from koppeling.connector_instance i
    join koppeling.audience_member m on m.instance_id = i.id and m.address_key = any (p_keys)
    join koppeling.claim c on c.member_id = m.id and c.person_id <> p_person;
end;

-- The entries of the ledger of consent that stand at a person or at these addresses, with the contacts they follow
-- from; a contact that binds somebody else too is not among them.
create function koppeling.suppressions_of(p_person bigint, p_keys text[]) returns setof bigint
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    with own as (
        select s.id, s.follows from koppeling.suppression s where s.person_id = p_person
        union
        select s.id, s.follows from koppeling.suppression s where s.address_key = any (p_keys)
    )
    select o.id from own o
    union
    select f.id
    from own o
    join koppeling.suppression f on f.id = o.follows and f.contact_id is not null
    where not exists (
        select from koppeling.suppression x where x.follows = f.id and x.person_id <> p_person);
end;

-- Enters who is erased into the ledger: the identity, and the addresses that nobody else holds.
create function koppeling.remember_erased(p_person bigint, p_key bytea, p_keys text[], p_erasure bigint) returns void
    language sql volatile set search_path = koppeling, pg_temp
begin atomic
    insert into koppeling.erased_hash (hash, subject, erasure_id)
    select koppeling.keyed_hash(k.inner_pad, k.outer_pad, s.text), s.subject, p_erasure
    from koppeling.hash_pads(p_key) k
    cross join lateral (
        select 'identity' as subject, koppeling.identity_subject(p.source, p.external_id) as text
        from koppeling.person p where p.id = p_person
        union all
        select 'address', koppeling.address_subject(a) from unnest(p_keys) a
    ) s
    on conflict (hash) do nothing;
end;

-- Marks contacts for deletion, but for those that somebody else claims, and notes what becomes of each. These addresses
-- are in the ledger of erasures.
create function koppeling.mark_erased(p_members bigint[], p_person bigint, p_erasure bigint, p_keys text[])
    returns void
    language sql volatile set search_path = koppeling, pg_temp
begin atomic
    update koppeling.audience_member m
    set erasure_id = p_erasure, erased_keys = m.erased_keys || array(
            select k from unnest(array[m.address_key, m.file_key]) k where k = any (p_keys))
    where m.id = any (p_members)
        and not exists (select from koppeling.claim c where c.member_id = m.id and c.person_id <> p_person);
    insert into koppeling.erasure_contact (erasure_id, member_id, instance_id, instance, outcome)
    select p_erasure, m.id, i.id, i.name, case when m.erasure_id is null then 'kept' else 'waiting' end
    from koppeling.audience_member m
    join koppeling.connector_instance i on i.id = m.instance_id
    where m.id = any (p_members);
end;

-- Removes all that tells who a person was, and marks her contacts for deletion. Without a key she is in the ledger
-- already and came in again: no contact is touched. What others hold or claim too is theirs. Returns how many rows went
-- or were emptied, by what they were.
create function koppeling.wipe_person(p_person bigint, p_key bytea, p_erasure bigint, p_actor text) returns jsonb
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_group bigint;
    v_instance bigint;
    v_groups bigint[];
    v_identity text;
    v_keys text[];
    v_members bigint[];
    v_contacts text[];
    v_removed jsonb := '{}';
    v_count bigint;
    v_other bigint;
begin
    -- Before any group is locked: whoever holds her against the ledger now may wait for an evaluation that wants a group.
    delete from koppeling.erasure_check q where q.person_id = p_person;
    v_groups := array(
        select m.target_group_id from koppeling.membership m where m.person_id = p_person
        union
        select s.target_group_id from koppeling.suppression s where s.person_id = p_person
        union
        select i.target_group_id from koppeling.connector_instance i
        order by 1);
    foreach v_group in array v_groups loop
        perform koppeling.lock_group(v_group);
    end loop;
    select koppeling.identity_subject(p.source, p.external_id) into v_identity
    from koppeling.person p where p.id = p_person for update;

    v_keys := array(select e.address_key from koppeling.email_address e where e.person_id = p_person);
    v_members := array(select koppeling.contacts_of(p_person, v_keys) where p_key is not null);
    v_keys := v_keys || array(select koppeling.former_addresses(p_person, v_members) where p_key is not null);
    v_keys := array(select unnest(v_keys) except select koppeling.shared_addresses(p_person, v_keys) order by 1);

    if p_key is not null then
        perform koppeling.remember_erased(p_person, p_key, v_keys, p_erasure);
        perform koppeling.mark_erased(v_members, p_person, p_erasure, v_keys);
    end if;

    delete from koppeling.email_address where person_id = p_person;
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('addresses', v_count);
    delete from koppeling.person_category where person_id = p_person;
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('categories', v_count);
    delete from koppeling.position where person_id = p_person;
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('positions', v_count);
    update koppeling.person p
    set state = 'erased', source = '(erased)', external_id = p.id::text, given_name = null, initials = null,
        prefixes = null, family_name = null, gender = 'unknown', changed_at = koppeling.now()
    where p.id = p_person;

    v_contacts := array(
        select m.contact_id from koppeling.audience_member m
        where m.id = any (v_members) and m.erasure_id is not null and m.contact_id is not null);
    v_count := koppeling.wipe_suppressions(array(
        select koppeling.suppressions_of(p_person, case when p_key is null then '{}' else v_keys end)
        union
        select s.id from koppeling.suppression s
        where s.target_group_id = any (v_groups) and s.contact_id = any (v_contacts)));
    v_removed := v_removed || jsonb_build_object('suppressions', v_count);

    -- Out of every group by the way that everybody goes: the claims end, and each contact is looked at.
    foreach v_group in array v_groups loop
        perform koppeling.derive_memberships(v_group, array[p_person], 'erase', p_actor);
        perform koppeling.membership_changed(v_group, array[p_person]);
    end loop;
    -- The claims of an instance whose group said nothing end as well.
    delete from koppeling.claim c where c.person_id = p_person;
    -- Names are needed no longer; the address is, until the contact is gone.
    update koppeling.audience_member m
    set applied_fields = null, sent_fields = null, note = null, moving_to = null
    where m.id = any (v_members) and m.erasure_id is not null;
    for v_instance in
        select distinct m.instance_id from koppeling.audience_member m where m.id = any (v_members) order by 1
    loop
        perform koppeling.stage_members(v_instance, array(
            select m.id from koppeling.audience_member m where m.id = any (v_members) and m.instance_id = v_instance));
    end loop;

    v_count := koppeling.wipe_contacts(array(
        select m.id from koppeling.audience_member m where m.id = any (v_members) and m.erasure_id is not null),
        v_contacts, v_keys);
    delete from koppeling.task t where t.person_id = p_person;
    get diagnostics v_other = row_count;
    v_removed := v_removed || jsonb_build_object('contact_records', v_count + v_other);
    delete from koppeling.change_plan_line l where l.person_id = p_person;
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('plan_lines', v_count);
    v_removed := v_removed || jsonb_build_object('jobs', koppeling.wipe_jobs(array[v_identity], v_keys));
    delete from koppeling.audit_entry a where a.person_id = p_person;
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('audit_entries', v_count);
    delete from koppeling.invitation v where v.person_id = p_person;
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('invitations', v_count);
    update koppeling.membership m set overridden_by = null where m.person_id = p_person;
    delete from koppeling.former_contact c where c.person_id = p_person;
    delete from koppeling.former_claim c where c.person_id = p_person;
    insert into koppeling.audit_entry (person_id, kind, new, actor, cause)
    values (p_person, 'person', '"erased"', p_actor, 'erase');
    return v_removed;
end $$;

-- Erases a person now, with the ledger's key, and the other records of her that were merged; who was merged herself,
-- also since it was asked for, is the survivor. A second time changes nothing. Returns the number of the erasure.
create function koppeling.erase_person_now(p_person bigint, p_key bytea, p_actor text) returns bigint
    language plpgsql strict set search_path = koppeling, pg_temp
as $$
declare
    v_person bigint := koppeling.lock_person(p_person);
    v_record bigint;
    v_erasure bigint;
    v_removed jsonb;
begin
    for v_record in
        select v_person union all select o.id from koppeling.person o where o.merged_into = v_person
    loop
        insert into koppeling.erasure (person_id, actor) values (v_record, p_actor)
        on conflict (person_id) do nothing
        returning id into v_erasure;
        if v_erasure is not null then
            v_removed := koppeling.wipe_person(v_record, p_key, v_erasure, p_actor);
            update koppeling.erasure e set removed = v_removed where e.id = v_erasure;
        end if;
    end loop;
    return (select e.id from koppeling.erasure e where e.person_id = v_person);
end $$;

-- Has a person erased, everywhere and for good; a worker, which has the key, does it at once. Returns the person's
-- number.
create function koppeling.erase_person(
    source text, external_id text, p_actor text default session_user) returns bigint
    language plpgsql security definer set search_path = koppeling, pg_temp
as $$
declare
    v_person bigint := koppeling.require_person(source, external_id);
begin
    perform koppeling.enqueue_internal('person.erase', jsonb_build_object('person', v_person, 'actor', p_actor),
        key => 'erase-' || v_person, priority => -20);
    return v_person;
end $$;
