-- A channel at one moment: {dataset, generation, offset, newest messages with their offsets, replies that are streaming}.
-- KEYS: bucket, channel, messages, running. ARGV: as for a place, and how many messages.
if not place[1] then return {dataset, '0', '0', {}, {}} end
local replies, told = redis.call('HGETALL', KEYS[4]), {}
for i = 1, #replies, 2 do
    local job, chunk = string.match(replies[i + 1], '^(%S+) (.*)$')
    local text = redis.call('GET', KEYS[4] .. ':' .. replies[i])
    -- The field of a speaker has no text.
    if text then
        local speaker = redis.call('HGET', KEYS[4], 's' .. replies[i]) or ''
        for _, field in ipairs({job, chunk, speaker, text}) do table.insert(told, field) end
    end
end
return {dataset, place[1], place[2], redis.call('ZRANGE', KEYS[3], -tonumber(ARGV[4]), -1, 'WITHSCORES'), told}
