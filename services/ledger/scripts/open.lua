-- Make a job known, from what the store says. Does nothing where it is known already.
-- ARGV: bitmap of counted tasks, hold in ms, settling time in ms, then field, value, ... of meta.
if redis.call('EXISTS', META) == 1 then return 0 end
redis.call('DEL', COUNTED, FLIGHT, AGAIN, LEASES, LOSSES, ERRORS, OPEN_ROWS, ROWS_LEFT)
if #ARGV[1] > 0 then redis.call('SET', COUNTED, ARGV[1]) end
local waits = {'hold', now + tonumber(ARGV[2]), 'settled', now + tonumber(ARGV[3])}
redis.call('HSET', META, 'cursor', 0, 'opened', now, unpack(waits))
redis.call('HSET', META, unpack(ARGV, 4))
return 1
