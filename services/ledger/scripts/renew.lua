-- Renew a lease and report progress. A lease that Redis forgot is taken up again under its own token.
-- ARGV: member, token, lease in ms, worker, rows, images. Returns the answer and the job's state.
local member, token = ARGV[1], ARGV[2]
local state = redis.call('HGET', META, 'state')
if not is_known(member) then return {'missing', ''} end
if is_counted(member) or is_split(member) then return {'lost', state} end
local holder = lease_of(member)
if holder and holder ~= token then return {'lost', state} end
local text = token .. '|' .. (now + tonumber(ARGV[3])) .. '|' .. ARGV[4] .. '|' .. ARGV[5] .. '|' .. ARGV[6]
redis.call('HSET', LEASES, member, text)
if not holder then
  redis.call('ZADD', FLIGHT, now, member)
  redis.call('ZREM', AGAIN, member)
end
return {'renewed', state}
