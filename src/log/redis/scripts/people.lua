-- Who is in a room, at each process: {{instance, version, {user, name, …}}, …}.
-- KEYS: present. ARGV: how leases and people are named before an instance, how much of a lease must be left, how long it is kept.
local found = crowds(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
for _, crowd in ipairs(found) do table.insert(crowd, redis.call('HGETALL', ARGV[2] .. crowd[1])) end
return found
