-- Without the jobs that run, so that a claim needn't write to it. Those of a user are found by her shard.
create index if not exists job_waiting_of_user on job (user_id, state, kind, priority, turn) where state in (0, 1, 2)
