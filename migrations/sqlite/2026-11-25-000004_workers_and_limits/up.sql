-- Who does jobs. What a worker runs belongs to it until its lease is over.
create table worker (
    id blob not null primary key,
    lease_until bigint not null
) without rowid;

-- What an operator has set: the most that may run at once, and which kinds are paused.
create table queue_limit (
    -- kind, user, provider
    scope text not null,
    -- of the kind or the provider; empty where it is for each user
    name text not null,
    most integer,
    paused boolean not null default false,
    primary key (scope, name)
) without rowid;

-- What is begun once a tick, however many workers there are.
create table tick (
    name text not null,
    at bigint not null,
    primary key (name, at)
) without rowid;

alter table job rename to job_before;

create table job (
    id blob not null primary key,
    kind text not null,
    user_id text not null,
    -- 0 available, 1 scheduled, 2 retryable, 3 running
    state integer not null,
    -- 0 comes first
    priority integer not null default 0,
    -- users take turns: the n-th available job of every user stands before the n+1-th of any
    turn bigint not null default 0,
    -- since when it is available, or when it will be
    run_at bigint not null,
    -- the fencing token: grows by one each time the job changes hands, never reset
    attempt integer not null default 0,
    -- how often it was begun, as users are told
    tries integer not null default 0,
    failures integer not null default 0,
    crashes integer not null default 0,
    worker blob,
    -- one of those that use this provider at once
    provider text,
    unique_key text,
    cancel_asked boolean not null default false,
    work text not null,
    progress integer,
    note text,
    error text,
    -- every failure: a list of {at, attempt, error, crash}
    errors text not null default '[]',
    created_at bigint not null,
    started_at bigint
) without rowid;

insert into job (id, kind, user_id, state, turn, run_at, attempt, tries, failures, worker, cancel_asked, work, progress, note, error, created_at, started_at)
select id, kind, user_id, state, turn, run_at, attempt, attempt, failures, case when state = 3 then zeroblob(16) end, cancel_asked, work, progress, note, error, created_at, started_at
from job_before;

drop table job_before;

create index job_available on job (kind, priority, turn, id, user_id) where state = 0;
create index job_turn_of_user on job (user_id, kind, priority, turn) where state = 0;
create index job_aging on job (run_at) where state = 0 and priority > 0;
create index job_later on job (run_at) where state in (1, 2);
create index job_running on job (worker) where state = 3;
create index job_of_user on job (user_id, id);
create index job_by_provider on job (provider) where state = 3 and provider is not null;
create unique index job_unique on job (unique_key) where unique_key is not null;

alter table job_done add column priority integer not null default 0;
alter table job_done add column unique_key text;
-- its last fencing token, from where it goes on if it is tried once more
alter table job_done add column fence integer not null default 0;
alter table job_done add column errors text not null default '[]';
-- Ids are in the order of their making, so this finds the oldest, and the few that did not complete.
create index job_done_by_state on job_done (state, id);
