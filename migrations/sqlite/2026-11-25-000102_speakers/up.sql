-- Which persona an AI's message is by, and what it was called then.
alter table message add column persona_id text;
alter table message add column persona_name text;
