"""The page: its files, read once, and nothing else of this machine."""

from functools import cache
from pathlib import Path
from string import Template

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from utils.page import assets
from utils.web.guard import READING

STATIC = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}


def pages() -> APIRouter:
    """The page at ``/`` and what it loads."""
    router = APIRouter(include_in_schema=False)
    files = static_files()

    @router.api_route("/world.json", methods=READING)
    def world() -> JSONResponse:
        """What every map shows."""
        return JSONResponse(_world())

    @router.api_route("/{name:path}", methods=READING)
    async def file(name: str) -> Response:
        content, kind = files.get(name or "index.html", (None, None))
        if content is None:
            return JSONResponse({"error": "no such page"}, 404)
        return Response(content, media_type=kind)

    return router


def static_files() -> dict[str, tuple[str, str]]:
    """Name in the address -> content and media type."""
    found = {path.name: path.read_text(encoding="utf-8") for path in STATIC.iterdir()}
    found["index.html"] = Template(found["index.html"]).substitute(templates=assets.templates())
    found |= {"report.css": assets.style(), "report.js": assets.script()}
    return {name: (content, TYPES[Path(name).suffix]) for name, content in found.items()}


@cache
def _world() -> dict[str, object]:
    return assets.world(())
