"""A real browser: Debian's Chromium, driven by playwright, without a network.

Where either is missing these tests are skipped; with REQUIRE_BROWSER=1 in the environment that is a failure.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.served import SECONDS
from utils.page.entry import Located, entry
from utils.page.report import write_report


# No longer than a module: playwright's event loop runs on in the thread, where other tests want to start their own.
@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Chromium."""
    path = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        _missing("playwright is not installed: pip install -e '.[dev]'")
    if path is None:
        _missing("there is no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not work as root, nor in many containers.
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


def _missing(why: str) -> None:
    (pytest.fail if os.environ.get("REQUIRE_BROWSER") == "1" else pytest.skip)(why)


@dataclass
class Opened:
    """A page in the browser, and what it did unasked."""

    page: object  # of playwright
    requests: list[str] = field(default_factory=list)  # but those for its own file and for what it holds itself
    messages: list[str] = field(default_factory=list)  # of the console, and errors


@pytest.fixture
def show(browser, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """``show(photos, width=1280, ...)``: a page of them, opened from its file; further arguments are a context's."""
    contexts = []

    def show(photos: Sequence[Located], width: int = 1280, height: int = 800, **options) -> Opened:
        write_report(tmp_path / "report.html", [entry(photo) for photo in photos])
        options = {"viewport": {"width": width, "height": height}, "reduced_motion": "reduce"} | options
        context = browser.new_context(**options)
        context.set_default_timeout(1000 * SECONDS)
        contexts.append(context)
        opened = Opened(context.new_page())
        url = (tmp_path / "report.html").as_uri()
        own = (url, "data:", "blob:")
        context.route("**/*", lambda route: route.continue_() if route.request.url.startswith(own) else route.abort())
        context.on("request", lambda asked: asked.url.startswith(own) or opened.requests.append(asked.url))
        opened.page.on("console", lambda message: opened.messages.append(message.text))
        opened.page.on("pageerror", lambda error: opened.messages.append(str(error)))
        opened.page.goto(url)
        return opened

    yield show
    for context in contexts:
        context.close()
