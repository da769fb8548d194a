-- Takes pending keys of one table and applies them to its rows (reference/swss-wire.md 3.5).
-- KEYS: key set, del set, table name. ARGV: separator, how many keys.
-- Returns a list of {key, {field, value, ...} of the row as it is now}.
local key_set, del_set, table_name = KEYS[1], KEYS[2], KEYS[3]
local separator, limit = ARGV[1], ARGV[2]
-- Lua can unpack only so many values at once.
local CHUNK = 2000

local function kind(key)
    return redis.call('TYPE', key)['ok']
end

local result = {}
for i, key in ipairs(redis.call('SPOP', key_set, limit)) do
    local row = table_name
    if key ~= '' then
        row = table_name .. separator .. key
    end
    local pending = '_' .. row

    local row_kind = kind(row)
    -- The row is the consumer's to write; what is not a hash cannot be a row of it.
    if redis.call('SREM', del_set, key) == 1 or (row_kind ~= 'hash' and row_kind ~= 'none') then
        redis.call('DEL', row)
    end
    if kind(pending) == 'hash' then
        local fields = redis.call('HGETALL', pending)
        for first = 1, #fields, CHUNK do
            redis.call('HSET', row, unpack(fields, first, math.min(first + CHUNK - 1, #fields)))
        end
    end
    redis.call('DEL', pending)
    result[i] = {key, redis.call('HGETALL', row)}
end
return result
