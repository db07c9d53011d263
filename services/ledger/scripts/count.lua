-- Count a member whose rows all have an outcome, once.
-- ARGV: member, done, failed, images, units, failures that can pause the job, the class of the last of them, how many
-- of that class stand at the end.
-- Returns 1 where this call counted it, 0 where it was counted already, -1 where the job or the task is not known,
-- -2 where its rows are counted one by one.
local member = ARGV[1]
if not is_known(member) then return -1 end
if is_counted(member) then
  forget(member)
  return 0
end
local task, alone = task_of(member)
local task_member = tostring(task)
if is_split(member) then return -2 end
local whole = true
if alone then
  redis.call('SREM', OPEN_ROWS, member)
  whole = redis.call('HINCRBY', ROWS_LEFT, task_member, -1) <= 0
end
forget(member)
if whole then
  redis.call('SETBIT', COUNTED, task, 1)
  redis.call('HDEL', ROWS_LEFT, task_member)
  redis.call('HINCRBY', META, 'counted', 1)
  forget(task_member)
end
redis.call('HINCRBY', META, 'done', ARGV[2])
redis.call('HINCRBY', META, 'failed', ARGV[3])
redis.call('HINCRBY', META, 'images', ARGV[4])
redis.call('HINCRBYFLOAT', META, 'units', ARGV[5])
-- How the job fails, for the rule that pauses a job which makes no progress but errors.
local done, failures, class, run = tonumber(ARGV[2]), tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
if done > 0 or failures > 0 then
  local head = tonumber(redis.call('HGET', META, 'head_rows') or '0')
  if head < 100 then
    redis.call('HINCRBY', META, 'head_rows', math.max(done, 0) + failures)
    redis.call('HINCRBY', META, 'head_failures', failures)
  end
  -- A streak goes on where every row of this task failed as the last ones before it did; else it begins anew.
  local goes_on = done == 0 and run == failures and redis.call('HGET', META, 'streak_class') == class
  local before = goes_on and tonumber(redis.call('HGET', META, 'streak') or '0') or 0
  redis.call('HSET', META, 'streak', before + run, 'streak_class', class)
end
return 1
