-- A person's own no, told to a user: to one group, or to all of them.

-- The person's own no, recorded here: in one group, or in every one, linked or not, and those that are made later.
-- Returns in how many groups that there are.
create function koppeling.unsubscribe_person(
    source text, external_id text, p_group text default null, p_actor text default session_user) returns bigint
    language plpgsql security definer set search_path = koppeling, pg_temp
as $$
declare
    v_person bigint := koppeling.lock_person(koppeling.require_person(source, external_id));
    v_group bigint;
    v_count bigint := 0;
begin
    if p_group is null then
        -- First of all: a group that is being made waits for this, or is there when the groups are listed.
        perform koppeling.record_own_no(koppeling.every_group(), v_person, p_actor, true);
    end if;
    for v_group in
        select g.id from koppeling.target_group g
        where p_group is null or koppeling.fold(g.name) = koppeling.fold(p_group)
        order by g.id
    loop
        v_count := v_count + 1;
        perform koppeling.record_own_no(v_group, v_person, p_actor, p_group is null);
    end loop;
    if v_count = 0 and p_group is not null then
        raise exception using errcode = 'no_data_found', message = format('there is no target group "%s"', p_group),
            hint = 'List the groups to see their names.';
    end if;
    return v_count;
end $$;

-- In one group, at each address of hers that it may write to: those of its kind, or all where it is linked to no list.
create function koppeling.record_own_no(p_group bigint, p_person bigint, p_actor text, p_to_all boolean) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_kind text := (select g.email_kind from koppeling.target_group g where g.id = p_group);
    v_address text;
    v_said timestamptz := koppeling.now();
begin
    for v_address in
        select e.address from (values (null)) n
        left join koppeling.email_address e on e.person_id = p_person and e.kind = coalesce(v_kind, e.kind)
        order by e.kind
    loop
        perform koppeling.open_suppression(p_group, 'unsubscribed', v_address, null, array[p_person], 'user',
            v_said, jsonb_build_object('actor', p_actor)
                || case when p_to_all then '{"saidTo": "every group"}' else '{}'::jsonb end);
    end loop;
end $$;

-- A group begins with what was said to every one.
create function koppeling.begin_with_noes() returns trigger
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    perform koppeling.lock_group(koppeling.every_group());
    perform koppeling.carry_noes(koppeling.every_group(), new.id, 'system');
    return null;
end $$;
create trigger begin_with_noes after insert on koppeling.target_group
    for each row execute function koppeling.begin_with_noes();

revoke execute on function
    koppeling.unsubscribe_person(text, text, text, text), koppeling.record_own_no(bigint, bigint, text, boolean)
from public;
grant execute on function koppeling.unsubscribe_person(text, text, text, text) to koppeling_writer;
