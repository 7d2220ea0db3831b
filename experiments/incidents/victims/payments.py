"""The services of incident B, a shop that takes payments: python3 payments.py ROLE

gateway   PORT, PAYMENTS_URL: passes checkouts and product pages on, and answers 504 after 4 s
payments  PORT, PROVIDER_URL, DATABASE, PROVIDER_TIMEOUT_MS, POOL (50): a charge takes one of the pool's database connections and
          keeps it while it calls the provider: 4 attempts, pauses of 0.5, 1 and 2 s, a breaker after 10 failed charges in a row
provider  PORT: takes 57 ms at the median
database  PORT: TCP, a line a query, 2 ms

Each of these habits is sensible alone. They listen on 127.0.0.1; SIGTERM ends them in order.
"""

import asyncio
import os
import random
import signal
import sys
import time
import uuid

ROLE = sys.argv[1]
CHANCE = random.Random(42)
MOST_WORK = 2000            # requests at once; further ones get 503
RETRIES, BACKOFF = 3, 0.5
POOL_WAIT = 8.5
BREAKER_AFTER, BREAKER_OPEN = 10, 5.0
GATEWAY_TIMEOUT = 4.0


class Client:
    """Requests over kept connections; each is given up, by closing its connection, after a timeout."""

    def __init__(self, url):
        self.host, port = url.removeprefix("http://").rstrip("/").rsplit(":", 1)
        self.port, self.idle = int(port), []

    async def status(self, method, path, headers, timeout):
        """The status; 504 after the timeout, 502 if nobody answers."""
        try:
            async with asyncio.timeout(timeout):
                return await self.exchange(method, path, headers)
        except TimeoutError:
            return 504
        except (OSError, EOFError, ValueError, IndexError):
            return 502

    async def exchange(self, method, path, headers):
        writer, whole = None, False
        while self.idle and not writer:
            reader, writer = self.idle.pop()
            if reader.at_eof() or writer.is_closing():
                writer.close()
                writer = None
        try:
            if not writer:
                reader, writer = await asyncio.open_connection(self.host, self.port)
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            writer.write(f"{method} {path} HTTP/1.1\r\nhost: {self.host}\r\ncontent-length: 0\r\n{lines}\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = next((line for line in head.split(b"\r\n") if line.startswith(b"content-length:")), b":0")
            await reader.readexactly(int(length.split(b":")[1]))
            whole = b"connection: close" not in head and len(self.idle) < 200
            return int(head.split(b" ")[1])
        finally:
            if whole:
                self.idle.append((reader, writer))
            elif writer:
                writer.close()


class Payments:
    def __init__(self):
        self.provider = Client(os.environ["PROVIDER_URL"])
        self.database = os.environ["DATABASE"].rsplit(":", 1)
        self.timeout = int(os.environ["PROVIDER_TIMEOUT_MS"]) / 1000
        self.pool = asyncio.Semaphore(int(os.environ.get("POOL", "50")))
        self.failures, self.open_until, self.trying = 0, 0.0, False

    async def answer(self, method, path, headers):
        try:
            async with asyncio.timeout(POOL_WAIT):
                await self.pool.acquire()
        except TimeoutError:
            return 503
        try:
            reader, writer = await asyncio.open_connection(self.database[0], int(self.database[1]))
            try:
                await self.query(reader, writer)
                if method == "GET":
                    return 200
                paid = await self.charge(headers.get("x-request-id", str(uuid.uuid4())))
                await self.query(reader, writer)
                return 200 if paid else 502
            finally:
                # Its place is given back when the database has closed, so nobody ever sees one too many.
                writer.write(b"QUIT\n")
                await reader.read()
                writer.close()
        except (OSError, EOFError):
            return 503
        finally:
            self.pool.release()

    async def query(self, reader, writer):
        writer.write(b"QUERY\n")
        await reader.readuntil(b"\n")

    def admits(self):
        """Whether the breaker lets a call through: yes, as its trial, or no."""
        if self.failures < BREAKER_AFTER:
            return "yes"
        if self.trying or time.monotonic() < self.open_until:
            return "no"
        self.trying = True
        return "trial"

    async def charge(self, name):
        calls = 0
        for attempt in range(RETRIES + 1):
            if attempt:
                await asyncio.sleep(BACKOFF * 2 ** (attempt - 1) * CHANCE.uniform(0.9, 1.1))
            admitted = self.admits()
            if admitted == "no":
                continue
            calls += 1
            headers = {"idempotency-key": name, "x-request-id": name}
            paid = await self.provider.status("POST", "/v1/charges", headers, self.timeout) == 200
            if admitted == "trial":
                self.trying = False
                self.failures = 0 if paid else BREAKER_AFTER
                self.open_until = time.monotonic() + BREAKER_OPEN
            elif paid and self.failures < BREAKER_AFTER:
                self.failures = 0
            if paid:
                return True
        if calls > RETRIES and self.failures < BREAKER_AFTER:
            self.failures += 1
            if self.failures == BREAKER_AFTER:
                self.open_until = time.monotonic() + BREAKER_OPEN
        return False


class Gateway:
    def __init__(self):
        self.payments = Client(os.environ["PAYMENTS_URL"])

    async def answer(self, method, path, headers):
        to = {"/checkout": "/charges", "/products": "/prices"}.get(path.split("?")[0])
        if not to:
            return 404
        name = headers.get("x-request-id", str(uuid.uuid4()))
        return await self.payments.status(method, to, {"x-request-id": name}, GATEWAY_TIMEOUT)


class Provider:
    async def answer(self, method, path, headers):
        await asyncio.sleep(min(0.057 * CHANCE.lognormvariate(0, 0.2), 0.36))
        return 200


async def talk(service, reader, writer):
    """Requests one after the other; works on when the caller has left, as most services do."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, path = head.split(" ")[:2]
            fields = dict(line.split(": ", 1) for line in head.lower().split("\r\n") if ": " in line)
            await reader.readexactly(int(fields.get("content-length", "0")))
            if path == "/health":
                status = 200
            elif service.work >= MOST_WORK:
                status = 503
            else:
                service.work += 1
                try:
                    status = await service.answer(method, path, fields)
                finally:
                    service.work -= 1
            writer.write(f"HTTP/1.1 {status} _\r\ncontent-length: 2\r\n\r\nok".encode())
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        pass  # the caller left
    finally:
        writer.close()


async def queries(reader, writer):
    try:
        while await reader.readline() == b"QUERY\n":
            await asyncio.sleep(0.002)
            writer.write(b"OK\n")
    except OSError:
        pass
    finally:
        writer.close()


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    if ROLE == "database":
        serve = queries
    else:
        service = {"gateway": Gateway, "payments": Payments, "provider": Provider}[ROLE]()
        service.work = 0
        serve = lambda reader, writer: talk(service, reader, writer)
    await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]), backlog=512)
    print(f"{ROLE} listens", flush=True)
    await stop.wait()
    os._exit(0)


asyncio.run(main())
