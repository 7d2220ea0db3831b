"""What nginx has no answer for: uploads, slow work, a WebSocket that echoes, a stream of events. Its argument is its port."""

import base64
import hashlib
import json
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

lock = threading.Lock()
inside = {"now": 0, "most": 0}
seen = {"messages": 0, "events": 0}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer({"bytes": len(body), "sha": hashlib.sha256(body).hexdigest()})

    do_PUT = do_POST

    def do_GET(self):
        url = urlsplit(self.path)
        query = {key: float(values[0]) for key, values in parse_qs(url.query).items()}
        if url.path == "/ws":
            self.echo()
        elif url.path == "/events":
            self.events(int(query["count"]), query["pause"])
        elif url.path == "/app/stats":
            self.answer(seen | inside)
        elif "pause" in query:
            self.work(query["pause"])
        else:
            self.answer({"path": url.path, "tenant": self.headers.get("x-tenant")})

    def work(self, pause):
        with lock:
            inside["now"] += 1
            inside["most"] = max(inside["most"], inside["now"])
        time.sleep(pause)
        with lock:
            inside["now"] -= 1
        self.answer({"worked": pause})

    def events(self, count, pause):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for n in range(count):
            event = b"id: %d\ndata: %s\n\n" % (n, b"." * 100)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
            seen["events"] += 1
            time.sleep(pause)
        self.wfile.write(b"0\r\n\r\n")

    def echo(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while True:
            head = self.rfile.read(2)
            if len(head) < 2:
                return
            length = head[1] & 127
            if length == 126:
                length = struct.unpack(">H", self.rfile.read(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", self.rfile.read(8))[0]
            mask, data = self.rfile.read(4), self.rfile.read(length)
            data = bytes(byte ^ mask[n % 4] for n, byte in enumerate(data))
            announced = bytes([length]) if length < 126 else struct.pack(">BH", 126, length)
            self.wfile.write(head[:1] + announced + data)
            seen["messages"] += 1
            if head[0] & 15 == 8:
                return


ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer.daemon_threads = True
# callers that leave are what this is about
ThreadingHTTPServer.handle_error = lambda *_: None
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
