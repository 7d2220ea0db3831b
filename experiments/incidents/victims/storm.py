"""Two services of which one may keep the other ill for ever: python3 storm.py ROLE

front    PORT, CATALOG_URL, RETRY: asks the catalog for every request, and gives an attempt up after 400 ms.
         RETRY=storm: tries again at once and for ever, also for callers who have left
         RETRY=budget: at most one attempt in ten is a retry, after a pause that differs each time, and at most two a request
catalog  PORT: 2 workers of 25 ms each, so 80 requests a second; one line to wait in. It works through that line in order, for
         callers who have long left as for those who still wait

With RETRY=storm a few seconds of silence are enough: all who wait try again, together they ask for more than the catalog can do, so
each is given up before its turn comes, and tries again. Nothing has to be wrong any more. They listen on 127.0.0.1; SIGTERM ends them.
"""

import asyncio
import os
import random
import signal
import sys

ROLE = sys.argv[1]
CHANCE = random.Random(42)
TIMEOUT = 0.4
MOST_WORK = 120         # requests at once in front; further ones get 503
MOST_WAITING = 600      # in the catalog's line; further ones are never served
WORKERS, WORK = 2, 0.025


class Front:
    def __init__(self):
        self.host, port = os.environ["CATALOG_URL"].removeprefix("http://").rstrip("/").rsplit(":", 1)
        self.port, self.storm = int(port), os.environ["RETRY"] == "storm"
        self.budget, self.work = 10.0, 0

    async def answer(self, name):
        if self.work >= MOST_WORK:
            return 503
        self.work += 1
        self.budget = min(self.budget + 0.1, 10.0)
        try:
            attempt = 0
            while not await self.ask(name):
                attempt += 1
                if not self.storm:
                    if attempt > 2 or self.budget < 1:
                        return 504
                    self.budget -= 1
                    await asyncio.sleep(CHANCE.uniform(0.1, 0.3) * 2 ** attempt)
            return 200
        finally:
            self.work -= 1

    async def ask(self, name):
        writer = None
        try:
            async with asyncio.timeout(TIMEOUT):
                reader, writer = await asyncio.open_connection(self.host, self.port)
                writer.write(f"GET /items HTTP/1.1\r\nhost: {self.host}\r\nidempotency-key: {name}\r\n\r\n".encode())
                return b" 200 " in await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return False
        except (OSError, EOFError):
            await asyncio.sleep(TIMEOUT)
            return False
        finally:
            if writer:
                writer.close()


class Catalog:
    def __init__(self):
        self.free, self.waiting = asyncio.Semaphore(WORKERS), 0

    async def answer(self, name):
        while self.waiting >= MOST_WAITING:
            await asyncio.sleep(0.5)
        self.waiting += 1
        try:
            async with self.free:
                await asyncio.sleep(WORK)
        finally:
            self.waiting -= 1
        return 200


async def talk(service, reader, writer):
    """One request; works on when the caller has left."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = dict(line.split(": ", 1) for line in head.lower().split("\r\n") if ": " in line)
        name = fields.get("x-request-id", "%016x" % CHANCE.getrandbits(64))
        status = 200 if head.split(" ")[1] == "/health" else await service.answer(name)
        writer.write(f"HTTP/1.1 {status} _\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        pass  # the caller left
    finally:
        writer.close()


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    service = {"front": Front, "catalog": Catalog}[ROLE]()
    serve = lambda reader, writer: talk(service, reader, writer)
    await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]), backlog=1024)
    print(f"{ROLE} listens", flush=True)
    await stop.wait()
    os._exit(0)


asyncio.run(main())
