-- Forget a job whose outcome stands in the store. ARGV: how many tasks it had when it was finalized.
if redis.call('HGET', META, 'tasks') ~= ARGV[1] then return 0 end
redis.call('DEL', META, COUNTED, FLIGHT, AGAIN, LEASES, LOSSES, ERRORS, OPEN_ROWS, ROWS_LEFT, base .. ':samples', base .. ':lacking')
return 1
