-- What fills the merge fields of a list: the mapping, what it is checked against, and the words for a person.

-- The merge fields of a list as Mailchimp had them when they were last read.
create table koppeling.list_field (
    instance_id  bigint not null references koppeling.connector_instance on delete cascade,
    tag          text not null,
    name         text not null,
    type         text not null,
    required     boolean not null,
    choices      text[] not null default '{}',
    primary key (instance_id, tag)
);

-- What a gender is called in a list, and the title of a salutation. What is not here is empty.
create table koppeling.gender_text (
    instance_id  bigint not null references koppeling.connector_instance on delete cascade,
    gender       text not null check (gender in ('male', 'female', 'other', 'unknown')),
    text         text not null default '' check (octet_length(text) <= 255),
    title        text not null default '' check (octet_length(title) <= 100),
    primary key (instance_id, gender)
);

create function koppeling.cut_text(value text) returns text
    language sql immutable parallel safe
    return (
        select left(value, n) from generate_series(255, 63, -1) n where octet_length(left(value, n)) <= 255 limit 1);

-- A value as a text field takes it: Mailchimp keeps 255 bytes, and would cut a letter in half. The cutting is by itself
-- so that the planner can inline the rest.
create function koppeling.merge_text(value text) returns text
    language sql immutable parallel safe
    return case
        when octet_length(value) <= 255 then value
        when value is null then ''
        else koppeling.cut_text(value)
    end;

-- The Dutch digraph counts as one letter.
create function koppeling.capitalised(name text) returns text
    language sql immutable parallel safe
    return case
        when name like 'ij%' then 'IJ' || substr(name, 3)
        else upper(left(name, 1) collate "und-x-icu") collate "default" || substr(name, 2)
    end;

-- The form of address: "mevrouw Van der Berg", or without a title "Anna van der Berg". Where neither name nor initials
-- stand before them, prefixes begin with a capital, but not an apostrophe's letter: "mevrouw 't Hart".
create function koppeling.salutation(title text, given_name text, initials text, prefixes text, family_name text)
    returns text
    language sql immutable parallel safe
    return case
        when family_name is null then koppeling.first_name(given_name, initials)
        when title <> '' then title || ' ' || koppeling.capitalised(koppeling.last_name(prefixes, family_name))
        when coalesce(given_name, initials) is null
        then koppeling.capitalised(koppeling.last_name(prefixes, family_name))
        else koppeling.first_name(given_name, initials) || ' ' || koppeling.last_name(prefixes, family_name)
    end;

-- The id of the instance of this name or number.
create function koppeling.require_instance(p_name text) returns bigint
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
declare
    v_instance bigint := (
        select i.id from koppeling.connector_instance i
        where i.name = p_name or i.id::text = p_name
        order by i.name = p_name desc limit 1);
begin
    if v_instance is null then
        raise exception using errcode = 'no_data_found', message = format('there is no instance "%s"', p_name),
            hint = 'List the instances to see their names.';
    end if;
    return v_instance;
end $$;

-- What is wrong with a mapping: null when nothing is. Only text takes any text; choices take the words for a gender.
create function koppeling.mapping_fault(p_instance bigint, p_tag text, p_source text) returns text
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
declare
    v_field koppeling.list_field;
    v_words text[];
begin
    select * into v_field from koppeling.list_field f where f.instance_id = p_instance and f.tag = p_tag;
    if not found then
        return 'the list has no such field: make it in Mailchimp, or let it be made: --make NAME, or "make" over HTTP';
    elsif v_field.type = 'text' then
        return null;
    elsif v_field.type in ('radio', 'dropdown') and p_source = 'gender' then
        v_words := array(
            select g.text from koppeling.gender_text g
            where g.instance_id = p_instance and g.text <> '' and g.text <> all (v_field.choices)
            order by g.gender);
        return case when v_words <> '{}' then
            format('"%s" is none of its choices: change the words for the genders', array_to_string(v_words, '", "'))
        end;
    end if;
    return format('is of type %s, and takes no %s: map it to a field of type text', v_field.type, p_source);
end $$;

-- The fields of each list, what fills them, and what is wrong with that.
create view koppeling.merge_fields as
select i.id as instance_id, i.name as instance, coalesce(t.tag, f.tag) as tag, f.name, f.type, f.required, t.source,
       t.triggers,
       case
           when t.tag is not null then koppeling.mapping_fault(i.id, t.tag, t.source)
           when f.required
           then 'is required in Mailchimp, and nothing fills it: its forms ask for it, our calls leave it empty'
       end as fault
from koppeling.connector_instance i
cross join lateral (
    select tag from koppeling.list_field where instance_id = i.id
    union
    select tag from koppeling.merge_field where instance_id = i.id
) a
left join koppeling.list_field f on f.instance_id = i.id and f.tag = a.tag
left join koppeling.merge_field t on t.instance_id = i.id and t.tag = a.tag;
comment on view koppeling.merge_fields is
    'The merge fields of each list, what fills them, and what is wrong with that.';
grant select on koppeling.merge_fields to koppeling_reader;

-- Opens the task about the faults of an instance's fields, or ends it when there are none.
create function koppeling.tell_field_faults(p_instance bigint) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_faults jsonb := (
        select jsonb_object_agg(f.tag, f.fault) from koppeling.merge_fields f
        where f.instance_id = p_instance and f.fault is not null);
begin
    if v_faults is null then
        update koppeling.task set done_at = koppeling.now()
        where kind = 'mergeFieldMissing' and instance_id = p_instance and done_at is null;
        return;
    end if;
    perform koppeling.open_task('mergeFieldMissing', p_instance, null, v_faults);
    update koppeling.task set detail = v_faults
    where kind = 'mergeFieldMissing' and instance_id = p_instance and done_at is null and detail <> v_faults;
end $$;

-- Takes in the merge fields of a list: [{"tag", "name", "type", "required", "choices"}].
create function koppeling.observe_fields(p_instance bigint, p_fields jsonb) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    delete from koppeling.list_field f
    where f.instance_id = p_instance
      and f.tag not in (select n.tag from jsonb_to_recordset(p_fields) n (tag text));
    insert into koppeling.list_field as f (instance_id, tag, name, type, required, choices)
    select p_instance, n.tag, n.name, n.type, n.required, n.choices
    from jsonb_to_recordset(p_fields) n (tag text, name text, type text, required boolean, choices text[])
    on conflict (instance_id, tag) do update
        set name = excluded.name, type = excluded.type, required = excluded.required, choices = excluded.choices
        where (f.name, f.type, f.required, f.choices)
            is distinct from (excluded.name, excluded.type, excluded.required, excluded.choices);
    perform koppeling.tell_field_faults(p_instance);
end $$;

-- The mapping of a new instance: the names, where the list has fields for them, and Dutch words for the genders.
create function koppeling.map_by_default(p_instance bigint) returns void
    language sql set search_path = koppeling, pg_temp
begin atomic
    insert into koppeling.gender_text (instance_id, gender, text, title)
    values (p_instance, 'male', 'man', 'heer'), (p_instance, 'female', 'vrouw', 'mevrouw'),
           (p_instance, 'other', 'anders', '');
    insert into koppeling.merge_field (instance_id, tag, source)
    select p_instance, d.tag, d.source
    from (values ('FNAME', 'first_name'), ('LNAME', 'last_name')) d (tag, source)
    join koppeling.list_field f on f.instance_id = p_instance and f.tag = d.tag and f.type = 'text';
    select koppeling.tell_field_faults(p_instance);
end;

-- Brings what the list gets in line with a mapping that changed; what would empty a field of many waits in a plan.
create function koppeling.mapping_changed(p_instance bigint, p_actor text, p_old jsonb, p_new jsonb) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_group bigint := (select i.target_group_id from koppeling.connector_instance i where i.id = p_instance);
begin
    insert into koppeling.audit_entry (target_group_id, kind, old, new, actor, cause)
    values (v_group, 'mergeField', p_old, p_new, p_actor, 'mapping');
    perform koppeling.tell_field_faults(p_instance);
    perform set_config('koppeling.cause', 'mapping', true);
    perform koppeling.membership_changed(v_group, null);
end $$;

create function koppeling.lock_mapping(p_instance bigint) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
begin
    perform koppeling.lock_group(i.target_group_id) from koppeling.connector_instance i where i.id = p_instance;
    perform koppeling.begin_pass();
end $$;

-- Lets a field of the persons fill a merge field of the list.
create function koppeling.map_merge_field(
    p_instance text, p_tag text, p_source text, p_triggers boolean default true, p_actor text default session_user)
    returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_instance bigint := koppeling.require_instance(p_instance);
    v_old jsonb;
    v_fault text;
begin
    if coalesce(p_source, '') not in ('first_name', 'last_name', 'given_name', 'initials', 'prefixes', 'family_name',
                                      'gender', 'salutation', 'function', 'department', 'company')
    then
        raise exception using errcode = 'invalid_parameter_value', message = format('"%s" fills no field', p_source),
            hint = 'It is first_name, last_name, given_name, initials, prefixes, family_name, gender, salutation, '
                'function, department or company.';
    end if;
    perform koppeling.lock_mapping(v_instance);
    v_fault := koppeling.mapping_fault(v_instance, p_tag, p_source);
    if v_fault is not null then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('merge field %s: %s', p_tag, v_fault);
    end if;
    select to_jsonb(t) into v_old from koppeling.merge_field t where t.instance_id = v_instance and t.tag = p_tag;
    insert into koppeling.merge_field (instance_id, tag, source, triggers)
    values (v_instance, p_tag, p_source, p_triggers)
    on conflict (instance_id, tag) do update set source = excluded.source, triggers = excluded.triggers;
    perform koppeling.mapping_changed(v_instance, p_actor, v_old,
        jsonb_build_object('tag', p_tag, 'source', p_source, 'triggers', p_triggers));
    -- What differed so far without being sent is now a reason to.
    if p_triggers and not (v_old ->> 'triggers')::boolean then
        perform koppeling.stage_members(v_instance, d.members)
        from (
            select array_agg(m.id order by m.id) as members
            from (
                select m.id, row_number() over (order by m.id) / 5000 as part
                from koppeling.audience_member m
                where m.instance_id = v_instance and exists (
                    select from koppeling.claim c
                    where c.member_id = m.id and c.fields -> p_tag is distinct from m.applied_fields -> p_tag)
            ) m
            group by m.part
        ) d;
    end if;
end $$;

-- Leaves a merge field to the list: what stands in it stays, and is no longer ours.
create function koppeling.unmap_merge_field(p_instance text, p_tag text, p_actor text default session_user) returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_instance bigint := koppeling.require_instance(p_instance);
    v_old jsonb;
begin
    perform koppeling.lock_mapping(v_instance);
    delete from koppeling.merge_field t where t.instance_id = v_instance and t.tag = p_tag
    returning to_jsonb(t) into v_old;
    if v_old is null then
        raise exception using errcode = 'no_data_found', message = format('nothing fills merge field %s', p_tag),
            hint = 'List the merge fields to see which are filled.';
    end if;
    update koppeling.claim c set fields = c.fields - p_tag where c.instance_id = v_instance and c.fields ? p_tag;
    update koppeling.audience_member m
    set applied_fields = m.applied_fields - p_tag, sent_fields = m.sent_fields - p_tag
    where m.instance_id = v_instance and (m.applied_fields ? p_tag or m.sent_fields ? p_tag);
    perform koppeling.mapping_changed(v_instance, p_actor, v_old, null);
end $$;

-- Says what a gender is called in a list, and which title a salutation has.
create function koppeling.set_gender_text(
    p_instance text, p_gender text, p_text text, p_title text default null, p_actor text default session_user)
    returns void
    language plpgsql set search_path = koppeling, pg_temp
as $$
declare
    v_instance bigint := koppeling.require_instance(p_instance);
    v_gender text := koppeling.gender_value(p_gender);
    v_old jsonb;
    v_fault record;
begin
    if v_gender is null or octet_length(p_text) > 255 or octet_length(p_title) > 100 then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('"%s" is no gender, or its text or title is too long', p_gender),
            hint = 'It is male, female, other or unknown (man, vrouw, anders, onbekend); a text has at most 255 bytes, a title 100.';
    end if;
    perform koppeling.lock_mapping(v_instance);
    select to_jsonb(g) into v_old from koppeling.gender_text g where g.instance_id = v_instance and g.gender = v_gender;
    insert into koppeling.gender_text as g (instance_id, gender, text, title)
    values (v_instance, v_gender, coalesce(p_text, ''), coalesce(p_title, ''))
    on conflict (instance_id, gender) do update
        set text = excluded.text, title = case when p_title is null then g.title else excluded.title end;
    select f.tag, f.fault into v_fault from koppeling.merge_fields f
    where f.instance_id = v_instance and f.source = 'gender' and f.fault is not null and f.type is not null;
    if found then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('merge field %s: %s', v_fault.tag, v_fault.fault);
    end if;
    perform koppeling.mapping_changed(v_instance, p_actor, v_old,
        jsonb_build_object('gender', v_gender, 'text', p_text, 'title', p_title));
end $$;

revoke execute on function
    koppeling.observe_fields(bigint, jsonb), koppeling.map_by_default(bigint), koppeling.tell_field_faults(bigint),
    koppeling.map_merge_field(text, text, text, boolean, text), koppeling.unmap_merge_field(text, text, text),
    koppeling.set_gender_text(text, text, text, text, text), koppeling.mapping_changed(bigint, text, jsonb, jsonb)
from public;
