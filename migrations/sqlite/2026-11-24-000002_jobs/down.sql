drop table job_done; drop table job;
