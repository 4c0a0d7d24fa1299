-- The service center: the tokens that other systems show at its door.

create table koppeling.api_token (
    id            bigint generated always as identity primary key,
    name          text not null check (name <> ''),
    -- SHA-256 of the token. The token itself is shown once, to who asked for it, and kept nowhere.
    token_hash    bytea not null unique check (octet_length(token_hash) = 32),
    created_at    timestamptz not null default koppeling.now(),
    last_used_at  timestamptz,
    revoked_at    timestamptz check (revoked_at >= created_at)
);
create unique index api_token_name on koppeling.api_token (name) where revoked_at is null;

-- The token with this hash, or null when there is none or it was revoked. Its last use is kept to the minute, so that a
-- busy client does not cost a write a request.
create function koppeling.present_token(p_hash bytea) returns bigint
    language sql volatile
as $$
    update koppeling.api_token
       set last_used_at = koppeling.now()
     where token_hash = p_hash
       and revoked_at is null
       and (last_used_at is null or last_used_at < koppeling.now() - interval '1 minute');

    select id from koppeling.api_token where token_hash = p_hash and revoked_at is null;
$$;
