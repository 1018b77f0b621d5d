"""The app put together: routes, the guard around them, and errors as one line of JSON."""

import logging
import time
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from utils.web.api import Api
from utils.web.guard import Guard
from utils.web.jobs import Jobs
from utils.web.pages import pages
from utils.web.problems import Problem
from utils.web.settings import Offer

logger = logging.getLogger(__name__)

DESCRIPTION = "Where was a photo taken? A photo in, its place out. See docs/web.md."


def application(
    jobs: Jobs,
    offer: Offer,
    most_bytes: int,
    most_pixels: int,
    hosts: list[str],
    *,
    any_address: bool = False,
    kept: bool = False,
) -> FastAPI:
    """``hosts`` and ``any_address`` are those of ``Guard``, what else there is those of ``Api``."""
    # FastAPI's own pages about the interface load scripts from other hosts.
    app = FastAPI(title="GeoRanker", version=_version(), description=DESCRIPTION, docs_url=None, redoc_url=None)
    app.include_router(Api(jobs, offer, most_bytes, most_pixels, kept).router)
    app.include_router(pages())
    app.add_middleware(Guard, hosts=hosts, any_address=any_address)
    app.add_middleware(Log)

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> JSONResponse:
        headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
        return JSONResponse({"error": error.text}, error.status, headers)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail).lower()}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": "the request is not as /openapi.json says"}, 422)

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": "an error of the app, which its log has"}, 500)

    return app


class Log:
    """A line for each request that is no mere asking or looking: which, answered how, after how long. No names."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        start = time.monotonic()

        async def logged(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope["route"].path if "route" in scope else "elsewhere"
                logger.info("POST %s: %d, %.2f s", path, message["status"], time.monotonic() - start)
            await send(message)

        await self.app(scope, receive, logged)


def _version() -> str:
    try:
        return version("georanker")
    except PackageNotFoundError:  # run from its checkout
        return "0.1.0"
