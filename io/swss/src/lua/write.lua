-- Carries out writes to rows, in order and at once.
-- KEYS per write: the row; for ops on pending fields also: pending fields, key set, del set, channel.
-- ARGV per write: op, key, number of fields, field, value, ...
-- Ops on rows (Table, reference/swss-wire.md 2.2, 2.7): set, merge, del.
-- Ops on pending fields (ProducerStateTable, 3.1, 3.2): produce_set, produce_merge, produce_del.
-- Returns a list of {number of the write, error} of those that failed, counted from 1.
local CHUNK = 2000
local next_key, next_arg = 0, 0

local function take_key()
    next_key = next_key + 1
    return KEYS[next_key]
end

local function take_arg()
    next_arg = next_arg + 1
    return ARGV[next_arg]
end

-- Where the fields and values of a write stand in ARGV. They are not copied: that would cost more than writing them.
local function take_fields()
    local count = tonumber(take_arg())
    local first = next_arg + 1
    next_arg = next_arg + 2 * count
    return first, next_arg
end

local function hset(row, first, last)
    for at = first, last, CHUNK do
        redis.call('HSET', row, unpack(ARGV, at, math.min(at + CHUNK - 1, last)))
    end
end

-- The fields of a row that are not among the new ones; none if it is no row.
local function stale(row, first, last)
    local names = redis.pcall('HKEYS', row)
    local result = {}
    if names['err'] or #names == 0 then
        return result
    end
    local wanted = {}
    for at = first, last, 2 do
        wanted[ARGV[at]] = true
    end
    for _, name in ipairs(names) do
        if not wanted[name] then
            result[#result + 1] = name
        end
    end
    return result
end

local function set(row, first, last)
    if type(redis.pcall('HLEN', row)) == 'table' then
        redis.call('DEL', row)
    end
    -- First the new fields, then away with the stale: so the row is never empty.
    hset(row, first, last)
    if 2 * redis.call('HLEN', row) == last - first + 1 then
        return
    end
    local gone = stale(row, first, last)
    for at = 1, #gone, CHUNK do
        redis.call('HDEL', row, unpack(gone, at, math.min(at + CHUNK - 1, #gone)))
    end
end

-- Wakes the consumer only if nothing was pending for the key, as every producer does.
local function wake(added, channel)
    if added > 0 then
        redis.call('PUBLISH', channel, 'G')
    end
end

local function produce_set(row, pending, key_set, del_set, channel, key, first, last)
    local added = redis.call('SADD', key_set, key)
    -- Pending fields only add to the row: to lose some, the consumer must delete it first. It sees one SET.
    if #stale(row, first, last) > 0 then
        redis.call('SADD', del_set, key)
    end
    redis.call('DEL', pending)
    hset(pending, first, last)
    wake(added, channel)
end

local function produce_merge(pending, key_set, channel, key, first, last)
    local added = redis.call('SADD', key_set, key)
    hset(pending, first, last)
    wake(added, channel)
end

local function produce_del(row, pending, key_set, del_set, channel, key)
    local added = redis.call('SADD', key_set, key)
    redis.call('SADD', del_set, key)
    redis.call('DEL', pending)
    -- A producer leaves this to the consumer. Done here too, for while there is none: it finds nothing to
    -- delete, and still reports the DEL.
    redis.call('DEL', row)
    wake(added, channel)
end

local function write()
    local row, op, key = take_key(), take_arg(), take_arg()
    local first, last = take_fields()
    if op == 'set' then
        return pcall(set, row, first, last)
    elseif op == 'merge' then
        return pcall(hset, row, first, last)
    elseif op == 'del' then
        return pcall(redis.call, 'DEL', row)
    end
    local pending, key_set, del_set, channel = take_key(), take_key(), take_key(), take_key()
    if op == 'produce_set' then
        return pcall(produce_set, row, pending, key_set, del_set, channel, key, first, last)
    elseif op == 'produce_merge' then
        return pcall(produce_merge, pending, key_set, channel, key, first, last)
    end
    return pcall(produce_del, row, pending, key_set, del_set, channel, key)
end

local failures, number = {}, 0
while next_arg < #ARGV do
    number = number + 1
    local ok, problem = write()
    if not ok then
        local text = type(problem) == 'table' and problem['err'] or tostring(problem)
        failures[#failures + 1] = {number, text}
    end
end
return failures
