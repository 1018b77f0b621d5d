"""The tables of docs/costs.md are those of the stored figures, and its pictures are there."""

import json

import pytest

from benchmarks.tables import growth_tables, locate_table, search_table
from tests.commands import ROOT

RESULTS = ROOT / "docs" / "results" / "costs"
TABLES = {
    "growth.json": lambda stored: growth_tables(stored["points"]),
    "search.json": lambda stored: search_table(stored["rows"]),
    "locate.json": lambda stored: locate_table(stored["rows"]),
}


def stored(name: str) -> dict:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_those_of_the_stored_figures(name):
    document = (ROOT / "docs" / "costs.md").read_text(encoding="utf-8")
    for table in TABLES[name](stored(name)).split("\n\n"):
        assert table in document


def test_every_stored_result_is_shown():
    assert {path.name for path in RESULTS.iterdir()} == TABLES.keys()


def test_what_was_measured_holds_what_it_must():
    """Facts that depend on no clock."""
    for point in stored("growth.json")["points"]:
        ours, naive = point["ours"], point["naive"]
        assert ours["tokens"] <= naive["tokens"]
        assert ours["tflops"] < naive["tflops"]
        assert point.get("max_reward_difference", 0) < 1e-4
    for row in stored("search.json")["rows"]:
        assert row["recall@20"] >= (1 if row["kind"] == "exact" else 0.95)
