-- What a channel's log has after a place: {dataset, generation, offset, entries}.
-- KEYS: bucket, channel, entries. ARGV: a data set for the bucket if it has none, and the place: dataset, generation, offset.
if not place[1] then return {dataset, '0', '0', {}} end
local after = 0
if ARGV[2] == dataset and ARGV[3] == place[1] and tonumber(ARGV[4]) <= tonumber(place[2]) then after = ARGV[4] end
return {dataset, place[1], place[2], redis.call('XRANGE', KEYS[3], '(' .. after .. '-0', '+')}
