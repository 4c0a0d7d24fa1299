-- The schema, its clock, and the two roles that other systems are given.

create schema koppeling;

-- The only clock of the system. A test's database may replace it; nothing else reads the time.
create function koppeling.now() returns timestamptz
    language sql volatile parallel safe
    return clock_timestamp();

-- Roles belong to the cluster, not to the database: another database of it may have made them already.
do $$
begin
    if not exists (select from pg_roles where rolname = 'koppeling_reader') then
        create role koppeling_reader nologin;
    end if;
    if not exists (select from pg_roles where rolname = 'koppeling_writer') then
        create role koppeling_writer nologin;
    end if;
exception when duplicate_object or unique_violation then
    null;
end $$;

grant usage on schema koppeling to koppeling_reader, koppeling_writer;
