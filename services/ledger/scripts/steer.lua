-- Set what the control events say, unless a later event was folded in already.
-- ARGV: state, priority, reason, 1 where the job paused itself, ULID of the last event folded.
local last = redis.call('HGET', META, 'control')
if not last or last > ARGV[5] then return 0 end
local was = redis.call('HGET', META, 'state')
redis.call('HSET', META, 'state', ARGV[1], 'priority', ARGV[2], 'reason', ARGV[3], 'automatic', ARGV[4],
  'control', ARGV[5])
-- A resumed job gets a new chance before its errors pause it again.
if was == 'paused' and ARGV[1] == 'running' then
  redis.call('HDEL', META, 'streak', 'streak_class', 'head_failures', 'suspect')
end
return 1
