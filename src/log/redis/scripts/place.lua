-- Where a channel stands, before whatever is asked of it: its bucket's `dataset`, which is made where there is none, and its
-- `place`, {generation, offset}.
-- KEYS: bucket, channel. ARGV: a data set for the bucket if it has none.
local dataset = redis.call('HGET', KEYS[1], 'd')
if not dataset then
    dataset = ARGV[1]
    redis.call('HSET', KEYS[1], 'd', dataset)
end
local place = redis.call('HMGET', KEYS[2], 'g', 'n')
