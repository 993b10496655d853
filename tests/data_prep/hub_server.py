"""A small hub on loopback: what the real one answers for a data set's facts and files, ranges included.

By hand: `python tests/data_prep/hub_server.py sapientinc/sudoku-extreme FOLDER`, then HF_ENDPOINT as it says.
"""

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What is served, what goes wrong, and what was asked for."""

    repo: str
    files: dict[str, bytes]
    states_sha256: bool = True  # as for large files; small ones have a git hash alone
    stated: dict[str, str] = field(default_factory=dict)  # a SHA-256 that is not the file's
    cut_after: int | None = None  # bytes of a file, after which the next answer breaks off …
    stall: bool = False  # … or goes silent
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # file, Range
    stalled: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def facts(self) -> bytes:
        """What the hub tells of the data set."""
        siblings = []
        for name, data in self.files.items():
            entry: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
            if self.states_sha256:
                sha256 = self.stated.get(name, hashlib.sha256(data).hexdigest())
                entry["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": 134}
            siblings.append(entry)
        return json.dumps({"id": self.repo, "sha": COMMIT, "siblings": siblings}).encode()


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve it on a free port of loopback until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        hub.ended.set()
        server.shutdown()
        server.server_close()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == f"/api/datasets/{hub.repo}/revision/main":
                self.answer(200, hub.facts(), {"Content-Type": "application/json"})
            elif path.startswith(f"/datasets/{hub.repo}/resolve/{COMMIT}/"):
                self.send_file(path.rpartition("/")[2])
            else:
                self.answer(404, b"not found", {"X-Error-Code": "RepoNotFound"})

        def send_file(self, name: str) -> None:
            data, wanted = hub.files[name], self.headers.get("Range")
            hub.asked.append((name, wanted))
            start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
            headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            if wanted:
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.answer(206 if wanted else 200, data[start:], headers)

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if hub.cut_after is None or len(body) <= hub.cut_after:
                self.wfile.write(body)
                return
            self.wfile.write(body[: hub.cut_after])
            self.wfile.flush()
            if hub.stall:
                hub.stalled.set()
                hub.ended.wait()
            hub.cut_after = None
            self.close_connection = True

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    return Handler


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    with serving(Hub(sys.argv[1], {name: (folder / name).read_bytes() for name in ("train.csv", "test.csv")})) as hub:
        print(f"export HF_ENDPOINT={hub.address}", flush=True)
        threading.Event().wait()
