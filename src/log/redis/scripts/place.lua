-- Where a channel stands, before whatever is asked of it: its bucket's `dataset`, which is made where there is none, and its
-- `place`, {generation, offset}, nothing where the channel has not begun in this data set.
-- KEYS: bucket, channel. ARGV: a data set for the bucket if it needs one, the server's life as the caller knows it, and
-- whether the server keeps all it was told when it starts anew.
local function said(section, name)
    return string.match(redis.call('INFO', section), name .. ':([^\r\n]*)')
end

-- A server that has started anew, or another in its place, may have less than was told before. It goes on with the data set
-- only where that can't be: it writes each command to disk first, and so did the life before; and no other server could have
-- been the one before it.
local function is_complete(durable)
    return durable == '1' and ARGV[3] == '1' and said('replication', 'role') == 'master'
        and said('replication', 'connected_slaves') == '0' and said('replication', 'second_repl_offset') == '-1'
end

local known = redis.call('HMGET', KEYS[1], 'd', 'life', 'durable')
local dataset, life = known[1], ARGV[2]
if not dataset or life == '' or life ~= known[2] then
    -- Who connected before it may know of a former life.
    life = said('server', 'run_id') or ''
    if not dataset or life ~= known[2] then
        if not dataset or not is_complete(known[3]) then dataset = ARGV[1] end
        redis.call('HSET', KEYS[1], 'd', dataset, 'life', life, 'durable', ARGV[3])
    end
end
local place = redis.call('HMGET', KEYS[2], 'g', 'n', 'd')
if place[3] ~= dataset then place = {} end
