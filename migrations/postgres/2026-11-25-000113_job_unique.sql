create unique index if not exists job_unique on job (unique_key) where unique_key is not null
