-- What is begun once a tick, however many workers there are.
create table if not exists tick (
    name text not null,
    at int8 not null,
    primary key (name, at)
)
