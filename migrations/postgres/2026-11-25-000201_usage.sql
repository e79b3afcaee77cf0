-- What each user has used of each model, by day.
create table if not exists usage (
    user_id text not null,
    -- days since 1970-01-01, UTC
    day int8 not null,
    provider text not null,
    model text not null,
    calls int8 not null,
    -- those of them whose tokens are guessed
    estimated_calls int8 not null,
    input_tokens int8 not null,
    output_tokens int8 not null,
    images int8 not null,
    -- in millionths of the currency of the prices
    cost int8 not null,
    primary key (user_id, day, provider, model)
)
