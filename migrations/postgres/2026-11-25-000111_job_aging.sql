create index if not exists job_aging on job (shard, run_at) where state = 0 and priority > 0
