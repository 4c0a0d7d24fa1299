-- The end of what is open in the ledger.

-- Ends these entries; what a bounce left at persons ends with it. A complaint is never ended by us.
create function koppeling.end_suppressions(
    p_group bigint, p_ids bigint[], p_source text, p_cause text, p_by_hand boolean default false)
    returns setof bigint
    language plpgsql
as $$
declare
    v_persons bigint[];
begin
    if exists (select from koppeling.suppression s where s.id = any (p_ids) and s.reason = 'complained') then
        raise exception using errcode = 'restrict_violation', message = 'a complaint cannot be lifted',
            hint = 'The contact reported a mailing as spam; it stays out of this list.';
    end if;
    with recursive ended as (
        select s.* from koppeling.suppression s where s.id = any (p_ids)
        union
        select s.* from koppeling.suppression s join ended e on s.follows = e.id
        where s.reason = 'cleaned'
    ), lifted as (
        insert into koppeling.suppression_lift (suppression_id, source, cause)
        select e.id, p_source, p_cause from ended e
        on conflict (suppression_id) do nothing
    )
    select array_agg(distinct coalesce(e.person_id, a.person_id)) into v_persons
    from ended e
    left join koppeling.email_address a on a.address_key = e.address_key
    where coalesce(e.person_id, a.person_id) is not null;
    -- Who was let go but holds another address with a no is bound by that one.
    perform koppeling.bind_holders(v_persons);
    return query select * from koppeling.rederive(p_group, v_persons, p_cause, p_source, p_by_hand);
end $$;

-- Ends one entry. Returns whose status changed.
create function koppeling.lift_suppression(p_suppression bigint, p_source text, p_cause text) returns setof bigint
    language plpgsql
as $$
declare
    v_group bigint := (select s.target_group_id from koppeling.suppression s where s.id = p_suppression);
begin
    perform koppeling.lock_group(v_group);
    return query select * from koppeling.end_suppressions(v_group, array[p_suppression], p_source, p_cause);
end $$;

-- Ends what is open for these reasons at the contact, the address and the persons named, and at nobody else.
create function koppeling.lift_suppressions(
    p_group bigint, p_reasons text[], p_address text, p_contact_id text, p_persons bigint[], p_source text, p_cause text)
    returns setof bigint
    language plpgsql
as $$
declare
    v_ids bigint[];
begin
    perform koppeling.lock_group(p_group);
    v_ids := array(
        select s.id from koppeling.open_suppression s
        where s.target_group_id = p_group and s.reason = any (p_reasons)
            and (s.contact_id = p_contact_id or s.address_key = koppeling.address_key(p_address)
                or s.person_id = any (p_persons))
        order by s.id);
    return query select * from koppeling.end_suppressions(p_group, v_ids, p_source, p_cause);
end $$;
