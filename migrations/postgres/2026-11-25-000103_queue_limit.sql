-- What an operator has set: the most that may run at once, and which kinds are paused. Whoever counts what runs holds the row.
create table if not exists queue_limit (
    -- kind, user, provider
    scope text not null,
    -- of the kind or the provider; empty where it is for each user
    name text not null,
    most int4,
    paused bool not null default false,
    primary key (scope, name)
)
