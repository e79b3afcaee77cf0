create index if not exists usage_by_day on usage (day, user_id)
