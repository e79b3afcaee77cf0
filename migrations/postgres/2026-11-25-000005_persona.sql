-- Who answers in rooms.
create table if not exists persona (
    id text primary key,
    channel text not null,
    name text not null,
    prompt text not null,
    -- always, mentioned, never
    answers text not null,
    -- a JSON list of provider/model; empty: whoever serves chat
    route text not null,
    -- a JSON object
    parameters text not null,
    created_at int8 not null,
    updated_at int8 not null
)
