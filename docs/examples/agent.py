"""An agent in plain Python, written from docs/protocol.md: nothing of SwarmDeck is imported."""
import io, json, os, socket, struct, sys, time

AGENT, PLACE = os.environ["SWARMDECK_AGENT"], os.environ["SWARMDECK_ENVIRONMENT"]
BEAT_S, GRACE_S = (float(os.environ[f"SWARMDECK_{n}_S"]) for n in ("HEARTBEAT", "ORPHAN_GRACE"))
WIDE = dict(zip(bytes.fromhex("c4c5c6cccdcecfd9dadbdcdddedf"), b"\1\2\4\1\2\4\x08\1\2\4\2\4\2\4"))
link, answer, told, seen_s = None, None, set(), time.monotonic()

def pack(value):  # as much of msgpack as is asked with
    if isinstance(value, list):  # of 15 at most
        return bytes([0x90 + len(value)]) + b"".join(map(pack, value))
    if isinstance(value, (int, float)):
        return struct.pack(*((">Bq", 0xD3) if isinstance(value, int) else (">Bd", 0xCB)), value)
    body = value.encode() if isinstance(value, str) else value
    return struct.pack(">BI", 0xC6 if body is value else 0xDB, len(body)) + body

def unpack(data):  # as much as is answered with
    code = data.read(1)[0]
    if code < 0x80 or 0xC0 <= code <= 0xC3:
        return {0xC0: None, 0xC2: False, 0xC3: True}.get(code, code)
    short = code & (0x1F if code > 0x9F else 0x0F)
    size = int.from_bytes(data.read(WIDE[code]), "big") if code in WIDE else short
    if 0xCC <= code <= 0xCF:
        return size  # a whole number
    if code < 0xA0 or code > 0xDB:  # an array; a map is read as its keys and values in turn
        return [unpack(data) for _ in range(size << (code < 0x90 or code > 0xDD))]
    return data.read(size) if 0xC4 <= code <= 0xC6 else data.read(size).decode()

def ask(*message):
    line.sendall(struct.pack(">I", len(body := pack(list(message)))) + body)
    while size := link.read(4):
        tag, *rest = unpack(io.BytesIO(link.read(int.from_bytes(size, "big"))))
        if tag == 2 and rest[1][1] not in {"conflict", "not_found"}:  # it arrived, or is gone
            raise (ConnectionError if rest[1][1] == "unavailable" else RuntimeError)(rest[1])
        if tag != 6:
            return rest[-1]
        told.add(rest[0])  # a notice; the answer is still to come
    raise ConnectionError

call = lambda verb, *args: ask(1, 1, verb, AGENT, PLACE, list(args))  # always request number 1
while answer or "stop" not in told:
    try:
        if link is None:
            line = socket.socket(socket.AF_UNIX)
            line.settimeout(BEAT_S + GRACE_S)
            line.connect(os.environ["SWARMDECK_SOCKET"])
            link = line.makefile("rb")
            ask(0, 1, AGENT, os.environ["SWARMDECK_TOKEN"]), call("agent.ready")  # hello, version 1
        call("agent.heartbeat")
        answer, seen_s = answer and call(*answer) and None, time.monotonic()
        for ident, _, body, _, attempt, *_ in call("queue.claim", 1, 30.0, BEAT_S, ["greet"]):
            try:
                said = f"Hello {json.loads(body)['name']}"
                answer = "queue.ack", ident, attempt, json.dumps({"said": said}).encode(), []
            except (ValueError, LookupError, TypeError) as error:  # a body without a name
                answer = "queue.nack", ident, attempt, repr(error), 1.0
    except OSError:  # the engine is away: another one may come
        link = time.sleep(0.2)
        if time.monotonic() > seen_s + GRACE_S:
            sys.exit(f"orphaned: no engine for {GRACE_S:g} s")
