-- The references of tables that are written by the hundred thousand. A foreign key looks up and locks what it names for
-- every row; here a statement does so once for all its rows. As with a foreign key, who writes a reference locks what it
-- names, and who deletes that waits for him and then finds it in use.

create function koppeling.refuse_reference(p_table name, p_column text) returns void
    language plpgsql
as $$
begin
    raise exception using errcode = 'foreign_key_violation',
        message = format('%s: %s names nothing that is there', p_table, p_column);
end $$;

create function koppeling.refuse_deletion(p_table name, p_by text) returns void
    language plpgsql
as $$
begin
    raise exception using errcode = 'foreign_key_violation',
        message = format('%s: a row is still used by %s', p_table, p_by);
end $$;

-- What was deleted must be seen to be used by whoever was waited for, and an older snapshot would not show it.
create function koppeling.require_read_committed() returns void
    language plpgsql
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = 'feature_not_supported',
            message = 'what others may name is deleted in transactions of isolation level read committed only';
    end if;
end $$;

-- The number that others name, and the number that a row names, stay what they are.
create function koppeling.keep_number() returns trigger
    language plpgsql
as $$
begin
    raise exception using errcode = 'restrict_violation', message = format('%s: a number never changes', tg_table_name);
end $$;

create function koppeling.check_position_values() returns trigger
    language plpgsql
as $$
begin
    if (select count(*) from (select from koppeling.job_function f
                              where f.id in (select g.job_function_id from given g) order by f.id for key share) f)
        < (select count(distinct g.job_function_id) from given g)
    then
        perform koppeling.refuse_reference(tg_table_name, 'job_function_id');
    elsif (select count(*) from (select from koppeling.department d
                                 where d.id in (select g.department_id from given g) order by d.id for key share) d)
        < (select count(distinct g.department_id) from given g)
    then
        perform koppeling.refuse_reference(tg_table_name, 'department_id');
    elsif (select count(*) from (select from koppeling.company c
                                 where c.id in (select g.company_id from given g) order by c.id for key share) c)
        < (select count(distinct g.company_id) from given g)
    then
        perform koppeling.refuse_reference(tg_table_name, 'company_id');
    end if;
    return null;
end $$;
create trigger references_inserted after insert on koppeling.position
    referencing new table as given for each statement execute function koppeling.check_position_values();
create trigger references_updated after update on koppeling.position
    referencing new table as given for each statement execute function koppeling.check_position_values();

create function koppeling.check_person_categories() returns trigger
    language plpgsql
as $$
begin
    if (select count(*) from (select from koppeling.category k
                              where k.id in (select g.category_id from given g) order by k.id for key share) k)
        < (select count(distinct g.category_id) from given g)
    then
        perform koppeling.refuse_reference(tg_table_name, 'category_id');
    end if;
    return null;
end $$;
create trigger references_inserted after insert on koppeling.person_category
    referencing new table as given for each statement execute function koppeling.check_person_categories();
create trigger references_updated after update on koppeling.person_category
    referencing new table as given for each statement execute function koppeling.check_person_categories();

create function koppeling.refuse_used_value() returns trigger
    language plpgsql
as $$
begin
    perform koppeling.require_read_committed();
    if tg_table_name = 'category' and exists (
        select from koppeling.person_category u join gone g on g.id = u.category_id)
    then
        perform koppeling.refuse_deletion(tg_table_name, 'person_category');
    elsif tg_table_name = 'job_function' and exists (
            select from koppeling.position u join gone g on g.id = u.job_function_id)
        or tg_table_name = 'department' and exists (
            select from koppeling.position u join gone g on g.id = u.department_id)
        or tg_table_name = 'company' and exists (
            select from koppeling.position u join gone g on g.id = u.company_id)
    then
        perform koppeling.refuse_deletion(tg_table_name, 'position');
    end if;
    return null;
end $$;
create trigger refuse_used after delete on koppeling.category
    referencing old table as gone for each statement execute function koppeling.refuse_used_value();
create trigger refuse_used after delete on koppeling.job_function
    referencing old table as gone for each statement execute function koppeling.refuse_used_value();
create trigger refuse_used after delete on koppeling.department
    referencing old table as gone for each statement execute function koppeling.refuse_used_value();
create trigger refuse_used after delete on koppeling.company
    referencing old table as gone for each statement execute function koppeling.refuse_used_value();

create function koppeling.check_member_instances() returns trigger
    language plpgsql
as $$
begin
    if (select count(*) from (select from koppeling.connector_instance i
                              where i.id in (select g.instance_id from given g) order by i.id for key share) i)
        < (select count(distinct g.instance_id) from given g)
    then
        perform koppeling.refuse_reference(tg_table_name, 'instance_id');
    end if;
    return null;
end $$;
create trigger references_inserted after insert on koppeling.audience_member
    referencing new table as given for each statement execute function koppeling.check_member_instances();
create trigger instance_stays before update of instance_id on koppeling.audience_member
    for each row when (old.instance_id <> new.instance_id) execute function koppeling.keep_number();

-- A claim's member is one of its own instance. Each is looked up: there are as many members as claims.
create function koppeling.check_claim_members() returns trigger
    language plpgsql
    set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
begin
    if (select count(*) from (select from given g
                              join koppeling.audience_member m on m.id = g.member_id and m.instance_id = g.instance_id
                              for key share of m) m)
        < (select count(*) from given)
    then
        perform koppeling.refuse_reference(tg_table_name, 'member_id');
    end if;
    return null;
end $$;
create trigger references_inserted after insert on koppeling.claim
    referencing new table as given for each statement execute function koppeling.check_claim_members();
create trigger references_updated after update on koppeling.claim
    referencing new table as given for each statement execute function koppeling.check_claim_members();

create function koppeling.refuse_claimed_member() returns trigger
    language plpgsql
as $$
begin
    perform koppeling.require_read_committed();
    if exists (select from koppeling.claim c join gone g on g.id = c.member_id) then
        perform koppeling.refuse_deletion(tg_table_name, 'claim');
    end if;
    return null;
end $$;
create trigger refuse_used after delete on koppeling.audience_member
    referencing old table as gone for each statement execute function koppeling.refuse_claimed_member();

create function koppeling.check_line_plans() returns trigger
    language plpgsql
as $$
begin
    if (select count(*) from (select from koppeling.change_plan p
                              where p.id in (select g.plan_id from given g) order by p.id for key share) p)
        < (select count(distinct g.plan_id) from given g)
    then
        perform koppeling.refuse_reference(tg_table_name, 'plan_id');
    end if;
    return null;
end $$;
create trigger references_inserted after insert on koppeling.change_plan_line
    referencing new table as given for each statement execute function koppeling.check_line_plans();
create trigger plan_stays before update of plan_id on koppeling.change_plan_line
    for each row when (old.plan_id <> new.plan_id) execute function koppeling.keep_number();

-- What goes with an instance, and with a plan.
create function koppeling.delete_with_instances() returns trigger
    language plpgsql
as $$
begin
    perform koppeling.require_read_committed();
    delete from koppeling.claim c using gone g where c.instance_id = g.id;
    delete from koppeling.audience_member m using gone g where m.instance_id = g.id;
    return null;
end $$;
create trigger delete_with_it after delete on koppeling.connector_instance
    referencing old table as gone for each statement execute function koppeling.delete_with_instances();

create function koppeling.delete_with_plans() returns trigger
    language plpgsql
as $$
begin
    perform koppeling.require_read_committed();
    delete from koppeling.change_plan_line l using gone g where l.plan_id = g.id;
    return null;
end $$;
create trigger delete_with_it after delete on koppeling.change_plan
    referencing old table as gone for each statement execute function koppeling.delete_with_plans();

create trigger number_stays before update of id on koppeling.job_function
    for each row when (old.id <> new.id) execute function koppeling.keep_number();
create trigger number_stays before update of id on koppeling.department
    for each row when (old.id <> new.id) execute function koppeling.keep_number();
create trigger number_stays before update of id on koppeling.company
    for each row when (old.id <> new.id) execute function koppeling.keep_number();
create trigger number_stays before update of id on koppeling.category
    for each row when (old.id <> new.id) execute function koppeling.keep_number();
create trigger number_stays before update of id on koppeling.connector_instance
    for each row when (old.id <> new.id) execute function koppeling.keep_number();
create trigger number_stays before update of id on koppeling.audience_member
    for each row when (old.id <> new.id) execute function koppeling.keep_number();
create trigger number_stays before update of id on koppeling.change_plan
    for each row when (old.id <> new.id) execute function koppeling.keep_number();
