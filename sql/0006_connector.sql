-- The link with Mailchimp: accounts, instances, what each list is known to hold, who claims what, and the change plans between.

create table koppeling.mailchimp_account (
    id             bigint generated always as identity primary key,
    name           text not null unique check (name <> ''),
    -- AES-GCM, sealed with the deployment's key; the program alone can open it.
    credential     bytea not null,
    -- A key that somebody copied from Mailchimp, or a token that Mailchimp handed out by OAuth2.
    credential_kind text not null default 'key' check (credential_kind in ('key', 'token')),
    data_centre    text not null check (data_centre ~ '^[a-z]{2}[0-9]{1,3}$'),
    account_id     text not null,
    login_id       text not null,
    -- Under which name its calls are counted, whatever the credential.
    permit_resource text not null generated always as ('mailchimp:' || data_centre || ':' || login_id) stored,
    authenticated  boolean not null default true,
    created_at     timestamptz not null default koppeling.now(),
    renewed_at     timestamptz,
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
    -- Whoever signs up again in Mailchimp after a no is let back in by that; else a task tells of it.
    reactivate_on_resubscribe boolean not null default false,
    -- Nothing is sent; what would be waits, and is shown.
    dry_run            boolean not null default false,
    webhook_secret_hash bytea not null check (octet_length(webhook_secret_hash) = 32),
    webhook_secret     bytea not null,
    webhook_id         text,
    -- What Mailchimp signs the webhook's reports with, sealed; without one they come unsigned.
    webhook_signing_secret bytea,
    -- Which public address the webhook was made for, and when Mailchimp was last seen to have it.
    webhook_public_url text,
    webhook_checked_at timestamptz,
    -- When it was made, or something came in by it, to the hour: one that is silent for long may have been switched off.
    webhook_heard_at   timestamptz,
    -- Mailchimp's own time: the latest last_changed seen, less the overlap.
    pull_cursor        timestamptz,
    -- When the last complete pull began: what it did not meet was absent then.
    last_pull_at       timestamptz,
    last_sweep_at      timestamptz,
    sweep              bigint not null default 0,
    -- The highest web_id that was met in the list, and the source that contacts have whom our calls make: a contact
    -- that a create answers with and that has other ones was there before.
    web_id_seen        bigint not null default 0,
    own_source         text not null default 'API - Generic',
    -- The brake of domain terms: beyond greatest(count, share of the claims), or beyond the cap, a plan is held.
    removals_count     int not null default 25 check (removals_count >= 0),
    removals_share     numeric not null default 0.10 check (removals_share between 0 and 1),
    removals_cap       int not null default 500 check (removals_cap >= 0),
    joins_count        int not null default 100 check (joins_count >= 0),
    joins_share        numeric not null default 0.20 check (joins_share between 0 and 1),
    joins_cap          int not null default 1000 check (joins_cap >= 0),
    created_at         timestamptz not null default koppeling.now()
);
-- Of whichever login: two that see the same list must not both write to it.
create unique index connector_instance_list on koppeling.connector_instance (list_id);
create index connector_instance_account on koppeling.connector_instance (account_id);

-- Links that ended, because the group was deleted or got another list: what was said there still counts.
create table koppeling.former_link (
    id bigint generated always as identity primary key,
    target_group_id bigint not null,
    target_group text not null,
    account_id bigint not null,
    list_id text not null,
    list_name text not null,
    -- The instance of then.
    instance_id bigint not null,
    -- Up to when the list was read before the end, in Mailchimp's own time; null when it never was.
    read_until timestamptz,
    -- Whether the list was found to be gone.
    is_gone boolean not null default false,
    -- When it was read after the end; null as long as a no that was said in between may not be known.
    looked_at timestamptz,
    ended_at timestamptz not null default koppeling.now(),
    ended_by text not null
);
create index former_link_list on koppeling.former_link (list_id);
grant select on koppeling.former_link to koppeling_reader;

-- Which of a person's fields fills which merge tag of the list.
create table koppeling.merge_field (
    instance_id  bigint not null references koppeling.connector_instance on delete cascade,
    tag          text not null check (tag ~ '^[A-Z0-9_]{1,10}$'),
    source       text not null
        check (source in ('first_name', 'last_name', 'given_name', 'initials', 'prefixes', 'family_name', 'gender',
                          'salutation', 'function', 'department', 'company')),
    -- Whether a change of it is reason enough for an update; else it goes along with the next one.
    triggers     boolean not null default true,
    primary key (instance_id, tag)
);

-- The three actions of a group: an automatic one executes at once, a manual one waits for a person.
create table koppeling.action_template (
    instance_id  bigint not null references koppeling.connector_instance on delete cascade,
    action       text not null check (action in ('create', 'update', 'delete')),
    automatic    boolean not null default true,
    primary key (instance_id, action)
);

-- Whether what a pull of that moment found may still be relied on by a call that subscribes: a minute less than it may
-- be old, because the call itself takes time. A time to come was written before the clock went back, and says nothing.
create function koppeling.pulled_recently(p_pulled_at timestamptz) returns boolean
    language sql volatile parallel safe
    return coalesce(p_pulled_at between koppeling.now() - interval '14 minutes' and koppeling.now(), false);

-- What a list is known to hold: one row a contact, or an address that we want there.
create table koppeling.audience_member (
    id              bigint generated always as identity primary key,
    -- References connector_instance, as a claim and a plan's line reference what they name: see below.
    instance_id     bigint not null,
    contact_id      text,
    remote_id       text,
    address         text not null,
    -- Its id, as long as another contact was found at the address and nobody has read yet where this one is.
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
    intent          text check (intent in ('creating', 'updating', 'moving', 'archiving', 'unsubscribing',
                                           'inviting', 'erasing')),
    intent_at       timestamptz,
    -- Where a move that is under way leads: both addresses are held until it is recorded.
    moving_to       text,
    -- The merge fields of the call that the intent names; applied once the call is recorded.
    sent_fields     jsonb,
    applied_fields  jsonb,
    -- When we last carried something out there: an older reading says nothing about it.
    acted_at        timestamptz,
    -- When we archived the contact, and when the time before: somebody who comes and goes all the time is looked at.
    archived_at     timestamptz,
    archived_before timestamptz,
    -- When the contact opted in last, as Mailchimp has it: a call that subscribes sets it too.
    opted_in_at     timestamptz,
    -- When we last set out to make the contact subscribed, and the highest web_id that had been met before.
    subscribing_at  timestamptz,
    web_id_before   bigint,
    -- A bulk call made the contact, and its answer did not show whether it had been there before: a pull looks.
    newness_unseen  boolean not null default false,
    -- Why nothing is delivered although it is wanted.
    note            text,
    -- The erasure that this contact is to be deleted for, for good; the row goes with it.
    erasure_id      bigint,
    -- Its addresses that the ledger of erasures keeps: a no that comes in at one meanwhile need not be kept as well.
    erased_keys     text[],
    sweep           bigint not null default 0,
    check ((intent is null) = (intent_at is null))
);
create unique index audience_member_address on koppeling.audience_member (instance_id, address_key);
create unique index audience_member_contact on koppeling.audience_member (instance_id, contact_id)
    where contact_id is not null;
create index audience_member_ousted on koppeling.audience_member (instance_id) where address_key = contact_id;
create index audience_member_newness on koppeling.audience_member (instance_id) where newness_unseen;
create index audience_member_erasing on koppeling.audience_member (erasure_id, instance_id)
    where erasure_id is not null;
create unique index audience_member_moving on koppeling.audience_member (instance_id, moving_to)
    where moving_to is not null;

-- Contacts whom a call of ours made subscribed although they had said no: archived ones whose no nobody could see, or
-- who said it in between. They are unsubscribed again before anything else.
create table koppeling.restored_no (
    id           bigint generated always as identity primary key,
    instance_id  bigint not null references koppeling.connector_instance on delete cascade,
    contact_id   text not null,
    address      text not null,
    reason       text not null,
    said_at      timestamptz not null,
    found_in     text not null check (found_in in ('activity', 'hook')),
    found_at     timestamptz not null default koppeling.now(),
    restored_at  timestamptz
);
create unique index restored_no_open on koppeling.restored_no (instance_id, contact_id) where restored_at is null;

-- The recorded requests of persons who said no to be asked again, and what came of them.
create table koppeling.invitation (
    id bigint generated always as identity primary key,
    instance_id bigint not null references koppeling.connector_instance on delete cascade,
    target_group_id bigint not null references koppeling.target_group on delete cascade,
    -- The contact that is asked; one who moves inside Mailchimp keeps it.
    member_id bigint not null references koppeling.audience_member on delete cascade,
    person_id bigint not null references koppeling.person,
    requested_at timestamptz not null default koppeling.now(),
    requested_by text not null,
    -- The noes that it is about: those that were open when the request was recorded. A later one is never lifted.
    about bigint[] not null,
    -- Just before the call; null when nothing was sent.
    sent_at timestamptz,
    -- What the contact's opting in was before: only a later one is the answer.
    opted_in_before timestamptz,
    ended_at timestamptz,
    outcome text check (outcome in ('confirmed', 'declined', 'bounced', 'refused', 'subscribed', 'withdrawn')),
    -- What was in the way, when it was refused.
    because text,
    check ((ended_at is null) = (outcome is null))
);
create index invitation_by_member on koppeling.invitation (member_id);
create index invitation_by_person on koppeling.invitation (person_id);
create index invitation_open on koppeling.invitation (target_group_id) where ended_at is null;

-- An active, addressable membership that wants a contact subscribed: what the brake let through.
create table koppeling.claim (
    instance_id  bigint not null,
    person_id    bigint not null,
    member_id    bigint not null,
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
    -- An approved one is applied piece by piece, and applied at the end.
    state            text not null default 'held'
        check (state in ('held', 'approved', 'applied', 'discarded', 'dissolved')),
    version          int not null default 0,
    held_because     text not null,
    created_at       timestamptz not null default koppeling.now(),
    changed_at       timestamptz not null default koppeling.now(),
    decided_at       timestamptz,
    decided_by       text,
    -- The rules' entry in the audit that caused the first of its lines that rules caused: discarding it puts back the
    -- rules of before.
    rules_entry      bigint,
    -- The lines of the persons up to this number are applied.
    applied_through  bigint not null default 0,
    check ((state = 'held') = (decided_at is null))
);
create unique index change_plan_open on koppeling.change_plan (target_group_id) where state = 'held';
create unique index change_plan_approved on koppeling.change_plan (target_group_id) where state = 'approved';

create table koppeling.change_plan_line (
    plan_id    bigint not null,
    person_id  bigint not null,
    change     text not null check (change in ('join', 'leave', 'empty')),
    reason     text not null,
    cause      text not null,
    -- The merge fields that would be emptied.
    fields     text[],
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
                                                   'credentialRevoked', 'rejections',
                                                   'oscillation', 'groupInvalid', 'mergeFieldMissing')),
    instance_id      bigint references koppeling.connector_instance on delete cascade,
    target_group_id  bigint references koppeling.target_group on delete cascade,
    person_id        bigint,
    detail           jsonb not null default '{}',
    created_at       timestamptz not null default koppeling.now(),
    done_at          timestamptz,
    -- Who said so; null when what the task was about ended by itself.
    done_by          text,
    check (done_by is null or done_at is not null)
);
create unique index task_open
    on koppeling.task (kind, coalesce(instance_id, 0), coalesce(target_group_id, 0), coalesce(person_id, 0))
    where done_at is null;

create function koppeling.open_task(p_kind text, p_instance bigint, p_person bigint, p_detail jsonb) returns void
    language sql set search_path = koppeling, pg_temp
begin atomic
    insert into koppeling.task (kind, instance_id, target_group_id, person_id, detail)
    select p_kind, p_instance, i.target_group_id, p_person, p_detail
    from koppeling.connector_instance i
    where i.id = p_instance
    on conflict (kind, coalesce(instance_id, 0), coalesce(target_group_id, 0), coalesce(person_id, 0))
        where done_at is null do nothing;
end;

insert into koppeling.job_kind (kind, public, description)
values ('action', false, 'Brings one audience member in line with what is wanted'),
       ('erase', false, 'Deletes one contact of an erased person from a list for good'),
       ('instance.pull', true, 'Reads what changed in a Mailchimp list; args: {"instance": id, "full": boolean}'),
       ('instance.webhooks', false, 'Works through the hooks that came in for an instance'),
       ('plan.apply', false, 'Applies an approved plan, some thousand persons a transaction; args: {"plan": id}');

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
