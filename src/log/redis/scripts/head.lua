-- The newest place of a channel: {dataset, generation, offset}; generation and offset are 0 where nothing was logged.
-- Who asks still listens: the channel is kept for another while.
-- KEYS: bucket, channel, entries, messages.
if not place[1] then return {dataset, '0', '0'} end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
redis.call('PEXPIRE', KEYS[4], ARGV[2])
return {dataset, place[1], place[2]}
