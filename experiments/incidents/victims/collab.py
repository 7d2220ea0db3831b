"""The services of incident C, a collaboration product: python3 collab.py ROLE

presence  PORT, WS_PORT, STARTUP_MS, WS_MS: healthy as soon as it listens; its WebSocket port is bound WS_MS later
gateway   PORT, PRESENCE_URL, SEARCH_URL: dies at its start if presence does not answer; passes /search on
events    PORT, PRESENCE_URL: dies at its start if presence has not declared the exchange of its events
search    PORT, INDEX_MS: connected and healthy at once; without its index, for INDEX_MS, every query fails

All of it is dormant as long as they are started one after the other, each when the one before it is ready: it takes a restart of
everything at once. They listen on 127.0.0.1; SIGTERM ends them in order.
"""

import os
import signal
import socket
import sys
import threading
import time

ROLE = sys.argv[1]
STARTED = time.monotonic()
MOST = 64 * 1024


def setting(name, usual="0"):
    return int(os.environ.get(name, usual)) / 1000


def age():
    return time.monotonic() - STARTED


def fetch(url, path, timeout=2):
    """The status and body of a GET; 0 if nobody answers."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    try:
        with socket.create_connection((host, int(port)), timeout=timeout) as peer:
            peer.sendall(f"GET {path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n".encode())
            answer = b""
            while more := peer.recv(4096):
                answer += more
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), body.decode()
    except (OSError, IndexError, ValueError):
        return 0, ""


def gateway(path):
    if path == "/health":
        return 200, "ok\n"
    if path.startswith("/search"):
        status, body = fetch(os.environ["SEARCH_URL"], path)
        return (200, body) if status == 200 else (502, f"search answered {status}\n")
    return 200, "rooms\n"


def presence(path):
    return {"/health": (200, "ok\n"), "/exchanges/rooms": (200, "declared\n")}.get(path, (404, "no such thing\n"))


def events(path):
    return (200, "ok\n") if path == "/health" else (404, "no such thing\n")


def search(path):
    if path == "/health":
        return 200, "connected\n"
    if age() < setting("INDEX_MS"):
        return 500, "index_not_found\n"
    return 200, "3 rooms\n"


ANSWERS = {"gateway": gateway, "presence": presence, "events": events, "search": search}


def serve(connection, sockets):
    with connection:
        connection.settimeout(60)
        waiting = b""
        while True:
            while b"\r\n\r\n" not in waiting:
                more = connection.recv(4096)
                if not more or len(waiting) > MOST:
                    return
                waiting += more
            head, waiting = waiting.split(b"\r\n\r\n", 1)
            if sockets:
                if b"upgrade: websocket" not in head.lower():
                    connection.sendall(b"HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n")
                    continue
                connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
                while more := connection.recv(4096):
                    connection.sendall(more)
                return
            words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            status, body = ANSWERS[ROLE](words[1] if len(words) == 3 else "")
            close = b"connection: close" in head.lower()
            reply = f"HTTP/1.1 {status} _\r\ncontent-length: {len(body)}\r\n"
            connection.sendall((reply + ("connection: close\r\n" if close else "") + "\r\n" + body).encode())
            if close:
                return


def quietly(connection, sockets):
    try:
        serve(connection, sockets)
    except OSError:
        pass  # the caller left


def listen(port, sockets=False):
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=128)
    print(f"{ROLE} listens on {port} after {age():.1f} s", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=quietly, args=(connection, sockets), daemon=True).start()


def die(why):
    print(f"fatal: {why}", file=sys.stderr, flush=True)
    os._exit(1)


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    time.sleep(setting("STARTUP_MS"))
    if ROLE == "gateway" and fetch(os.environ["PRESENCE_URL"], "/health")[0] != 200:
        die("presence does not answer")
    if ROLE == "events" and fetch(os.environ["PRESENCE_URL"], "/exchanges/rooms")[0] != 200:
        die("NOT_FOUND: no exchange 'rooms'")
    if ROLE == "presence":
        late = lambda: (time.sleep(setting("WS_MS")), listen(os.environ["WS_PORT"], True))
        threading.Thread(target=late, daemon=True).start()
    listen(os.environ["PORT"])


if __name__ == "__main__":
    main()
