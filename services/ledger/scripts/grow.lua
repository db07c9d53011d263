-- A retry added tasks. ARGV: tasks in all, rows of the retry (they are no longer failed), ULID of its round.
local tasks = tonumber(redis.call('HGET', META, 'tasks') or '-1')
if tasks < 0 or tasks >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', META, 'tasks', ARGV[1])
redis.call('HINCRBY', META, 'failed', -tonumber(ARGV[2]))
return 1
