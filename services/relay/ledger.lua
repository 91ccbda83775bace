-- The ledger of one subject: statements of positions, the build-up, the birth of a shard (ledger.h).
--
--   state  KEYS ledger, born of each statement   ARGV verb, quarantine, lease, lapse, then of each statement its record's field and its numbers
--   load   KEYS ledger, born   ARGV verb, load id, day, 4 amounts
--   look   KEYS ledger, born   ARGV verb; changes nothing
--   silent KEYS ledger, born   ARGV verb, lapse; changes nothing
--   forgive KEYS ledger, born  ARGV verb, lapse, quarantine, holder
--   born   KEYS born of any shards   ARGV verb; their births, and the time
--
-- All writes of a call are in one effect, so that a copy of Redis has all of it or nothing. The last part of one text, behind
-- ledger_records.lua and ledger_desk.lua.

-- Bucket tokens of silent relays are past use; their slots much later, when each request has ended.
local function sweep(L, field, lease, lapse)
  each_record(L, function(of, r)
    if of == field or r.dead == 1 then return false end
    local void, lapsed = r.b > 0 and r.at + lease < now, r.f > 0 and r.at + lapse < now
    if void then r.cuts, L.bo, r.b, r.void = r.cuts + r.b, L.bo - r.b, 0, 1 end
    if lapsed then L.ft, r.f = L.ft - r.f, 0 end
    return void or lapsed
  end)
end

-- And how many of them have been silent for longer than any request lives.
local function lent_to_others(L, field, w, lapse)
  local sum, silent = 0, 0
  each_record(L, function(of, r)
    if of ~= field and r.dead == 0 then
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

-- Amounts of windows that have ended count nothing.
local function drop_ended(day, now_day, S, out)
  if day == now_day then return end
  for w = 1, 4 do
    if not same(w, day, now_day) then S[w], out[w] = 0, 0 end
  end
end

local function believe(L, r, a)
  local t, S, out, S1, out1, late = L.t, r.S, r.out, a.S, a.floor, L.rd == 1 and a.late
  if late then
    for w = 1, 4 do S1[w] = S1[w] + late[w] end
  elseif a.late then
    L.fr = 0 -- what was used while we were away is in spools: usage waits for them
  end
  drop_ended(r.day, L.dy, S, out)
  drop_ended(a.day, L.dy, S1, out1)
  for w = 1, 4 do
    local s, o = S1[w], out1[w]
    t[w] = t[w] + s + o - S[w] - out[w]
    S[w], out[w] = s, o
  end
  -- A dead relay does not know how many it cut: what it held is used up.
  local lv, bo, b = L.lv, L.bo + a.bfloor - r.b, a.bfloor
  local back = a.final and 0 or (r.cuts + r.b - a.cuts - b) * 1000000
  if back < 0 or r.void == 0 then lv = lv + back end
  if lv > 0 then lv = min(lv, max((L.lm[5] - bo) * 1000000, 0)) end
  L.lv, L.bo, L.ft = lv, bo, L.ft + a.ffloor - r.f
  r.cuts, r.b, r.f, r.void = a.cuts, b, a.ffloor, 0
  r.day, r.seq, r.at, r.sold = L.dy, a.seq, now, 0
end

local function lacking(L, a)
  local t, lm, need = L.t, L.lm, a.need
  for w = 1, 4 do
    local n = need[w]
    if n > 0 and lm[w] < UNLIMITED and t[w] + n > lm[w] then return w end
  end
  if lm[5] > 0 and a.bneed > 0 and L.lv < a.bneed * 1000000 then return 5 end
  if lm[6] > 0 and a.fneed > 0 and L.ft + a.fneed > lm[6] then return 6 end
  return nil
end

-- What is needed, and of what is wanted beyond it a share of what is left beyond it.
local function portion(need, want, left, share)
  local more, most = want - need, (left - need) / share
  if more > most then more = most - most % 1 end
  return more > 0 and need + more or need
end

local function sell(L, r, a)
  local t, lm, out, need, want, share = L.t, L.lm, r.out, a.need, a.want, 4 * max(L.nr, 1)
  for w = 1, 4 do
    local got = portion(need[w], want[w], lm[w] - t[w], share)
    t[w], out[w] = t[w] + got, out[w] + got
  end
  if lm[5] > 0 then
    local got = portion(a.bneed, a.bwant, floor(L.lv / 1000000), share)
    L.lv, L.bo, r.b = L.lv - got * 1000000, L.bo + got, r.b + got
  end
  if lm[6] > 0 then
    local got = portion(a.fneed, a.fwant, lm[6] - L.ft, share)
    L.ft, r.f = L.ft + got, r.f + got
  end
  r.sold = 1
end

-- A statement: 31 doubles, and 6 of its limits. What is late, 4 more, is rare.
local LIMITS, LATE = 31 * 8 + 1, 37 * 8 + 1
local late_amounts = {}

local function read_statement(field, text)
  local a = the_statement
  local S, keeps, need, want, late = a.S, a.floor, a.need, a.want, nil
  local first, final, bye, ask
  a.seq, first, final, bye, ask, a.load, a.day, S[1], S[2], S[3], S[4], keeps[1], keeps[2], keeps[3], keeps[4], need[1], need[2], need[3],
    need[4], want[1], want[2], want[3], want[4], a.cuts, a.bfloor, a.bneed, a.bwant, a.ffloor, a.fneed, a.fwant, a.gen = unpack(D31, text)
  if #text >= LATE then
    late = late_amounts
    late[1], late[2], late[3], late[4] = unpack(D4, text, LATE)
  end
  a.field, a.text, a.late = field, text, late
  a.first, a.final, a.bye, a.ask = first == 1, final == 1, bye == 1, ask == 1
  return a
end

local function take_limits(L, a)
  local lm = L.lm
  lm[1], lm[2], lm[3], lm[4], lm[5], lm[6] = unpack(D6, a.text, LIMITS)
  L.gn = a.gen
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
    write_ledger(L, a.field, r)
    sweep(L, a.field, lease, lapse)
    refill(L)
    w = lacking(L, a)
  end
  if w then return SHORT, r, ms_to_reset(L, w), w, lent_to_others(L, a.field, w, lapse) end
  sell(L, r, a)
  return OK, r
end

local function state_one(key, born_key, a, quarantine, lease, lapse)
  local born = born_of(born_key)
  local L, r = read_ledger(key, a.field)
  if not L then
    L = new_ledger(key, born, a.load)
    if a.first and not a.final and now >= born + quarantine then
      L.fr = 1
    else
      L.wt = max(born + quarantine, now + (a.first and 0 or quarantine))
    end
  elseif L.bn ~= born then
    rebuild(L, born, quarantine)
    r = reread_record(L, a.field)
  end
  if L.dy ~= a.day or L.dy ~= floor(now / DAY) then roll(L, a.day) end
  if a.gen > L.gn then
    local starts = L.gn < 0 and L.fr == 1
    if L.gn >= 0 and L.nr == 0 and a.first and a.load == 0 then begin_anew(L) end
    take_limits(L, a)
    if starts then L.lv, L.bt = L.lm[5] * 1000000, now end
  end
  refill(L)
  if L.og > 0 and L.oa + lapse < now then L.ft, L.og = L.ft - L.og, 0 end -- of records that had to go: their requests have ended by now

  local name, wait, w, held, silent
  name, r, wait, w, held, silent = decide(L, r, a, lease, lapse)
  local ledger, record = write_ledger(L, a.field, r)
  return pack(D6, name, now, wait or 0, (w or 1) - 1, held or 0, silent or 0) .. ledger .. record
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
    call, floor, min, max, pack, unpack, sub = redis.call, math.floor, math.min, math.max, struct.pack, struct.unpack, string.sub
  end
  keys, args = KEYS, ARGV
  now, run = clock()
  return verbs[ARGV[1]]()
end
