-- What rules can ask for, by name: a page of one kind.

-- The labels of the values of a kind that begin so, after the last one of the page before, compared without case.
create function koppeling.list_values(p_kind text, p_prefix text, p_after text, p_limit bigint)
    returns table (name text)
    language plpgsql stable set search_path = koppeling, pg_temp
as $$
#variable_conflict use_column
declare
    v_prefix text := koppeling.fold(coalesce(p_prefix, ''));
    v_after text := koppeling.fold(coalesce(p_after, ''));
    v_company bigint := case when p_kind = 'company' and p_after is not null then koppeling.find_company(p_after) end;
begin
    return query
    select v.name from (
        select f.name from koppeling.job_function f
        where p_kind = 'function' and koppeling.fold(f.name) > v_after and starts_with(koppeling.fold(f.name), v_prefix)
        order by koppeling.fold(f.name) limit p_limit) v
    union all
    select v.name from (
        select d.name from koppeling.department d
        where p_kind = 'department' and koppeling.fold(d.name) > v_after
            and starts_with(koppeling.fold(d.name), v_prefix)
        order by koppeling.fold(d.name) limit p_limit) v
    union all
    select v.name from (
        select c.name from koppeling.company_category c
        where p_kind = 'companyCategory' and koppeling.fold(c.name) > v_after
            and starts_with(koppeling.fold(c.name), v_prefix)
        order by koppeling.fold(c.name) limit p_limit) v
    union all
    select v.name from (
        select g.name || ' / ' || k.name as name
        from koppeling.category k
        join koppeling.category_group g on g.id = k.category_group_id
        where p_kind = 'personCategory' and koppeling.fold(g.name || ' / ' || k.name) > v_after
            and starts_with(koppeling.fold(g.name || ' / ' || k.name), v_prefix)
        order by koppeling.fold(g.name || ' / ' || k.name) limit p_limit) v
    union all
    select koppeling.value_label('company', v.id) from (
        select c.id from koppeling.company c
        where p_kind = 'company' and c.merged_into is null and starts_with(koppeling.fold(c.name), v_prefix)
            and (v_company is null or (koppeling.fold(c.name), c.id) > (
                select koppeling.fold(a.name), a.id from koppeling.company a where a.id = v_company))
        order by koppeling.fold(c.name), c.id limit p_limit) v;
end $$;

revoke execute on function koppeling.list_values(text, text, text, bigint) from public;
