"""A web server on this machine, for tests of downloads; and small datasets in Matbench's format for it to serve."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest


class FileServer:
    """A web server with one file; it can break off, and honours ranges as real servers do.

    It can also send byte by byte with a pause after each, stop in the middle and go on when `released`, know nothing
    of ranges, or send without end and without saying how much.
    """

    def __init__(self):
        self.content = b""
        self.break_after = None
        self.stop_after = None
        self.released = threading.Event()
        self.knows_ranges = True
        self.endless = False
        self.seconds_per_byte = {"head": 0.0, "body": 0.0}
        self.status = None
        self.headers: dict[str, str] = {}
        self.ranges: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *arguments):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/crystals.json.gz"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def answer(self, request):
        asked = request.headers["Range"]
        self.ranges.append(asked)
        asked = asked if self.knows_ranges else None
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if self.seconds_per_byte["head"]:
            return self._drip(request, b"HTTP/1.0 200 OK\r\nX-Padding: " + b"x" * 1000, self.seconds_per_byte["head"])
        status = self.status or (416 if start >= len(self.content) > 0 else 206 if asked else 200)
        body = self.content[start:] if status < 400 else b""
        request.send_response(status)
        if not self.endless:
            request.send_header("Content-Length", str(len(body)))
        for name, value in self.headers.items():
            request.send_header(name, value)
        request.end_headers()
        with suppress(ConnectionError):
            while self.endless and not self.released.is_set():
                request.wfile.write(body)
        body = body[: self.break_after]
        if self.seconds_per_byte["body"]:
            return self._drip(request, body, self.seconds_per_byte["body"])
        if self.stop_after is not None:
            request.wfile.write(body[: self.stop_after])
            request.wfile.flush()
            self.released.wait(timeout=60)
            body = body[self.stop_after :]
        with suppress(ConnectionError):  # the other side may be gone by now
            request.wfile.write(body)

    def _drip(self, request, content, seconds):
        with suppress(ConnectionError):
            for byte in content:
                request.wfile.write(bytes([byte]))
                request.wfile.flush()
                if self.released.wait(seconds):
                    return

    def close(self):
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def in_matbench_format(frame: pd.DataFrame, folder: Path) -> bytes:
    """Return the file that matminer itself writes of a frame."""
    from matminer.utils.io import store_dataframe_as_json

    store_dataframe_as_json(frame, str(folder / "made.json.gz"), compression="gz", pbar=False)
    return (folder / "made.json.gz").read_bytes()


def serve_as(task: str, server: FileServer, patch: pytest.MonkeyPatch) -> None:
    """Let the table of sources, and matminer's metadata, point at the server's file for a Matbench task."""
    from matminer.datasets import dataset_retrieval

    from course_lib.dataset_sources import SOURCES

    patch.setitem(SOURCES, task, replace(SOURCES[task], url=server.url, sha256=digest(server.content)))
    metadata = dataset_retrieval._load_dataset_dict()
    metadata[task] |= {"url": server.url, "hash": digest(server.content)}
    patch.setattr(dataset_retrieval, "_dataset_dict", metadata)
