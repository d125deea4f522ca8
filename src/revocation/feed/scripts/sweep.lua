-- ARGV: a moment in milliseconds, how many at most, the place before which the stream may be forgotten. Removes what ended
-- before that moment; answers how many.
local ended = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
if #ended > 0 then
  redis.call('HDEL', KEYS[1], unpack(ended))
  redis.call('ZREM', KEYS[2], unpack(ended))
end
redis.call('XTRIM', KEYS[3], 'MINID', '~', ARGV[3])
return #ended
