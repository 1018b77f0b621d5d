"""Every figure that a document marks as a result is the one in the stored result file.

A document marks a part between two comments, which GitHub does not show:

    <!-- results: earth-test.json -->
    | | 25 km | 200 km | median km |
    |---|---|---|---|
    | the ranker <!-- rankers.model.accuracy --> | 44.4 [41.5, 47.4] | 92.4 [90.7, 94.1] | 29 |
    | ranker - first <!-- paired_differences.model.retrieval.accuracy --> | +18.7 [+15.8, +21.7] | +29.7 | |

    Half of the surer answers, 65.8% <!-- selective.50.25 -->, lie within 25 km.
    <!-- end of results -->

The file lies in docs/results, written by ``python -m tools.store_result``. A comment behind a row's label is the path
of a table by distance in its ``metrics``. The column ``25 km`` is the key "25" there, and ``median km`` the value
beside it. In prose the path stands behind its figure. The interval of a figure is in the table whose name ends in
``_ci95``. A figure is right if it is the stored value, rounded to the decimals that are printed. In a marked part
every cell that has a number needs a path, and so does every number with a decimal point in prose; code is left alone.
"""

import json
import math
import re
from collections.abc import Iterator
from datetime import date

import pytest

import evaluate
from tests.commands import ROOT, split

RESULTS = ROOT / "docs" / "results"
FILES = sorted(RESULTS.glob("*.json"))
PART = re.compile(r"<!-- results: ([\w.-]+) -->\n(.*?)<!-- end of results -->", re.DOTALL)
NUMBER = r"[+-]?\d[\d,]*(?:\.\d+)?"
FIGURE = re.compile(rf"({NUMBER})(?: \[({NUMBER}), ({NUMBER})\])?")
PATH = r"<!-- ([\w.]+) -->"


def parts(text: str) -> list[tuple[str, str]]:
    """(result file, text) of every marked part."""
    assert text.count("<!-- results:") == text.count("<!-- end of results -->"), "a part has a beginning and an end"
    return PART.findall(text)


def figures(part: str) -> Iterator[tuple[str, str]]:
    """(path, figure as printed) of all figures of a part, tables first."""
    lines = part.splitlines()
    heading: list[str] = []
    for line in lines:
        if not line.startswith("|"):
            heading = []
        elif not heading:
            heading = cells(line)
        else:
            yield from row_figures(heading, cells(line))
    prose = re.sub(r"`[^`]*`", "", " ".join(word for line in lines if line[:1] != "|" for word in line.split()))
    tied = re.compile(rf"({FIGURE.pattern})%? ?{PATH}")
    yield from ((match[5], match[1]) for match in tied.finditer(prose))
    untied = re.findall(r"\d[\d,]*\.\d+", tied.sub("", prose))
    assert not untied, f"figures without a path: {untied}"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def row_figures(heading: list[str], row: list[str]) -> Iterator[tuple[str, str]]:
    label, *values = row
    path = re.search(PATH, label)
    for column, value in zip(heading[1:], values, strict=True):
        printed = value.replace("*", "")
        if not re.search(r"\d", printed):
            continue
        assert path, f"a row without a path: {label}"
        if column == "median km":
            yield f"{path[1].rpartition('.')[0]}.median_km", printed
        else:
            assert re.fullmatch(r"\d+ km", column), f"no such column: {column}"
            yield f"{path[1]}.{column.removesuffix(' km')}", printed


def look_up(metrics: dict, path: str) -> float:
    for key in path.split("."):
        metrics = metrics[key]
    return metrics


def is_right(metrics: dict, path: str, printed: str) -> bool:
    """Whether a figure, with its interval where it has one, is the stored one as it is rounded."""
    match = FIGURE.fullmatch(printed)
    assert match, f"no figure: {printed}"
    figure, *interval = [number for number in match.groups() if number]
    expected = [look_up(metrics, path)]
    if interval:
        table, _, key = path.rpartition(".")
        expected += look_up(metrics, f"{table}_ci95.{key}")
    return all(is_rounded(text, value) for text, value in zip([figure, *interval], expected, strict=True))


def is_rounded(printed: str, value: float) -> bool:
    half = 0.5 * 10.0 ** -len(printed.partition(".")[2])
    return math.isclose(float(printed.replace(",", "")), value, rel_tol=0, abs_tol=half + 1e-9)


def marked() -> list:
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [
        pytest.param(name, part, id=f"{document.relative_to(ROOT)}-{number}")
        for document in documents
        for number, (name, part) in enumerate(parts(document.read_text(encoding="utf-8")))
    ]


@pytest.mark.parametrize(("name", "part"), marked())
def test_figures_are_those_of_the_result_file(name, part):
    metrics = json.loads((RESULTS / name).read_text(encoding="utf-8"))["metrics"]
    found = list(figures(part))
    assert found
    wrong = [f"{printed}: {path}" for path, printed in found if not is_right(metrics, path, printed)]
    assert not wrong


def test_the_results_of_the_readme_are_marked():
    (results,) = re.findall(r"^## Results\n(.*?)^## ", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    tables = [line for line in PART.sub("", results).splitlines() if line.startswith("|")]
    assert parts(results)
    assert not tables, "a table of results outside of the marked parts"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_result_file_says_where_it_comes_from(file):
    stored = json.loads(file.read_text(encoding="utf-8"))
    assert stored.keys() == {"command", "machine", "date", "metrics"}
    assert date.fromisoformat(stored["date"])
    assert stored["machine"]
    script, words = split(stored["command"])
    assert script == "evaluate.py"
    settings, args = stored["metrics"]["settings"], vars(evaluate.parse_arguments(words))
    for name in ("dataset", "split", "ranker", "decode", "topn", "topn_zs", "merge_km", "num_queries", "model_path"):
        assert settings[name] == str(args[name]), name


METRICS = {
    "rankers": {
        "model": {"accuracy": {"25": 44.4, "200": 92.35}, "accuracy_ci95": {"25": [41.5, 47.4]}, "median_km": 28.8}
    }
}
TABLE = """| | 25 km | 200 km | median km |
|---|---|---|---|
| ours <!-- rankers.model.accuracy --> | **44.4** [41.5, 47.4] | 92.3 | 29 |

Of `0.5` all, 44% <!-- rankers.model.accuracy.25 --> or 92.35% <!-- rankers.model.accuracy.200 -->.
"""


def test_figures_are_found_and_compared():
    found = list(figures(TABLE))
    assert found == [
        ("rankers.model.accuracy.25", "44.4 [41.5, 47.4]"),
        ("rankers.model.accuracy.200", "92.3"),
        ("rankers.model.median_km", "29"),
        ("rankers.model.accuracy.25", "44"),
        ("rankers.model.accuracy.200", "92.35"),
    ]
    assert all(is_right(METRICS, path, printed) for path, printed in found)


@pytest.mark.parametrize("printed", ["44.3", "44.5", "45", "44.41", "44.4 [41.5, 47.5]", "44.4 [41.4, 47.4]"])
def test_another_figure_is_wrong(printed):
    assert not is_right(METRICS, "rankers.model.accuracy.25", printed)


@pytest.mark.parametrize(
    "part",
    [
        "Ours has 44.4% within 25 km.\n",
        TABLE.replace(" <!-- rankers.model.accuracy -->", ""),
        TABLE.replace("200 km", "GeoScore"),
    ],
)
def test_a_figure_without_a_path_is_an_error(part):
    with pytest.raises(AssertionError, match=r"without a path|no such column"):
        list(figures(part))


def test_a_part_without_an_end_is_an_error():
    with pytest.raises(AssertionError, match="a beginning and an end"):
        parts("<!-- results: earth-test.json -->\n44.4%\n")
