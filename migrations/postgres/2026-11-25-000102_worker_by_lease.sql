create index if not exists worker_by_lease on worker (lease_until)
