create index if not exists job_of_user on job (user_id, state, kind, priority, turn)
