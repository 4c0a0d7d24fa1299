-- The link with Mailchimp: accounts, instances, what each list is known to hold, who claims what, and the change plans between.

create table koppeling.mailchimp_account (
    id             bigint generated always as identity primary key,
    name           text not null unique check (name <> ''),
    -- AES-GCM, sealed with the deployment's key; the program alone can open it.
    credential     bytea not null,
    data_centre    text not null check (data_centre ~ '^[a-z]{2}[0-9]{1,3}$'),
    account_id     text not null,
    login_id       text not null,
    authenticated  boolean not null default true,
    created_at     timestamptz not null default koppeling.now(),
    -- Mailchimp counts connections per login: one login connected twice would have two budgets.
    unique (data_centre, login_id)
);

create table koppeling.connector_instance (
    id                 bigint generated always as identity primary key,
    account_id         bigint not null references koppeling.mailchimp_account,
    name               text not null unique check (name <> ''),
    list_id            text not null check (list_id ~ '^[A-Za-z0-9]+$'),
    list_name          text not null,
    target_group_id    bigint not null unique references koppeling.target_group,
    enabled            boolean not null default false,
    -- Set by the brake on rejections; stops create and update only.
    paused_reason      text,
    -- The first plan has been approved.
    activated          boolean not null default false,
    keeps_adopted      boolean not null default false,
    webhook_secret_hash bytea not null check (octet_length(webhook_secret_hash) = 32),
    webhook_secret     bytea not null,
    webhook_id         text,
    -- Mailchimp's own time: the latest last_changed seen, less the overlap.
    pull_cursor        timestamptz,
    last_pull_at       timestamptz,
    last_sweep_at      timestamptz,
    sweep              bigint not null default 0,
    -- The brake of domain terms: beyond greatest(count, share of the claims), or beyond the cap, a plan is held.
    removals_count     int not null default 25 check (removals_count >= 0),
    removals_share     numeric not null default 0.10 check (removals_share between 0 and 1),
    removals_cap       int not null default 500 check (removals_cap >= 0),
    joins_count        int not null default 100 check (joins_count >= 0),
    joins_share        numeric not null default 0.20 check (joins_share between 0 and 1),
    joins_cap          int not null default 1000 check (joins_cap >= 0),
    created_at         timestamptz not null default koppeling.now()
);
create unique index connector_instance_list on koppeling.connector_instance (account_id, list_id);
create index connector_instance_list_id on koppeling.connector_instance (list_id);

-- Which of a person's fields fills which merge tag of the list.
create table koppeling.merge_field (
    instance_id  bigint not null references koppeling.connector_instance on delete cascade,
    tag          text not null check (tag ~ '^[A-Z0-9_]{1,10}$'),
    source       text not null
        check (source in ('first_name', 'last_name', 'given_name', 'initials', 'prefixes', 'family_name')),
    primary key (instance_id, tag)
);

-- The three actions of a group: an automatic one executes at once, a manual one waits for a person.
create table koppeling.action_template (
    instance_id  bigint not null references koppeling.connector_instance on delete cascade,
    action       text not null check (action in ('create', 'update', 'delete')),
    automatic    boolean not null default true,
    primary key (instance_id, action)
);

-- What a list is known to hold: one row a contact, or an address that we want there.
create table koppeling.audience_member (
    id              bigint generated always as identity primary key,
    instance_id     bigint not null references koppeling.connector_instance on delete cascade,
    contact_id      text,
    remote_id       text,
    address         text not null,
    address_key     text not null,
    -- The person file's address that this contact stands for: differs from address_key once the contact
    -- changed the address inside Mailchimp.
    file_key        text,
    status          text check (status in ('absent', 'subscribed', 'unsubscribed', 'cleaned', 'pending',
                                           'transactional', 'archived')),
    last_changed    timestamptz,
    observed_at     timestamptz,
    ownership       text not null default 'none' check (ownership in ('none', 'created', 'adopted', 'foreign')),
    archived_by_us  boolean not null default false check (not archived_by_us or status = 'archived'),
    -- Committed before the call that it names; judged by what is found after a lost reply.
    intent          text check (intent in ('creating', 'updating', 'moving', 'archiving', 'unsubscribing')),
    intent_at       timestamptz,
    -- Where a move that is under way leads: both addresses are held until it is recorded.
    moving_to       text,
    -- The merge fields of the call that the intent names; applied once the call is recorded.
    sent_fields     jsonb,
    applied_fields  jsonb,
    -- When we last carried something out there: an older reading says nothing about it.
    acted_at        timestamptz,
    -- Why nothing is delivered although it is wanted.
    note            text,
    sweep           bigint not null default 0,
    check ((intent is null) = (intent_at is null))
);
create unique index audience_member_address on koppeling.audience_member (instance_id, address_key);
create unique index audience_member_contact on koppeling.audience_member (instance_id, contact_id)
    where contact_id is not null;
create unique index audience_member_moving on koppeling.audience_member (instance_id, moving_to)
    where moving_to is not null;

-- An active, addressable membership that wants a contact subscribed: what the brake let through.
create table koppeling.claim (
    instance_id  bigint not null references koppeling.connector_instance on delete cascade,
    person_id    bigint not null,
    member_id    bigint not null references koppeling.audience_member,
    address      text not null,
    address_key  text not null,
    fields       jsonb not null,
    manual       boolean not null,
    claimed_at   timestamptz not null default koppeling.now(),
    primary key (instance_id, person_id)
);
create index claim_member on koppeling.claim (member_id);

-- The difference between the claims a group has and those it would have, while somebody must look at it.
create table koppeling.change_plan (
    id               bigint generated always as identity primary key,
    target_group_id  bigint not null references koppeling.target_group on delete cascade,
    state            text not null default 'held' check (state in ('held', 'approved', 'discarded', 'dissolved')),
    version          int not null default 0,
    held_because     text not null,
    created_at       timestamptz not null default koppeling.now(),
    changed_at       timestamptz not null default koppeling.now(),
    decided_at       timestamptz,
    decided_by       text,
    check ((state = 'held') = (decided_at is null))
);
create unique index change_plan_open on koppeling.change_plan (target_group_id) where state = 'held';

create table koppeling.change_plan_line (
    plan_id    bigint not null references koppeling.change_plan on delete cascade,
    person_id  bigint not null,
    change     text not null check (change in ('join', 'leave', 'empty')),
    reason     text not null,
    cause      text not null,
    primary key (plan_id, person_id)
);

-- What was applied without anybody's approval: the brake looks back over a day of it.
create table koppeling.unapproved_change (
    id               bigint generated always as identity primary key,
    target_group_id  bigint not null references koppeling.target_group on delete cascade,
    at               timestamptz not null default koppeling.now(),
    joins            bigint not null,
    removals         bigint not null
);
create index unapproved_change_recent on koppeling.unapproved_change (target_group_id, at);

-- Hooks as they came in. A hook is a hint: the member is read again before anything is believed.
create table koppeling.webhook_inbox (
    id            bigint generated always as identity primary key,
    instance_id   bigint not null references koppeling.connector_instance on delete cascade,
    received_at   timestamptz not null default koppeling.now(),
    body          jsonb not null,
    processed_at  timestamptz
);
create index webhook_inbox_waiting on koppeling.webhook_inbox (instance_id, id) where processed_at is null;

-- Things that only a person can settle.
create table koppeling.task (
    id               bigint generated always as identity primary key,
    kind             text not null check (kind in ('resubscribed', 'addressDiffers', 'addressBlocked', 'listGone',
                                                   'credentialRevoked', 'rejections', 'removedInMailchimp')),
    instance_id      bigint references koppeling.connector_instance on delete cascade,
    target_group_id  bigint references koppeling.target_group on delete cascade,
    person_id        bigint,
    detail           jsonb not null default '{}',
    created_at       timestamptz not null default koppeling.now(),
    done_at          timestamptz
);
create unique index task_open on koppeling.task (kind, coalesce(instance_id, 0), coalesce(person_id, 0))
    where done_at is null;

create function koppeling.open_task(p_kind text, p_instance bigint, p_person bigint, p_detail jsonb) returns void
    language sql set search_path = koppeling, pg_temp
begin atomic
    insert into koppeling.task (kind, instance_id, target_group_id, person_id, detail)
    select p_kind, p_instance, i.target_group_id, p_person, p_detail
    from koppeling.connector_instance i
    where i.id = p_instance
    on conflict (kind, coalesce(instance_id, 0), coalesce(person_id, 0)) where done_at is null do nothing;
end;

insert into koppeling.job_kind (kind, public, description)
values ('action', false, 'Brings one audience member in line with what is wanted'),
       ('instance.pull', true, 'Reads what changed in a Mailchimp list; args: {"instance": id, "full": boolean}'),
       ('instance.webhooks', false, 'Works through the hooks that came in for an instance');

create function koppeling.instance_queue(p_instance bigint) returns text
    language sql immutable parallel safe
    return 'instance-' || p_instance;

-- Queues a pull of the instance: at once when asked for, else when it is due.
create function koppeling.request_pull(p_instance bigint, p_full boolean, p_run_at timestamptz) returns bigint
    language sql set search_path = koppeling, pg_temp
    return koppeling.enqueue('instance.pull', jsonb_build_object('instance', p_instance, 'full', p_full),
        queue => koppeling.instance_queue(p_instance), key => 'pull',
        key_mode => case when p_run_at > koppeling.now() then 'keep' else 'replace' end,
        order_key => 'pull', run_at => p_run_at, priority => -20);
