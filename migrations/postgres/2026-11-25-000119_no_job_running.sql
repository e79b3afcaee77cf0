drop index if exists job_running
