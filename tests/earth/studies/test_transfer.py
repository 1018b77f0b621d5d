import json

import numpy as np
import pytest
from geopy.distance import geodesic, great_circle

from earth.studies import transfer
from earth.studies.decoders import CHOSEN_BY_KM
from utils.tables.retrieval_table import RetrievalRow, write_retrieval_table


def retrieval_table(path, queries, seed, far=10.0):
    """A retrieval table whose candidates lie around the truth, the first ones more often near."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(queries):
        truth = random.uniform([-60, -160], [60, 160])
        spread = np.where(random.uniform(size=(8, 1)) < 0.5, 0.3, far) * np.linspace(0.5, 2, 8)[:, None]
        points = (truth + spread * random.normal(size=(8, 2))).clip([-89, -179], [89, 179])
        rows.append(
            RetrievalRow(number, f"q{seed}-{number}", *truth.tolist(), dict(enumerate(map(tuple, points.tolist()))))
        )
    write_retrieval_table(path, rows)
    return rows


@pytest.fixture
def tables(tmp_path):
    return retrieval_table(tmp_path / "val.csv", 40, 0), retrieval_table(tmp_path / "photos.csv", 50, 1)


def run(folder, *extra):
    flags = ["--val", str(folder / "val.csv"), "--candidates", str(folder / "photos.csv")]
    code = transfer.main([*flags, "--topn", "6", "--output", str(folder / "out" / "transfer.json"), *extra])
    return code, json.loads((folder / "out" / "transfer.json").read_text())


def brute_force(rows, scale_km, ranks):
    """Errors in km of the consensus, by its definition."""
    found = []
    for row in rows:
        places = [row.candidates[rank] for rank in range(6)]
        weights = [np.exp(-rank / ranks) for rank in range(6)]
        sums = [
            sum(w * np.exp(-great_circle(a, b).km / scale_km) for b, w in zip(places, weights, strict=True))
            for a in places
        ]
        found.append(geodesic((row.latitude, row.longitude), places[int(np.argmax(sums))]).km)
    return np.array(found)


def test_result_against_brute_force(tmp_path, tables, capsys):
    validation, photos = tables
    code, result = run(tmp_path)
    assert code == 0
    assert result["num_queries"] == 50
    for name, ranks in (("consensus_equal", np.inf), ("rank_consensus", None)):
        chosen = result["chosen"][name]
        ranks = ranks or chosen["temperature"]
        distances = brute_force(photos, chosen["scale_km"], ranks)
        expected = [100 * np.mean(distances < km) for km in (1, 25, 200, 750, 2500)]
        assert list(result["rankers"][name]["accuracy"].values()) == pytest.approx(expected)
        best = max(
            np.mean([np.mean(brute_force(validation, scale, ranks) < km) for km in CHOSEN_BY_KM])
            for scale in (25, 50, 100, 200, 400, 800)
        )
        own = np.mean([np.mean(brute_force(validation, chosen["scale_km"], ranks) < km) for km in CHOSEN_BY_KM])
        assert own == pytest.approx(best)
    first = [geodesic((row.latitude, row.longitude), row.candidates[0]).km for row in photos]
    assert result["rankers"]["first"]["median_km"] == pytest.approx(np.median(first))
    nearest = [
        min(geodesic((row.latitude, row.longitude), row.candidates[rank]).km for rank in range(6)) for row in photos
    ]
    assert result["rankers"]["oracle"]["median_km"] == pytest.approx(np.median(nearest))
    printed = capsys.readouterr().out
    assert "50 queries, first 6 candidates" in printed
    assert "rank_consensus - first" in printed


def test_what_is_chosen_does_not_depend_on_the_photos(tmp_path, tables):
    _, one = run(tmp_path)
    retrieval_table(tmp_path / "photos.csv", 50, 2, far=0.1)
    _, other = run(tmp_path)
    assert one["chosen"] == other["chosen"]
    assert one["sha256"]["val"] == other["sha256"]["val"]
    assert one["sha256"]["candidates"] != other["sha256"]["candidates"]


def test_a_bad_row_costs_only_itself(tmp_path, tables, capsys):
    path = tmp_path / "photos.csv"
    lines = path.read_text().splitlines()
    lines[3] = "q2,95.0,0.0" + lines[3][lines[3].index(',"') :]
    path.write_text("\n".join(lines) + "\n")
    code, result = run(tmp_path)
    assert code == 1
    assert result["num_queries"] == 49
    assert "photos.csv: row 2 (q2)" in capsys.readouterr().err


def test_ranks_are_positions_of_the_search_result(tmp_path):
    """A candidate that was dropped leaves its rank empty, and one beyond --topn is not read."""
    rows = [RetrievalRow(0, "q0", 1.0, 2.0, {0: (1.0, 2.0), 2: (3.0, 4.0), 7: (5.0, 6.0)})]
    write_retrieval_table(tmp_path / "table.csv", [*rows, RetrievalRow(1, "q1", 0.0, 0.0, {6: (0.0, 0.0)})])
    cases, problems = transfer.ranked_cases(tmp_path / "table.csv", 6)
    assert [case.rewards.tolist() for case in cases] == [[0, -2]]
    assert any("(q1): no usable candidate among 6" in problem for problem in problems)


def test_nonsense_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        transfer.main(["--candidates", "table.csv", "--topn", "0"])
    assert "at least 1" in capsys.readouterr().err
