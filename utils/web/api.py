"""The interface for programs, which the page uses, too: photos in, JSON out."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from utils.page.report import report_page
from utils.web.guard import READING
from utils.web.jobs import Job, Jobs
from utils.web.problems import Problem, told
from utils.web.schema import Error, Health, JobState, Options, Ranking
from utils.web.settings import Offer, Settings
from utils.web.upload import read_upload

PHOTO = {"type": "string", "format": "binary", "description": "the photo's file"}
FAILURES = {
    400: "The form cannot be read, or the Host is unknown",
    403: "A page of another origin asks",
    404: "No such photo is known",
    408: "The body takes too long",
    409: "The photo is not located yet",
    413: "The photo's file is too large",
    415: "The body is no form",
    422: "A field is wrong, the photo cannot be decoded, or it has no place",
    500: "An error of the app",
    502: "The server that guesses does not answer",
    503: "Too many photos wait (Retry-After says for how long), or the app is stopping",
    507: "The photo does not fit into memory",
}
SENDING = (400, 403, 408, 413, 415, 422, 500, 503)
LOCATING = (422, 500, 502, 503, 507)


class Api:
    """Its ``router``; ``most_bytes`` and ``most_pixels`` is what a photo may have, ``kept`` whether photos are."""

    def __init__(self, jobs: Jobs, offer: Offer, most_bytes: int, most_pixels: int, kept: bool) -> None:
        self.jobs, self.offer, self.kept = jobs, offer, kept
        self.most_bytes, self.most_pixels = most_bytes, most_pixels
        self.router = APIRouter(prefix="/api")
        add = self.router.add_api_route
        for path in ("/locate", "/jobs"):  # else the page's files are looked through for them
            add(path, self.refuse, methods=READING, include_in_schema=False)
        self._get("/health", self.health)
        self._get("/options", self.options)
        add("/locate", self.locate, methods=["POST"], responses=_answers(Ranking, *SENDING, *LOCATING), **FORM)
        add("/jobs", self.submit, methods=["POST"], status_code=202, responses=_errors(*SENDING), **FORM)
        self._get("/jobs/{name}", self.state, responses=_errors(400, 404))
        add("/jobs/{name}", self.drop, methods=["DELETE"], status_code=204, responses=_errors(400, 403, 404))
        kept = (400, 404, 409, *LOCATING)
        self._get("/jobs/{name}/ranking", self.ranking, responses=_answers(Ranking, *kept))
        self._get("/jobs/{name}/report", self.report, response_class=HTMLResponse, responses=_errors(*kept))
        self._get("/jobs/{name}/shown", self.shown, include_in_schema=False)

    def _get(self, path: str, answer: Callable[..., Awaitable[Any]], **described: Any) -> None:
        """A route for GET, and for HEAD, which needs no description of its own."""
        self.router.add_api_route(path, answer, methods=["GET"], **described)
        self.router.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False)

    async def health(self) -> Health:
        """Whether the app answers, and how many photos wait."""
        return Health(status="ok", waiting=len(self.jobs.waiting))

    async def options(self) -> Options:
        """What the fields of a form may be."""
        most = {"most_upload_bytes": self.most_bytes, "most_pixels": self.most_pixels}
        return Options(**told(self.offer.as_json()), **most, kept=self.kept)

    async def locate(self, request: Request) -> JSONResponse:
        """The place of a photo, once it is found."""
        job = await self._submitted(request, attended=True)
        try:
            found = await _outcome(job, request)
        finally:
            self.jobs.drop(job)
        return JSONResponse(found["entry"]["ranking"])

    async def refuse(self) -> None:
        """No reading of what only takes photos."""
        raise HTTPException(405, headers={"allow": "POST"})

    async def submit(self, request: Request) -> JobState:
        """Take a photo, and answer at once. It is dropped where nobody asks about it for a while."""
        return self._state(await self._submitted(request, attended=False))

    async def state(self, name: str) -> JobState:
        """How far a photo is."""
        return self._state(self.jobs.get(name))

    async def ranking(self, name: str) -> JSONResponse:
        """A photo's place; an error as long as there is none."""
        return JSONResponse(self._found(name)["entry"]["ranking"])

    async def shown(self, name: str) -> JSONResponse:
        """What the app's own page shows of a photo."""
        return JSONResponse(self._found(name))

    async def report(self, name: str) -> HTMLResponse:
        """A photo's place as one HTML page, to be saved."""
        page = await asyncio.to_thread(report_page, [self._found(name)["entry"]])
        return HTMLResponse(page, headers={"content-disposition": 'attachment; filename="report.html"'})

    async def drop(self, name: str) -> None:
        """Forget photo and result."""
        self.jobs.drop(self.jobs.get(name))

    async def _submitted(self, request: Request, attended: bool) -> Job:
        with self.jobs.place() as put:
            upload = await read_upload(request, self.most_bytes)
            self.offer.check(upload.settings)
            return put(upload, attended)

    def _state(self, job: Job) -> JobState:
        problem = job.outcome.exception() if job.outcome.done() else None
        about = {} if problem is None else {"error": problem.text, "retry": problem.may_pass}
        return JobState(id=job.id, stage=job.stage, before=self.jobs.before(job), **about)

    def _found(self, name: str) -> Mapping[str, Any]:
        job = self.jobs.get(name)
        if not job.outcome.done():
            raise Problem(409, "the photo is not located yet")
        if (problem := job.outcome.exception()) is not None:
            raise problem.anew()
        return job.outcome.result()


async def _outcome(job: Job, request: Request) -> Mapping[str, Any]:
    """What was found, unless who asked hangs up before."""
    found = asyncio.wrap_future(job.outcome)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait((found, gone), return_when=asyncio.FIRST_COMPLETED)
        if not found.done():
            raise Problem(400, "nobody waits for the answer")
        return found.result()
    finally:
        gone.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


# ---- how OpenAPI describes it ----


def _errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Error, "description": FAILURES[code]} for code in codes}


def _answers(model: type, *codes: int) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": model}} | _errors(*codes)


def _form() -> dict[str, Any]:
    """The body of a request with a photo."""
    fields = Settings.model_json_schema()["properties"]
    schema = {"type": "object", "required": ["photo"], "properties": {"photo": PHOTO} | fields}
    schema["additionalProperties"] = False
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


FORM = {"openapi_extra": _form()}
