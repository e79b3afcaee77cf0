-- What each user has used of each model, by day.
create table usage (
    user_id text not null,
    -- days since 1970-01-01, UTC
    day bigint not null,
    provider text not null,
    model text not null,
    calls bigint not null,
    -- those of them whose tokens are guessed
    estimated_calls bigint not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    images bigint not null,
    -- in millionths of the currency of the prices
    cost bigint not null,
    primary key (user_id, day, provider, model)
) without rowid;

create index usage_by_day on usage (day, user_id);
