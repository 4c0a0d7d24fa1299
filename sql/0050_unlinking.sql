-- The end of a link: because its instance gets another list, or because its group is deleted.

-- Contacts of the list who are to be unsubscribed there, whether that still waits or was refused.
create function koppeling.untold_noes(p_instance bigint) returns bigint
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    with said as (
        select s.address_key, s.contact_id
        from koppeling.connector_instance i
        join koppeling.open_suppression s
            on s.target_group_id = i.target_group_id and s.reason = 'unsubscribed' and s.source = 'user'
        where i.id = p_instance
        union
        select null, r.contact_id
        from koppeling.restored_no r where r.instance_id = p_instance and r.restored_at is null
    )
    select count(*)
    from koppeling.member_facts(array(
        select m from said s cross join lateral koppeling.members_meant(p_instance, s.address_key) m
        union
        select m.id from said s join koppeling.audience_member m on m.contact_id = s.contact_id
        where m.instance_id = p_instance)) f
    where f.unsubscribe_here and (f.known).status in ('subscribed', 'pending')
        or f.restores_no and (f.known).status in ('subscribed', 'pending', 'archived');
end;

-- What has to be over before a link can end: jobs that run, erasures and noes that Mailchimp was not told of yet, and
-- contacts whom a call of ours may have subscribed over a no, as long as nobody looked for one.
create function koppeling.unfinished_at_list(
    p_instance bigint, out running bigint, out erasures bigint, out noes bigint, out doubts bigint)
    language sql stable set search_path = koppeling, pg_temp
begin atomic
    select (select count(*) from koppeling.job j
            where j.queue = koppeling.instance_queue(p_instance) and j.state = 'running'),
           (select count(*) from koppeling.audience_member m
            join koppeling.erasure_contact c on c.erasure_id = m.erasure_id and c.member_id = m.id
            where m.instance_id = p_instance and c.outcome = 'waiting'),
           greatest(
               koppeling.untold_noes(p_instance),
               (select count(*) from koppeling.job j
                where j.queue = koppeling.instance_queue(p_instance) and j.kind = 'action' and j.state <> 'running'
                  and j.args ->> 'action' = 'unsubscribe')),
           (select count(*) from koppeling.audience_member m
            where m.instance_id = p_instance and (m.intent = 'creating' or m.newness_unseen));
end;

-- The contacts of a list that are subscribed because of us, or soon may be.
create function koppeling.count_ours(p_instance bigint) returns bigint
    language sql stable set search_path = koppeling, pg_temp
    return (
        select count(*)
        from koppeling.audience_member m
        join koppeling.connector_instance i on i.id = m.instance_id
        where m.instance_id = p_instance
          and (m.intent is not null
               or m.status = 'subscribed'
                  and (m.ownership = 'created' or m.ownership = 'adopted' and not i.keeps_adopted)));

-- The instance, locked together with its group, and with every linked one, since another link may begin in the same
-- transaction, when nothing stands against the end of its link.
create function koppeling.require_endable(p_instance bigint, p_list_is_gone boolean)
    returns koppeling.connector_instance
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_instance koppeling.connector_instance;
    v_open record;
    v_undone text;
begin
    perform koppeling.lock_noes();
    select * into v_instance from koppeling.connector_instance i where i.id = p_instance for update;
    if not found then
        raise exception using errcode = 'no_data_found', message = format('there is no instance %s', p_instance),
            hint = 'List the instances to see their names.';
    end if;
    if v_instance.enabled then
        raise exception using errcode = 'KS001', message = format('instance "%s" is on', v_instance.name),
            hint = format('Turn it off first: koppeling instance disable "%s".', v_instance.name);
    end if;
    select * into v_open from koppeling.unfinished_at_list(p_instance);
    if v_open.running > 0 then
        raise exception using errcode = 'KS001',
            message = format('%s of its jobs still run', v_open.running), hint = 'Try again in a moment.';
    end if;
    v_undone := case
        when v_open.erasures + v_open.noes > 0 then
            format('Mailchimp was not told yet of %s erasures and %s unsubscribes in list "%s"',
                v_open.erasures, v_open.noes, v_instance.list_name)
        when v_open.doubts > 0 then
            format('%s contacts of list "%s" may have been subscribed over a no that nobody has looked for yet',
                v_open.doubts, v_instance.list_name) end;
    if v_undone is not null and not p_list_is_gone then
        raise exception using errcode = 'KS001', message = v_undone,
            hint = format('Turn the instance on until they are carried out (koppeling action list), then off again: '
                'koppeling instance enable "%s".', v_instance.name);
    end if;
    return v_instance;
end $$;

-- Ends a link: what is known of the list goes, what was said there stays and holds in whatever list the group, or
-- another, gets. Nothing is sent.
create function koppeling.end_link(p_instance bigint, p_list_is_gone boolean, p_actor text) returns void
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_instance koppeling.connector_instance := koppeling.require_endable(p_instance, p_list_is_gone);
    v_group bigint := v_instance.target_group_id;
    v_link bigint;
begin
    -- Hooks that nobody looked at: a no in one of them counts.
    perform koppeling.believe_webhook(h.instance_id, h.body)
    from (select h.instance_id, h.body from koppeling.webhook_inbox h
          where h.instance_id = p_instance and h.processed_at is null order by h.id) h;
    perform koppeling.record_erased(m.id, case when p_list_is_gone then 'listGone' else 'absent' end)
    from (select m.id from koppeling.audience_member m
          where m.instance_id = p_instance and m.erasure_id is not null order by m.id) m;
    perform koppeling.carry_noes(v_group, v_group, p_actor);
    update koppeling.change_plan p
    set state = 'dissolved', decided_at = coalesce(p.decided_at, koppeling.now()), changed_at = koppeling.now()
    where p.target_group_id = v_group and p.state in ('held', 'approved');
    insert into koppeling.former_link (
        target_group_id, target_group, account_id, list_id, list_name, instance_id, read_until, is_gone, looked_at,
        ended_by)
    select v_group, g.name, v_instance.account_id, v_instance.list_id, v_instance.list_name, p_instance,
           v_instance.pull_cursor, p_list_is_gone, case when p_list_is_gone then koppeling.now() end, p_actor
    from koppeling.target_group g where g.id = v_group
    returning id into strict v_link;
    if not p_list_is_gone then
        perform koppeling.request_last_look(v_link, p_instance);
    end if;
    perform koppeling.cancel_jobs(array(
        select j.id from koppeling.job j where j.queue = koppeling.instance_queue(p_instance)), 'superseded');
    delete from koppeling.claim c where c.instance_id = p_instance;
    delete from koppeling.audience_member m where m.instance_id = p_instance;
    delete from koppeling.connector_instance i where i.id = p_instance;
end $$;

-- Gives the group of an instance another list. The instance has a new number: whatever still speaks of the old one, a
-- hook, a worker that was thought dead, means the old list. Mapping, templates and thresholds stay. Returns
-- {"instance", "left", "noes", "plan", "version", "joins"}.
create function koppeling.relink_instance(
    p_instance bigint, p_account bigint, p_list text, p_list_name text, p_fields jsonb, p_secret_hash bytea,
    p_secret bytea, p_list_is_gone boolean, p_actor text) returns jsonb
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_old koppeling.connector_instance := koppeling.require_endable(p_instance, p_list_is_gone);
    v_templates koppeling.action_template[] := array(
        select t from koppeling.action_template t where t.instance_id = p_instance);
    v_fields koppeling.merge_field[] := array(select t from koppeling.merge_field t where t.instance_id = p_instance);
    v_genders koppeling.gender_text[] := array(select t from koppeling.gender_text t where t.instance_id = p_instance);
    v_left bigint := koppeling.count_ours(p_instance);
    v_group bigint := v_old.target_group_id;
    v_new bigint;
begin
    perform koppeling.begin_pass();
    perform koppeling.end_link(p_instance, p_list_is_gone, p_actor);
    insert into koppeling.connector_instance (
        account_id, name, list_id, list_name, target_group_id, keeps_adopted, reactivate_on_resubscribe, dry_run,
        webhook_secret_hash, webhook_secret, removals_count, removals_share, removals_cap, joins_count, joins_share,
        joins_cap)
    values (
        p_account, v_old.name, p_list, p_list_name, v_group, v_old.keeps_adopted, v_old.reactivate_on_resubscribe,
        v_old.dry_run, p_secret_hash, p_secret, v_old.removals_count, v_old.removals_share, v_old.removals_cap,
        v_old.joins_count, v_old.joins_share, v_old.joins_cap)
    returning id into v_new;
    insert into koppeling.action_template (instance_id, action, automatic)
    select v_new, t.action, t.automatic from unnest(v_templates) t;
    insert into koppeling.gender_text (instance_id, gender, text, title)
    select v_new, t.gender, t.text, t.title from unnest(v_genders) t;
    insert into koppeling.merge_field (instance_id, tag, source, triggers)
    select v_new, t.tag, t.source, t.triggers from unnest(v_fields) t;
    perform koppeling.observe_fields(v_new, p_fields);
    insert into koppeling.audit_entry (target_group_id, kind, old, new, actor, cause)
    values (v_group, 'instance.relinked',
        jsonb_build_object('instance', p_instance, 'list', v_old.list_id, 'list_is_gone', p_list_is_gone),
        jsonb_build_object('instance', v_new, 'list', p_list), p_actor, 'relinking');
    perform koppeling.begin_consent(v_group, p_account, p_list, false, p_actor);
    perform set_config('koppeling.cause', 'relinking', true);
    perform koppeling.membership_changed(v_group, null);
    return jsonb_build_object('instance', v_new, 'left', v_left, 'noes', (
            select count(distinct s.address_key) from koppeling.open_suppression s
            where s.target_group_id = v_group and s.reason = any (koppeling.binding_noes())))
        || coalesce((
            select jsonb_build_object('plan', p.id, 'version', p.version, 'joins', p.joins) from koppeling.plans p
            where p.id = (select h.id from koppeling.change_plan h
                          where h.target_group_id = v_group and h.state = 'held')), '{}');
end $$;

revoke execute on function
    koppeling.require_endable(bigint, boolean), koppeling.end_link(bigint, boolean, text),
    koppeling.relink_instance(bigint, bigint, text, text, jsonb, bytea, bytea, boolean, text)
from public;

-- Makes nobody wanted in a linked group: its rules and what was decided by hand to add go, and everybody who leaves by
-- that waits in a plan, however few they are. Returns the plan, or null when nobody leaves.
create function koppeling.empty_group(p_group bigint, p_actor text) returns bigint
    language plpgsql set search_path = koppeling, pg_temp set plan_cache_mode = force_custom_plan
as $$
declare
    v_plan bigint;
    v_included bigint[];
begin
    perform koppeling.lock_group(p_group);
    perform koppeling.begin_pass();
    insert into koppeling.change_plan (target_group_id, held_because) values (p_group, 'the group is to be deleted')
    on conflict (target_group_id) where state = 'held' do update set held_because = excluded.held_because
    returning id into v_plan;
    v_included := array(
        select m.person_id from koppeling.membership m where m.target_group_id = p_group and m.override = 'include');
    if v_included <> '{}' then
        insert into koppeling.audit_entry (target_group_id, person_id, kind, old, new, actor, cause)
        select p_group, p, 'override', '"include"', '"none"', p_actor, 'deleting the group' from unnest(v_included) p;
        perform koppeling.derive_memberships(p_group, v_included, 'deleting the group', p_actor, 'none');
    end if;
    perform koppeling.save_rules(g.id, g.rules_version, '[]', true, p_actor)
    from koppeling.target_group g where g.id = p_group;
    perform koppeling.membership_changed(p_group, null);
    return (select p.id from koppeling.change_plan p where p.id = v_plan and p.state = 'held');
end $$;

-- Deletes a group that is not linked. What was said by persons stays in the ledger, and in the audit what it was.
create function koppeling.delete_group(p_group bigint, p_actor text) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_group koppeling.target_group;
    v_instance text := (
        select i.name from koppeling.connector_instance i where i.target_group_id = p_group);
begin
    perform koppeling.lock_group(p_group);
    select * into v_group from koppeling.target_group g where g.id = p_group for update;
    if not found then
        raise exception using errcode = 'no_data_found', message = format('there is no target group %s', p_group),
            hint = 'List the groups to see their names.';
    end if;
    if v_instance is not null then
        raise exception using errcode = 'restrict_violation',
            message = format('group "%s" is linked by instance "%s"', v_group.name, v_instance),
            hint = format('Turn it off (koppeling instance disable "%s"), then say what becomes of its contacts: '
                '--contacts archive, or leave.', v_instance);
    end if;
    insert into koppeling.audit_entry (target_group_id, kind, old, actor, cause)
    values (p_group, 'group.deleted',
        jsonb_build_object('name', v_group.name, 'rules', koppeling.rules_json(p_group)), p_actor, 'by hand');
    delete from koppeling.membership m where m.target_group_id = p_group;
    delete from koppeling.target_group g where g.id = p_group;
end $$;

-- Deletes a linked group whose instance is off, with the instance. Its contacts are left as they are; or, when they are
-- to be archived, that comes first: until none of them is left there is only a plan, and this is called again.
-- Returns {"is_done", "left", "plan", "version", "leaves"}.
create function koppeling.delete_linked_group(
    p_instance bigint, p_archives boolean, p_list_is_gone boolean, p_actor text) returns jsonb
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_left bigint := koppeling.count_ours(p_instance);
    v_group bigint;
    v_plan bigint;
begin
    if p_archives and not p_list_is_gone
        and (v_left > 0 or exists (select from koppeling.claim c where c.instance_id = p_instance))
    then
        select i.target_group_id into strict v_group from koppeling.connector_instance i
        where i.id = p_instance and not i.enabled;
        v_plan := koppeling.empty_group(v_group, p_actor);
        return jsonb_build_object('is_done', false, 'left', v_left) || coalesce((
            select jsonb_build_object('plan', p.id, 'version', p.version, 'leaves', p.leaves)
            from koppeling.plans p where p.id = v_plan), '{}');
    end if;
    v_group := (koppeling.require_endable(p_instance, p_list_is_gone)).target_group_id;
    perform koppeling.end_link(p_instance, p_list_is_gone, p_actor);
    perform koppeling.delete_group(v_group, p_actor);
    return jsonb_build_object('is_done', true, 'left', v_left);
end $$;

revoke execute on function
    koppeling.empty_group(bigint, text), koppeling.delete_group(bigint, text),
    koppeling.delete_linked_group(bigint, boolean, boolean, text)
from public;
