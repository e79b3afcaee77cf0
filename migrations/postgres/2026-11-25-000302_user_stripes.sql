-- So many that two transactions with dozens of users each seldom meet.
insert into user_stripe (stripe) select s.stripe::int2 from generate_series(0, 16383) as s (stripe)
on conflict (stripe) do nothing
