"""Downloads from a hub of this machine, by the hub's own client; ``local_clip`` is tested in test_geoclip_files.py."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest

from tests.commands import ROOT
from utils.retrieval.clip_files import CLIP, FILES, WEIGHTS, fetched_clip

COMMIT = "a" * 40
CONTENTS = {name: name.encode() for name in FILES[:2]}
CONTENTS |= {WEIGHTS: np.random.default_rng(0).bytes(3_000_000), "pytorch_model.bin": b"not asked for"}


class Hub(BaseHTTPRequestHandler):
    """What the client asks of a hub that has one model, whose weights are a large file."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Nothing is printed."""

    def do_GET(self) -> None:
        if "/tree/" in self.path:
            self.answer(json.dumps([entry(name) for name in CONTENTS]).encode())
        elif "/api/models/" in self.path:
            siblings = [{"rfilename": name} for name in CONTENTS]
            self.answer(json.dumps({"id": CLIP, "sha": COMMIT, "siblings": siblings}).encode())
        elif (name := self.path.rpartition("/")[2]) in CONTENTS:
            asked = re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")
            self.server.asked.append((self.command, name, asked and int(asked[1])))
            self.answer(CONTENTS[name], asked and int(asked[1]))
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def answer(self, content: bytes, start: int | None = None) -> None:
        self.send_response(200 if start is None else 206)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        rest = content[start or 0 :]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(rest)


def entry(name: str) -> dict:
    """A file in the listing of a repository."""
    content = CONTENTS[name]
    known = {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
    if name == WEIGHTS:
        known["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return known


@contextmanager
def serving() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


# In a process of its own, as the client reads where the hub is when it is imported.
FETCH = """
import logging, sys
from utils.retrieval.clip_files import CLIP, fetched_clip
logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
for _ in range(2):
    try:
        print(fetched_clip(CLIP))
    except FileNotFoundError as error:
        print(error)
"""


def fetch(server: ThreadingHTTPServer, cache: Path) -> tuple[list[str], str]:
    """What two attempts in one process return or raise, and what they announce."""
    place = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_CACHE": str(cache), "NO_PROXY": "*"}
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", FETCH],
        cwd=ROOT,
        env=os.environ | place | quiet,
        capture_output=True,
        text=True,
        check=True,
    )
    announced = [line for line in done.stderr.splitlines() if line.startswith("utils.")]
    return done.stdout.splitlines(), "\n".join(announced)


def started(cache: Path, content: bytes) -> Path:
    """What a process that was killed has left of the weights."""
    digest = hashlib.sha256(CONTENTS[WEIGHTS]).hexdigest()
    path = cache / f"models--{CLIP.replace('/', '--')}" / "blobs" / f"{digest}.incomplete"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_an_interrupted_download_goes_on(tmp_path: Path) -> None:
    part = started(tmp_path, CONTENTS[WEIGHTS][:1_000_000])
    with serving() as server:
        (first, second), announced = fetch(server, tmp_path)
    assert first == second
    found = {path.name: path.read_bytes() for path in Path(first).iterdir()}
    assert found == {name: CONTENTS[name] for name in FILES}
    fetched = [(name, start) for command, name, start in server.asked if command == "GET"]
    assert sorted(fetched) == [("config.json", None), (WEIGHTS, 1_000_000), ("preprocessor_config.json", None)]
    text = (
        f"utils.retrieval.clip_files: GeoCLIP needs CLIP: downloading {CLIP}, 0.00 GB, 0.00 GB of it are there, once, "
    )
    assert announced == f"{text}to {tmp_path}"
    assert not part.exists()


def test_a_part_of_another_file_costs_one_attempt(tmp_path: Path) -> None:
    part = started(tmp_path, b"x" * 1_000_000)
    with serving() as server:
        (first, second), _ = fetch(server, tmp_path)
    assert f"GeoCLIP needs CLIP {CLIP} (1.7 GB), which is not on this machine" in first
    assert f"({WEIGHTS} arrived with hash " in first
    assert Path(second, WEIGHTS).read_bytes() == CONTENTS[WEIGHTS]
    assert not part.exists()


def test_offline_the_error_says_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError) as error:
        fetched_clip(CLIP)
    message = str(error.value)
    assert message.startswith(f"GeoCLIP needs CLIP {CLIP} (1.7 GB), which is not on this machine and could not be")
    assert f"`hf download {CLIP} config.json preprocessor_config.json model.safetensors`" in message
    assert "\n" not in message
    with pytest.raises(FileNotFoundError, match=r"CLIP my/clip, which .*`hf download my/clip .* --revision r1`"):
        fetched_clip("my/clip", "r1")
    with pytest.raises(FileNotFoundError, match="models/my/clip does not exist: the folder of a CLIP checkpoint"):
        fetched_clip("models/my/clip")
