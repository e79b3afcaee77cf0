drop table idempotency; drop table outbox; drop table message;
