drop index job_done_by_kind;
create index job_done_by_state on job_done (state, id);
drop index job_running;
create index job_running on job (worker) where state = 3;
drop index job_later_of_user;
create index job_of_user on job (user_id, id);
alter table job drop column waits_since;
