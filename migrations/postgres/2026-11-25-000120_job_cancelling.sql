-- What a worker is to be told of when it says that it lives: rarely anything.
create index if not exists job_cancelling on job (worker) where state = 3 and cancel_asked
