"""A small gallery, built and searched in both ways."""

import json

import numpy as np
import pytest

from benchmarks import search
from benchmarks.fresh import Outcome
from benchmarks.work import search as work
from benchmarks.work.index import SyntheticEmbeddings


@pytest.fixture
def in_this_process(monkeypatch):
    """Nothing is imported anew; returns what was called."""
    called = []

    def call(function, environment=None, **arguments):
        called.append((function.__name__, arguments["kind"]))
        return Outcome(function(**json.loads(json.dumps(arguments))), 0.0, 1.0, 0.0)

    monkeypatch.setattr(work, "in_fresh_process", call)
    return called


def test_recall_is_that_of_the_exact_index(tmp_path, in_this_process, capsys):
    flags = ["--photos", "10000", "--dimension", "16", "--code_bytes", "4", "--queries", "12", "--quiet"]
    flags += ["--folder", str(tmp_path / "built"), "--output", str(tmp_path / "search.json")]
    assert search.main([*flags, "--picture", str(tmp_path / "search.png")]) == 0
    exact, compressed = json.loads((tmp_path / "search.json").read_text())["rows"]
    assert (exact["kind"], exact["recall@1"], exact["recall@20"]) == ("exact", 1, 1)
    assert 0.8 < compressed["recall@20"] <= 1
    assert (exact["bytes_per_photo"], compressed["bytes_per_photo"]) == (4 * 16 + 8, 4 + 8)
    assert exact["index_bytes"] == pytest.approx(10_000 * 4 * 16, rel=0.01)
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")
    assert "| 10,000 | exact | " in capsys.readouterr().out

    # The exact index finds what a product of matrices does.
    folder = next((tmp_path / "built").iterdir())
    embeddings = np.load(folder / "embeddings.npy").astype(np.float32)
    queries = SyntheticEmbeddings(10_000, 16).chunk(1)[:12]
    found = work.search(str(folder), "exact", 10_000, 16, 12)["rows"]
    # Ranked by distance, in which the rounding of float16 counts with the length.
    distances = ((queries[:, None] - embeddings) ** 2).sum(-1)
    assert [set(row) for row in found] == [set(row) for row in np.argsort(distances, axis=1)[:, :20].tolist()]

    assert in_this_process == [(step, kind) for kind in ("exact", "ivfpq") for step in ("build", "search")]
    assert search.main(flags) == 0
    assert in_this_process[4:] == [("search", "exact"), ("search", "ivfpq")]  # nothing is built again
