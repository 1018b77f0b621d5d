from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from compile_prediction_candidates import main
from utils.candidates import read_candidate_table
from utils.tables import RetrievalRow, write_generation_table, write_retrieval_table


@pytest.fixture
def root(tmp_path: Path, monkeypatch) -> Path:
    """The published layout: two queries with two candidates each."""
    monkeypatch.chdir(tmp_path)
    root, gallery = tmp_path / "dataset" / "im2gps3k", tmp_path / "dataset" / "mp16-pro"
    gallery.mkdir(parents=True)
    metadata = pd.DataFrame({"IMG_ID": ["g0", "g1", "g2"], "LAT": [0.5, 1.5, 2.5], "LON": 10.0, "city": "Bern"})
    metadata.to_csv(gallery / "MP16_Pro_filtered.csv", index=False)
    rows = [
        RetrievalRow(0, "a.jpg", 1.0, 2.0, {0: (2.5, 10.0), 1: (0.5, 10.0)}, {0: (1.5, 10.0)}),
        RetrievalRow(1, "b.jpg", 3.0, 4.0, {0: (1.5, 10.0), 1: (2.5, 10.0)}, {0: (0.5, 10.0)}),
    ]
    write_retrieval_table(root / "retrieval.csv", rows)
    np.save(root / "I.npy", np.array([[2, 0], [1, 2]]))
    np.save(root / "S.npy", np.array([[0.75, 0.5], [0.25, 0.125]], dtype=np.float32))
    queries = pd.DataFrame({"IMG_ID": ["a.jpg", "b.jpg"], "LAT": 0, "LON": 0})
    answers = {"a.jpg": ["5.5 N, 6.5 E", "?"], "b.jpg": ['{"latitude": 7, "longitude": 8}']}
    write_generation_table(root / "generation.csv", queries, answers)
    return root


def test_published_command_joins_all_files(root: Path, capsys) -> None:
    assert main([]) == 0
    queries, problems = read_candidate_table(root / "candidates.csv", topn=2, topn_zs=1)
    assert not problems
    first, second = queries
    assert (first.image, first.latitude, first.longitude) == ("a.jpg", 1.0, 2.0)
    assert [(c.latitude, c.image, c.texts, c.similarity, c.source) for c in first.candidates] == [
        (2.5, "g2", ("Bern",), 0.75, "retrieval"),
        (0.5, "g0", ("Bern",), 0.5, "retrieval"),
        (5.5, None, (), None, "generation"),
    ]
    assert [candidate.image for candidate in second.candidates] == ["g1", "g2", None]
    assert pd.read_csv(root / "candidates.csv")["reverse_gps_lis"][0] == "[(1.5, 10.0)]"
    assert "1 answers name no usable place" in capsys.readouterr().out


def test_only_the_retrieval_table_is_needed(root: Path, capsys) -> None:
    for name in ("I.npy", "S.npy", "generation.csv"):
        (root / name).unlink()
    assert main([]) == 0
    output = capsys.readouterr().out
    for absence in ("no photos and no place names", "no similarities", "no generated candidates"):
        assert absence in output
    (first, _), _ = read_candidate_table(root / "candidates.csv", topn=2, topn_zs=1)
    assert [(c.latitude, c.image, c.texts, c.similarity) for c in first.candidates] == [
        (2.5, None, (), None),
        (0.5, None, (), None),
    ]


def test_a_file_that_was_named_must_exist(root: Path) -> None:
    with pytest.raises(SystemExit, match=r"absent\.npy"):
        main(["--similarity_path", str(root / "absent.npy")])


def test_unusable_rows_are_named(root: Path, capsys) -> None:
    table = pd.read_csv(root / "retrieval.csv")
    table["candidate_1_gps"] = table["candidate_1_gps"].where(table["IMG_ID"] == "b.jpg", "[nan, 3]")
    table.to_csv(root / "retrieval.csv", index=False)
    generation = pd.read_csv(root / "generation.csv")
    generation[generation["IMG_ID"] == "a.jpg"].to_csv(root / "generation.csv", index=False)
    assert main([]) == 1
    message = capsys.readouterr().err
    assert "candidate_1_gps" in message
    assert f"b.jpg: not in {Path('dataset/im2gps3k/generation.csv')}" in message
    (first, second), _ = read_candidate_table(root / "candidates.csv", topn=2, topn_zs=1)
    assert [candidate.image for candidate in first.candidates] == ["g2", None]
    assert [candidate.similarity for candidate in second.candidates] == [0.25, 0.125]
