-- Common to every script. KEYS[1] is the job's base key; ARGV[1] names the member ('7', or '7.2': one row of it).
local base = KEYS[1]
local META, COUNTED, FLIGHT = base .. ':meta', base .. ':counted', base .. ':flight'
local AGAIN, LEASES, LOSSES = base .. ':again', base .. ':leases', base .. ':losses'
local ERRORS, OPEN_ROWS, ROWS_LEFT = base .. ':errors', base .. ':open_rows', base .. ':rows_left'

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A lease is 'token|expiry in ms|worker|rows|images'.
local function lease_of(member)
  local text = redis.call('HGET', LEASES, member)
  if not text then return nil end
  local token, expiry, worker = string.match(text, '^(%w+)|(%d+)|([^|]*)|')
  return token, tonumber(expiry), worker
end

local function task_of(member)
  local dot = string.find(member, '.', 1, true)
  if dot then return tonumber(string.sub(member, 1, dot - 1)), true end
  return tonumber(member), false
end

-- Whether the job has such a task: a garbage message must not make one.
local function is_known(member)
  local tasks = redis.call('HGET', META, 'tasks')
  return tasks and (task_of(member)) < tonumber(tasks)
end

-- Whether a task's rows go one by one.
local function is_split(member)
  return redis.call('HEXISTS', ROWS_LEFT, member) == 1
end

-- Nothing is left to do for this member: its task is counted, or its row is.
local function is_counted(member)
  local task, alone = task_of(member)
  if redis.call('GETBIT', COUNTED, task) == 1 then return true end
  return alone and redis.call('SISMEMBER', OPEN_ROWS, member) == 0
end

local function forget(member)
  redis.call('HDEL', LEASES, member)
  redis.call('ZREM', FLIGHT, member)
  redis.call('ZREM', AGAIN, member)
  redis.call('HDEL', LOSSES, member)
  redis.call('HDEL', ERRORS, member)
end
