-- Gives an event its place in a channel's log, appends it and tells whoever listens: all of it or nothing.
-- KEYS: bucket, channel, entries, messages, running. Running texts lie beside `running`, under the same hash tag.
-- ARGV: as for a place, then what is read below.
-- Answers {'fenced'}, {'known'}, or the place: {dataset, generation, offset}.
local bucket, channel, entries, messages, running = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local ttl, max_events, max_bytes = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local publish, topic, json = ARGV[7], ARGV[8], ARGV[9]
local job, attempt, once, message, ended = ARGV[10], ARGV[11], ARGV[12], ARGV[13], ARGV[14]
local stream, begins, chunk, speaker, text = ARGV[15], ARGV[16], ARGV[17], ARGV[18], ARGV[19]
local voice = ARGV[20]

if place[1] and attempt ~= '' then
    local held = redis.call('HMGET', channel, 'f' .. job, 'v' .. job)
    local newest, by = tonumber(held[1] or -1), held[2] or voice
    if newest > tonumber(attempt) or (newest == tonumber(attempt) and by ~= voice) then return {'fenced'} end
end
if place[1] and once ~= '' and redis.call('HEXISTS', channel, 'o' .. once) == 1 then return {'known'} end

-- The first write is one that is refused where memory is short, so that nothing is done by half.
local generation = place[1]
if not generation then
    generation = redis.call('HINCRBY', bucket, 'g', 1)
    -- What is left of another data set is none of this one's.
    redis.call('DEL', channel, entries, messages, running)
    redis.call('HSET', channel, 'g', generation, 'd', dataset)
end

local offset = redis.call('HINCRBY', channel, 'n', 1)
redis.call('XADD', entries, offset .. '-0', 'j', json, 'o', once, 'e', ended)
local bytes = redis.call('HINCRBY', channel, 'b', #json)
if attempt ~= '' then redis.call('HSET', channel, 'f' .. job, attempt, 'v' .. job, voice) end
-- Whoever still believes to work on it can publish no more; who tries it once more begins another attempt.
if ended ~= '' then
    redis.call('HSETNX', channel, 'f' .. ended, 0)
    redis.call('HSET', channel, 'v' .. ended, 0)
end
if once ~= '' then redis.call('HSET', channel, 'o' .. once, '') end
if message ~= '' then redis.call('ZADD', messages, offset, message) end

local count = redis.call('XLEN', entries)
if count > max_events or (bytes > max_bytes and count > 1) then
    -- Some at once, so that it is seldom done.
    local keep, freed, last = max_events - math.floor(max_events / 64), 0, nil
    local function is_enough() return count == 1 or (count <= keep and bytes - freed <= max_bytes) end
    while not is_enough() do
        local gone, known = {}, {}
        for _, entry in ipairs(redis.call('XRANGE', entries, '-', '+', 'COUNT', 64)) do
            if is_enough() then break end
            local fields = entry[2]
            count, freed, last = count - 1, freed + #fields[2], entry[1]
            table.insert(gone, last)
            if fields[4] ~= '' then table.insert(known, 'o' .. fields[4]) end
            if fields[6] ~= '' then
                table.insert(known, 'f' .. fields[6])
                table.insert(known, 'v' .. fields[6])
            end
        end
        redis.call('XDEL', entries, unpack(gone))
        if #known > 0 then redis.call('HDEL', channel, unpack(known)) end
    end
    redis.call('HINCRBY', channel, 'b', -freed)
    redis.call('ZREMRANGEBYSCORE', messages, '-inf', string.match(last, '^%d+'))
end

if stream ~= '' then
    local told = running .. ':' .. stream
    -- What is told of a text without its beginning, which went with another data set, begins here.
    local goes_on = begins ~= '1' and redis.call('HEXISTS', running, stream) == 1
    if goes_on then redis.call('APPEND', told, text) else redis.call('SET', told, text) end
    redis.call('PEXPIRE', told, ttl)
    redis.call('HSET', running, stream, job .. ' ' .. chunk)
    -- The first chunk alone says it.
    if speaker ~= '' then redis.call('HSET', running, 's' .. stream, speaker) end
    redis.call('PEXPIRE', running, ttl)
elseif ended ~= '' then
    local replies = redis.call('HGETALL', running)
    for i = 1, #replies, 2 do
        if string.sub(replies[i + 1], 1, #ended) == ended then
            redis.call('HDEL', running, replies[i], 's' .. replies[i])
            redis.call('DEL', running .. ':' .. replies[i])
        end
    end
end

redis.call('PEXPIRE', channel, ttl)
redis.call('PEXPIRE', entries, ttl)
if message ~= '' then redis.call('PEXPIRE', messages, ttl) end
generation = tostring(generation)
redis.call(publish, topic, 'e' .. dataset .. ' ' .. generation .. ' ' .. offset .. ' ' .. json)
return {dataset, generation, tostring(offset)}
