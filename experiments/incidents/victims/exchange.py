"""The exchange API of incident A: what it shows depends on the environment it was started with.

PORT               where it listens, on 127.0.0.1
ENVIRONMENT        production: /graphql and /debug are closed (404); anything else: open (200)
FORCE_ENVIRONMENT  overrides ENVIRONMENT, but only if this version honours it:
HONOUR_FORCE       1: the patched version
STARTUP_MS         how long it takes to start (0)

/, /health and /metrics answer 200 in every environment: asking them tells nobody what has gone wrong. SIGTERM ends it in order.
"""

# A process that is started dozens of times in two minutes: nothing is imported that it can do without.
import os
import signal
import socket
import threading
import time

HONOURS = os.environ.get("HONOUR_FORCE") == "1"
FORCED = os.environ.get("FORCE_ENVIRONMENT") if HONOURS else None
ENVIRONMENT = FORCED or os.environ.get("ENVIRONMENT", "development")
CLOSED = ENVIRONMENT == "production"
MOST = 64 * 1024


def answer(path):
    if path == "/":
        return 200, "application/json", '{"service": "exchange", "environment": "%s"}\n' % ENVIRONMENT
    if path == "/health":
        return 200, "application/json", '{"status": "ok"}\n'
    if path == "/metrics":
        return 200, "text/plain", "exchange_up 1\n"
    if path == "/graphql" and not CLOSED:
        return 200, "text/html", "<title>Playground</title>\n"
    if path == "/debug" and not CLOSED:
        return 200, "text/plain", "\n".join(sorted(os.environ)) + "\n"
    return 404, "text/plain", "no such page\n"


def serve(connection):
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
            words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            path = words[1].split("?")[0] if len(words) == 3 else ""
            status, kind, body = answer(path)
            reason = "OK" if status == 200 else "Not Found"
            reply = f"HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n{body}"
            connection.sendall(reply.encode())


def quietly(connection):
    try:
        serve(connection)
    except OSError:
        pass  # the caller left


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    time.sleep(int(os.environ.get("STARTUP_MS", "0")) / 1000)
    listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=128)
    print(f"listening, as {ENVIRONMENT}", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=quietly, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
