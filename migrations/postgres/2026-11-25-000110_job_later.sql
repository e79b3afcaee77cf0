create index if not exists job_later on job (shard, run_at) where state in (1, 2)
