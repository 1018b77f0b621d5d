from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from build_georanking import main
from utils.georanking import read_georanking
from utils.tables import RetrievalRow, write_generation_table, write_retrieval_table


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    root = tmp_path / "train"
    metadata = pd.DataFrame({"IMG_ID": ["g0", "g1"], "LAT": [0.5, 1.5], "LON": 10.0, "country": "Kenya"})
    metadata.to_csv(tmp_path / "gallery.csv", index=False)
    # Query b found nothing: it is in the metadata, but not in the results.
    rows = [
        RetrievalRow(0, "a.jpg", 0.0, 10.0, {0: (1.5, 10.0), 1: (0.5, 10.0)}),
        RetrievalRow(1, "c.jpg", 0.0, 12.0, {0: (0.5, 10.0), 1: (1.5, 10.0)}),
    ]
    write_retrieval_table(root / "retrieval.csv", rows)
    np.save(root / "I.npy", np.array([[1, 0], [0, 1]]))
    queries = pd.DataFrame({"IMG_ID": ["a.jpg", "b.jpg", "c.jpg"], "LAT": 0.0, "LON": 0.0, "city": ["A", "B", "C"]})
    queries.to_csv(root / "metadata.csv", index=False)
    write_generation_table(root / "generation.csv", queries, {"a.jpg": ["no"], "c.jpg": ["3.5 N, 4.5 E"]})
    result = tmp_path / "georanking.parquet"
    return f"--root_path {root} --gallery {tmp_path}/gallery.csv --result_path {result}".split()


def test_rows_start_with_the_query_and_are_reported(command: list[str], capsys) -> None:
    assert main(command) == 0
    result = Path(command[-1])
    (first, second), problems = read_georanking(result)
    assert not problems
    assert first.gps == (0.0, 10.0)
    assert first.ref_img_id == ["a.jpg", "g1", "g0"]
    assert first.ref_gps == [(0.0, 10.0), (1.5, 10.0), (0.5, 10.0)]
    assert first.ref_texts == [["A"], ["Kenya"], ["Kenya"]]
    assert second.ref_img_id == ["c.jpg", "g0", "g1"]
    assert second.ref_texts[0] == ["C"]
    assert first.zs_gps == second.zs_gps == []
    output = capsys.readouterr().out
    assert "2 rows" in output
    # (167 + 229) / 2 and (56 + 278) / 2 km
    assert output.splitlines()[-1].split()[:2] == ["0", "198"]
    before = result.read_bytes()
    main(command)
    assert result.read_bytes() == before


def test_guesses_can_be_added(command: list[str], capsys) -> None:
    generation = Path(command[1]) / "generation.csv"
    assert main([*command, "--generation_path", str(generation)]) == 1  # b has no answer
    assert "(b.jpg)" in capsys.readouterr().err
    (first, second), _ = read_georanking(command[-1])
    assert first.zs_gps == []
    assert second.zs_gps == [(3.5, 4.5)]


def test_a_missing_file_is_an_error(command: list[str]) -> None:
    (Path(command[1]) / "I.npy").unlink()
    with pytest.raises(SystemExit, match=r"I\.npy"):
        main(command)
