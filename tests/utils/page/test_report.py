"""The page as text: what it holds, and what must not be in it. How it looks and moves is in tests/browser."""

import html
import json
import re
from html.parser import HTMLParser

import pytest

from tests.located import HOSTILE, located, unknown, unsure
from utils.locating.results import ranking_json
from utils.page import assets
from utils.page.entry import Located, entry
from utils.page.links import MAPS
from utils.page.policy import source_hash
from utils.page.report import report_page, write_report


class Page(HTMLParser):
    """Elements with their attributes, and the texts of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, dict[str, str], str]] = []
        self.open: tuple[str, dict[str, str]] | None = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open = self.elements[-1] if tag in ("script", "style", "title") else None

    def handle_data(self, data):
        if self.open is not None:
            self.texts.append((*self.open, data))

    def handle_endtag(self, tag):
        self.open = None

    def text(self, tag: str, **attributes: str) -> str:
        return "".join(text for name, given, text in self.texts if name == tag and attributes.items() <= given.items())

    def held(self, name: str):
        return json.loads(self.text("script", id=name))


@pytest.fixture(scope="module")
def page() -> str:
    return report_page([entry(located())])


def test_it_holds_every_value_of_the_json(page):
    photo = located()
    ranking = Page(page).held("entries")[0]["ranking"]
    assert ranking == json.loads(json.dumps(ranking_json(photo.found, {"photo": photo.name}, photo.truth)))


def test_it_holds_the_files_to_download(page):
    files = Page(page).held("files")
    assert len(json.loads(files["geojson"])["features"]) == 8
    assert files["kml"].startswith("<?xml")


def test_it_says_in_text_what_was_found(page):
    text = html.unescape(re.search("<noscript>(.*?)</noscript>", page, re.DOTALL)[1])
    assert "photo.jpg: Probably within 200 km of this point (62%). Cascais, Portugal. 38.7000° N, 9.4200° W" in text
    assert "1. 50.0% Lisbon, Portugal" in text


def test_without_its_photos_it_weighs_less_than_500_kb(page):
    entries = [entry(Located(photo.name, photo.found, None, photo.truth)) for photo in (located(),)]
    assert len(report_page(entries).encode()) < 500_000
    assert len(page.encode()) < 500_000 + 40_000


def test_its_policy_allows_exactly_its_own_style_and_script(page):
    parsed = Page(page)
    (policy,) = (given["content"] for tag, given in parsed.elements if given.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data: blob:;")
    assert f"style-src {source_hash(parsed.text('style'))};" in f"{policy};"
    code = "".join(text for tag, given, text in parsed.texts if tag == "script" and "type" not in given)
    assert f"script-src {source_hash(code)};" in f"{policy};"
    assert "unsafe" not in policy
    # The policy stands before all that it is about.
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_nothing_in_it_needs_what_the_policy_forbids_or_loads_from_elsewhere(page):
    for tag, given in Page(page).elements:
        assert "style" not in given
        assert not [name for name in given if name.startswith("on")]
        for name in ("src", "srcset", "href", "data", "action", "poster"):
            assert given.get(name, "#") in ("#", "data:,"), (tag, given)
    style = Page(page).text("style")
    assert "url(" not in style
    assert "@import" not in style
    script = "".join(text for tag, given, text in Page(page).texts if tag == "script" and "type" not in given)
    for word in ("fetch(", "XMLHttpRequest", "WebSocket", "import(", "innerHTML", "eval(", "insertAdjacentHTML"):
        assert word not in script
    # Where links lead is data, and nothing else on the page has an address.
    hosts = set(re.findall(r"https?://([\w.-]+)", page))
    known = {re.match(r"https://([\w.-]+)", url)[1] for url in MAPS.values()}
    assert hosts == known | {"www.opengis.net"}


def test_names_of_files_and_places_stay_text():
    photo = located(HOSTILE, place=HOSTILE, ranker=HOSTILE, notes=(HOSTILE,), why_unknown=HOSTILE)
    text = report_page([entry(photo)])
    plain = report_page([entry(located())])
    tags = [[tag for tag, _ in Page(page).elements] for page in (text, plain)]
    assert tags[0] == tags[1]
    assert "<img src=x" not in text
    parsed = Page(text)
    assert HOSTILE in parsed.text("title")
    (found,) = parsed.held("entries")
    assert (found["name"], found["ranking"]["prediction"]["place"]) == (HOSTILE, HOSTILE)
    assert found["ranking"]["notes"] == [HOSTILE]
    for name in ("world", "entries", "files"):
        assert "<" not in parsed.text("script", id=name)


def test_a_name_that_is_no_text_can_be_written(tmp_path):
    write_report(tmp_path / "r.html", [entry(located("\udcff.jpg"))])
    assert Page((tmp_path / "r.html").read_text(encoding="utf-8")).held("entries")[0]["name"] == "?.jpg"


def test_several_photos_stand_on_one_page():
    photos = [located(), unsure(), unknown(), Located("x.jpg", ValueError("it is broken"))]
    text = report_page([entry(photo) for photo in photos])
    parsed = Page(text)
    assert parsed.text("title") == "Where were these photos taken?"
    states = [found["verdict"]["state"] for found in parsed.held("entries")]
    assert states == ["likely", "unsure", "unknown", "problem"]
    assert text.count('id="world"') == 1
    assert report_page([entry(photos[3])])
    assert report_page([])


def test_towns_around_the_answer_are_named(page):
    towns = Page(page).held("world")["towns"]
    names = {name: (latitude, longitude) for name, latitude, longitude in towns}
    assert {"Sintra", "Setúbal", "Tokyo"} <= names.keys()
    assert names["Sintra"] == pytest.approx((38.8, -9.4), abs=0.1)


def test_of_many_places_the_towns_of_the_earth_are_named_and_few_enough():
    near, far = (assets.towns([(-60.0 + n, 2.9 * n) for n in range(count)]) for count in (60, 61))
    assert len(near) < 60 * 120 + 500
    assert len(far) == 3000
    assert [town[0] for town in far[:3]] == [town[0] for town in near[:3]]
