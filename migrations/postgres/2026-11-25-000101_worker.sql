-- Who does jobs. What a worker runs belongs to it until its lease is over. All times of the queue are milliseconds since 1970, by
-- the clock of the database.
create table if not exists worker (
    id uuid primary key,
    lease_until int8 not null
)
