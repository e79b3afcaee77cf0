-- Keys are forgotten by their age every few seconds: without this, each time by reading all of them.
create index idempotency_by_age on idempotency (created_at);
