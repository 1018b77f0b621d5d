import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import build_tiny_base

from retrieve_candidates import main
from utils.tables import read_retrieval_table
from utils.tar_pickle import write_tar_index

GALLERY, QUERIES, TOPK = 30, 6, 4


@pytest.fixture
def earth(tmp_path: Path, tiny_base: Path, make_image) -> dict[str, str]:
    """Command lines over a small gallery tar and query folder; query i shows gallery photo 3 i."""
    rng = np.random.default_rng(0)
    gallery, test = tmp_path / "gallery", tmp_path / "test"
    (test / "images").mkdir(parents=True)
    gallery.mkdir()
    with tarfile.open(gallery / "images.tar", "w") as tar:
        for row in range(GALLERY):
            make_image(24, 24, row).save(tmp_path / "photo.png")
            tar.add(tmp_path / "photo.png", f"gallery_{row}.png")
    write_tar_index(gallery / "images.tar", gallery / "tar_index.pkl")
    for row in range(QUERIES):
        make_image(24, 24, 3 * row).save(test / "images" / f"test_{row}.png")
    for folder, name, count in ((gallery, "gallery", GALLERY), (test, "test", QUERIES)):
        points = rng.uniform((-90, -180), (90, 180), (count, 2)).round(2)
        table = pd.DataFrame(points, columns=["LAT", "LON"])
        table.insert(0, "IMG_ID", [f"{name}_{row}.png" for row in range(count)])
        table.to_csv(folder / "metadata.csv", index=False)
    build = f"build --gallery {gallery}/metadata.csv --image_data_path {gallery}/images.tar --model {tiny_base}"
    search = f"search --queries {test}/metadata.csv --image_path {test}/images --output_dir {test} --topk {TOPK}"
    common = f" --index {gallery}/index --workers 0"
    return {"build": build + common, "search": search + common, "gallery": str(gallery), "test": str(test)}


def results(folder: str) -> tuple[np.ndarray, ...]:
    return tuple(np.load(Path(folder) / f"{name}.npy") for name in "IDS")


@pytest.mark.parametrize("components", [0, 3])
def test_arrays_and_table_agree(earth: dict[str, str], components: int) -> None:
    assert main([*earth["build"].split(), "--components", str(components)]) == 0
    assert main(earth["search"].split()) == 0
    rows, scores, similarities = results(earth["test"])
    assert rows.shape == scores.shape == similarities.shape == (QUERIES, TOPK)
    assert rows.dtype == np.int64
    np.testing.assert_array_equal(rows[:, 0], 3 * np.arange(QUERIES))
    np.testing.assert_allclose(similarities[:, 0], 1, atol=1e-5)
    if components == 0:
        np.testing.assert_allclose(scores, similarities, atol=1e-5)

    embeddings = np.load(Path(earth["gallery"]) / "index" / "embeddings.npy")
    cosine = embeddings[::3][:QUERIES] @ embeddings.T
    np.testing.assert_allclose(similarities, np.take_along_axis(cosine, rows, 1), atol=1e-5)
    gallery = pd.read_csv(Path(earth["gallery"]) / "metadata.csv")
    table, problems = read_retrieval_table(Path(earth["test"]) / "retrieval.csv")
    assert not problems
    for query, found in zip(table, rows, strict=True):
        places = [tuple(point) for point in gallery.loc[found, ["LAT", "LON"]].to_numpy().tolist()]
        assert list(query.candidates.values()) == places
        assert len(query.reverse) == TOPK
        if components == 0:
            least = np.argsort(cosine[query.number])[:TOPK]
            assert list(query.reverse.values()) == list(map(tuple, gallery.loc[least, ["LAT", "LON"]].to_numpy()))


def test_unusable_queries_are_in_no_result(earth: dict[str, str], capsys) -> None:
    folder = Path(earth["test"])
    assert main(earth["build"].split()) == 0
    assert main(earth["search"].split()) == 0
    before = results(earth["test"])
    (folder / "images" / "test_1.png").write_bytes(b"no image")
    metadata = pd.read_csv(folder / "metadata.csv")
    metadata.loc[4, "LAT"] = 99
    metadata.to_csv(folder / "metadata.csv", index=False)
    assert main(earth["search"].split()) == 1
    message = capsys.readouterr().err
    assert "problem: test_1.png in " in message
    assert "row 4 (test_4.png)" in message
    kept = [0, 2, 3, 5]
    for old, new in zip(before, results(earth["test"]), strict=True):
        np.testing.assert_allclose(new, old[kept], atol=1e-6)
    table, _ = read_retrieval_table(folder / "retrieval.csv")
    assert [query.img_id for query in table] == [f"test_{row}.png" for row in kept]


def test_unusable_gallery_photos_are_never_found(earth: dict[str, str], capsys) -> None:
    path = Path(earth["gallery"]) / "metadata.csv"
    gallery = pd.read_csv(path)
    gallery.loc[3, "LON"] = np.nan
    gallery.loc[6, "IMG_ID"] = "absent.png"
    gallery.to_csv(path, index=False)
    assert main(earth["build"].split()) == 1
    message = capsys.readouterr().err
    assert "row 3 (gallery_3.png)" in message
    assert "absent.png: not in " in message
    assert main([*earth["search"].split()[:-6], "--topk", "28", *earth["search"].split()[-4:]]) == 0
    rows = results(earth["test"])[0]
    assert all(set(found) == set(range(GALLERY)) - {3, 6} for found in rows.tolist())


def test_an_index_serves_its_own_gallery_and_model_only(earth: dict[str, str], tmp_path: Path) -> None:
    assert main(earth["build"].split()) == 0
    other = tmp_path / "other"
    build_tiny_base(other, "qwen2_vl", seed=1)
    with pytest.raises(SystemExit, match="another model"):
        main([*earth["search"].split(), "--model", str(other)])
    path = Path(earth["gallery"]) / "metadata.csv"
    pd.read_csv(path).iloc[::-1].to_csv(path, index=False)
    with pytest.raises(SystemExit, match="no longer the gallery"):
        main(earth["search"].split())


def test_a_missing_index_is_an_error(earth: dict[str, str]) -> None:
    with pytest.raises(SystemExit, match=r"index\.json"):
        main(earth["search"].split())


def test_index_folder_can_be_moved_with_its_gallery(earth: dict[str, str], tmp_path: Path) -> None:
    assert main(earth["build"].split()) == 0
    assert json.loads((Path(earth["gallery"]) / "index" / "index.json").read_text())["gallery"] == "../metadata.csv"
    Path(earth["gallery"]).rename(tmp_path / "moved")
    assert main(earth["search"].replace(earth["gallery"], str(tmp_path / "moved")).split()) == 0
