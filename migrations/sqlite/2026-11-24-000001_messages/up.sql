-- History. A room's messages stand side by side, in the order of their making.
create table message (
    channel text not null,
    id blob not null,
    -- null for an AI's message
    user_id text,
    user_name text,
    content text not null,
    client_id text,
    -- the rest is for an AI's message alone
    provider text,
    stream_id blob,
    reply_to blob,
    finish_reason text,
    created_at bigint not null,
    primary key (channel, id)
) without rowid;

-- Events written in the same transaction as what they tell; gone once they are published.
create table outbox (
    id blob not null primary key,
    event text not null,
    created_at bigint not null
) without rowid;

-- Answers to requests that carried an Idempotency-Key.
create table idempotency (
    user_id text not null,
    key text not null,
    fingerprint blob not null,
    response text not null,
    created_at bigint not null,
    primary key (user_id, key)
) without rowid;
