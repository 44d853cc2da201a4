"""A model hub on this machine: the few answers that huggingface_hub asks for, over real HTTP."""

from __future__ import annotations

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer:
    """Serves ``{repository: {filename: bytes}}`` and keeps the requests it got."""

    def __init__(self, repositories, *, seconds_per_download=0.0, gated=()):
        self.requests = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                self.answer(body=False)

            def do_GET(self):
                self.answer(body=True)

            def answer(self, *, body):
                hub.requests.append(f"{self.command} {self.path}")
                repository, _, rest = self.path.lstrip("/").partition("/resolve/")
                filename = rest.partition("/")[2]
                if repository in gated:
                    return self.refuse(403, "GatedRepo")
                if repository not in repositories:
                    return self.refuse(404, "RepoNotFound")
                content = repositories[repository].get(filename)
                if content is None:
                    return self.refuse(404, "EntryNotFound")
                self.send_response(200)
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if body:
                    pieces = 8
                    step = -(-len(content) // pieces)
                    for start in range(0, len(content), step):
                        self.wfile.write(content[start : start + step])
                        self.wfile.flush()
                        time.sleep(seconds_per_download / pieces)
                return None

            def refuse(self, status, code):
                self.send_response(status)
                self.send_header("X-Error-Code", code)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
