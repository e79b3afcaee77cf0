-- Which processes have somebody in a room: {{instance, version}, …}. A process that has not renewed its lease counts no more,
-- and is forgotten when it has been silent for so long that its lease has gone.
-- A lease lasts longer than it counts, so that what a process has said outlives a server that was away.
local function crowds(present, leases, people, least, ttl)
    local all, found = redis.call('HGETALL', present), {}
    for i = 1, #all, 2 do
        local left = redis.call('PTTL', leases .. all[i])
        if left > tonumber(least) then
            redis.call('PEXPIRE', people .. all[i], ttl)
            table.insert(found, {all[i], all[i + 1]})
        elseif left == -2 then
            redis.call('HDEL', present, all[i])
            redis.call('DEL', people .. all[i])
        end
    end
    if #found > 0 then redis.call('PEXPIRE', present, ttl) end
    return found
end
