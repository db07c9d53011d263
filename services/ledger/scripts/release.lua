-- Give a member back, to be published again. Guarded by the token.
-- ARGV: member, token, 1 where it is a loss (only an expired lease can be lost; 2: its holder says so itself), delay in
-- ms, error text, 1 where its rows could not be read.
-- Returns the losses so far, or -1 where the lease was not this token's.
local member = ARGV[1]
local holder, expiry = lease_of(member)
if holder ~= ARGV[2] then return -1 end
local lost = ARGV[3] ~= '0'
if ARGV[3] == '1' and expiry > now then return -1 end
redis.call('HDEL', LEASES, member)
redis.call('ZREM', FLIGHT, member)
if is_counted(member) then
  forget(member)
  return -1
end
redis.call('ZADD', AGAIN, now + tonumber(ARGV[4]), member)
if ARGV[5] ~= '' then redis.call('HSET', ERRORS, member, ARGV[5]) end
if ARGV[6] == '1' then redis.call('HSET', META, 'suspect', member) end
if lost then return redis.call('HINCRBY', LOSSES, member, 1) end
return tonumber(redis.call('HGET', LOSSES, member) or '0')
