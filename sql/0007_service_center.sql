-- The service center: the tokens that other systems show at its door.

create table koppeling.api_token (
    id            bigint generated always as identity primary key,
    name          text not null check (name <> ''),
    -- SHA-256 of the token. The token itself is shown once, to who asked for it, and kept nowhere.
    token_hash    bytea not null unique check (octet_length(token_hash) = 32),
    -- What its bearer may do: enqueue jobs, read the queue, operate it (pause, limit, cancel, retry), change persons
    -- and companies, disclose what is held on a person, see and change target groups, steer the link.
    rights        text[] not null default '{enqueue}'
        check (rights <@ array['enqueue', 'read', 'operate', 'persons', 'disclose', 'groups', 'link']
            and cardinality(rights) > 0),
    created_at    timestamptz not null default koppeling.now(),
    last_used_at  timestamptz,
    revoked_at    timestamptz check (revoked_at >= created_at)
);
create unique index api_token_name on koppeling.api_token (name) where revoked_at is null;

-- The token with this hash, or no row when there is none or it was revoked. Its last use is kept to the minute, so that
-- a busy client does not cost a write a request.
create function koppeling.present_token(p_hash bytea) returns table (id bigint, rights text[])
    language sql volatile set search_path = koppeling, pg_temp
begin atomic
    update koppeling.api_token t
    set last_used_at = koppeling.now()
    where t.token_hash = p_hash
        and t.revoked_at is null
        and (t.last_used_at is null or t.last_used_at < koppeling.now() - interval '1 minute');

    select t.id, t.rights from koppeling.api_token t where t.token_hash = p_hash and t.revoked_at is null;
end;

revoke execute on function koppeling.present_token(bytea) from public;
