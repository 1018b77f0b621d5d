"""The page: one HTML text with all that it needs inside."""

import html
import os
from collections.abc import Sequence
from string import Template

from utils.jobs.files import atomic_path
from utils.page import assets
from utils.page.entry import Entry
from utils.page.features import features
from utils.page.map_files import geojson, kml
from utils.page.policy import content_security_policy

TITLE = "Where were these photos taken?"


def report_page(entries: Sequence[Entry], title: str | None = None) -> str:
    """The page of some photos (``entry``), which needs no other file and asks nobody for anything.

    It weighs 0.5 MB at most, and its photos and what is said of them: see ``Sizes``.
    """
    rankings = [entry["ranking"] for entry in entries]
    places = [ranking["prediction"] for ranking in rankings if "prediction" in ranking]
    title = title or (
        f"Where was {entries[0]['name']} taken?" if len(entries) == 1 else "Where were these photos taken?"
    )
    found = features(rankings)
    style, script = assets.style(), assets.script(assets.START)
    parts = {
        "policy": html.escape(content_security_policy([style], [script])),
        "title": html.escape(title),
        "style": style,
        "text": html.escape("\n".join(map(_in_text, entries))),
        "templates": assets.templates(),
        "world": assets.json_text(assets.world([(place["latitude"], place["longitude"]) for place in places])),
        "entries": assets.json_text(list(entries)),
        "files": assets.json_text({"geojson": geojson(found), "kml": kml(found, title)}),
        "script": script,
    }
    page = Template((assets.HERE / "report.html").read_text(encoding="utf-8")).substitute(parts)
    # Names of files need not be text: what is none becomes a question mark.
    return page.encode("utf-8", errors="replace").decode("utf-8")


def write_report(path: str | os.PathLike, entries: Sequence[Entry]) -> None:
    """Write the page, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(report_page(entries), encoding="utf-8")


def _in_text(entry: Entry) -> str:
    """What was found of a photo, for readers without JavaScript."""
    verdict = entry["verdict"]
    said = [verdict["before"], verdict["title"], entry.get("point"), verdict["below"]]
    places = enumerate(entry["ranking"].get("candidates", ()), start=1)
    rows = [f"  {number}. {100 * place['share']:.1f}% {place['place']}" for number, place in places]
    return "\n".join([f"{entry['name']}: {'. '.join(filter(None, said))}", *rows])
