drop table tick; drop table queue_limit; drop table worker; drop table job_done; drop table job;
