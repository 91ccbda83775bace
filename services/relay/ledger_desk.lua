-- Calls about a ledger or all shards that are no statements. The second part of the text that ledger.lua ends.

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
  each_record(L, function(field, r)
    local out = r.dead == 0 and r.at + lapse < now and held(L, r)
    if out then found[#found + 1] = { sub(field, 3), r.at, out[1], out[2], out[3], out[4], r.f } end
    return false
  end)
  return found
end

-- The record stays, with nothing in it: should the relay come back, it states what it has spent beyond what we know.
local function forgive()
  local lapse, quarantine, holder = num(args[2]), num(args[3]), args[4]
  local born = born_of(keys[2])
  local field = 'r:' .. holder
  local L, r = read_ledger(keys[1], field)
  if not r or r.dead == 1 then return { 'NONE' } end
  if r.at + lapse >= now then return { 'HEARD' } end
  if L.bn ~= born then
    rebuild(L, born, quarantine)
    r = reread_record(L, field)
  end
  roll(L, floor(now / DAY))
  local out, slots = held(L, r), r.f
  if not out then return { 'NONE' } end
  for w = 1, 4 do L.t[w], r.out[w] = L.t[w] - out[w], 0 end
  r.cuts, L.bo, r.b, r.void = r.cuts + r.b, L.bo - r.b, 0, 1
  L.ft, r.f = L.ft - slots, 0
  write_ledger(L, field, r)
  return { 'OK', r.at, out[1], out[2], out[3], out[4], slots }
end

local function born()
  local out = {}
  for i = 1, #keys do out[i] = born_of(keys[i]) end
  out[#out + 1] = now
  return out
end
