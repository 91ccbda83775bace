-- What Redis has of a ledger: how it is read, written and kept. The first part of the text that ledger.lua ends.
--
-- In front of it stands one function, clock(): ms since 1970 and the run id of this Redis. Numbers are doubles: amounts stay below 2^53.
-- What is read, written and answered with each statement is packed as little-endian doubles: as texts it costs Redis two and a half times as
-- much.
--
-- The text is a library of Redis: run from its top when it is loaded, where nothing but locals may be touched, and kept. So what stands here in
-- locals outlives a call, but not this process of Redis: no copy of its data has it.

local DAY, UNLIMITED = 86400000, 2 ^ 53
local call, floor, min, max, pack, unpack, sub -- Redis's and Lua's own, from the first call on

-- Of the call under way.
local now, run, keys, args

local function born_of(key)
  local b = call('HMGET', key, 'run', 'at')
  if b[1] == run then return tonumber(b[2]) or 0 end
  call('HSET', key, 'run', run, 'at', string.format('%.0f', now))
  return now
end

local D4, D6, D17, D24, D31 = '<dddd', '<dddddd', '<' .. ('d'):rep(17), '<' .. ('d'):rep(24), '<' .. ('d'):rep(31)

-- What a statement is about is read into tables that are kept: making them would be a tenth of its time.
local the_ledger = { t = {}, lm = {} }
local the_record = { S = {}, out = {} }
local the_statement = { S = {}, floor = {}, need = {}, want = {} }

-- A record, the field r:<holder>: 17 doubles.
local function read_record(text, r)
  local S, out = r.S, r.out
  r.seq, r.at, r.dead, r.void, r.sold, r.day, S[1], S[2], S[3], S[4], out[1], out[2], out[3], out[4], r.cuts, r.b, r.f = unpack(D17, text)
  return r
end

local function record_text(r)
  local S, out = r.S, r.out
  return pack(D17, r.seq, r.at, r.dead, r.void, r.sold, r.day, S[1], S[2], S[3], S[4], out[1], out[2], out[3], out[4], r.cuts, r.b, r.f)
end

-- The rest of a ledger, the field l: 24 doubles. ft: slots lent; og of them by records that had to go, the last one at oa. What is returned is
-- good until the next is read.
local function read_ledger(key, field)
  local v = call('HMGET', key, 'l', field)
  if not v[1] then return nil end
  local L = the_ledger
  local t, lm = L.t, L.lm
  L.ld, L.bn, L.wt, L.fr, L.rd, L.dy, t[1], t[2], t[3], t[4], L.lv, L.bt, L.bo, L.gn, L.nr, L.ft, L.og, L.oa, lm[1], lm[2], lm[3],
    lm[4], lm[5], lm[6] = unpack(D24, v[1])
  L.key, L.keep = key, false
  return L, v[2] and read_record(v[2], the_record) or nil
end

local function reread_record(L, field)
  local text = call('HGET', L.key, field)
  return text and read_record(text, the_record) or nil
end

-- Returns what was written: of the ledger, of the record.
local function write_ledger(L, field, r)
  local t, lm = L.t, L.lm
  local text, record = pack(D24, L.ld, L.bn, L.wt, L.fr, L.rd, L.dy, t[1], t[2], t[3], t[4], L.lv, L.bt, L.bo, L.gn, L.nr, L.ft, L.og,
    L.oa, lm[1], lm[2], lm[3], lm[4], lm[5], lm[6]), ''
  if r then
    record = record_text(r)
    call('HSET', L.key, 'l', text, field, record)
  else
    call('HSET', L.key, 'l', text)
  end
  if L.keep then call('PEXPIRE', L.key, L.nr > 0 and 35 * DAY or DAY) end
  return text, record
end

local function refill(L)
  local rate, lv, passed = L.lm[5], L.lv, now - L.bt
  local top, low = (rate - L.bo) * 1000000, lv < 0 and lv or 0
  if top < low then top = low end
  if passed > 0 then
    L.bt = now
    lv = lv + floor(rate * passed * 1000000 / 60000)
  end
  L.lv = lv < top and lv or top
end

local RECORDS, TOMBSTONE = 64, 60000
local function num(s) return tonumber(s) or 0 end

-- Months since year 0 of a day since 1970: years begin in March, so that the leap day is the last.
local function month_of(day)
  local z = day + 719468
  local era = floor(z / 146097)
  local d = z - era * 146097
  local y = floor((d - floor(d / 1460) + floor(d / 36524) - floor(d / 146096)) / 365)
  local of_year = d - (365 * y + floor(y / 4) - floor(y / 100))
  local m = floor((5 * of_year + 2) / 153)
  return (y + era * 400) * 12 + m
end

local function same(w, a, b)
  return a == b or (w > 2 and month_of(a) == month_of(b))
end

-- Calls fn(field, record) for each record; what it returns is written back.
local function each_record(L, fn)
  local all = call('HGETALL', L.key)
  for i = 1, #all, 2 do
    if sub(all[i], 1, 2) == 'r:' then
      local r = read_record(all[i + 1], { S = {}, out = {} })
      if fn(all[i], r) then call('HSET', L.key, all[i], record_text(r)) end
    end
  end
end

local function new_ledger(key, born, load)
  return { key = key, ld = max(now * 1000, load + 1), bn = born, wt = now, fr = 0, rd = 0, dy = 0, t = { 0, 0, 0, 0 }, lv = 0, bt = now,
    bo = 0, gn = -1, lm = { UNLIMITED, UNLIMITED, UNLIMITED, UNLIMITED, 0, 0 }, nr = 0, ft = 0, og = 0, oa = now, keep = true }
end

-- The data is older than this Redis: what is lent is still lent, what was spent comes back with the rollups.
local function rebuild(L, born, quarantine)
  L.ld, L.bn, L.wt, L.fr, L.rd, L.keep = max(now * 1000, L.ld + 1), born, born + quarantine, 0, 0, true
  L.t, L.lv, L.bt, L.bo, L.ft = { 0, 0, 0, 0 }, 0, now, 0, L.og
  each_record(L, function(_, r)
    for w = 1, 4 do
      if same(w, r.day, L.dy) then L.t[w] = L.t[w] + r.out[w] else r.out[w] = 0 end
      r.S[w] = 0
    end
    r.day, r.cuts, r.b, r.void = L.dy, 0, 0, 1
    L.ft = L.ft + r.f
    return true
  end)
end

-- Limits that are new to a ledger nobody has a position with: there may have been none meanwhile, and nothing counted.
local function begin_anew(L)
  L.ld, L.fr, L.rd, L.t, L.keep = max(now * 1000, L.ld + 1), 0, 0, { 0, 0, 0, 0 }, true
end

local ROOM = 14 -- fields: beyond it the dead are looked for

local function make_room(L)
  if call('HLEN', L.key) < ROOM then return end
  local count, oldest, last = 0, nil, nil
  local gone = {}
  each_record(L, function(field, r)
    if r.dead == 1 and r.at + TOMBSTONE < now then
      gone[#gone + 1] = field
    else
      count = count + 1
      if not last or r.at < last.at then oldest, last = field, r end
    end
    return false
  end)
  if count >= RECORDS then
    gone[#gone + 1] = oldest
    if last.dead == 0 then L.nr = L.nr - 1 end
    L.bo = L.bo - last.b
    if last.f > 0 then L.og, L.oa = L.og + last.f, now end
  end
  for _, field in ipairs(gone) do call('HDEL', L.key, field) end
end

local function roll(L, day)
  local to = floor(now / DAY)
  local day_now = max(to, L.dy)
  if day <= to + 1 then day_now = max(day_now, day) end
  if day_now == L.dy then return end
  for w = 1, 4 do
    if not same(w, day_now, L.dy) then L.t[w] = 0 end
  end
  L.dy, L.keep = day_now, true
end
