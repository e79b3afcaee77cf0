-- Jobs that live. The bucket, which follows from the id, leads the key, so that ids that grow with time are written in sixteen
-- places; the shard follows from the user.
create table if not exists job (
    bucket int2 not null,
    id uuid not null,
    shard int2 not null,
    kind text not null,
    user_id text not null,
    -- 0 available, 1 scheduled, 2 retryable, 3 running
    state int2 not null,
    -- 0 comes first
    priority int2 not null default 0,
    -- users take turns: the n-th available job of every user stands before the n+1-th of any
    turn int8 not null default 0,
    -- since when it is available, or when it will be
    run_at int8 not null,
    -- the fencing token: grows by one each time the job changes hands, never reset
    attempt int4 not null default 0,
    -- how often it was begun, as users are told
    tries int4 not null default 0,
    failures int4 not null default 0,
    crashes int4 not null default 0,
    worker uuid,
    -- one of those that use this provider at once
    provider text,
    unique_key text,
    cancel_asked bool not null default false,
    work text not null,
    progress int2,
    note text,
    error text,
    -- every failure: a list of {at, attempt, error, crash}
    errors jsonb not null default '[]',
    created_at int8 not null,
    started_at int8,
    primary key (bucket, id)
)
