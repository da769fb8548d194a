"""SONiC's side of the bus, by redis-py: the other side of the tests in this directory.

Written from the contracts of reference/swss-wire.md 2 and 3 alone; shares nothing with the crate, nor with SONiC's own
code. Reads one JSON request a line, answers each with one JSON line. Bytes travel as latin-1 text.

Usage: bus.py SOCKET DB SEPARATOR
"""

import json
import sys

import redis

G = b"G"

# 3.2: KEYS = channel, key set, pending key once per field; ARGV = G, key, field, value, ...
SET = """
local added = redis.call('SADD', KEYS[2], ARGV[2])
for i = 3, #KEYS do
    redis.call('HSET', KEYS[i], ARGV[2 * i - 3], ARGV[2 * i - 2])
end
if added > 0 then redis.call('PUBLISH', KEYS[1], ARGV[1]) end
"""

# 3.2: KEYS = channel, key set, pending key, del set; ARGV = G, key, '', ''
DEL = """
local added = redis.call('SADD', KEYS[2], ARGV[2])
redis.call('SADD', KEYS[4], ARGV[2])
redis.call('DEL', KEYS[3])
if added > 0 then redis.call('PUBLISH', KEYS[1], ARGV[1]) end
"""

# 3.2: KEYS = channel, key set, prefix of pending keys, keys...; ARGV = G, then per key its number of fields and them
SET_BATCH = """
local any, at = 0, 2
for k = 4, #KEYS do
    any = any + redis.call('SADD', KEYS[2], KEYS[k])
    local count = tonumber(ARGV[at])
    for i = 0, count - 1 do
        redis.call('HSET', KEYS[3] .. KEYS[k], ARGV[at + 1 + 2 * i], ARGV[at + 2 + 2 * i])
    end
    at = at + 1 + 2 * count
end
if any > 0 then redis.call('PUBLISH', KEYS[1], ARGV[1]) end
"""

# 3.2: KEYS = channel, key set, del set, prefix of pending keys, keys...; ARGV = G
DEL_BATCH = """
local any = 0
for k = 5, #KEYS do
    any = any + redis.call('SADD', KEYS[2], KEYS[k])
    redis.call('SADD', KEYS[3], KEYS[k])
    redis.call('DEL', KEYS[4] .. KEYS[k])
end
if any > 0 then redis.call('PUBLISH', KEYS[1], ARGV[1]) end
"""

# 3.5: KEYS = key set, table with separator, del set; ARGV = batch, prefix
POP = """
local result = {}
for i, key in ipairs(redis.call('SPOP', KEYS[1], ARGV[1])) do
    if redis.call('SREM', KEYS[3], key) == 1 then redis.call('DEL', KEYS[2] .. key) end
    local pending = ARGV[2] .. KEYS[2] .. key
    local fields = redis.call('HGETALL', pending)
    for f = 1, #fields, 2 do redis.call('HSET', KEYS[2] .. key, fields[f], fields[f + 1]) end
    redis.call('DEL', pending)
    result[i] = {key, fields}
end
return result
"""


def text(value):
    return value.decode("latin-1")


def raw(value):
    return value.encode("latin-1")


class Bus:
    def __init__(self, path, db, separator):
        self.db, self.separator, self.path = db, separator, path
        self.redis = self.connect()
        self.scripts = {
            name: self.redis.register_script(source)
            for name, source in dict(
                set=SET, delete=DEL, set_batch=SET_BATCH, del_batch=DEL_BATCH, pop=POP
            ).items()
        }
        self.subscribers, self.consumers, self.trace = {}, {}, None

    def connect(self):
        return redis.Redis(unix_socket_path=self.path, db=self.db)

    def key(self, table, key):
        return raw(table + self.separator + key if key else table)

    def channel(self, table):
        return raw("%s_CHANNEL@%d" % (table, self.db))

    # Table (2.2)

    def table_set(self, table, key, fields):
        if fields:
            self.redis.execute_command("HSET", self.key(table, key), *flat(fields))

    def table_del(self, table, key):
        self.redis.execute_command("DEL", self.key(table, key))

    def table_hdel(self, table, key, field):
        self.redis.execute_command("HDEL", self.key(table, key), raw(field))

    def table_get(self, table, key):
        return row(self.redis.hgetall(self.key(table, key)))

    def table_keys(self, table):
        prefix = raw(table + self.separator)
        return sorted(text(key[len(prefix):]) for key in self.redis.keys(prefix + b"*"))

    def table_dump(self, table):
        return {key: self.table_get(table, key) for key in self.table_keys(table)}

    # SubscriberStateTable (2.4, 2.5)

    def subscribe(self, table):
        pubsub = self.connect().pubsub()
        pubsub.psubscribe("__keyspace@%d__:%s%s*" % (self.db, table, self.separator))
        confirmed(pubsub, "psubscribe")
        initial = [[key, "SET", fields] for key, fields in self.table_dump(table).items() if fields]
        self.subscribers[table] = [pubsub, initial]

    def subscriber_pops(self, table):
        pubsub, initial = self.subscribers[table]
        if initial:
            self.subscribers[table][1] = []
            return initial
        pops, start = [], len("__keyspace@%d__:%s%s" % (self.db, table, self.separator))
        for message in drained(self.redis, pubsub):
            key = text(message["channel"][start:])
            if message["data"] == b"del":
                pops.append([key, "DEL", {}])
            else:
                fields = self.table_get(table, key)
                if fields:
                    pops.append([key, "SET", fields])
        return pops

    # ProducerStateTable (3.2)

    def producer_set(self, table, key, fields):
        keys = [self.channel(table), raw(table + "_KEY_SET")] + [b"_" + self.key(table, key)] * len(fields)
        self.scripts["set"](keys, [G, raw(key)] + flat(fields))

    def producer_del(self, table, key):
        names = [self.channel(table), raw(table + "_KEY_SET"), b"_" + self.key(table, key), raw(table + "_DEL_SET")]
        self.scripts["delete"](names, [G, raw(key), b"''", b"''"])

    def producer_set_batch(self, table, rows):
        prefix = raw("_" + table + self.separator)
        names = [self.channel(table), raw(table + "_KEY_SET"), prefix] + [raw(key) for key, _ in rows]
        words = [G]
        for _, fields in rows:
            words += [len(fields)] + flat(fields)
        self.scripts["set_batch"](names, words)

    def producer_del_batch(self, table, keys):
        prefix = raw("_" + table + self.separator)
        names = [self.channel(table), raw(table + "_KEY_SET"), raw(table + "_DEL_SET"), prefix]
        self.scripts["del_batch"](names + [raw(key) for key in keys], [G])

    # ConsumerStateTable (3.5)

    def consume(self, table):
        pubsub = self.connect().pubsub()
        pubsub.subscribe(self.channel(table))
        confirmed(pubsub, "subscribe")
        self.consumers[table] = pubsub

    def wakes(self, table):
        """How many messages woke the consumer since it was last asked."""
        messages = drained(self.redis, self.consumers[table])
        assert all(message["data"] == G for message in messages), messages
        return len(messages)

    def consumer_pops(self, table, batch=128):
        """One pop, as SONiC's consumer hands it on: no fields means DEL."""
        names = [raw(table + "_KEY_SET"), raw(table + self.separator), raw(table + "_DEL_SET")]
        pops = []
        for key, fields in self.scripts["pop"](names, [batch, b"_"]) or []:
            fields = row(dict(zip(fields[::2], fields[1::2])))
            pops.append([text(key), "SET" if fields else "DEL", fields])
        return sorted(pops)

    # The server

    def command(self, words):
        return plain(self.redis.execute_command(*[raw(word) for word in words]))

    def transaction(self, commands):
        with self.redis.pipeline(transaction=True) as pipe:
            for words in commands:
                pipe.execute_command(*[raw(word) for word in words])
            return plain(pipe.execute())

    def monitor(self):
        self.trace = self.connect().monitor()
        self.trace.__enter__()

    def traced(self):
        """All commands since the last time, as [who, word, ...]; who is lua or client."""
        self.redis.execute_command("ECHO", "end of trace")
        commands = []
        while True:
            seen = self.trace.next_command()
            if "end of trace" in seen["command"]:
                return commands
            commands.append(["lua" if seen["client_type"] == "lua" else "client"] + words(seen["command"]))


def words(command):
    """redis-py joins what it has parsed by blanks; no word in these tests has any."""
    return command.split(" ")


def flat(fields):
    return [raw(part) for pair in fields for part in pair]


def row(fields):
    return {text(name): text(value) for name, value in fields.items()}


def plain(answer):
    if isinstance(answer, bytes):
        return text(answer)
    if isinstance(answer, (list, tuple)):
        return [plain(item) for item in answer]
    if isinstance(answer, dict):
        return {str(plain(name)): plain(value) for name, value in answer.items()}
    return answer


def confirmed(pubsub, kind):
    message = pubsub.get_message(timeout=30)
    assert message and message["type"] == kind, message


def drained(connection, pubsub):
    """All messages that were published before now: those before one that we publish to ourselves."""
    pubsub.subscribe("oracle@drain")
    messages = []
    while True:
        message = pubsub.get_message(timeout=30)
        assert message, "the confirmation never came"
        if message["type"] == "subscribe":
            pubsub.unsubscribe("oracle@drain")
            confirmed(pubsub, "unsubscribe")
            return messages
        if message["type"] in ("message", "pmessage"):
            messages.append(message)


def main():
    bus = Bus(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    for line in sys.stdin:
        name, arguments = json.loads(line)
        answer = getattr(bus, name)(*arguments)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
