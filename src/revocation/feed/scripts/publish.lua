-- ARGV: how long after its end an entry is still kept, in milliseconds; then id, an account of it; and so on. Keeps what
-- adds to what is here; answers how many.
if is_late() then return redis.error_reply('LATE') end
local oldest = math.floor(clock / 1000) - tonumber(ARGV[FIRST])
local kept = 0
for at = FIRST + 1, #ARGV, 2 do
  local id = ARGV[at]
  local known = read(redis.call('HGET', entries, id))
  local joined = join(known, read(ARGV[at + 1]))
  if joined and joined.ending > oldest and not (known and agree(known, joined)) then
    keep(id, joined)
    kept = kept + 1
  end
end
return kept
