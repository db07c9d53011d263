-- Send a task's rows one by one from now on; those that have an outcome are counted without rendering.
-- ARGV: member of the task, then the rows' members.
local member = ARGV[1]
if not is_known(member) or is_counted(member) or is_split(member) or lease_of(member) then return 0 end
redis.call('ZREM', FLIGHT, member)
redis.call('ZREM', AGAIN, member)
for position = 2, #ARGV do
  redis.call('SADD', OPEN_ROWS, ARGV[position])
  redis.call('ZADD', AGAIN, now, ARGV[position])
end
redis.call('HDEL', LOSSES, member)
redis.call('HSET', ROWS_LEFT, member, #ARGV - 1)
return 1
