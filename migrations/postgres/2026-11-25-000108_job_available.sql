create index if not exists job_available on job (shard, kind, priority, turn, id, user_id) where state = 0
