-- ARGV: ids. Answers those that are not here.
local missing = {}
for _, id in ipairs(ARGV) do
  if redis.call('HEXISTS', KEYS[1], id) == 0 then missing[#missing + 1] = id end
end
return missing
