-- Users, many to a row by a hash of their id. Whoever counts what waits for a user holds the row where the isolation level lets
-- transactions miss what others commit meanwhile.
create table if not exists user_stripe (
    stripe int2 primary key
)
