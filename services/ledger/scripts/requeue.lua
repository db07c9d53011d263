-- Publish a member again whose message is gone: in flight since the same time, and never leased.
-- ARGV: member, the time in ms at which it was published.
local member = ARGV[1]
local since = redis.call('ZSCORE', FLIGHT, member)
if not since or tonumber(since) ~= tonumber(ARGV[2]) or lease_of(member) then return 0 end
redis.call('ZREM', FLIGHT, member)
if not is_counted(member) then redis.call('ZADD', AGAIN, now, member) end
return 1
