-- Deletes every key of the database, so that subscribers see each go, then flushes it, so that readers that
-- watch for flushes see that too. Nobody sees anything in between. Returns the number of keys.
local CHUNK = 2000
local keys = redis.call('KEYS', '*')
for first = 1, #keys, CHUNK do
    redis.call('DEL', unpack(keys, first, math.min(first + CHUNK - 1, #keys)))
end
redis.call('FLUSHDB')
return #keys
