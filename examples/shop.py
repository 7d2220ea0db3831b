"""A small HTTP service to put Brownout in front of: python3 examples/shop.py [PORT]

GET / and GET /products answer 200 with JSON; POST /checkout answers 201; all else is 404.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, value):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.split("?")[0] in ("/", "/products", "/health"):
            self.answer(200, {"products": ["tea", "pots"]})
        else:
            self.answer(404, {"error": "no such page"})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.answer(201 if self.path == "/checkout" else 404, {"path": self.path})

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    with Server(("127.0.0.1", port), Shop) as server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
