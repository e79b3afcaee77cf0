-- Since when it is available, where run_at is when it moved up a priority after that.
alter table job add column if not exists waits_since int8
