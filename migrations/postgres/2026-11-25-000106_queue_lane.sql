-- Where available jobs stand in line: no job that was available before has a turn much below the lowest.
create table if not exists queue_lane (
    shard int2 not null,
    kind text not null,
    priority int2 not null,
    low int8 not null default 0,
    primary key (shard, kind, priority)
)
