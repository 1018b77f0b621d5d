"""Take the pictures of the report and of the web app for the README and docs, in headless Chromium.

    python -m tools.take_screenshots

They show queries of the embedded world, which `make demo` has built, so that no photograph is shipped. Needs Chromium
and the extras `web` and `dev`.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from utils.cli.command import run_command
from utils.cli.flags import script_parser
from utils.data_paths import check_files
from utils.jobs.outputs import check_outputs
from utils.jobs.packages import check_package

# Chosen, not drawn: a coast that a reader may know, and a ranker that is right where retrieval is not.
QUERY = "test_000472.jpg"
UPLOADED = ("test_000003.jpg", "test_000007.jpg", "test_000289.jpg", QUERY)
VIEW = {"width": 1280, "height": 800}
TIMEOUT = 300_000  # ms for a photo


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "tools.take_screenshots")
    images = Path("dataset/earth/test/images")
    parser.add_argument("--images", type=Path, default=images, help="photos of Earth's test split (%(default)s)")
    parser.add_argument("--output_dir", type=Path, default=Path("docs/images"), help="(%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: take(args.images, args.output_dir), quiet=args.quiet)


def take(images: Path, folder: Path) -> list[str]:
    """Write ``report.png`` and ``app.png``. Returns no problems."""
    uploaded = [images / name for name in UPLOADED]
    check_files([("images", path) for path in uploaded])
    check_outputs([("--output_dir", folder / name) for name in ("report.png", "app.png")])
    check_package("tools.take_screenshots", "playwright", "dev")
    chromium = shutil.which("chromium")
    if chromium is None:
        raise ValueError("there is no chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's own sandbox does not work as root, nor in many containers.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=VIEW, color_scheme="light", reduced_motion="reduce")
        picture_of_report(page, folder / "report.png")
        with served() as address:
            picture_of_app(page, address, uploaded, folder / "app.png")
        browser.close()
    return []


def picture_of_report(page: Any, output: Path) -> None:
    """Of the report that quick_start.py makes of ``QUERY``; ``page`` is playwright's."""
    command = [sys.executable, "quick_start.py", "--query", QUERY, "--report", "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    page.goto((Path("outputs") / Path(QUERY).stem / "report.html").resolve().as_uri())
    page.screenshot(path=output)


def picture_of_app(page: Any, address: str, uploaded: Sequence[Path], output: Path) -> None:
    """Of the app with the photos ``uploaded``, once all are done."""
    page.goto(address)
    page.locator("#decides:not(:empty)").wait_for()  # the page is ready
    page.locator("input[type=file]").first.set_input_files(uploaded)
    asked = page.locator(".asked-photo")
    asked.nth(len(uploaded) - 1).wait_for()
    for number in range(len(uploaded)):
        asked.nth(number).locator("progress").wait_for(state="hidden", timeout=TIMEOUT)
    page.screenshot(path=output)


@contextmanager
def served() -> Iterator[str]:
    """The address of an app that runs as long as this."""
    command = [sys.executable, "app.py", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield re.search(r"http://\S+", process.stdout.readline())[0]
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
