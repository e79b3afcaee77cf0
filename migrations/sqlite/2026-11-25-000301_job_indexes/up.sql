-- Since when it is available, where run_at is when it moved up a priority after that.
alter table job add column waits_since bigint;

-- An index by user has a page a user, so that each job that comes into it or goes costs a page: one is enough. Those that are
-- available are in job_turn_of_user; of the others there are few, or they change seldom.
drop index job_of_user;
create index job_later_of_user on job (user_id, id) where state in (1, 2);
drop index job_running;
create index job_running on job (worker, user_id, kind) where state = 3;

-- What has ended is asked for by kind as well.
drop index job_done_by_state;
create index job_done_by_kind on job_done (kind, state, id);
