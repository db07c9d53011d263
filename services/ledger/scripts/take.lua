-- Take members to publish: those to publish again first, then fresh ones by the cursor. Marks them in flight.
-- ARGV: how many.
local wanted = tonumber(ARGV[1])
local meta = redis.call('HMGET', META, 'state', 'hold', 'cursor', 'tasks')
if meta[1] ~= 'running' or now < tonumber(meta[2]) then return {} end
local taken = {}
local function take(member)
  if is_counted(member) then
    forget(member)
    return
  end
  if lease_of(member) then return end
  redis.call('ZADD', FLIGHT, now, member)
  taken[#taken + 1] = member
  taken[#taken + 1] = redis.call('HGET', LOSSES, member) or '0'
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', AGAIN, '-inf', now, 'LIMIT', 0, wanted)) do
  redis.call('ZREM', AGAIN, member)
  take(member)
end
local cursor, tasks = tonumber(meta[3]), tonumber(meta[4])
local last = math.min(tasks, cursor + 5000)  -- a bound on one script's work; the next look goes on
while #taken < 2 * wanted and cursor < last do
  local member = tostring(cursor)
  if not is_split(member) and not redis.call('ZSCORE', FLIGHT, member) and not redis.call('ZSCORE', AGAIN, member) then
    take(member)
  end
  cursor = cursor + 1
end
redis.call('HSET', META, 'cursor', cursor)
return taken
