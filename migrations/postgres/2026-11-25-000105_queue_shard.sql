-- A sixteenth of the users each, by a hash of their id. Whoever claims jobs of these users holds the row, so that turns and the
-- limit of a user are kept exactly.
create table if not exists queue_shard (
    shard int2 primary key
)
