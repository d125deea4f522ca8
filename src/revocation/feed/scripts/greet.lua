-- Writes, so that a Redis that takes no writes is seen; refuses the data of another version. Answers the time in
-- microseconds.
local format = redis.call('HGET', KEYS[1], 'format')
if format and format ~= '1' then
  return redis.error_reply('FORMAT the data under this prefix is of another version of Portcullis')
end
redis.call('HSET', KEYS[1], 'format', '1')
local time = redis.call('TIME')
return { time[1], time[2] }
