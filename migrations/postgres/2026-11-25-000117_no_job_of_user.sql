drop index if exists job_of_user
