with picked as materialized (
    select id from job where state = 0 and queue = 1 and priority = 0 and run_at <= now()
    order by run_at, id limit 500 for update skip locked
), begun as (
    update job set state = 1, worker = :client_id, started_at = now()
    where id = any (array(select id from picked)) returning id, args
)
select coalesce(array_agg(id), '{}') as ids, count(args) as read from begun \gset
update job set state = 2, finished_at = now()
where id = any (:ids::bigint[]) and worker = :client_id and state = 1;
