"""The local web app at a port of this machine, with a locator that needs no model."""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from utils.answer import Answer, Demand, Place, answer
from utils.calibration import FEATURES, Calibration, outlook
from utils.candidates import Candidate
from utils.locating.task import Task
from utils.web.server import Server, listen
from utils.web.settings import Offer, Settings

ODDS = tuple((chance, *[0.0] * FEATURES) for chance in (-9.0, -1.0, 0.0, 2.0, 9.0))
FITTED = Calibration(ODDS, (3.0, *[0.0] * FEATURES), (1.0, 2.0, 3.0, 4.0), 500)
CANDIDATES = [
    Candidate(38.72, -9.14, ("Lisbon",), "/srv/photos/lisbon.jpg"),
    Candidate(41.15, -8.61, source="generation"),
]
NAMES = ["Lisbon, Portugal", "1 km from Porto, Portugal"]
SHARES = [0.7, 0.3]
SECONDS = 120  # of patience, more than a busy machine takes


def located(demand: Demand | None = None) -> Answer:
    """Lisbon, less probably Porto."""
    points = [(place.latitude, place.longitude) for place in CANDIDATES]
    known = outlook(points, SHARES, 0, [False, True])
    found = answer(CANDIDATES[0], NAMES[0], known, FITTED, demand)
    places = [Place(*parts) for parts in zip(CANDIDATES, NAMES, [1.5, 0.5], SHARES, strict=True)]
    about = {"ranker": "/srv/models/ranker", "decode": "argmax", "used": ("1 similar photo of /srv/gallery",)}
    return Answer(**vars(found) | about | {"places": tuple(places), "problems": ("/srv/photos/gone.jpg: missing",)})


class StubFinder:
    """Finds Lisbon, once ``gate`` is open; ``failing`` is raised instead.

    ``began`` counts the photos whose candidates were asked for, ``asked`` has sizes and settings.
    """

    def __init__(self) -> None:
        self.offer = Offer(
            {"gallery": ["similar photos"], "guesses": ["guesses"]},
            ["argmax", "consensus"],
            3,
            None,
            ["the GeoRanker in /srv/models/ranker"],
        )
        self.judge = self
        self.gate, self.began = threading.Event(), threading.Semaphore(0)
        self.gate.set()
        self.asked: list[tuple[tuple[int, int], Settings]] = []
        self.failing: Exception | None = None

    def locator(self, photo: Image.Image, settings: Settings) -> "StubFinder":
        self.asked.append((photo.size, settings))
        return self

    def find(self, photos) -> list[Task]:
        self.began.release()
        assert self.gate.wait(SECONDS)
        if self.failing is not None:
            raise self.failing
        return [Task(photo, ()) for photo in photos]

    def answers(self, tasks) -> list[Answer]:
        return [located(self.asked[-1][1].demand(None)) for _ in tasks]


class Served:
    """The app that runs: ``url``, a ``client`` for it, its ``finder`` and its ``server``."""

    def __init__(self, server: Server, finder: Any) -> None:
        self.server, self.finder, self.url = server, finder, server.url.rstrip("/")
        self.client = httpx.Client(base_url=self.url, timeout=SECONDS)

    def ask(
        self, photo: bytes | None = None, name: str = "photo.png", path: str = "/api/locate", **fields
    ) -> httpx.Response:
        """Send a photo, by default a small one that can be read."""
        return self.client.post(path, files={"photo": (name, photo or png())}, data=fields)

    def submit(self, **fields) -> str:
        """The id of a photo's job."""
        response = self.ask(path="/api/jobs", **fields)
        assert response.status_code == 202, response.text
        return response.json()["id"]

    def ended(self, job: str) -> dict[str, Any]:
        """The state of a job once it is done or failed."""
        return until(
            lambda: self.client.get(f"/api/jobs/{job}").json(), lambda state: state["stage"] in ("done", "failed")
        )


def until(look, good=bool):
    """What ``look`` returns once it is ``good``."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if good(found := look()):
            return found
        time.sleep(0.01)
    raise AssertionError(f"still {found}")


@contextmanager
def app_served(
    finder: Any = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    max_queue: int = 16,
    max_upload_bytes: int = 2**20,
    max_pixels: int = 50_000_000,
    keep: Path | None = None,
) -> Iterator[Served]:
    """The app, by default at a free port, within the block."""
    finder = finder or StubFinder()
    with listen(host, port) as listening:
        limits = {"max_queue": max_queue, "max_upload_bytes": max_upload_bytes, "max_pixels": max_pixels}
        server = Server.of(finder, listening, host, **limits, keep=keep)
        thread = threading.Thread(target=server.work)
        thread.start()
        until(lambda: server.started)
        served = Served(server, finder)
        try:
            yield served
        finally:
            if isinstance(finder, StubFinder):
                finder.gate.set()
            server.should_exit = True
            thread.join()
            served.client.close()


def png(width: int = 16, height: int = 12, colour: str = "teal") -> bytes:
    """A photo's file."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()
