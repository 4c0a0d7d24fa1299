-- What would change between the claims there are and those there should be.

-- Of these persons, each named once: who would join, leave, or have something emptied or else edited. Who is active
-- and has an address of the group's kind should have a claim. An exempt change is never held: a person's own no, an
-- erasure, a change by hand, what a plan that is being applied says.
-- In SQL without settings, so that it becomes part of its caller's statement: merge fields are then put together only
-- for those whom the caller asks about them, or who have a claim to compare them with.
create function koppeling.claim_difference(p_instance bigint, p_persons bigint[], p_by_hand boolean)
    returns table (person_id bigint, change text, exempt boolean, reason text, address text, address_key text,
                   fields jsonb, manual boolean, member_id bigint, readdressed boolean, emptied text[])
    language sql stable
begin atomic
    select s.person_id, d.change,
           l.person_id is not null or case d.change
               when 'join' then (p_by_hand or m.via = 'manual') and i.activated
               -- Whichever of her reasons is the one to show.
               when 'leave' then p_by_hand or coalesce(
                   m.reasons && array['erased', 'complained', 'unsubscribed', 'cleaned', 'forgotten',
                                      'removedInMailchimp', 'manual'], false)
               else d.change = 'edit'
           end,
           case d.change
               when 'join' then coalesce(m.via, 'rule')
               when 'leave' then case when m.status = 'active' then 'noAddress'
                                      else coalesce(m.reasons[1], 'ruleNoLongerMatches') end
               else 'fields'
           end,
           e.address, e.address_key, case when e.id is not null then f.fields end,
           case when e.id is not null then m.via = 'manual' end, h.member_id,
           h.person_id is not null and e.address_key <> h.address_key,
           case when d.change = 'empty' then array(
               select x.key from jsonb_each_text(h.fields) x
               where x.value <> '' and coalesce(f.fields ->> x.key, '') = '' order by x.key) end
    from koppeling.connector_instance i
    join koppeling.target_group g on g.id = i.target_group_id
    cross join unnest(p_persons) s (person_id)
    -- Each person is looked up, here and below: statistics are as old as a plan is new, and a scan that looked cheap
    -- would be made for everybody.
    left join lateral (
        select * from koppeling.membership m where m.target_group_id = g.id and m.person_id = s.person_id offset 0
    ) m on true
    left join lateral (
        select * from koppeling.email_address e
        where m.status = 'active' and e.person_id = s.person_id and e.kind = g.email_kind
          and (not exists (select from koppeling.training_address) or koppeling.address_allowed(e.address_key))
        offset 0
    ) e on true
    left join lateral (
        select * from koppeling.claim h where h.instance_id = i.id and h.person_id = s.person_id offset 0
    ) h on true
    cross join lateral (
        select (
            select coalesce(jsonb_object_agg(v.tag, koppeling.merge_text(v.value)), '{}')
            from (
                select t.tag, case t.source
                    when 'first_name' then koppeling.first_name(p.given_name, p.initials)
                    when 'last_name' then koppeling.last_name(p.prefixes, p.family_name)
                    when 'given_name' then p.given_name
                    when 'initials' then p.initials
                    when 'prefixes' then p.prefixes
                    when 'family_name' then p.family_name
                    when 'gender' then (
                        select w.text from koppeling.gender_text w
                        where w.instance_id = i.id and w.gender = p.gender)
                    when 'salutation' then koppeling.salutation(
                        (select w.title from koppeling.gender_text w
                         where w.instance_id = i.id and w.gender = p.gender),
                        p.given_name, p.initials, p.prefixes, p.family_name)
                    -- Of the position that was given first.
                    when 'function' then (
                        select n.name from koppeling.position o
                        left join koppeling.job_function n on n.id = o.job_function_id
                        where o.person_id = p.id order by o.id limit 1)
                    when 'department' then (
                        select n.name from koppeling.position o
                        left join koppeling.department n on n.id = o.department_id
                        where o.person_id = p.id order by o.id limit 1)
                    when 'company' then (
                        select n.name from koppeling.position o
                        left join koppeling.company n on n.id = o.company_id
                        where o.person_id = p.id order by o.id limit 1)
                end as value
                from koppeling.person p
                cross join koppeling.merge_field t
                where p.id = s.person_id and t.instance_id = i.id
                -- By itself, or the text would be made anew wherever merge_text names it.
                offset 0
            ) v
        ) as fields
    ) f
    cross join lateral (
        select case
            when h.person_id is null then 'join'
            when e.id is null then 'leave'
            when exists (select from jsonb_each_text(h.fields) x
                         where x.value <> '' and coalesce(f.fields ->> x.key, '') = '') then 'empty'
            else 'edit'
        end as change
        offset 0
    ) d
    -- The plan that is being applied, where it says the same.
    left join koppeling.change_plan a on a.target_group_id = g.id and a.state = 'approved'
    left join lateral (
        select l.person_id from koppeling.change_plan_line l
        where a.id is not null and l.plan_id = a.id and l.person_id = s.person_id
          and l.person_id > a.applied_through and l.change = d.change
        offset 0
    ) l on true
    where i.id = p_instance
      and case
          when e.id is null then h.person_id is not null
          when h.person_id is null then true
          else (h.address_key, h.manual) is distinct from (e.address_key, m.via = 'manual')
               or h.fields is distinct from f.fields
      end
      -- Nothing follows from an address before it is known that nobody erased had it.
      and not exists (select from koppeling.erasure_check q where q.person_id = s.person_id offset 0);
end;

-- How many of it would join, or leave or have something emptied, that a plan may hold.
create function koppeling.count_held(
    p_instance bigint, p_persons bigint[], p_by_hand boolean, out joins bigint, out removals bigint)
    language plpgsql stable
    -- Each person through its index, whatever the statistics say; planned once, not for every edit.
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
begin
    select count(*) filter (where d.change = 'join'), count(*) filter (where d.change in ('leave', 'empty'))
    into joins, removals
    from koppeling.claim_difference(p_instance, p_persons, p_by_hand) d
    where not d.exempt;
end $$;

-- What is to be applied of it: all, or only what no plan may hold.
create function koppeling.changes_due(
    p_instance bigint, p_persons bigint[], p_exempt_only boolean, p_by_hand boolean)
    returns koppeling.claim_change[]
    language plpgsql stable
    -- As count_held.
    set search_path = koppeling, pg_temp set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
begin
    return array(
        select row (d.person_id, d.change, d.address, d.address_key, d.fields, d.manual, d.member_id,
                    d.readdressed)::koppeling.claim_change
        from koppeling.claim_difference(p_instance, p_persons, p_by_hand) d
        where d.exempt or not p_exempt_only);
end $$;
