create index if not exists job_running_by_shard on job (shard, user_id, kind, worker) where state = 3
