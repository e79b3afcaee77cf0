-- Jobs that wait or run. Finished ones move away, so that this table stays small and its indexes hot.
create table job (
    id blob not null primary key,
    kind text not null,
    user_id text not null,
    -- 0 available, 1 scheduled, 2 retryable, 3 running
    state integer not null,
    -- users take turns: the n-th waiting job of every user stands before the n+1-th of any
    turn bigint not null,
    run_at bigint not null,
    -- the fencing token: grows by one a claim, never reset
    attempt integer not null default 0,
    failures integer not null default 0,
    lease_until bigint,
    cancel_asked boolean not null default false,
    work text not null,
    progress integer,
    note text,
    error text,
    created_at bigint not null,
    started_at bigint
) without rowid;

create index job_available on job (turn, id) where state = 0;
create index job_later on job (run_at) where state in (1, 2);
create index job_running on job (lease_until) where state = 3;
create index job_of_user on job (user_id, id);
create index job_waiting_of_user on job (user_id, turn) where state in (0, 1, 2);

create table job_done (
    id blob not null primary key,
    kind text not null,
    user_id text not null,
    -- 4 completed, 5 cancelled, 6 discarded
    state integer not null,
    attempt integer not null,
    work text not null,
    progress integer,
    result text,
    error text,
    created_at bigint not null,
    started_at bigint,
    finished_at bigint not null
) without rowid;

create index job_done_of_user on job_done (user_id, id);
