-- ARGV: id, the caller's account of it or ''; and so on. Answers for each how it stands, or false where there was nothing.
if is_late() then return redis.error_reply('LATE') end
local answers = {}
for at = FIRST, #ARGV, 2 do
  local id = ARGV[at]
  local known = join(read(redis.call('HGET', entries, id)), read(ARGV[at + 1]))
  local answer = false
  if known and is_live(known) then
    known.restored = known.revoked
    answer = keep(id, known)
  end
  answers[#answers + 1] = answer
end
return answers
