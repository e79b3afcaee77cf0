-- Events written in the same transaction as what they tell; gone once they are published. The shard leads, so that ids that grow
-- with time are written in sixteen places.
create table if not exists outbox (
    shard int2 not null,
    id uuid not null,
    event text not null,
    created_at timestamptz not null default now(),
    primary key (shard, id)
)
