"""The page's files are all that is served, and ask for nothing that is not there."""

import re

import pytest

from tests.served import app_served
from utils.web.pages import STATIC, static_files


@pytest.fixture(scope="module")
def app():
    with app_served() as served:
        yield served


def test_what_the_page_loads_is_there(app):
    page = app.client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    loaded = re.findall(r'(?:src|href)="([\w.]+)"', page.text)
    assert {"report.css", "app.css", "report.js", "app.js", "icon.svg"} <= set(loaded)
    imported = re.findall(r'from "\./([\w.]+)"', "".join(path.read_text() for path in STATIC.glob("*.js")))
    for name in {*loaded, *imported}:
        assert app.client.get(f"/{name}").status_code == 200, name
    assert app.client.get("/world.json").json().keys() == {"background", "outlines", "towns"}


@pytest.mark.parametrize("path", ["/", "/app.js", "/world.json"])
def test_what_is_there_can_be_asked_without_its_text(app, path):
    asked, got = app.client.head(path), app.client.get(path)
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["content-length"] == str(len(got.content))


def test_nothing_stands_inline_and_nothing_leads_elsewhere():
    for name, (content, _) in static_files().items():
        if name.startswith("report."):
            continue  # of utils/page, which links to other maps
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", content), name
        assert not re.search(r"\bon\w+=\"|style=\"|<style|javascript:|innerHTML|\beval\(", content), name
        assert not re.search(r"<script(?![^>]*src=)", content), name


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py",
        "/..%2f..%2fserver.py",
        "/static/app.js",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/app.js/",
        "/index.html%00",
    ],
)
def test_nothing_else_is_served(app, path):
    response = app.client.get(path)
    assert response.status_code == 404
    assert response.json() == {"error": "no such page"}
