-- Who has come to a process, and who has gone: {how many are there}.
-- KEYS: present, people, lease. ARGV: how long it is kept, how long the lease lasts, the command that publishes, the topic,
-- the message, the instance, its version, whether these are all, how many have gone, who; then who has come, with names.
local present, people, lease = KEYS[1], KEYS[2], KEYS[3]
local ttl, lasts, publish, topic, message = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local instance, version, all, gone = ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9])
redis.call('SET', lease, '', 'PX', lasts)
if all == '1' then redis.call('DEL', people) end
for i = 10, 9 + gone do redis.call('HDEL', people, ARGV[i]) end
for i = 10 + gone, #ARGV, 2 do redis.call('HSET', people, ARGV[i], ARGV[i + 1]) end
local count = redis.call('HLEN', people)
if count == 0 then
    redis.call('HDEL', present, instance)
else
    redis.call('HSET', present, instance, version)
    redis.call('PEXPIRE', present, ttl)
    redis.call('PEXPIRE', people, ttl)
end
redis.call(publish, topic, message)
return count
