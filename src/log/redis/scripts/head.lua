-- The newest place of a channel: {dataset, generation, offset}; generation and offset are 0 where nothing was logged.
-- Who asks still listens: the channel is kept for another while.
-- KEYS: bucket, channel, entries, messages.
local dataset = redis.call('HGET', KEYS[1], 'd')
if not dataset then
    dataset = ARGV[1]
    redis.call('HSET', KEYS[1], 'd', dataset)
end
local place = redis.call('HMGET', KEYS[2], 'g', 'n')
if not place[1] then return {dataset, '0', '0'} end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
redis.call('PEXPIRE', KEYS[4], ARGV[2])
return {dataset, place[1], place[2]}
