"""Clients that curl is none of. Each prints one line of JSON about what it saw."""

import gzip
import http.client
import json
import os
import socket
import struct
import sys
import time


def told(begun, times, end, sound):
    gaps = [after - before for before, after in zip(times, times[1:])]
    print(json.dumps({
        "came": len(times), "end": end, "sound": sound,
        "longest": max(gaps, default=0.0), "total": time.monotonic() - begun,
    }))


class Torn(Exception):
    pass


def whole(file, length):
    data = file.read(length)
    if len(data) < length:
        raise Torn
    return data


def ws(address, count, size, pause):
    """Sends messages one after the other, each when the one before has come back."""
    host, port = address.split(":")
    stream = socket.create_connection((host, int(port)), timeout=20)
    begun, times, sound, end = time.monotonic(), [], True, "done"
    try:
        stream.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        file = stream.makefile("rb")
        line = file.readline()
        if not line.startswith(b"HTTP/1.1 101"):
            raise ValueError(line)
        while line.strip():
            line = file.readline()
        for n in range(int(count)):
            data = str(n).encode().ljust(int(size), b".")
            mask = os.urandom(4)
            masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
            length = bytes([128 | len(data)]) if len(data) < 126 else struct.pack(">BH", 254, len(data))
            stream.sendall(b"\x81" + length + mask + masked)
            first, second = whole(file, 2)
            if first != 0x81:
                raise ValueError(first)
            length = struct.unpack(">H", whole(file, 2))[0] if second == 126 else second
            sound = sound and whole(file, length) == data
            times.append(time.monotonic())
            time.sleep(float(pause))
    except Torn:
        end = "closed"
    except (ConnectionResetError, BrokenPipeError):
        end = "reset"
    except ValueError as e:
        end = f"nonsense: {e}"
    told(begun, times, end, sound)


def sse(address, count, pause):
    """Reads events as they come."""
    connection = http.client.HTTPConnection(address, timeout=20)
    begun, times, sound, end = time.monotonic(), [], True, "done"
    try:
        connection.request("GET", f"/events?count={count}&pause={pause}")
        answer = connection.getresponse()
        sound = answer.status == 200 and answer.headers["Content-Type"] == "text/event-stream"
        while True:
            line = answer.readline()
            if not line:
                break
            if line.startswith(b"id: "):
                sound = sound and int(line[4:]) == len(times)
                times.append(time.monotonic())
    except http.client.IncompleteRead:
        end = "closed"
    except ConnectionResetError:
        end = "reset"
    # a stream without its last chunk ends in readline() without a word
    if end == "done" and len(times) < int(count):
        end = "closed"
    told(begun, times, end, sound)


def burst(address, path, tenant, most):
    """Asks over one connection until it is told to come back later."""
    connection = http.client.HTTPConnection(address, timeout=20)
    begun = time.monotonic()
    for n in range(int(most)):
        connection.request("GET", path, headers={"x-tenant": tenant} if tenant else {})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            break
    print(json.dumps({
        "through": n + (answer.status == 200), "status": answer.status, "total": time.monotonic() - begun,
        "retry": answer.headers.get("retry-after"), "mark": answer.headers.get("x-brownout-fault"),
    }))


def get(address, path, tenant):
    """Asks for what is compressed, and unpacks it: gzip with a wrong checksum or length fails here."""
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request("GET", path, headers={"Accept-Encoding": "gzip", "x-tenant": tenant})
    answer = connection.getresponse()
    body = answer.read()
    coding = answer.headers.get("Content-Encoding")
    print(json.dumps({
        "status": answer.status, "coding": coding, "type": answer.headers["Content-Type"],
        "mark": answer.headers.get("x-brownout-fault"),
        "body": (gzip.decompress(body) if coding == "gzip" else body).decode(),
    }))


{"ws": ws, "sse": sse, "burst": burst, "get": get}[sys.argv[1]](*sys.argv[2:])
