-- What every script begins with. An entry is kept as `REVOKED RESTORED END PAYLOAD` in a hash under its id; the end is in
-- milliseconds, or `-`. All numbers stay below 2^53. `join` says the same as `Standing::join`.
--
-- KEYS: entries (hash), ends (sorted set), changes (stream).
-- ARGV: the latest moment at which the caller still wants this, in microseconds of this clock; the caller's time in
-- milliseconds; a mark that no other call has; how long the stream may get; then what the script says.
local entries, ends, changes = KEYS[1], KEYS[2], KEYS[3]

local function microseconds()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local clock = microseconds()
local deadline, now, mark, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local FIRST = 5

-- A caller that has given up must not be surprised later.
local function is_late()
  return clock > deadline
end

local function read(line)
  if not line then return nil end
  local revoked, restored, ending, payload = string.match(line, '^(%d+) (%d+) ([%d-]+) (.*)$')
  if not revoked then return nil end
  return {
    revoked = tonumber(revoked),
    restored = tonumber(restored),
    ending = ending == '-' and math.huge or tonumber(ending),
    payload = payload,
  }
end

local function whole(number)
  return number == math.huge and '-' or string.format('%.0f', number)
end

local function write(entry)
  return whole(entry.revoked) .. ' ' .. whole(entry.restored) .. ' ' .. whole(entry.ending) .. ' ' .. entry.payload
end

local function join(one, other)
  if not one then return other end
  if not other then return one end
  local joined = {
    revoked = math.max(one.revoked, other.revoked),
    restored = math.max(one.restored, other.restored),
  }
  local one_holds, other_holds = one.revoked > joined.restored, other.revoked > joined.restored
  if one_holds ~= other_holds then
    local that = one_holds and one or other
    joined.ending, joined.payload = that.ending, that.payload
  else
    joined.ending = math.max(one.ending, other.ending)
    local keeps_one = other.payload == '' or (one.revoked > other.revoked and one.payload ~= '')
    joined.payload = keeps_one and one.payload or other.payload
  end
  return joined
end

local function agree(one, other)
  return one.revoked == other.revoked and one.restored == other.restored and one.ending == other.ending
end

local function is_revoked(entry)
  return entry.revoked > entry.restored
end

local function is_live(entry)
  return is_revoked(entry) and entry.ending > now
end

local made = 0

-- Keeps an entry and tells everyone. Each change names the mark of the one before it, so that who follows sees a gap,
-- however it came about.
local function keep(id, entry)
  local line = write(entry)
  redis.call('HSET', entries, id, line)
  if entry.ending == math.huge then
    redis.call('ZREM', ends, id)
  else
    redis.call('ZADD', ends, whole(entry.ending), id)
  end
  made = made + 1
  local own = mark .. '.' .. made
  local tail = redis.call('HGET', entries, 'tail')
  local after = tail and string.match(tail, '^%S+ (%S+)$') or '-'
  local place = redis.call('XADD', changes, 'MAXLEN', '~', longest, '*', 'id', id, 'line', line, 'mark', own, 'after', after)
  redis.call('HSET', entries, 'tail', place .. ' ' .. own)
  return line
end
