create index if not exists job_done_of_user on job_done (user_id, id)
