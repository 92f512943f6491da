"""Serves the live page: one HTML file, pictures, and server-sent events; nothing but the standard library."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from crossover_ros.view.board import Board, Picture
from crossover_ros.view.page import PAGE
from crossover_ros.view.places import PlacePictures

# At most so many events a second to each reader, and a sign of life when nothing happens.
PERIOD_S, ALIVE_S = 0.2, 5.0
MAX_READERS = 32
# The page needs nothing from anywhere else, and nobody may make it fetch something.
POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'"
)


class ViewServer(ThreadingHTTPServer):
    """The server of one board.

    Args:
        address: host and port; port 0 takes a free one, see ``server_port``.
        board: what is shown.
        places: pictures of places.

    Raises:
        OSError: the address cannot be listened at.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], board: Board, places: PlacePictures) -> None:
        super().__init__(address, _Handler)
        self.board, self.places = board, places
        self.stopping = threading.Event()
        self.readers = threading.BoundedSemaphore(MAX_READERS)

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self.serve_forever, name="view server", daemon=True).start()

    def stop(self) -> None:
        """End all answers and the server."""
        self.stopping.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away in the middle is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    protocol_version = "HTTP/1.1"
    server_version = "crossover"
    timeout = 30.0

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/":
            self._send(Picture(PAGE.encode(), "text/html; charset=utf-8"))
        elif path == "/events":
            self._events()
        elif path == "/plan.png":
            self._send(self.server.board.plan())
        elif path == "/frame.jpg":
            self._send(self.server.board.frame())
        elif path.startswith("/place/"):
            names = [unquote(part) for part in path.split("/")[2:]]
            self._send(self.server.places.picture(*names) if len(names) == 3 else None)
        else:
            self._send(None)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal belongs to the node."""

    def _send(self, body: Picture | None) -> None:
        if body is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", body.media_type)
        self.send_header("Content-Length", str(len(body.data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body.data)

    def _events(self) -> None:
        if not self.server.readers.acquire(blocking=False):
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_READERS} pages are open already")
            return
        try:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.close_connection = True
            with suppress(OSError):
                self._stream()
        finally:
            self.server.readers.release()

    def _stream(self) -> None:
        board, stopping = self.server.board, self.server.stopping
        self._event("history", board.history())
        seen = -1
        while not stopping.is_set():
            now = board.wait(seen, ALIVE_S)
            if now == seen:
                self.wfile.write(b": alive\n\n")
            else:
                seen = now
                # Pictures are asked for only where there are some: a view learns of its map after its first places.
                self._event("board", {**board.snapshot(), "pictures": self.server.places.fingerprint})
            stopping.wait(PERIOD_S)

    def _event(self, name: str, value: Any) -> None:
        self.wfile.write(f"event: {name}\ndata: {json.dumps(value)}\n\n".encode())
        self.wfile.flush()
