import ast
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from compile_prediction_candidates import main
from utils.tables.candidate_table import read_candidate_table
from utils.tables.generation_table import write_generation_table
from utils.tables.retrieval_table import RetrievalRow, write_retrieval_table


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
    assert "1 answers name no usable place" in capsys.readouterr().err


def test_similarities_are_those_of_the_search_that_is_named(root: Path) -> None:
    (root / "full").mkdir()
    for name in ("retrieval.csv", "I.npy"):
        shutil.copy(root / name, root / "full" / name)
    np.save(root / "full" / "S.npy", np.array([[0.9, 0.8], [0.7, 0.6]], dtype=np.float32))
    named = ["--retrieval_path", str(root / "full" / "retrieval.csv"), "--index_path", str(root / "full" / "I.npy")]
    assert main(named) == 0
    queries, _ = read_candidate_table(root / "candidates.csv", topn=2, topn_zs=0)
    assert [[c.similarity for c in query.candidates] for query in queries] == [
        pytest.approx([0.9, 0.8]),
        pytest.approx([0.7, 0.6]),
    ]


def test_a_gallery_without_an_index_array_is_refused(root: Path) -> None:
    (root / "I.npy").unlink()
    (root / "gallery.csv").write_text("IMG_ID,LAT,LON\n")
    with pytest.raises(SystemExit, match=r"--gallery: no use without .*I\.npy"):
        main(["--gallery", str(root / "gallery.csv")])


def test_the_result_is_the_released_table(root: Path) -> None:
    """Column by column and literal by literal, read as the published code reads it."""
    (root / "S.npy").unlink()
    assert main([]) == 0
    table = pd.read_csv(root / "candidates.csv")
    names = ["", "Bern", "", "", "", ""]
    assert table["IMG_ID"].tolist() == ["a.jpg", "b.jpg"]
    assert table[["LAT", "LON"]].to_numpy().tolist() == [[1, 2], [3, 4]]
    assert {column: table[column].map(ast.literal_eval).tolist() for column in table.columns[3:]} == {
        "candidate_gps_lis": [[(2.5, 10.0), (0.5, 10.0)], [(1.5, 10.0), (2.5, 10.0)]],
        "candidate_text_lis": [[names, names]] * 2,
        "candidate_img_lis": [["g2", "g0"], ["g1", "g2"]],
        "reverse_gps_lis": [[(1.5, 10.0)], [(0.5, 10.0)]],
        "zs_gps_lis": [[(5.5, 6.5)], [(7.0, 8.0)]],
    }
    assert table.columns[:3].tolist() == ["IMG_ID", "LAT", "LON"]


def test_released_files_and_ones_own_guesses(root: Path) -> None:
    """No retrieval table is released: the released candidate table stands in, and is left as it is."""
    assert main([]) == 0
    (root / "candidates.csv").rename(root / "im2gps3k.csv")
    (root / "retrieval.csv").unlink()
    (root / "generation.csv").rename(root / "llm_predict_results_zs_gpt.csv")
    released = (root / "im2gps3k.csv").read_bytes()
    assert main([]) == 0
    assert (root / "im2gps3k.csv").read_bytes() == (root / "candidates.csv").read_bytes() == released
    (root / "llm_predict_results_zs_qwen.csv").touch()
    with pytest.raises(SystemExit, match=r"gpt\.csv, .*qwen\.csv: say with --generation_path"):
        main([])
    assert main(["--generation_path", str(root / "llm_predict_results_zs_gpt.csv")]) == 0


def test_names_are_filled_offline(root: Path, capsys) -> None:
    (root / "I.npy").unlink()
    assert main(["--fill_names"]) == 0
    assert "4 candidates without a name are named after the nearest populated place" in capsys.readouterr().err
    (first, _), _ = read_candidate_table(root / "candidates.csv", topn=2, topn_zs=1)
    assert all(candidate.texts for candidate in first.candidates[:2])


def test_nothing_there(root: Path) -> None:
    (root / "retrieval.csv").unlink()
    with pytest.raises(SystemExit, match=r"im2gps3k\.csv does not exist .*--retrieval_path[^$]*git clone"):
        main([])
    with pytest.raises(SystemExit, match=r"yfcc4k\.csv does not exist .*YFCC4K"):
        main(["--root_path", "dataset/yfcc4k"])


def test_only_the_retrieval_table_is_needed(root: Path, capsys) -> None:
    for name in ("I.npy", "S.npy", "generation.csv"):
        (root / name).unlink()
    assert main([]) == 0
    output = capsys.readouterr().err
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
