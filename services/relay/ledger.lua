-- The ledger of one subject: statements of positions, the build-up, the birth of a shard (ledger.h).
--
--   state  KEYS ledger, born of each statement   ARGV verb, quarantine, lease, lapse, then of each statement its holder and its numbers
--   load   KEYS ledger, born   ARGV verb, load id, day, 4 amounts
--   look   KEYS ledger, born   ARGV verb; changes nothing
--   silent KEYS ledger, born   ARGV verb, lapse; changes nothing
--   forgive KEYS ledger, born  ARGV verb, lapse, quarantine, holder
--   born   KEYS born of any shards   ARGV verb; their births, and the time
--
-- In front of this text stands one function, clock(): ms since 1970 and the run id of this Redis. Numbers are doubles: amounts stay
-- below 2^53. All writes of a call are in one effect, so that a copy of Redis has all of it or nothing.
--
-- What is read, written and answered with each statement is packed as little-endian doubles: as texts it costs Redis two and a half
-- times as much. The text is a library of Redis: run from its top when it is loaded, where nothing but locals may be touched, and kept. So
-- what stands here in locals outlives a call, but not this process of Redis: no copy of its data has it.

local DAY, UNLIMITED = 86400000, 2 ^ 53
local call, floor, min, max, pack, unpack -- Redis's and Lua's own, from the first call on

-- Of the call under way.
local now, run, keys, args

local function born_of(key)
  local b = call('HMGET', key, 'run', 'at')
  if b[1] == run then return tonumber(b[2]) or 0 end
  call('HSET', key, 'run', run, 'at', string.format('%.0f', now))
  return now
end

local D17, D24, D25, D41 = '<' .. ('d'):rep(17), '<' .. ('d'):rep(24), '<' .. ('d'):rep(25), '<' .. ('d'):rep(41)

-- What a statement is about is read into tables that are kept: making them would be a tenth of its time.
local the_ledger = { t = {}, lm = {} }
local the_record = { S = {}, out = {} }
local the_statement = { S = {}, floor = {}, need = {}, want = {}, late = {}, lm = {} }

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

-- The rest of a ledger, the field l: 24 doubles. ft: slots lent; og of them by records that had to go, the last one at oa. To be read until
-- the next is.
local function read_ledger(key, holder)
  local v = call('HMGET', key, 'l', 'r:' .. holder)
  if not v[1] then return nil end
  local L = the_ledger
  local t, lm = L.t, L.lm
  L.ld, L.bn, L.wt, L.fr, L.rd, L.dy, t[1], t[2], t[3], t[4], L.lv, L.bt, L.bo, L.gn, L.nr, L.ft, L.og, L.oa, lm[1], lm[2], lm[3],
    lm[4], lm[5], lm[6] = unpack(D24, v[1])
  L.key, L.keep = key, false
  return L, v[2] and read_record(v[2], the_record) or nil
end

local function reread_record(L, holder)
  local text = call('HGET', L.key, 'r:' .. holder)
  return text and read_record(text, the_record) or nil
end

local function write_ledger(L, holder, r)
  local t, lm = L.t, L.lm
  local text = pack(D24, L.ld, L.bn, L.wt, L.fr, L.rd, L.dy, t[1], t[2], t[3], t[4], L.lv, L.bt, L.bo, L.gn, L.nr, L.ft, L.og, L.oa,
    lm[1], lm[2], lm[3], lm[4], lm[5], lm[6])
  if r then
    call('HSET', L.key, 'l', text, 'r:' .. holder, record_text(r))
  else
    call('HSET', L.key, 'l', text)
  end
  if L.keep then call('PEXPIRE', L.key, L.nr > 0 and 35 * DAY or DAY) end
end

local function refill(L)
  local cap = L.lm[5] * 1000000
  local top = max(cap - L.bo * 1000000, min(L.lv, 0))
  L.lv = min(top, L.lv + floor(L.lm[5] * max(0, now - L.bt) * 1000000 / 60000))
  L.bt = max(now, L.bt)
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

-- Calls fn(holder, record) for each record; what it returns is written back.
local function each_record(L, fn)
  local all = call('HGETALL', L.key)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'r:' then
      local r = read_record(all[i + 1], { S = {}, out = {} })
      if fn(string.sub(all[i], 3), r) then call('HSET', L.key, all[i], record_text(r)) end
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
  each_record(L, function(holder, r)
    if r.dead == 1 and r.at + TOMBSTONE < now then
      gone[#gone + 1] = holder
    else
      count = count + 1
      if not last or r.at < last.at then oldest, last = holder, r end
    end
    return false
  end)
  if count >= RECORDS then
    gone[#gone + 1] = oldest
    if last.dead == 0 then L.nr = L.nr - 1 end
    L.bo = L.bo - last.b
    if last.f > 0 then L.og, L.oa = L.og + last.f, now end
  end
  for _, holder in ipairs(gone) do call('HDEL', L.key, 'r:' .. holder) end
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

-- Bucket tokens of silent relays are past use; their slots much later, when each request has ended.
local function sweep(L, holder, lease, lapse)
  each_record(L, function(h, r)
    if h == holder or r.dead == 1 then return false end
    local void, lapsed = r.b > 0 and r.at + lease < now, r.f > 0 and r.at + lapse < now
    if void then r.cuts, L.bo, r.b, r.void = r.cuts + r.b, L.bo - r.b, 0, 1 end
    if lapsed then L.ft, r.f = L.ft - r.f, 0 end
    return void or lapsed
  end)
end

-- And how many of them have been silent for longer than any request lives.
local function lent_to_others(L, holder, w, lapse)
  local sum, silent = 0, 0
  each_record(L, function(h, r)
    if h ~= holder and r.dead == 0 then
      local has = 0
      if w == 6 then has = r.f elseif w == 5 then has = r.b elseif same(w, r.day, L.dy) then has = r.out[w] end
      sum = sum + has
      if has > 0 and r.at + lapse < now then silent = silent + 1 end
    end
    return false
  end)
  return sum, silent
end

local SLOT_RETRY = 1000 -- nobody knows when a request ends

local function ms_to_reset(L, w)
  if w == 6 then return SLOT_RETRY end
  if w == 5 then return math.ceil(max(0, 1000000 - L.lv) * 60000 / (max(L.lm[5], 1) * 1000000)) end
  local day = L.dy + 1
  if w > 2 then
    while month_of(day) == month_of(L.dy) do day = day + 1 end
  end
  return day * DAY - now
end

local function load()
  local born = born_of(keys[2])
  local L = read_ledger(keys[1], '')
  if not L or L.ld ~= num(args[2]) or L.bn ~= born then return 'OLD' end
  if L.rd == 1 then return 'OK' end
  if now < L.wt then return 'WAIT' end
  roll(L, floor(now / DAY))
  if L.dy ~= num(args[3]) then
    write_ledger(L)
    return 'OLD'
  end
  for w = 1, 4 do L.t[w] = L.t[w] + num(args[3 + w]) end
  L.rd = 1
  write_ledger(L)
  return 'OK'
end

local function look()
  local L, b = read_ledger(keys[1], ''), call('HMGET', keys[2], 'run', 'at')
  if not L or b[1] ~= run or num(b[2]) ~= L.bn then return { 0, 0, 0, now, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 } end
  roll(L, floor(now / DAY))
  refill(L)
  local lent = { 0, 0, 0, 0 }
  each_record(L, function(_, r)
    for w = 1, 4 do
      if same(w, r.day, L.dy) then lent[w] = lent[w] + r.out[w] end
    end
    return false
  end)
  return { 1, L.rd, L.ld, now, L.t[1], L.t[2], L.t[3], L.t[4], lent[1], lent[2], lent[3], lent[4], L.lv, L.bo, L.ft }
end

-- What a record holds in the windows that are now, and a slot; empty when nothing.
local function held(L, r)
  local out, any = {}, r.b > 0 or r.f > 0
  for w = 1, 4 do
    out[w] = same(w, r.day, L.dy) and r.out[w] or 0
    any = any or out[w] > 0
  end
  return any and out or nil
end

local function silent()
  local lapse, L = num(args[2]), read_ledger(keys[1], '')
  local found = {}
  if not L then return found end
  roll(L, floor(now / DAY))
  each_record(L, function(holder, r)
    local out = r.dead == 0 and r.at + lapse < now and held(L, r)
    if out then found[#found + 1] = { holder, r.at, out[1], out[2], out[3], out[4], r.f } end
    return false
  end)
  return found
end

-- The record stays, with nothing in it: should the relay come back, it states what it has spent beyond what we know.
local function forgive()
  local lapse, quarantine, holder = num(args[2]), num(args[3]), args[4]
  local born = born_of(keys[2])
  local L, r = read_ledger(keys[1], holder)
  if not r or r.dead == 1 then return { 'NONE' } end
  if r.at + lapse >= now then return { 'HEARD' } end
  if L.bn ~= born then
    rebuild(L, born, quarantine)
    r = reread_record(L, holder)
  end
  roll(L, floor(now / DAY))
  local out, slots = held(L, r), r.f
  if not out then return { 'NONE' } end
  for w = 1, 4 do L.t[w], r.out[w] = L.t[w] - out[w], 0 end
  r.cuts, L.bo, r.b, r.void = r.cuts + r.b, L.bo - r.b, 0, 1
  L.ft, r.f = L.ft - slots, 0
  write_ledger(L, holder, r)
  return { 'OK', r.at, out[1], out[2], out[3], out[4], slots }
end

local function born()
  local out = {}
  for i = 1, #keys do out[i] = born_of(keys[i]) end
  out[#out + 1] = now
  return out
end

local function believe(L, r, a)
  local late = L.rd == 1
  for w = 1, 4 do
    local S, out = 0, 0
    if same(w, r.day, L.dy) then S, out = r.S[w], r.out[w] end
    local S1, out1 = 0, 0
    if same(w, a.day, L.dy) then S1, out1 = a.S[w] + (late and a.late[w] or 0), a.floor[w] end
    L.t[w] = L.t[w] + S1 + out1 - S - out
    r.S[w], r.out[w] = S1, out1
  end
  -- A dead relay does not know how many it cut: what it held is used up.
  local back = a.final and 0 or (r.cuts + r.b - a.cuts - a.bfloor) * 1000000
  if back < 0 or r.void == 0 then L.lv = L.lv + back end
  L.bo = L.bo + a.bfloor - r.b
  local top = (L.lm[5] - L.bo) * 1000000
  if L.lv > 0 then L.lv = min(L.lv, max(top, 0)) end
  L.ft = L.ft + a.ffloor - r.f
  r.cuts, r.b, r.f, r.void = a.cuts, a.bfloor, a.ffloor, 0
  r.day, r.seq, r.at, r.sold = L.dy, a.seq, now, 0
end

local function lacking(L, a)
  for w = 1, 4 do
    if a.need[w] > 0 and L.t[w] + a.need[w] > L.lm[w] then return w end
  end
  if L.lm[5] > 0 and a.bneed > 0 and L.lv < a.bneed * 1000000 then return 5 end
  if L.lm[6] > 0 and a.fneed > 0 and L.ft + a.fneed > L.lm[6] then return 6 end
  return nil
end

local function sell(L, r, a)
  local share = 4 * max(L.nr, 1)
  for w = 1, 4 do
    local left = L.lm[w] - L.t[w] - a.need[w]
    local got = a.need[w] + max(0, min(a.want[w] - a.need[w], floor(left / share)))
    L.t[w], r.out[w] = L.t[w] + got, r.out[w] + got
  end
  if L.lm[5] > 0 then
    local left = floor(L.lv / 1000000) - a.bneed
    local got = a.bneed + max(0, min(a.bwant - a.bneed, floor(left / share)))
    L.lv, L.bo, r.b = L.lv - got * 1000000, L.bo + got, r.b + got
  end
  if L.lm[6] > 0 then
    local left = L.lm[6] - L.ft - a.fneed
    local got = a.fneed + max(0, min(a.fwant - a.fneed, floor(left / share)))
    L.ft, r.f = L.ft + got, r.f + got
  end
  r.sold = 1
end

local function read_statement(holder, text)
  local a = the_statement
  local S, keeps, need, want, late, lm = a.S, a.floor, a.need, a.want, a.late, a.lm
  local first, final, bye, ask
  a.seq, first, final, bye, ask, a.load, a.day, S[1], S[2], S[3], S[4], keeps[1], keeps[2], keeps[3], keeps[4], need[1], need[2], need[3],
    need[4], want[1], want[2], want[3], want[4], late[1], late[2], late[3], late[4], a.cuts, a.bfloor, a.bneed, a.bwant, a.ffloor, a.fneed,
    a.fwant, a.gen, lm[1], lm[2], lm[3], lm[4], lm[5], lm[6] = unpack(D41, text)
  a.holder, a.first, a.final, a.bye, a.ask = holder, first == 1, final == 1, bye == 1, ask == 1
  return a
end

-- What is to be answered: the state, ms to wait, the dimension that is short, what of it others have, how many of them are silent.
local function decide(L, r, a, lease, lapse)
  local OK, AGAIN, STALE, SWITCH, GONE, WAIT, LOAD, SHORT = 0, 1, 2, 3, 4, 5, 6, 7 -- ledger_state of ledger.h
  if r and a.seq < r.seq then return STALE, r end
  -- Before the repetition is known as one: a record that survived a loss of data has another load's figures.
  if a.load ~= L.ld and (a.load ~= 0 or not a.first) then return SWITCH, r end
  if r and a.seq == r.seq then return (r.sold == 1 or r.dead == 1) and OK or AGAIN, r end
  if not r or r.dead == 1 then
    if not a.first then return GONE, r end
    if not r then make_room(L) end
    r = { seq = 0, at = now, dead = 0, void = 0, sold = 0, day = L.dy, S = { 0, 0, 0, 0 }, out = { 0, 0, 0, 0 }, cuts = 0, b = 0,
      f = 0 }
    L.nr, L.keep = L.nr + 1, true
  end
  believe(L, r, a)
  if a.bye then
    r.dead, r.S[1], r.S[2], r.S[3], r.S[4], r.cuts = 1, 0, 0, 0, 0, 0
    L.nr, L.keep = L.nr - 1, true
  end
  if a.bye or not a.ask then
    r.sold = 1
    return OK, r
  end
  if now < L.wt then return WAIT, r, L.wt - now end
  if L.rd == 0 and min(L.lm[1], L.lm[2], L.lm[3], L.lm[4]) < UNLIMITED then return LOAD, r end
  local w = lacking(L, a)
  if w == 5 or w == 6 then
    write_ledger(L, a.holder, r)
    sweep(L, a.holder, lease, lapse)
    refill(L)
    w = lacking(L, a)
  end
  if w then return SHORT, r, ms_to_reset(L, w), w, lent_to_others(L, a.holder, w, lapse) end
  sell(L, r, a)
  return OK, r
end

local function state_one(key, born_key, a, quarantine, lease, lapse)
  local born = born_of(born_key)
  local L, r = read_ledger(key, a.holder)
  if not L then
    L = new_ledger(key, born, a.load)
    if a.first and not a.final and now >= born + quarantine then
      L.fr = 1
    else
      L.wt = max(born + quarantine, now + (a.first and 0 or quarantine))
    end
  elseif L.bn ~= born then
    rebuild(L, born, quarantine)
    r = reread_record(L, a.holder)
  end
  if L.dy ~= a.day or L.dy ~= floor(now / DAY) then roll(L, a.day) end
  if a.gen > L.gn then
    local starts = L.gn < 0 and L.fr == 1
    if L.gn >= 0 and L.nr == 0 and a.first and a.load == 0 then begin_anew(L) end
    L.gn = a.gen
    for i = 1, 6 do L.lm[i] = a.lm[i] end
    if starts then L.lv, L.bt = L.lm[5] * 1000000, now end
  end
  refill(L)
  if L.og > 0 and L.oa + lapse < now then L.ft, L.og = L.ft - L.og, 0 end -- of records that had to go: their requests have ended by now

  local name, wait, w, held, silent
  name, r, wait, w, held, silent = decide(L, r, a, lease, lapse)
  write_ledger(L, a.holder, r)
  local o1, o2, o3, o4, b, f = 0, 0, 0, 0, 0, 0
  if r then
    local out, day, dy = r.out, r.day, L.dy -- an ended window's are nobody's
    if day == dy then o1, o2, o3, o4 = out[1], out[2], out[3], out[4]
    elseif same(3, day, dy) then o3, o4 = out[3], out[4] end
    b, f = r.b, r.f
  end
  local t, lm = L.t, L.lm
  return pack(D25, name, L.ld, L.rd, L.fr, L.bn, L.dy, (L.dy + 1) * DAY - now, now, wait or 0, o1, o2,
    o3, o4, b, f, lm[1] - t[1], lm[2] - t[2], lm[3] - t[3], lm[4] - t[4], L.lv, lm[6] - L.ft, L.nr, (w or 1) - 1, held or 0,
    silent or 0)
end

local function state()
  local quarantine, lease, lapse = num(args[2]), num(args[3]), num(args[4])
  local replies = {}
  for i = 1, #keys / 2 do
    local a = read_statement(args[3 + 2 * i], args[4 + 2 * i])
    replies[i] = state_one(keys[2 * i - 1], keys[2 * i], a, quarantine, lease, lapse)
  end
  return replies
end

local verbs = { state = state, load = load, look = look, silent = silent, forgive = forgive, born = born }

local function main(KEYS, ARGV)
  if not call then
    call, floor, min, max, pack, unpack = redis.call, math.floor, math.min, math.max, struct.pack, struct.unpack
  end
  keys, args = KEYS, ARGV
  now, run = clock()
  return verbs[ARGV[1]]()
end
