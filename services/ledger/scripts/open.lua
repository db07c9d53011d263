-- Make a job known, from what the store says. Does nothing where it is known already.
-- ARGV: bitmap of counted tasks, hold in ms, then field, value, ... of meta.
if redis.call('EXISTS', META) == 1 then return 0 end
redis.call('DEL', COUNTED, FLIGHT, AGAIN, LEASES, LOSSES, ERRORS, OPEN_ROWS, ROWS_LEFT)
if #ARGV[1] > 0 then redis.call('SET', COUNTED, ARGV[1]) end
redis.call('HSET', META, 'cursor', 0, 'hold', now + tonumber(ARGV[2]), 'opened', now, unpack(ARGV, 3))
return 1
