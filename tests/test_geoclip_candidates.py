"""A benchmark without a gallery: its candidates are GeoCLIP's points, from the search to the report."""

import ast
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from compile_prediction_candidates import main as compile_candidates
from evaluate import main as evaluate
from retrieve_candidates import main as retrieve
from utils.retrieval.geoclip import GeoClip
from utils.tables.candidate_table import read_candidate_table

QUERIES, TOPK = 3, 6


@pytest.fixture
def world(tmp_path: Path, geoclip_release: Path, tiny_clip: Path, make_image, monkeypatch) -> Path:
    """Photos and their metadata; row 1 has no coordinate, photo 2 is none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    for row in range(QUERIES + 2):
        make_image(50, 40, row).save(tmp_path / "photos" / f"{row}.png")
    (tmp_path / "photos" / "2.png").write_text("no photo")
    table = pd.DataFrame({"IMG_ID": [f"{row}.png" for row in range(QUERIES + 2)], "LAT": 10.0, "LON": 20.0})
    table.loc[1, "LAT"] = 99
    table.to_csv(tmp_path / "metadata.csv", index=False)
    return tmp_path


def search(world: Path, release: Path, clip: Path) -> list[str]:
    flags = f"search --index geoclip --geoclip {release} --clip {clip} --queries {world}/metadata.csv --topk {TOPK}"
    return [*flags.split(), *f"--image_path {world}/photos --output_dir {world}/out --workers 0".split()]


def test_from_photos_to_the_report(world, geoclip_release, tiny_clip, capsys) -> None:
    out = world / "out"
    out.mkdir()
    np.save(out / "S.npy", np.zeros((QUERIES, TOPK), dtype=np.float32))  # of another search
    assert retrieve(search(world, geoclip_release, tiny_clip)) == 1
    message = capsys.readouterr()
    assert f"{TOPK} of GeoCLIP's 300 points for each of {QUERIES} queries" in message.out
    assert "row 1 (1.png)" in message.err
    assert "2.png in " in message.err
    assert sorted(path.name for path in out.iterdir()) == ["D.npy", "G.npy", "I.npy", "retrieval.csv"]

    geoclip = GeoClip.from_pretrained(geoclip_release, clip=tiny_clip)
    names = ["0.png", "3.png", "4.png"]
    photos = [Image.open(world / "photos" / name).convert("RGB") for name in names]
    rows, cosines = geoclip.search(geoclip.encode(photos), TOPK)
    np.testing.assert_array_equal(np.load(out / "I.npy"), rows)
    for name in "DG":
        np.testing.assert_allclose(np.load(out / f"{name}.npy"), cosines, atol=1e-6)
    table = pd.read_csv(out / "retrieval.csv")
    assert table["IMG_ID"].tolist() == names
    found = [[ast.literal_eval(table.loc[i, f"candidate_{k}_gps"]) for k in range(TOPK)] for i in range(QUERIES)]
    np.testing.assert_array_equal(found, geoclip.points[rows])

    assert compile_candidates(["--root_path", str(out), "--fill_names"]) == 0
    assert "candidates are GeoCLIP's points: no photos and no place names" in capsys.readouterr().err
    columns = pd.read_csv(out / "candidates.csv").columns
    assert {"candidate_img_lis", "candidate_similarity_lis"}.isdisjoint(columns)
    queries, problems = read_candidate_table(out / "candidates.csv", topn=TOPK, topn_zs=0)
    assert not problems
    for query, points, values in zip(queries, geoclip.points[rows], cosines, strict=True):
        assert [(c.latitude, c.longitude) for c in query.candidates] == list(map(tuple, points))
        assert [c.geoclip for c in query.candidates] == pytest.approx(values)
        assert all(c.source == "geoclip" and c.texts for c in query.candidates)

    evaluation = (
        f"--candidates {out}/candidates.csv --ranker geoclip --topn {TOPK} --topn_zs 0 --output_dir {out}/report"
    )
    assert evaluate(evaluation.split()) == 0
    report = json.loads((out / "report" / "metrics.json").read_text())
    assert report["prediction"] == "geoclip"
    assert "similarity" not in report["rankers"]
    # The search has them in that order.
    assert report["rankers"]["geoclip"] == report["rankers"]["retrieval"]
    assert (pd.read_csv(out / "report" / "predictions.csv")["geoclip"] == 0).all()
    with pytest.raises(SystemExit, match=r"no candidate of .* has a similarity: similarity has nothing to go by"):
        evaluate(evaluation.replace("--ranker geoclip", "--ranker similarity").split())


def test_without_its_clip_the_error_says_how_to_get_it(world, geoclip_release, tiny_clip, monkeypatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(world / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    flags = search(world, geoclip_release, tiny_clip)
    at = flags.index("--clip")
    with pytest.raises(SystemExit, match=r"^error: GeoCLIP needs CLIP openai/.* \(1\.7 GB\).*hf download") as error:
        retrieve([*flags[:at], *flags[at + 2 :]])
    assert "\n" not in str(error.value)


def test_a_gallery_has_no_points_of_geoclip(world) -> None:
    out = world / "out"
    out.mkdir()
    for name in ("retrieval.csv", "G.npy", "gallery.csv"):
        (out / name).touch()
    with pytest.raises(SystemExit, match=r"--gallery: no use with .*G\.npy: GeoCLIP's points are in no gallery"):
        compile_candidates(["--root_path", str(out), "--gallery", str(out / "gallery.csv")])


SEARCH = "search --queries q.csv --image_path q --output_dir o --index"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"{SEARCH} geoclip --reverse --exclude_same_id", "--reverse, --exclude_same_id: no use with --index geoclip"),
        (f"{SEARCH} geoclip --exclude_owner", "--exclude_owner: no use with --index geoclip"),
        (f"{SEARCH} geoclip --model m", "--model: no use with --index geoclip"),
        (f"{SEARCH} index --geoclip g --clip c", "--geoclip, --clip: no use without --index geoclip"),
        ("build --gallery g.csv --image_data_path g --model m --index geoclip", "give the index another name"),
        ("add --gallery g.csv --image_data_path g --index geoclip", "give the index another name"),
    ],
)
def test_flags_that_mean_nothing_are_refused(command, message, capsys) -> None:
    with pytest.raises(SystemExit):
        retrieve(command.split())
    assert message in capsys.readouterr().err
