-- Who answers in rooms.
create table persona (
    id text not null primary key,
    channel text not null,
    name text not null,
    prompt text not null,
    -- always, mentioned, never
    answers text not null,
    -- a JSON list of provider/model; empty: whoever serves chat
    route text not null,
    -- a JSON object
    parameters text not null,
    created_at bigint not null,
    updated_at bigint not null
) without rowid;

create index persona_of_channel on persona (channel, id);
