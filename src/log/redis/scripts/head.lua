-- The newest place of a channel, and which processes have somebody there: {dataset, generation, offset, crowds}; generation
-- and offset are 0 where nothing was logged. Who asks still listens: the channel is kept for another while.
-- KEYS: bucket, channel, entries, messages, and, of a room, present. ARGV: as for a place; how long the channel is kept; as
-- for people.
local found = {}
if KEYS[5] then found = crowds(KEYS[5], ARGV[5], ARGV[6], ARGV[7], ARGV[4]) end
if not place[1] then return {dataset, '0', '0', found} end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
redis.call('PEXPIRE', KEYS[4], ARGV[4])
return {dataset, place[1], place[2], found}
