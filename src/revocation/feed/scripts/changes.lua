-- ARGV: a place in the stream, how many. Answers where the stream ends, and what comes after that place, of one moment.
local found = redis.call('XRANGE', KEYS[3], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
return { redis.call('HGET', KEYS[1], 'tail') or '', found }
