-- Connecting an account by OAuth2: a ticket is made on the command line, opened in one browser, and used once.

create table koppeling.account_ticket (
    id                bigint generated always as identity primary key,
    -- SHA-256 of what stands in the address; the ticket itself is shown once, to whoever made it.
    ticket_hash       bytea not null unique check (octet_length(ticket_hash) = 32),
    -- What to call the new account; Mailchimp's name of it without.
    account_name      text check (account_name <> ''),
    -- The account whose credential is to be replaced; a new one is connected without.
    renews            bigint references koppeling.mailchimp_account on delete cascade,
    created_at        timestamptz not null default koppeling.now(),
    expires_at        timestamptz not null default koppeling.now() + interval '10 minutes',
    -- SHA-256 of the cookie of the browser that opened it first: no other may go on.
    browser_hash      bytea check (octet_length(browser_hash) = 32),
    -- SHA-256 of what Mailchimp is to send back; taken away by the first who brings it.
    state_hash        bytea unique check (octet_length(state_hash) = 32),
    state_expires_at  timestamptz,
    -- What came of it: connected, or why not.
    outcome           text,
    detail            text,
    account_id        bigint references koppeling.mailchimp_account on delete set null,
    finished_at       timestamptz,
    check ((finished_at is null) = (outcome is null)),
    check (state_hash is null or browser_hash is not null and state_expires_at is not null and finished_at is null)
);
create index account_ticket_expiry on koppeling.account_ticket (expires_at);
