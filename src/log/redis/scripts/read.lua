-- What a channel's log has after a place: {dataset, generation, offset, entries}.
-- KEYS: bucket, channel, entries. ARGV: as for a place, and the place asked for: dataset, generation, offset.
if not place[1] then return {dataset, '0', '0', {}} end
local after = 0
if ARGV[4] == dataset and ARGV[5] == place[1] and tonumber(ARGV[6]) <= tonumber(place[2]) then after = ARGV[6] end
return {dataset, place[1], place[2], redis.call('XRANGE', KEYS[3], '(' .. after .. '-0', '+')}
