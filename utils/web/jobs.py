"""The queue: photos wait in memory for the one worker, and what was found waits for whoever asked, not for ever."""

import logging
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from utils.web.problems import Problem
from utils.web.upload import Upload

logger = logging.getLogger(__name__)

UNASKED_SECONDS = 150  # a photo that nobody asks about so long is dropped; browsers slow hidden pages to once a minute
KEPT_SECONDS, KEPT = 1800, 64  # results: how long, and how many
SWEEP_SECONDS = 30
FIRST_GUESS = 5.0  # seconds that a photo takes, before any was seen
STOPPING = "the app is stopping"


class Stage(StrEnum):
    WAITING = "waiting"
    READING = "reading"  # decoding the photo
    CANDIDATES = "candidates"
    RANKING = "ranking"
    DONE = "done"
    FAILED = "failed"


class Dropped(Exception):
    """Nobody wants the photo's place any more."""


@dataclass(eq=False)
class Job:
    """One photo on its way."""

    upload: Upload | None  # None as soon as it is not needed
    attended: bool = False  # whether a connection waits for it; otherwise somebody has to ask about it
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    stage: Stage = Stage.WAITING
    asked: float = field(default_factory=time.monotonic)  # when somebody last did
    finished: float = math.inf
    outcome: "Future[Mapping[str, Any]]" = field(default_factory=Future)

    def reach(self, stage: Stage) -> None:
        """Go on to ``stage``. Raises ``Dropped`` where nobody waits for it."""
        if self.outcome.done() or self.is_abandoned():
            raise Dropped
        self.stage = stage

    def is_abandoned(self) -> bool:
        return not self.attended and time.monotonic() - self.asked > UNASKED_SECONDS

    def end(self, found: Mapping[str, Any] | Problem) -> None:
        """Set the outcome, unless there is one."""
        self.upload = None
        if self.outcome.done():
            return
        self.finished = time.monotonic()
        if isinstance(found, Problem):
            self.stage = Stage.FAILED
            self.outcome.set_exception(found.anew())
        else:
            self.stage = Stage.DONE
            self.outcome.set_result(found)


class Jobs:
    """At most ``most`` photos wait; ``work`` makes a job's outcome, in one thread.

    ``work`` calls ``Job.reach`` as it goes on and raises ``Problem`` where there is no place.
    """

    def __init__(self, work: Callable[[Job], Mapping[str, Any]], most: int) -> None:
        self.work, self.most = work, most
        self.reserved = 0  # places of photos that are being uploaded
        self.waiting: deque[Job] = deque()
        self.running: Job | None = None
        self.known: dict[str, Job] = {}  # all but what is forgotten, the oldest first
        self.seconds = FIRST_GUESS  # that a photo takes, lately
        self.closed = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, name="locating", daemon=True)
        self.thread.start()

    @contextmanager
    def place(self) -> Iterator[Callable[[Upload, bool], Job]]:
        """A place in the queue, held while a photo is uploaded; yields what puts it there, as a ``Job``.

        Raises ``Problem`` where there is none.
        """
        with self.changed:
            if self.closed:
                raise Problem(503, STOPPING)
            self._forget()
            if len(self.waiting) + self.reserved >= self.most:
                seconds = max(1, math.ceil(self.seconds))
                raise Problem(503, f"{self.most} photos are waiting already: try again later", seconds)
            self.reserved += 1
        try:
            yield self._add
        finally:
            with self.changed:
                self.reserved -= 1

    def _add(self, upload: Upload, attended: bool) -> Job:
        job = Job(upload, attended)
        with self.changed:
            if self.closed:
                raise Problem(503, STOPPING)
            self.waiting.append(job)
            self.known[job.id] = job
            self.changed.notify()
        return job

    def get(self, name: str) -> Job:
        """The job of that id, which somebody asks about. Raises ``Problem`` where there is none."""
        with self.changed:
            self._forget()
            job = self.known.get(name)
        if job is None:
            raise Problem(404, "no such photo here: it was dropped, or its result is no longer kept")
        job.asked = time.monotonic()
        return job

    def before(self, job: Job) -> int:
        """How many photos are located before this one."""
        with self.changed:
            return self.waiting.index(job) + (self.running is not None) if job in self.waiting else 0

    def drop(self, job: Job) -> None:
        """Forget it; a worker that is at it stops at its next stage."""
        with self.changed:
            self._drop(job)

    def _drop(self, job: Job) -> None:
        self.known.pop(job.id, None)
        if job in self.waiting:
            self.waiting.remove(job)
        job.end(Problem(404, "the photo was dropped"))

    def _forget(self) -> None:
        """What nobody waits for, and results that are old or too many."""
        now = time.monotonic()
        for job in [job for job in self.waiting if job.is_abandoned()]:
            self._drop(job)
        done = [job for job in self.known.values() if job.outcome.done()]
        old = {job.id for job in done if now - job.finished > KEPT_SECONDS}
        for job in done:
            if job.id in old or len(done) - len(old) > KEPT:
                old.add(job.id)
                del self.known[job.id]

    def close(self) -> None:
        """Take no more, and end what is there: nothing is located from now on."""
        with self.changed:
            self.closed = True
            for job in [*self.waiting, *([] if self.running is None else [self.running])]:
                job.end(Problem(503, STOPPING))
            self.waiting.clear()
            self.changed.notify()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            start = time.monotonic()
            try:
                job.end(self.work(job))
                self.seconds += 0.3 * (time.monotonic() - start - self.seconds)
            except Dropped:
                self.drop(job)
            except Problem as problem:
                job.end(problem)
            except Exception:  # a defect costs one photo, not the app
                logger.exception("a photo could not be located")
                job.end(Problem(500, "an error of the app, which its log has"))
            seconds = time.monotonic() - start
            with self.changed:
                self.running = None
                waiting = len(self.waiting)
            logger.info("a photo: %s, %.2f s; %d waiting", job.stage, seconds, waiting)
            del job  # with its photo

    def _next(self) -> Job | None:
        """The next one; None in the end."""
        with self.changed:
            while not self.closed:
                self._forget()
                if self.waiting:
                    self.running = self.waiting.popleft()
                    return self.running
                self.changed.wait(SWEEP_SECONDS)
        return None
