"""The app's page in a browser: photos in by every way, progress, and what is said where something fails."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree.ElementTree import canonicalize

import pytest

from tests.served import SECONDS, Served, StubFinder, app_served, located, png, until
from utils.answer import Demand
from utils.page.entry import Located, entry
from utils.page.report import TITLE, map_files
from utils.web.problems import told

pytestmark = pytest.mark.usefixtures("browser")


@dataclass
class Opened:
    """The app's page, and what it did."""

    page: object  # of playwright
    elsewhere: list[str] = field(default_factory=list)  # requests to any other host
    messages: list[str] = field(default_factory=list)  # of the console, and errors

    def state(self, name: str) -> object:
        """What the list says of a photo."""
        return self.page.locator(".asked-photo", has_text=name).locator("[data-part=state]")

    def reaches(self, name: str, words: str) -> None:
        self.page.locator(".asked-photo", has_text=name).filter(has_text=words).wait_for()


@pytest.fixture
def app() -> Iterator[Served]:
    with app_served() as served:
        yield served


@pytest.fixture
def visit(browser) -> Iterator[Callable[..., Opened]]:
    """``visit(url, width=1280, ...)``: the page; further arguments are a context's."""
    contexts = []

    def visit(url: str, width: int = 1280, height: int = 800, **options) -> Opened:
        options = {"viewport": {"width": width, "height": height}, "reduced_motion": "reduce"} | options
        contexts.append(browser.new_context(**options))
        contexts[-1].set_default_timeout(1000 * SECONDS)
        opened = Opened(contexts[-1].new_page())
        own = (url, "data:", "blob:")
        contexts[-1].on("request", lambda asked: asked.url.startswith(own) or opened.elsewhere.append(asked.url))
        opened.page.on("console", lambda message: opened.messages.append(message.text))
        opened.page.on("pageerror", lambda error: opened.messages.append(str(error)))
        opened.page.goto(url)
        opened.page.locator("#decides:not(:empty)").wait_for()
        return opened

    yield visit
    for context in contexts:
        context.close()


def photo(name: str, data: bytes | None = None) -> dict[str, object]:
    return {"name": name, "mimeType": "image/png", "buffer": data or png()}


def test_a_chosen_photo_is_followed_to_its_report(app, visit):
    app.finder.gate.clear()
    opened = visit(app.url)
    page = opened.page
    page.set_input_files("#files", [photo("beach.png"), photo("tower.png")])
    opened.reaches("beach.png", "Looking for candidates")
    opened.reaches("tower.png", "Waiting, 1 before it")
    assert page.locator("progress:visible").count() == 2
    app.finder.gate.set()
    for name in ("beach.png", "tower.png"):
        opened.reaches(name, "Lisbon, Portugal · ")
    assert page.locator("progress:visible").count() == 0
    assert page.locator("#result .verdict h1").inner_text() == "Lisbon, Portugal"
    assert page.locator("#result .candidate").count() == 2
    assert page.locator("#result figcaption").inner_text().startswith("beach.png")
    assert re.fullmatch(r"\w+\.png: Lisbon, Portugal · .*\.", page.locator("#said").inner_text())
    page.get_by_role("button", name="Show: tower.png").click()
    page.locator("#result figcaption", has_text="tower.png").wait_for()
    page.get_by_role("button", name="All on one map").click()
    assert page.locator("#result .verdict h1").inner_text() == "2 of 2 photos have a place"
    assert (opened.elsewhere, opened.messages) == ([], [])


def test_all_photos_are_taken_along_in_one_file(app, visit):
    """The same files as a folder's report has."""
    opened = visit(app.url)
    page, names = opened.page, ("beach.png", "<&>.png", "tower.png")
    for name in names:
        page.set_input_files("#files", [photo(name)])
        opened.reaches(name, "Lisbon, Portugal")
    page.get_by_role("button", name="All on one map").click()
    page.locator("#result .verdict h1", has_text="3 of 3 photos").wait_for()
    entries = [told(dict(entry(Located(name, located())))) for name in names]
    texts = {}
    for kind in ("GeoJSON", "KML"):
        with page.expect_download() as download:
            page.locator("#result").get_by_role("button", name=kind, exact=True).click()
        texts[kind.lower()] = Path(download.value.path()).read_text(encoding="utf-8")
    expected = map_files(entries, TITLE)
    assert json.loads(texts["geojson"]) == json.loads(expected["geojson"])
    assert canonicalize(texts["kml"]) == canonicalize(expected["kml"])
    assert opened.messages == []


def test_a_photo_is_pasted(app, visit):
    opened = visit(app.url, permissions=["clipboard-read", "clipboard-write"])
    page = opened.page
    page.evaluate(
        """async () => {
            const canvas = Object.assign(document.createElement("canvas"), { width: 30, height: 20 });
            canvas.getContext("2d").fillRect(0, 0, 9, 9);
            const picture = await new Promise((done) => canvas.toBlob(done));
            await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
        }"""
    )
    page.keyboard.press("Control+V")
    opened.reaches("image.png", "Lisbon, Portugal")
    assert app.finder.asked[0][0] == (30, 20)
    page.evaluate("navigator.clipboard.writeText('a text')")
    page.keyboard.press("Control+V")
    page.locator("#said", has_text="no photo on the clipboard").wait_for(state="attached")
    assert opened.messages == []


def test_photos_are_dropped(app, visit):
    opened = visit(app.url)
    dropped = opened.page.evaluate_handle(
        """(bytes) => {
            const files = new DataTransfer();
            for (const name of ["a.png", "b.png"]) files.items.add(new File([new Uint8Array(bytes)], name));
            return files;
        }""",
        list(png()),
    )
    opened.page.dispatch_event("#drop", "dragenter", {"dataTransfer": dropped})
    assert "over" in opened.page.locator("#drop").get_attribute("class")
    opened.page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
    for name in ("a.png", "b.png"):
        opened.reaches(name, "Lisbon, Portugal")


def test_the_keyboard_is_enough(app, visit):
    opened = visit(app.url)
    page = opened.page

    def focused() -> str:
        return page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.id")

    def tab_to(name: str) -> None:
        for _ in range(30):
            page.keyboard.press("Tab")
            if focused() == name:
                return
        raise AssertionError(f"no {name}")

    choosers = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    tab_to("files")
    outline = "getComputedStyle(document.querySelector('.choose')).outlineStyle"
    assert page.evaluate(outline) == "solid"  # it can be seen where one is
    page.keyboard.press("Enter")
    for _ in range(50 * SECONDS):
        if choosers:
            break
        page.wait_for_timeout(20)
    choosers[0].set_files([photo("a.png"), photo("b.png")])
    for name in ("a.png", "b.png"):
        opened.reaches(name, "Lisbon, Portugal")
    tab_to("Show: b.png")
    page.keyboard.press("Enter")
    page.locator("#result figcaption", has_text="b.png").wait_for()
    assert page.evaluate("document.activeElement.tagName") == "H1"
    page.locator("#files").focus()
    tab_to("Remove: a.png")
    page.keyboard.press("Space")
    assert page.locator(".asked-photo").count() == 1
    assert focused() == "Remove: b.png"  # not lost with what it stood on


def test_settings_reach_the_photo(app, visit):
    opened = visit(app.url)
    page = opened.page
    page.locator("summary", has_text="Settings").click()
    page.get_by_label("guesses", exact=True).uncheck()
    page.get_by_label("Decide by").select_option("consensus")
    page.get_by_label("Smallest confidence").fill("99")
    page.get_by_label("within").select_option("25")
    page.set_input_files("#files", [photo("beach.png")])
    opened.reaches("beach.png", "Not sure")
    assert opened.state("beach.png").inner_text() == "Not sure"
    ((_, settings),) = app.finder.asked
    expected = {"sources": ["gallery"], "generate": 3, "decode": "consensus", "min_confidence": 0.99, "within": 25}
    assert settings.model_dump() == expected
    page.get_by_label("Guesses", exact=True).fill("99")
    page.set_input_files("#files", [photo("other.png")])
    assert page.locator(".asked-photo").count() == 1  # the field says what is wrong with it
    page.locator("summary", has_text="Settings").click()
    page.set_input_files("#files", [photo("other.png")])
    page.locator("#settings").wait_for()  # also where it was folded away
    page.get_by_label("Guesses", exact=True).fill("3")
    for box in page.locator("#sources input:checked").all():
        box.uncheck()
    page.set_input_files("#files", [photo("other.png")])
    assert page.locator(".asked-photo").count() == 1  # no source is not the same as every source
    page.locator("#sources input").last.check()
    page.set_input_files("#files", [photo("other.png")])
    opened.reaches("other.png", "Not sure")


def test_photos_wait_until_the_app_has_said_what_it_offers(app, visit):
    opened, held = visit(app.url), []
    page = opened.page
    page.route("**/api/options", lambda route: held.append(route))
    page.reload()
    page.set_input_files("#files", [photo("beach.png"), photo("tower.png")])
    page.locator("#alert", has_text="Not sent yet: 2 photos.").wait_for()
    held.pop().continue_()
    for name in ("beach.png", "tower.png"):
        opened.reaches(name, "Lisbon, Portugal")
    page.locator("#alert:empty").wait_for(state="attached")
    page.reload()
    page.set_input_files("#files", [photo("beach.png")])
    page.locator("#alert", has_text="Not sent yet: beach.png.").wait_for()
    held.pop().abort()
    page.locator("#alert", has_text="Not sent: beach.png. The app does not answer: load this page again.").wait_for()
    assert page.locator(".asked-photo").count() == 0


@pytest.mark.parametrize(
    ("demand", "shown", "typed"), [(None, "", "0.5"), (0.55, "55", "0.5"), (0.995, "99.5", "100.5"), (0.0, "0", "-1")]
)
def test_the_smallest_confidence_is_a_percentage(visit, demand, shown, typed):
    finder = StubFinder()
    finder.offer = replace(finder.offer, demand=Demand.of(demand, 25))
    with app_served(finder) as app:
        page = visit(app.url).page
        page.locator("summary", has_text="Settings").click()
        field = page.get_by_label("Smallest confidence")
        assert field.input_value() == shown
        assert field.evaluate("field => field.checkValidity()")
        field.fill(typed)
        assert not field.evaluate("field => field.checkValidity()")


def test_no_confidence_is_asked_for_where_none_is_known(visit):
    finder = StubFinder()
    finder.offer = replace(finder.offer, knows=False)
    with app_served(finder) as app:
        opened = visit(app.url)
        opened.page.locator("summary", has_text="Settings").click()
        assert opened.page.get_by_label("Decide by").is_visible()
        assert not opened.page.get_by_label("Smallest confidence").is_visible()
        opened.page.set_input_files("#files", [photo("beach.png")])
        opened.reaches("beach.png", "Lisbon, Portugal")
        refused = app.ask(min_confidence="0.5")
        assert (refused.status_code, refused.json()["error"][:15]) == (422, "min_confidence:")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 768])
def test_nothing_is_cut_off_on_small_screens(app, visit, width, scheme):
    opened = visit(app.url, width, color_scheme=scheme)
    page = opened.page
    page.locator("summary", has_text="Settings").click()
    page.set_input_files("#files", [photo(f"{'a_long_name' * 8}.png"), photo("broken.png", b"no photo")])
    opened.reaches("a_long", "Lisbon, Portugal")
    opened.reaches("broken.png", "No place: ")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(251, 250, 248)") == (scheme == "light")


def test_what_cannot_be_read_costs_only_itself(app, visit):
    opened = visit(app.url)
    large = photo("large.png", png() + bytes(2**20))
    hostile = photo("<img src=x onerror=alert(1)>.png", b"no photo")
    opened.page.set_input_files("#files", [photo("broken.png", b"no photo"), large, hostile, photo("good.png")])
    opened.reaches("broken.png", "No place: not an image of a known format")
    opened.reaches("large.png", "No place: it is larger than 1 MB")
    opened.reaches("<img src=x onerror=alert(1)>.png", "No place: ")
    opened.reaches("good.png", "Lisbon, Portugal")
    assert len(app.finder.asked) == 1
    assert opened.messages == []
    assert opened.page.locator("[data-do=again]:visible").count() == 0  # which would change nothing
    app.finder.failing = MemoryError()
    opened.page.set_input_files("#files", [photo("unlucky.png")])
    opened.reaches("unlucky.png", "No place: the photo does not fit into memory")
    app.finder.failing = None
    opened.page.get_by_role("button", name="Try again: unlucky.png").click()
    opened.reaches("unlucky.png", "Lisbon, Portugal")


def test_photos_that_have_ended_before_the_page_hears_that_they_were_taken(app, visit):
    opened = visit(app.url)

    def ends_first(route) -> None:
        answered = route.fetch()
        app.ended(answered.json()["id"])
        route.fulfill(response=answered, json=app.client.get(f"/api/jobs/{answered.json()['id']}").json())

    opened.page.route("**/api/jobs", ends_first)
    opened.page.set_input_files("#files", [photo("broken.png", b"no photo"), photo("beach.png"), photo("tower.png")])
    opened.reaches("broken.png", "No place: not an image of a known format")
    for name in ("beach.png", "tower.png"):
        opened.reaches(name, "Lisbon, Portugal · ")
    assert opened.messages == []


def test_ten_photos_at_once_though_three_may_wait(visit):
    with app_served(max_queue=3) as app:
        app.server.jobs.seconds = 0.1  # a photo, by which it says when to come again
        opened = visit(app.url)
        opened.page.set_input_files("#files", [photo(f"{number}.png") for number in range(10)])
        for number in range(10):
            opened.reaches(f"{number}.png", "Lisbon, Portugal")
        assert len(app.finder.asked) == 10


def test_a_stopped_app_is_said_and_comes_back(visit):
    with app_served() as app:
        opened = visit(app.url)
        page = opened.page
        page.set_input_files("#files", [photo("first.png")])
        opened.reaches("first.png", "Lisbon, Portugal")
        app.finder.gate.clear()
        page.set_input_files("#files", [photo("second.png")])
        opened.reaches("second.png", "Looking for candidates")
        port = app.server.listening.getsockname()[1]
    page.locator("#alert", has_text="The app does not answer").wait_for()
    assert page.locator("#result .verdict h1").inner_text() == "Lisbon, Portugal"
    page.get_by_role("button", name="Save report: first.png").click()
    page.locator("#alert", has_text="The report of first.png cannot be saved").wait_for()
    page.set_input_files("#files", [photo("third.png")])
    opened.reaches("third.png", "Waits to be sent")
    with app_served(port=port):
        opened.reaches("third.png", "Lisbon, Portugal")
        opened.reaches("second.png", "No place: ")
        page.get_by_role("button", name="Try again: second.png").click()
        opened.reaches("second.png", "Lisbon, Portugal")
        page.locator("#alert:empty").wait_for(state="attached")
    assert opened.elsewhere == []


def test_photos_of_a_page_that_is_gone_are_dropped(app, visit):
    app.finder.gate.clear()
    opened = visit(app.url)
    opened.page.set_input_files("#files", [photo("a.png"), photo("b.png")])
    opened.reaches("b.png", "Waiting")
    opened.page.goto("about:blank")
    until(lambda: not app.server.jobs.known)
    assert not app.server.jobs.waiting


def test_a_report_is_saved_that_needs_nothing(app, visit, tmp_path: Path):
    opened = visit(app.url)
    page = opened.page
    page.set_input_files("#files", [photo("beach.png")])
    opened.reaches("beach.png", "Lisbon, Portugal")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save report: beach.png").click()
    assert download.value.suggested_filename == "beach.html"
    download.value.save_as(tmp_path / "beach.html")
    page.goto((tmp_path / "beach.html").as_uri())
    assert page.locator("h1").inner_text() == "Lisbon, Portugal"
