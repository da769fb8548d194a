"""SONiC's ZMQ tables, by libzmq (pyzmq): the other side of the tests in zmq_state.rs.

Written from reference/swss-wire.md 5 alone: sockets with SONiC's options (5.1), BinarySerializer (5.2). Reads one JSON
request a line, answers each with one JSON line. Bytes travel as latin-1 text.
"""

import json
import struct
import sys

import zmq


def text(value):
    return value.decode("latin-1")


def raw(value):
    return value.encode("latin-1")


def encode(db, table, rows):
    """rows: [key, [[field, value], ...]]; no fields delete the row."""
    pairs = [(raw(db), raw(table))]
    for key, fields in rows:
        pairs.append((raw(key), b"%d" % len(fields)))
        pairs.extend((raw(field), raw(value)) for field, value in fields)
    message = struct.pack("<Q", len(pairs))
    for pair in pairs:
        for part in pair:
            message += struct.pack("<Q", len(part)) + part
    return message


def decode(message):
    """As strict as SONiC's consumer, which would abort, and stricter: nothing may be left over."""
    at = 0

    def number():
        nonlocal at
        assert at + 8 <= len(message), "short"
        at += 8
        return struct.unpack("<Q", message[at - 8:at])[0]

    def part():
        nonlocal at
        length = number()
        assert at + length <= len(message), "short"
        at += length
        return message[at - length:at]

    left = number()
    assert left > 0, "empty"
    db, table = part(), part()
    left -= 1
    rows = []
    while left > 0:
        key, count = part(), int(part())
        fields = [(part(), part()) for _ in range(count)]
        left -= 1 + count
        assert left >= 0, "count"
        names = [name for name, _ in fields]
        assert len(set(names)) == len(names), "a field twice"
        rows.append([text(key), "SET" if fields else "DEL", {text(f): text(v) for f, v in fields}])
    assert at == len(message), "rest"
    return [text(db), text(table), rows]


class Peer:
    def __init__(self):
        self.context = zmq.Context()
        self.socket = None

    def make(self, kind):
        socket = self.context.socket(kind)
        for option, value in (
            (zmq.SNDHWM, 10000), (zmq.RCVHWM, 10000), (zmq.TCP_KEEPALIVE, 1), (zmq.TCP_KEEPALIVE_IDLE, 5),
            (zmq.TCP_KEEPALIVE_INTVL, 1), (zmq.TCP_KEEPALIVE_CNT, 5), (zmq.RCVTIMEO, 30000), (zmq.LINGER, 0),
        ):
            socket.setsockopt(option, value)
        return socket

    def pull(self, port):
        """Binds; 0 is any port."""
        self.socket = self.make(zmq.PULL)
        if port:
            self.socket.bind("tcp://127.0.0.1:%d" % port)
            return port
        return self.socket.bind_to_random_port("tcp://127.0.0.1")

    def close(self):
        self.socket.close()

    def next(self):
        """The next message, decoded, and whether encoding it again gives the same bytes."""
        message = self.socket.recv()
        db, table, rows = decode(message)
        again = encode(db, table, [[key, list(fields.items())] for key, _, fields in rows])
        return [db, table, rows, again == message]

    def push(self, endpoint):
        self.socket = self.make(zmq.PUSH)
        self.socket.connect(endpoint)

    def send(self, db, table, rows):
        self.socket.send(encode(db, table, rows))

    def send_bytes(self, message):
        self.socket.send(raw(message))

    def golden(self, db, table, rows):
        return encode(db, table, rows).hex()


def main():
    peer = Peer()
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(peer, name)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
