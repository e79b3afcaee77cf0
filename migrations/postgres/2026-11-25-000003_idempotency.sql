-- Answers to requests that carried an Idempotency-Key.
create table if not exists idempotency (
    user_id text not null,
    key text not null,
    fingerprint bytea not null,
    response text not null,
    shard int2 not null,
    created_at timestamptz not null default now(),
    primary key (user_id, key)
)
