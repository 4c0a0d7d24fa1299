-- Training or production, and which database of which server this is: whoever restores a dump elsewhere sends nothing.

-- What this deployment was when it was last confirmed. Without a row nobody worked here yet.
create table koppeling.deployment (
    only_one boolean primary key default true check (only_one),
    environment text not null check (environment in ('production', 'training')),
    -- The mark of the key that seals, which tells nothing of the key.
    key_mark text not null,
    system_identifier bigint not null,
    database_oid oid not null,
    confirmed_at timestamptz not null default koppeling.now(),
    confirmed_by text not null,
    -- Whether a complaint or an unsubscribe holds in every linked list, whichever it was said to.
    noes_for_all_lists boolean not null default false,
    -- What differs from then, and since when that is known: as long as it does, no instance works.
    changed text,
    changed_at timestamptz,
    check ((changed is null) = (changed_at is null))
);

-- In training only these addresses get into a list: patterns in which * stands for any text, and nothing else for
-- anything but itself. None: every address.
create table koppeling.training_address (
    pattern text primary key check (length(pattern) between 1 and 254 and pattern = koppeling.fold(pattern))
);

-- What differs between the confirmed deployment and this process's database, key and environment; empty when nothing.
-- Any of the keys that open counts: a key that is being replaced is no other deployment.
create function koppeling.deployment_difference(p_marks text[], p_environment text) returns text
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select concat_ws(', ',
        case when d.environment <> p_environment then format('it was %s, it is %s', d.environment, p_environment) end,
        case when d.key_mark <> all (p_marks) then 'another KOPPELING_SECRET_KEY' end,
        case when d.system_identifier <> c.system_identifier then 'another database server' end,
        case when d.database_oid <> o.oid then 'another database' end)
    from koppeling.deployment d
    cross join pg_control_system() c
    join pg_database o on o.datname = current_database();
end;

-- Looks whether this is the deployment that was confirmed; the first look confirms it. If not, every instance is turned
-- off, once, and stays so until somebody confirms. Returns what differs, or null.
create function koppeling.check_deployment(p_marks text[], p_environment text) returns text
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_difference text;
begin
    insert into koppeling.deployment (environment, key_mark, system_identifier, database_oid, confirmed_by)
    select p_environment, p_marks[1], c.system_identifier, o.oid, 'first use'
    from pg_control_system() c
    join pg_database o on o.datname = current_database()
    where not exists (select from koppeling.deployment)
    on conflict do nothing;
    v_difference := nullif(koppeling.deployment_difference(p_marks, p_environment), '');
    if v_difference is null then
        -- Also when the settings are as they were again: somebody has to look all the same.
        return (select d.changed from koppeling.deployment d);
    end if;
    update koppeling.deployment d set changed = v_difference, changed_at = koppeling.now()
    where d.changed is distinct from v_difference;
    if found then
        update koppeling.connector_instance i set enabled = false where i.enabled;
        insert into koppeling.audit_entry (kind, new, actor, cause)
        values ('deployment.changed', to_jsonb(v_difference), 'system', 'all instances were turned off');
    end if;
    return v_difference;
end $$;

-- All that is sealed is sealed with the first of these keys by now: it stands for the deployment from here on.
create function koppeling.adopt_key(p_marks text[]) returns void
    language sql set search_path = koppeling, pg_temp
begin atomic
    update koppeling.deployment d set key_mark = p_marks[1] where d.key_mark = any (p_marks[2:]) and d.changed is null;
end;

-- Somebody says that this is the deployment from now on. The instances stay off until they are turned on one by one.
create function koppeling.confirm_deployment(p_marks text[], p_environment text, p_actor text) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    perform koppeling.check_deployment(p_marks, p_environment);
    update koppeling.deployment d
    set environment = p_environment, key_mark = p_marks[1], system_identifier = c.system_identifier,
        database_oid = o.oid, confirmed_at = koppeling.now(), confirmed_by = p_actor, changed = null, changed_at = null
    from pg_control_system() c, pg_database o
    where o.datname = current_database();
    -- What was brought over from production tries first.
    update koppeling.connector_instance i set dry_run = true where p_environment = 'training';
    insert into koppeling.audit_entry (kind, new, actor, cause)
    values ('deployment.confirmed', to_jsonb(p_environment), p_actor, 'confirmed');
    perform koppeling.refresh_claims();
end $$;

-- Whether an address may get into a list here.
create function koppeling.address_allowed(p_key text) returns boolean
    language sql stable set search_path = koppeling, pg_temp
    return not exists (select from koppeling.deployment d where d.environment = 'training')
        or not exists (select from koppeling.training_address)
        or exists (
            select from koppeling.training_address t
            where p_key like replace(regexp_replace(t.pattern, '([\\%_])', '\\\1', 'g'), '*', '%'));

-- Looks at all claims again, of every instance.
create function koppeling.refresh_claims() returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_group bigint;
begin
    for v_group in select i.target_group_id from koppeling.connector_instance i order by i.target_group_id loop
        perform koppeling.lock_group(v_group);
        perform koppeling.membership_changed(v_group, null);
    end loop;
end $$;

-- The patterns of the addresses that may be written to in training; an empty list lifts the restriction.
create function koppeling.set_training_addresses(p_patterns text[], p_actor text) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_odd text := (select p from unnest(p_patterns) p where p !~ '[@*]' limit 1);
begin
    if v_odd is not null then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('"%s" is the pattern of no address', v_odd),
            hint = 'Write a whole address, or * for any text, as in *@test.example.org.';
    end if;
    insert into koppeling.audit_entry (kind, old, new, actor, cause)
    values ('training.addresses', (select jsonb_agg(t.pattern) from koppeling.training_address t),
        to_jsonb(p_patterns), p_actor, 'set');
    delete from koppeling.training_address;
    insert into koppeling.training_address (pattern)
    select distinct koppeling.fold(p) from unnest(p_patterns) p;
    perform koppeling.refresh_claims();
end $$;

revoke execute on function
    koppeling.check_deployment(text[], text), koppeling.confirm_deployment(text[], text, text),
    koppeling.set_training_addresses(text[], text), koppeling.refresh_claims()
from public;
