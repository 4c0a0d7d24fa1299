with new as (
    insert into body (kind, args) select 'nothing', jsonb_build_object('n', n) from generate_series(1, 500) n
    returning id
)
insert into ready select 1, 0, now(), id from new;
with picked as materialized (
    select ctid from ready where queue = 1 and priority = 0 and run_at <= now()
    order by run_at, id limit 500 for update skip locked
), gone as (
    delete from ready where ctid = any (array(select ctid from picked)) returning id
), begun as (
    insert into running select id, :client_id, now() from gone returning id
)
select coalesce(array_agg(b.id), '{}') as ids, count(b.args) as read from begun join body b using (id) \gset
with ended as (
    delete from running where id = any (:ids::bigint[]) and worker = :client_id returning *
)
insert into history select id, worker, started_at, now(), 'done' from ended;
