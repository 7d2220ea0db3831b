"""A whole system of small services whose habits are known: python3 system.py SYSTEM.json LOG.jsonl

SYSTEM.json says who there is and how each of them calls the others (random.py makes such files, and run.py runs them). Addresses
come from the environment, as Brownout gives them: PORT_<SERVICE> to listen on, EDGE_<EDGE> to call. All services live in this one
process. What every caller did and met is written to LOG.jsonl, a line a logical call: the truth an analysis is held against.

A call goes like this: a place in the pool (or it fails after its wait), then attempts until one succeeds or the retries are used up,
with a pause before each further one; each is given up after the timeout, by closing the connection; an open breaker fails the call at
once. A service that `cancels` drops everything when its caller leaves; one that does not works on for nobody.
SIGTERM ends it. Listens on 127.0.0.1 only.
"""

import asyncio
import hashlib
import json
import os
import random
import signal
import sys
import time
from collections import deque

MOST_WORK = 2000        # requests at once in one service; further ones get 503
MOST_HEAD = 16 * 1024
SYSTEM = json.load(open(sys.argv[1]))
LOG = open(sys.argv[2], "w")
CHANCE = random.Random(SYSTEM["seed"])
BEGAN = time.monotonic()


class Failed(Exception):
    """A call that came to nothing, and why."""


class Pool:
    """At most so many at once, first come, first served."""

    def __init__(self, size, wait):
        self.free, self.wait, self.queue = size, wait, deque()

    async def take(self):
        if self.free:
            self.free -= 1
            return
        place = asyncio.get_running_loop().create_future()
        self.queue.append(place)
        try:
            async with asyncio.timeout(self.wait):
                await place
        except BaseException as why:
            if place.done() and not place.cancelled():
                self.give()
            elif place in self.queue:
                self.queue.remove(place)
            if isinstance(why, TimeoutError):
                raise Failed("queue") from None
            raise

    def give(self):
        while self.queue:
            place = self.queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.free += 1


class Breaker:
    """Shut until so many failures in a row, then open for a time, then one trial decides."""

    def __init__(self, after, open_for):
        self.after, self.open_for = after, open_for
        self.failures, self.until, self.trying = 0, 0.0, False

    def ask(self):
        if self.failures < self.after:
            return "call"
        if time.monotonic() < self.until or self.trying:
            return None
        self.trying = True
        return "trial"

    def tell(self, how, well):
        if how == "trial":
            self.trying = False
            if well:
                self.failures = 0
            else:
                self.until = time.monotonic() + self.open_for
        elif self.failures < self.after:
            self.failures = 0 if well else self.failures + 1
            if self.failures >= self.after:
                self.until = time.monotonic() + self.open_for

    def abandon(self, how):
        if how == "trial":
            self.trying = False


class Edge:
    """How one service calls another."""

    def __init__(self, told):
        self.told, self.name, self.tcp = told, told["name"], told.get("tcp", False)
        where = os.environ["EDGE_" + self.name.upper()].removeprefix("http://").rstrip("/")
        self.host, self.port = where.rsplit(":", 1)
        pool, breaker = told.get("pool"), told.get("breaker")
        self.pool = pool and Pool(pool["size"], pool.get("wait"))
        self.breaker = breaker and Breaker(breaker["after"], breaker["open"])
        self.idle = []

    async def call(self, told, ids):
        """One logical call: returns, or raises Failed."""
        begun, attempts = time.time(), []
        outcome, how = "cut", None
        holds = self.pool and self.told["pool"]["holds"]
        counts = self.breaker and self.told["breaker"]["counts"]
        ids = {**ids, **fresh(told["ids"])}
        try:
            if holds == "call":
                await self.pool.take()
            try:
                how = None if self.breaker else "call"
                for n in range(self.told["retries"] + 1):
                    if n:
                        await asyncio.sleep(self.pause(n))
                    if holds == "attempt":
                        await self.pool.take()
                    try:
                        if self.breaker and (counts == "attempts" or not n):
                            how = self.breaker.ask()
                        if not how:
                            raise Failed("breaker")
                        well = await self.attempt(ids, attempts, how, counts)
                    finally:
                        if holds == "attempt":
                            self.pool.give()
                    if well or how == "trial":
                        break
                if counts == "calls":
                    self.breaker.tell(how, well)
                    how = None
                outcome = "ok" if well else "failed"
            finally:
                if holds == "call":
                    self.pool.give()
        except Failed as why:
            outcome = str(why)
        finally:
            if counts == "calls":
                self.breaker.abandon(how)   # what it was to find out, nobody knows
            LOG.write(json.dumps([self.name, begun, outcome, attempts]) + "\n")
        if outcome != "ok":
            raise Failed(outcome)

    async def attempt(self, ids, attempts, how, counts):
        begun, outcome = time.time(), "cut"
        try:
            async with asyncio.timeout(self.told.get("timeout")):
                status = await self.exchange(ids)
            outcome = "ok" if status < 500 else "failed"
        except TimeoutError:
            outcome = "timeout"
        except (OSError, EOFError, ValueError, IndexError):
            outcome = "broken"
        finally:
            attempts.append([round(begun, 4), round(time.time(), 4), outcome])
            if counts == "attempts":
                self.breaker.abandon(how) if outcome == "cut" else self.breaker.tell(how, outcome == "ok")
        return outcome == "ok"

    async def exchange(self, ids):
        reader = writer = None
        whole = False
        try:
            while self.idle:
                reader, writer = self.idle.pop()
                if not reader.at_eof() and not writer.is_closing():
                    break
                writer.close()
                reader = writer = None
            if not writer:
                reader, writer = await asyncio.open_connection(self.host, int(self.port))
            if self.tcp:
                writer.write(b"QUERY\n")
                return 200 if await reader.readuntil(b"\n") == b"OK\n" else 500
            lines = "".join(f"{name}: {value}\r\n" for name, value in ids.items() if name != "path")
            writer.write(f"GET {ids['path']} HTTP/1.1\r\nhost: {self.host}\r\n{lines}\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
            await reader.readexactly(int(length.split(b":")[1]))
            whole = b"connection: close" not in head.lower()
            return int(head.split(b" ")[1])
        finally:
            if writer:
                if whole and len(self.idle) < 64:
                    self.idle.append((reader, writer))
                else:
                    writer.close()

    def pause(self, n):
        backoff = self.told["backoff"]
        pause = min(backoff["base"] * backoff["factor"] ** (n - 1), backoff["cap"])
        spread = {"none": 0.0, "tenth": 0.1, "half": 0.5, "full": 1.0}[backoff["jitter"]]
        return pause * (1 + spread * CHANCE.uniform(-1, 1))


def fresh(kind):
    """The header fields of a new logical call."""
    name = "%032x" % CHANCE.getrandbits(128)
    if kind == "idempotency-key":
        return {"idempotency-key": name}
    return {"x-request-id": name} if kind == "call-id" else {}


class Service:
    def __init__(self, told):
        self.told, self.name = told, told["name"]
        self.calls = [Edge(edge) for edge in told["calls"]]
        self.workers = told.get("workers") and Pool(told["workers"], None)
        self.work = 0
        self.ill = told.get("ill")

    async def serve(self):
        port = int(os.environ["PORT_" + self.name.upper()])
        talk = self.query if self.told.get("tcp") else self.talk
        return await asyncio.start_server(talk, "127.0.0.1", port, limit=MOST_HEAD, backlog=512)

    def is_ill(self):
        return self.ill and self.ill["from"] <= time.monotonic() - BEGAN < self.ill["to"]

    async def takes(self):
        """How long its own work lasts, or that it fails."""
        if self.is_ill():
            if self.ill["how"] == "hang":
                await asyncio.sleep(max(0.0, self.ill["to"] - (time.monotonic() - BEGAN)))
            if self.ill["how"] == "errors":
                raise Failed("ill")
            if self.ill["how"] == "slow":
                await asyncio.sleep(self.ill["by"] * CHANCE.uniform(0.9, 1.3))
        await asyncio.sleep(self.told["median"] * CHANCE.lognormvariate(0, self.told["sigma"]))

    async def query(self, reader, writer):
        try:
            while await reader.readline():
                try:
                    await self.takes()
                    writer.write(b"OK\n")
                except Failed:
                    writer.write(b"NO\n")
        except OSError:
            pass
        finally:
            writer.close()

    async def talk(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                job = asyncio.ensure_future(self.answer(head.decode("latin-1")))
                left = asyncio.ensure_future(reader.read(1))
                await asyncio.wait([job, left], return_when=asyncio.FIRST_COMPLETED)
                gone = False
                if not job.done():
                    gone = True
                    if self.told["cancels"]:
                        job.cancel()
                        return
                elif left.done():
                    gone = True
                try:
                    status = await job
                finally:
                    if not left.done():
                        left.cancel()
                        await asyncio.wait([left])
                writer.write(f"HTTP/1.1 {status} _\r\ncontent-length: 2\r\n\r\nok".encode())
                if gone:
                    return
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def answer(self, head):
        path = head.split(" ")[1]
        if path == "/health":
            return 200
        if self.work >= MOST_WORK:
            return 503
        self.work += 1
        try:
            if self.workers:
                await self.workers.take()
            try:
                await self.do(self.passes_on(path, head))
            finally:
                if self.workers:
                    self.workers.give()
            return 200
        except Failed:
            return 502
        finally:
            self.work -= 1

    async def do(self, ids):
        await self.takes()
        if self.told.get("together"):
            done = await asyncio.gather(*(self.ask(edge, ids) for edge in self.calls), return_exceptions=True)
            for one in done:
                if isinstance(one, BaseException):
                    raise one
        else:
            for edge in self.calls:
                await self.ask(edge, ids)

    async def ask(self, edge, ids):
        if CHANCE.random() >= edge.told.get("share", 1.0):
            return
        try:
            await edge.call(self.told, ids)
        except Failed:
            if not edge.told.get("fallback"):
                raise

    def passes_on(self, path, head):
        """What of a request goes on to those it brings about."""
        fields = dict(line.split(": ", 1) for line in head.lower().split("\r\n") if ": " in line)
        ids = {"path": path if self.told["ids"] != "nothing" else "/"}
        if self.told["ids"] == "request-id" and "x-request-id" in fields:
            ids["x-request-id"] = fields["x-request-id"]
        if self.told["ids"] == "trace":
            trace = fields.get("traceparent", "").split("-")
            trace = trace[1] if len(trace) == 4 else hashlib.md5(path.encode()).hexdigest()
            ids["traceparent"] = f"00-{trace}-{CHANCE.getrandbits(64) or 1:016x}-01"
        return ids


async def main():
    stop = asyncio.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(which, stop.set)
    services = [Service(told) for told in SYSTEM["services"]]
    servers = [await service.serve() for service in services]
    LOG.write(json.dumps(["began", time.time()]) + "\n")
    print("all listen", flush=True)
    late = asyncio.ensure_future(watch())
    await stop.wait()
    late.cancel()
    for server in servers:
        server.close()
    LOG.flush()
    os._exit(0)


async def watch():
    """Notes when this process itself stood still: what it did then is nobody's habit."""
    while True:
        begun = time.time()
        await asyncio.sleep(0.1)
        if time.time() - begun > 0.25:
            LOG.write(json.dumps(["stall", begun, time.time()]) + "\n")


asyncio.run(main())
