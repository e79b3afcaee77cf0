-- So many that two transactions with dozens of users each seldom meet.
insert into user_stripe (stripe) select * from generate_series(0, 16383)
on conflict (stripe) do nothing
