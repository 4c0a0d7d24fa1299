-- Requests to enqueue that carry an idempotency key: a repetition within a day gets the first answer and enqueues nothing.

create table koppeling.idempotent_request (
    token_id bigint not null references koppeling.api_token on delete cascade,
    key text not null check (length(key) between 1 and 255),
    -- SHA-256 of the body as jsonb writes it, so that white space and the order of fields make no difference.
    body_hash bytea not null check (octet_length(body_hash) = 32),
    created_at timestamptz not null,
    -- The answer.
    ids bigint[] not null default '{}',
    primary key (token_id, key)
) with (fillfactor = 70);
create index idempotent_request_created_at on koppeling.idempotent_request (created_at);

-- Enqueues what a request asks for: a job, or a list of up to 1,000. With an idempotency key the verdict may be
-- 'repeated': the ids are then those of the first time; or 'mismatch': the key was used with another body, and nothing
-- is enqueued. Two at once with one key: the second waits for the first to end, because the key is a primary key.
create function koppeling.enqueue_request(p_token bigint, p_key text, p_body jsonb)
    returns table (verdict text, ids bigint[], is_list boolean)
    language plpgsql set search_path = koppeling, pg_temp
as $$
#variable_conflict use_variable
declare
    v_now timestamptz := koppeling.now();
    v_expired timestamptz := v_now - interval '24 hours';
    v_hash bytea := sha256(convert_to(p_body::text, 'UTF8'));
    v_first koppeling.idempotent_request;
begin
    is_list := jsonb_typeof(p_body) = 'array';
    if not is_list and jsonb_typeof(p_body) <> 'object' or is_list and jsonb_array_length(p_body) > 1000 then
        raise exception using errcode = '22023',
            message = 'The body is one job as an object, or an array of at most 1000 jobs.';
    end if;
    if p_key is not null then
        insert into koppeling.idempotent_request as r (token_id, key, body_hash, created_at)
        values (p_token, p_key, v_hash, v_now)
        on conflict on constraint idempotent_request_pkey do update
        set body_hash = excluded.body_hash, created_at = excluded.created_at
        where r.created_at <= v_expired;
        if not found then
            -- The conflict has locked the row, so nobody prunes it now.
            select r.* into strict v_first from koppeling.idempotent_request r
            where r.token_id = p_token and r.key = p_key;
            verdict := case when v_first.body_hash = v_hash then 'repeated' else 'mismatch' end;
            ids := v_first.ids;
            return next;
            return;
        end if;
    end if;
    verdict := 'enqueued';
    ids := koppeling.enqueue_each(case when is_list then p_body else jsonb_build_array(p_body) end);
    if p_key is not null then
        update koppeling.idempotent_request r set ids = enqueue_request.ids
        where r.token_id = p_token and r.key = p_key;
        -- Whoever adds one takes some old ones away, so the table holds a day's worth and little more.
        delete from koppeling.idempotent_request r
        using (
            select o.token_id, o.key from koppeling.idempotent_request o
            where o.created_at <= v_expired
            order by o.created_at
            limit 100
            for update skip locked) old
        where r.token_id = old.token_id and r.key = old.key;
    end if;
    return next;
end $$;

revoke execute on function koppeling.enqueue_request(bigint, text, jsonb) from public;
