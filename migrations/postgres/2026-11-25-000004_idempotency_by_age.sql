create index if not exists idempotency_by_age on idempotency (shard, created_at)
