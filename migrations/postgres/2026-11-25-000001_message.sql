-- History. A room's messages stand side by side, in the order of their making.
create table if not exists message (
    channel text not null,
    id uuid not null,
    -- null for an AI's message
    user_id text,
    user_name text,
    content text not null,
    client_id text,
    -- the rest is for an AI's message alone
    provider text,
    stream_id uuid,
    reply_to uuid,
    finish_reason text,
    -- null where nobody in particular speaks
    persona_id text,
    persona_name text,
    created_at int8 not null,
    primary key (channel, id)
)
