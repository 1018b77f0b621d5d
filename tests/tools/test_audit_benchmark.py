"""A miniature benchmark with one leak of each kind, from photos to the figures without them."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import evaluate
import retrieve_candidates
from tests.audited import as_jpeg, edge_crop, picture
from tests.world import RETRIEVED, build_world, flags
from tools.audit_benchmark import main
from utils.tables.leak_table import write_leaks

QUERIES = {
    "clean_1@N01.jpg": as_jpeg(picture(100), 90),
    "crop_2@N01.jpg": as_jpeg(edge_crop(picture(3)), 60),
    "g5.png": as_jpeg(picture(101), 90),  # has the id of another photo
    "owned_77@N02.jpg": as_jpeg(picture(102), 90),
    **{f"gone{number}.jpg": as_jpeg(picture(103), 50 + 10 * number) for number in range(5)},
    "broken.jpg": b"no photo",
}


@pytest.fixture
def world(tmp_path):
    """queries.csv, photos/, gallery.csv and gallery/ of twelve pictures."""
    for name in ("photos", "gallery"):
        (tmp_path / name).mkdir()
    for name, data in QUERIES.items():
        (tmp_path / "photos" / name).write_bytes(data)
    names = [f"g{number}.jpg" for number in range(10)] + ["one_77@N02.jpg", "two_77@N02.jpg"]
    for number, name in enumerate(names):
        (tmp_path / "gallery" / name).write_bytes(as_jpeg(picture(number), 90))
    for table, ids in (("queries", QUERIES), ("gallery", names)):
        pd.DataFrame({"IMG_ID": list(ids), "LAT": 1.0, "LON": 2.0}).to_csv(tmp_path / f"{table}.csv", index=False)
    return tmp_path


def command(world, *gallery):
    photos = ["--queries", world / "queries.csv", "--image_path", world / "photos"]
    photos += ["--image_data_path", world / "gallery", "--hashes", world / "hashes", "--output", world / "leaks.csv"]
    return [*map(str, [*photos, *gallery]), "--num_workers", "0", "--quiet"]


def found(world):
    table = pd.read_csv(world / "leaks.csv", keep_default_na=False)
    return {(row.IMG_ID, row.reason): (row.gallery_id, row.photos) for row in table.itertuples()}, table


LEAKS = {
    ("g5.png", "same_id"): ("g5.jpg", 1),
    ("owned_77@N02.jpg", "same_owner"): ("one_77@N02.jpg", 2),
    ("crop_2@N01.jpg", "near_duplicate"): ("g3.jpg", 1),
    **{(f"gone{number}.jpg", "placeholder"): ("", 5) for number in range(5)},
}


def test_each_leak_is_found_and_nothing_else(world, capsys):
    assert main(command(world, "--gallery", world / "gallery.csv")) == 1  # for broken.jpg
    output = capsys.readouterr()
    leaks, table = found(world)
    assert leaks == LEAKS
    assert table["cosine"].eq("").all()
    assert "8 of 10 queries leak; the gallery has 12 photos" in output.out
    assert "problem: broken.jpg in " in output.err
    # Six queries of one picture would be a placeholder, five are none: then they are like nothing.
    assert main(command(world, "--gallery", world / "gallery.csv", "--many", "6", "--owner", r"(\d)@N")) == 1
    owned, _ = found(world)
    assert owned == {key: value for key, value in LEAKS.items() if key[1] != "placeholder"}


def test_a_query_that_comes_again_is_no_placeholder(world, capsys):
    with open(world / "queries.csv", "a") as file:
        file.write("clean_1@N01.jpg,1.0,2.0\n" * 5)
    assert main(command(world, "--gallery", world / "gallery.csv")) == 1
    output = capsys.readouterr()
    assert found(world)[0] == LEAKS
    assert "8 of 10 queries leak" in output.out
    lines = [line.partition("problem: ")[2] for line in output.err.splitlines() if "this IMG_ID was" in line]
    assert lines == [
        f"{world}/queries.csv: row {row} (clean_1@N01.jpg): this IMG_ID was there before; left out"
        for row in range(10, 15)
    ]


def test_an_index_gives_candidates_and_cosines(world, tiny_base):
    build = ["build", "--gallery", world / "gallery.csv", "--image_data_path", world / "gallery", "--index"]
    build += [world / "index", "--model", tiny_base, "--num_workers", "0", "--quiet"]
    assert retrieve_candidates.main(list(map(str, build))) == 0
    assert main(command(world, "--index", world / "index")) == 1
    leaks, table = found(world)
    assert leaks == LEAKS
    cosine = table.set_index("reason")["cosine"]["near_duplicate"]
    assert 0 < float(cosine) <= 1
    assert float(table.set_index("reason")["likeness"]["near_duplicate"]) > 0.9


def test_owners_of_other_names_are_unknown(world, capsys):
    for table in ("queries", "gallery"):
        path = world / f"{table}.csv"
        path.write_text("\n".join(line for line in path.read_text().splitlines() if "@N" not in line) + "\n")
    assert main(command(world, "--gallery", world / "gallery.csv")) == 1
    assert "Owners are unknown: no IMG_ID of the gallery names one" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [["--split", "val"], ["--model", "x"], [], ["--index", "a", "--gallery", "b"]])
def test_flags_that_do_not_go_together_are_refused(flags, capsys):
    with pytest.raises(SystemExit) as stop:
        main(flags)
    assert stop.value.code == 2
    assert "--" in capsys.readouterr().err


@pytest.mark.parametrize("table", ["queries", "gallery"])
def test_the_output_is_none_of_the_tables_that_are_read(world, table):
    before = (world / f"{table}.csv").read_bytes()
    with pytest.raises(SystemExit, match=rf"error: --output: .*{table}\.csv is read, as {table}"):
        main([*command(world, "--gallery", world / "gallery.csv"), "--output", str(world / f"{table}.csv")])
    assert (world / f"{table}.csv").read_bytes() == before


def test_the_report_has_all_queries_and_those_without_leaks(tmp_path, tiny_base, capsys):
    build_world(tmp_path / "world", tiny_base)
    shutil.rmtree(tmp_path / "world" / "adapter")
    leaks = tmp_path / "leaks.csv"
    leaks.write_text("IMG_ID,reason\nq1,same_owner\nq4.jpg,near_duplicate\nq4.jpg,same_owner\nunknown,same_id\n")

    def report(*more):
        paths = flags(tmp_path / "world", tiny_base)
        where = ["--ranker", "consensus", "--topn", str(RETRIEVED), "--output_dir", str(tmp_path / "out"), "--quiet"]
        table = paths[paths.index("--candidates") + 1] if "--candidates" not in more else None
        command = ["--candidates", table] if table else []
        assert evaluate.main([*command, *more, "--gallery", str(tmp_path / "world" / "gallery.csv"), *where]) == 0
        return json.loads((tmp_path / "out" / "metrics.json").read_text()), capsys.readouterr().out

    both, text = report("--leave_out", str(leaks))
    whole, _ = report()
    candidates = pd.read_csv(tmp_path / "world" / "candidates.csv", dtype=str, keep_default_na=False)
    candidates[~candidates["IMG_ID"].isin(["q1.jpg", "q4.jpg"])].to_csv(tmp_path / "rest.csv", index=False)
    rest, _ = report("--candidates", str(tmp_path / "rest.csv"))
    assert both["rankers"] == whole["rankers"]
    without = both["leave_out"]
    assert without["reasons"] == {"same_owner": 2, "near_duplicate": 1}
    assert (without["left_out"], without["num_queries"]) == (2, 8)
    for ranker in ("retrieval", "consensus", "consensus_equal", "similarity", "oracle"):
        assert without["rankers"][ranker] == rest["rankers"][ranker]
    assert without["gallery_density"] == rest["gallery_density"]
    assert f"Without the 2 queries that are in {leaks} (same_owner 2, near_duplicate 1):\n8 queries" in text
    assert np.isfinite(without["rankers"]["consensus"]["median_km"])


def test_a_table_without_leaks_leaves_nothing_out(tmp_path, tiny_base, capsys):
    build_world(tmp_path / "world", tiny_base)
    write_leaks(tmp_path / "leaks.csv", [])
    command = ["--candidates", str(tmp_path / "world" / "candidates.csv"), "--ranker", "retrieval"]
    command += ["--output_dir", str(tmp_path / "out"), "--leave_out", str(tmp_path / "leaks.csv")]
    assert evaluate.main(command) == 0
    captured = capsys.readouterr()
    assert f"{tmp_path / 'leaks.csv'} has no rows: no query is left out" in captured.err
    assert "Without the" not in captured.out
    assert "leave_out" not in json.loads((tmp_path / "out" / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("other,same_id", "none of its 1 queries is evaluated"),
        ("\n".join(f"q{number},same_id" for number in range(10)), "leaves out all 10 queries"),
        ("q1,", r"row 0 \(q1\): reason: empty"),
        ("q0,same_id\nq1,a,b", r"row 1 \(q1\): more cells than columns"),
        ("q1,\udcff", r"row 0 \(q1\): reason is not UTF-8"),
    ],
)
def test_a_table_of_something_else_is_refused(tmp_path, tiny_base, rows, message):
    build_world(tmp_path / "world", tiny_base)
    (tmp_path / "leaks.csv").write_text(f"IMG_ID,reason\n{rows}\n", errors="surrogateescape")
    command = ["--candidates", str(tmp_path / "world" / "candidates.csv"), "--ranker", "retrieval", "--quiet"]
    with pytest.raises(SystemExit, match=message):
        evaluate.main([*command, "--leave_out", str(tmp_path / "leaks.csv"), "--output_dir", str(tmp_path / "out")])
