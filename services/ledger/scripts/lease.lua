-- Give out a lease, and with it a token that sorts by time.
-- ARGV: member, worker, lease in ms, random characters. Returns the answer, then the token or the reason.
local member = ARGV[1]
local state = redis.call('HGET', META, 'state')
if not is_known(member) then return {'unknown', ''} end
if is_counted(member) then
  forget(member)
  return {'counted', ''}
end
if is_split(member) then return {'split', ''} end
local holder, _, worker = lease_of(member)
if holder then
  -- The same request once more: the connection broke before its answer.
  if worker == ARGV[2] and string.sub(holder, 13) == ARGV[4] then return {'granted', holder} end
  return {'leased', ''}
end
if state ~= 'running' then
  redis.call('ZREM', FLIGHT, member)
  redis.call('ZADD', AGAIN, 'NX', now, member)
  return {state, ''}
end
local token = string.format('%012x', now) .. ARGV[4]
redis.call('HSET', LEASES, member, token .. '|' .. (now + tonumber(ARGV[3])) .. '|' .. ARGV[2] .. '|0|0')
redis.call('ZADD', FLIGHT, now, member)
redis.call('ZREM', AGAIN, member)
return {'granted', token}
