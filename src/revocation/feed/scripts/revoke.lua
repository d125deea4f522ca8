-- ARGV: id, the caller's account of it or '', the new one; and so on. Answers for each whether it is new, and how it stands.
if is_late() then return redis.error_reply('LATE') end
local answers = {}
for at = FIRST, #ARGV, 3 do
  local id, wanted = ARGV[at], read(ARGV[at + 2])
  local known = join(read(redis.call('HGET', entries, id)), read(ARGV[at + 1]))
  local entry = { revoked = clock, restored = 0, ending = wanted.ending, payload = wanted.payload }
  local is_new = true
  if known then
    entry.revoked = math.max(clock, known.revoked + 1, known.restored + 1)
    entry.restored = known.restored
    if is_live(known) then
      is_new = false
      entry.ending = math.max(known.ending, wanted.ending)
      entry.payload = known.payload
    end
  end
  answers[#answers + 1] = { is_new and 1 or 0, keep(id, entry) }
end
return answers
