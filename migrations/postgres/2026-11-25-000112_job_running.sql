create index if not exists job_running on job (worker, kind) where state = 3
