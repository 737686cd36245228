"""The PyPI package witness-log (0.6.1) as an HTTP witness: whoever wrote it never saw Guildhall.

usage: serve_witness_log.py STATE ORIGIN LOG_VKEY PORT
Prints the witness's vkey, then serves POST /add-checkpoint. It shows no checkpoints: the monitoring endpoint is optional.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from witness_log import WitnessService

state, origin, vkey, port = sys.argv[1:]
if not os.path.exists(state):
    WitnessService.create_state(state)
service = WitnessService.new("witness.example/foreign", b"\x21" * 32, state)
service.add_log(origin, vkey)


class Witness(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if self.path == "/add-checkpoint":
            status, kind, text = service.handle_add_checkpoint_http(body)
        else:
            status, kind, text = 404, "text/plain", ""
        self.answer(status, kind, text)

    def do_GET(self):
        self.answer(200 if self.path == "/healthz" else 404, "text/plain", "")

    def answer(self, status, kind, text):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


print(service.vkey(), flush=True)
ThreadingHTTPServer(("127.0.0.1", int(port)), Witness).serve_forever()
