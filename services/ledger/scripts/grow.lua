-- A retry added tasks. ARGV: tasks in all, rows in all retries (they are no longer failed, but open).
local meta = redis.call('HMGET', META, 'tasks', 'retried')
if not meta[1] or tonumber(meta[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', META, 'tasks', ARGV[1], 'retried', ARGV[2])
redis.call('HINCRBY', META, 'failed', tonumber(meta[2] or '0') - tonumber(ARGV[2]))
return 1
