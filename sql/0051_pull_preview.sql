-- What a page of a pull would change, beside what the page before it had too; for a transaction that is rolled back.

create function koppeling.preview_page(p_instance bigint, p_page jsonb, p_read_at timestamptz, p_again text[])
    returns jsonb
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_group bigint := (select i.target_group_id from koppeling.connector_instance i where i.id = p_instance);
    v_entry bigint;
    v_audit bigint;
    v_contacts jsonb;
    v_page jsonb := jsonb_build_object('members', array(
        select o.member from jsonb_array_elements(p_page -> 'members') o (member)
        where coalesce(o.member ->> 'contact_id', '') <> all (p_again)));
begin
    -- Nobody else writes of this group until all of this is taken back.
    perform koppeling.lock_group(v_group);
    v_entry := (select coalesce(max(s.id), 0) from koppeling.suppression s);
    v_audit := (select coalesce(max(a.id), 0) from koppeling.audit_entry a);
    with shown as (
        select o.status, m.id is not null as is_known, m.status is distinct from o.status as differs
        from jsonb_to_recordset(v_page -> 'members') o (contact_id text, email_address text, status text)
        left join lateral (
            select m.id, m.status from koppeling.audience_member m
            where m.instance_id = p_instance
              and (m.contact_id = o.contact_id
                   or m.contact_id is null and m.address_key = koppeling.address_key(o.email_address))
            order by m.contact_id = o.contact_id desc nulls last
            limit 1
        ) m on true
    )
    select jsonb_build_object(
        'read', (select count(*) from shown),
        'known', (select count(*) from shown where is_known),
        'new', (select coalesce(jsonb_object_agg(n.status, n.contacts), '{}')
                from (select status, count(*) as contacts from shown where not is_known group by status) n),
        'changed', (select coalesce(jsonb_object_agg(n.status, n.contacts), '{}')
                    from (select status, count(*) as contacts from shown where is_known and differs
                          group by status) n))
    into v_contacts;
    perform koppeling.observe_page(p_instance, v_page, p_read_at, 0);
    return v_contacts || jsonb_build_object(
        -- One event leaves an entry at each that it concerns: the one at the address stands for it.
        'noes', (
            select coalesce(jsonb_object_agg(n.reason, n.entries), '{}')
            from (select s.reason, count(*) as entries from koppeling.suppression s
                  where s.id > v_entry and s.target_group_id = v_group and s.address_key is not null
                  group by s.reason) n),
        'inactive', (
            select count(distinct a.person_id) from koppeling.audit_entry a
            where a.id > v_audit and a.target_group_id = v_group and a.kind = 'status'
              and a.old ->> 'status' = 'active' and a.new ->> 'status' = 'inactive'));
end $$;

revoke execute on function koppeling.preview_page(bigint, jsonb, timestamptz, text[]) from public;
