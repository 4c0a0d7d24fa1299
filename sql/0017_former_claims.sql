-- For whom a contact stood: claims that ended, or that went to another contact. The contact stays in the list, archived
-- as a rule, and it is hers when all that is held of her is asked for or erased.
create table koppeling.former_claim (
    person_id bigint not null,
    member_id bigint not null references koppeling.audience_member on delete cascade,
    primary key (person_id, member_id)
);
create index former_claim_member on koppeling.former_claim (member_id);

create function koppeling.keep_ended_claims() returns trigger
    language plpgsql
as $$
begin
    insert into koppeling.former_claim (person_id, member_id)
    select g.person_id, g.member_id from gone g order by g.person_id, g.member_id
    on conflict do nothing;
    return null;
end $$;
create trigger keep_ended after delete on koppeling.claim
    referencing old table as gone for each statement execute function koppeling.keep_ended_claims();

create function koppeling.keep_moved_claims() returns trigger
    language plpgsql
    -- The planner thinks that few are changed; a nested loop over them would be quadratic.
    set enable_nestloop = off
as $$
begin
    insert into koppeling.former_claim (person_id, member_id)
    select g.person_id, g.member_id
    from gone g
    join given n on n.instance_id = g.instance_id and n.person_id = g.person_id
    where n.member_id <> g.member_id
    order by g.person_id, g.member_id
    on conflict do nothing;
    return null;
end $$;
create trigger keep_moved after update on koppeling.claim
    referencing old table as gone new table as given for each statement execute function koppeling.keep_moved_claims();
