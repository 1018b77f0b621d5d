"""The page: one HTML text with all that it needs inside.

Another page shows the same with ``new Report(element, world).show(entries, files)`` of ``assets.script``, where it has
``assets.style`` and ``assets.templates``: ``world`` is ``assets.world``, ``entries`` are those of ``entry``, ``files``
those of ``map_files``, all as JSON, and its policy is ``content_security_policy`` of its own texts.
"""

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

TITLE = "Where were these photos taken?"  # of several


def report_page(entries: Sequence[Entry]) -> str:
    """The page of some photos (``entry``), which needs no other file and asks nobody for anything.

    It weighs 0.5 MB at most, and its photos and what is said of them: see ``Sizes``.
    """
    places = [entry["ranking"]["prediction"] for entry in entries if "prediction" in entry["ranking"]]
    title = f"Where was {entries[0]['name']} taken?" if len(entries) == 1 else TITLE
    style, script = assets.style(), assets.script(assets.START)
    parts = {
        "policy": html.escape(content_security_policy([style], [script])),
        "title": html.escape(title),
        "style": style,
        "text": html.escape(_in_text(entries)),
        "templates": assets.templates(),
        "world": assets.json_text(assets.world([(place["latitude"], place["longitude"]) for place in places])),
        "entries": assets.json_text(list(entries)),
        "files": assets.json_text(map_files(entries, title)),
        "script": script,
    }
    page = Template((assets.HERE / "report.html").read_text(encoding="utf-8")).substitute(parts)
    # Names of files need not be text: what is none becomes a question mark.
    return page.encode("utf-8", errors="replace").decode("utf-8")


def map_files(entries: Sequence[Entry], title: str) -> dict[str, str]:
    """What the page offers to take beside JSON: texts of a ``geojson`` and a ``kml`` file."""
    found = features([entry["ranking"] for entry in entries])
    return {"geojson": geojson(found), "kml": kml(found, title)}


def write_report(path: str | os.PathLike, entries: Sequence[Entry]) -> None:
    """Write the page, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(report_page(entries), encoding="utf-8")


def _in_text(entries: Sequence[Entry]) -> str:
    """What was found, for readers without JavaScript; of one photo with its candidates."""
    lines = []
    for entry in entries:
        verdict = entry["verdict"]
        said = [verdict["before"], verdict["title"], entry.get("point"), verdict["below"]]
        lines.append(f"{entry['name']}: {'. '.join(filter(None, said))}")
    if len(entries) == 1:
        places = enumerate(entries[0]["ranking"].get("candidates", ()), start=1)
        lines += [f"  {number}. {100 * place['share']:.1f}% {place['place']}" for number, place in places]
    return "\n".join(lines)
