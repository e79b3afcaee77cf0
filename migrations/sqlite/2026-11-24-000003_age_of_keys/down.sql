drop index idempotency_by_age;
