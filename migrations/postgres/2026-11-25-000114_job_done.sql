-- Jobs that have ended. The key is in the order in which each state is forgotten.
create table if not exists job_done (
    bucket int2 not null,
    -- 4 completed, 5 cancelled, 6 discarded
    state int2 not null,
    id uuid not null,
    kind text not null,
    user_id text not null,
    priority int2 not null,
    -- its last fencing token, from where it goes on if it is tried once more
    fence int4 not null,
    tries int4 not null,
    unique_key text,
    work text not null,
    progress int2,
    result text,
    error text,
    errors jsonb not null,
    created_at int8 not null,
    started_at int8,
    finished_at int8 not null,
    primary key (bucket, state, id)
)
