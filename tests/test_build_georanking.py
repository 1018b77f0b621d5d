import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import retrieve_candidates
from build_georanking import main
from utils.tables.generation_table import write_generation_table
from utils.tables.retrieval_table import RetrievalRow, write_retrieval_table
from utils.training.georanking import read_georanking


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


def test_queries_of_a_gallery(tmp_path: Path, tiny_base: Path, make_image, capsys) -> None:
    """Two photos are the same picture 10 m apart; each of the owners x and y has one of the others."""
    for number in range(8):
        make_image(24, 24, min(number, 6)).save(tmp_path / f"g{number}.png")
    metadata = pd.DataFrame({"IMG_ID": [f"g{number}.png" for number in range(8)], "LAT": 1.0 * np.arange(8)})
    metadata["LON"], metadata["author"], metadata["country"] = 10.0, [*"xyxyxy", "", ""], "Kenya"
    metadata.loc[7, "LAT"] = 6.0001
    metadata.to_csv(tmp_path / "metadata.csv", index=False)
    index = f"--index {tmp_path}/index"
    build = f"build --gallery {tmp_path}/metadata.csv --image_data_path {tmp_path} --model {tiny_base} {index}"
    assert retrieve_candidates.main([*build.split(), "--workers", "0"]) == 0

    def rows(*flags: str) -> dict[str, list[str]]:
        result = tmp_path / "georanking.parquet"
        assert main([*index.split(), "--result_path", str(result), *flags]) == 0
        rows, problems = read_georanking(result)
        assert not problems
        assert all(row.ref_texts == [["Kenya"]] * len(row.ref_img_id) for row in rows)
        return {row.img_id: row.ref_img_id for row in rows}

    found = rows("--num_rows", "8", "--references", "6")
    assert "8 rows" in capsys.readouterr().out
    assert found.keys() == set(metadata["IMG_ID"])
    assert all(ids[0] == query and len(set(ids)) == 7 for query, ids in found.items())
    assert "g7.png" not in found["g6.png"]
    assert "g6.png" not in found["g7.png"]
    assert found["g6.png"][1:] == found["g7.png"][1:]
    some = rows("--num_rows", "3", "--references", "6", "--seed", "0")
    assert list(some.items()) == list(found.items())[:3]
    assert list(rows("--num_rows", "8", "--references", "6", "--seed", "1")) != list(found)
    apart = rows("--num_rows", "8", "--references", "5", "--owner_column", "author")
    assert not {"g0.png", "g4.png"} & set(apart["g2.png"][1:])
    added = metadata.iloc[:2].assign(IMG_ID=["h0.png", "h1.png"], LAT=[20.0, 30.0])
    added.to_csv(tmp_path / "added.csv", index=False)
    for number in range(2):
        make_image(24, 24, 20 + number).save(tmp_path / f"h{number}.png")
    add = f"add --gallery {tmp_path}/added.csv --image_data_path {tmp_path} {index} --workers 0"
    shutil.copytree(tmp_path / "index", tmp_path / "kept")
    assert retrieve_candidates.main(add.split()) == 0
    apart = rows("--num_rows", "10", "--references", "5", "--owner_column", "author")
    assert not {"g0.png", "g2.png", "g4.png"} & set(apart["h0.png"][1:])
    shutil.rmtree(tmp_path / "index")
    (tmp_path / "kept").rename(tmp_path / "index")
    everything = rows("--num_rows", "8", "--references", "7", "--copy_metres", "-1")
    assert everything["g6.png"][1] == "g7.png"
    with pytest.raises(SystemExit, match="9 rows of a gallery with 8"):
        main([*index.split(), "--result_path", str(tmp_path / "x.parquet"), "--num_rows", "9", "--references", "3"])


def test_flags_that_do_not_fit(capsys) -> None:
    for flags, message in (
        (["--root_path", "x"], "--root_path needs --gallery"),
        ([], "one of the arguments --root_path --index is required"),
        (["--root_path", "x", "--index", "y"], "not allowed with"),
        (["--root_path", "x", "--gallery", "g", "--seed", "0"], "--seed: no use with --root_path"),
        (["--index", "y", "--gallery", "g"], "--gallery: no use with --index"),
    ):
        with pytest.raises(SystemExit):
            main([*flags, "--result_path", "x.parquet"])
        assert message in capsys.readouterr().err


def test_a_missing_file_is_an_error(command: list[str]) -> None:
    (Path(command[1]) / "I.npy").unlink()
    with pytest.raises(SystemExit, match=r"I\.npy"):
        main(command)
