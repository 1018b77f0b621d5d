import json
import multiprocessing
import os
import shutil
import socket
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from retrieve_candidates import main
from tests.held import held
from tests.tiny_models import build_tiny_base
from utils.photos.tar_index_pickle import write_tar_index
from utils.retrieval import compressed_index, gallery_embeddings
from utils.retrieval.exact_index import ExactIndex
from utils.retrieval.gallery import IndexInfo
from utils.tables.retrieval_table import read_retrieval_table

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
@pytest.mark.parametrize("reverse", [False, True])
def test_arrays_and_table_agree(earth: dict[str, str], components: int, reverse: bool) -> None:
    assert main([*earth["build"].split(), "--components", str(components)]) == 0
    assert main([*earth["search"].split(), *(["--reverse"] if reverse else [])]) == 0
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
        assert len(query.reverse) == (TOPK if reverse else 0)
        if components == 0 and reverse:
            least = np.argsort(cosine[query.number])[:TOPK]
            assert list(query.reverse.values()) == list(map(tuple, gallery.loc[least, ["LAT", "LON"]].to_numpy()))
    columns = pd.read_csv(Path(earth["test"]) / "retrieval.csv").columns[3:]
    assert columns.tolist() == [f"{kind}_{i}_gps" for kind in ("candidate", "reverse") for i in range(TOPK)]


@pytest.mark.parametrize("command", ["build", "search"])
def test_a_device_that_is_none_is_refused_before_anything_is_embedded(earth: dict[str, str], command: str) -> None:
    if command == "search":
        assert main(earth["build"].split()) == 0
    with pytest.raises(SystemExit, match=r"^error: device gpu: it is cpu, cuda or cuda:N"):
        main([*earth[command].split(), "--device", "gpu"])
    assert command == "search" or not list(Path(earth["gallery"], "index").glob("**/*.npy"))


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


def test_no_index_is_left_over_embeddings_that_are_replaced(earth: dict[str, str], monkeypatch) -> None:
    assert main(earth["build"].split()) == 0
    path = Path(earth["gallery"]) / "metadata.csv"
    pd.read_csv(path).iloc[::-1].to_csv(path, index=False)
    with monkeypatch.context() as patch:
        patch.setattr(ExactIndex, "build", interrupt)
        assert main(earth["build"].split()) == 130
    with pytest.raises(SystemExit, match=r"index\.json"):
        main(earth["search"].split())


def test_a_missing_index_is_an_error(earth: dict[str, str]) -> None:
    with pytest.raises(SystemExit, match=r"index\.json"):
        main(earth["search"].split())


def test_index_folder_can_be_moved_with_its_gallery(earth: dict[str, str], tmp_path: Path) -> None:
    assert main(earth["build"].split()) == 0
    assert json.loads((Path(earth["gallery"]) / "index" / "index.json").read_text())["gallery"] == "../metadata.csv"
    Path(earth["gallery"]).rename(tmp_path / "moved")
    assert main(earth["search"].replace(earth["gallery"], str(tmp_path / "moved")).split()) == 0


def more_photos(earth: dict[str, str], tmp_path: Path, make_image, count: int = 3) -> str:
    """Command line that adds a folder of ``count`` photos; number i shows what query i shows, but paler."""
    folder = tmp_path / "more"
    folder.mkdir()
    for row in range(count):
        image = make_image(24, 24, 3 * row)
        image.point(lambda value: min(255, value + 1)).save(folder / f"more_{row}.png")
    table = pd.DataFrame({"IMG_ID": [f"more_{row}.png" for row in range(count)], "LAT": 1.5, "LON": 2.5})
    table.to_csv(tmp_path / "more.csv", index=False)
    index = f"{earth['gallery']}/index"
    return f"add --gallery {tmp_path}/more.csv --image_data_path {folder} --index {index} --workers 0"


@pytest.mark.parametrize("components", [0, 3])
def test_added_photos_are_found(earth: dict[str, str], components: int, tmp_path: Path, make_image, capsys) -> None:
    assert main([*earth["build"].split(), "--components", str(components)]) == 0
    assert main(earth["search"].split()) == 0
    before, scores, _ = results(earth["test"])
    add = more_photos(earth, tmp_path, make_image)
    assert main(add.split()) == 0
    assert "3 photos more, 33 in all" in capsys.readouterr().out
    assert main(earth["search"].split()) == 0
    rows, new_scores, similarities = results(earth["test"])
    assert (new_scores >= scores).all()
    for query in range(3):
        assert rows[query, :2].tolist() == [3 * query, GALLERY + query]
        old = [row for row in rows[query] if row < GALLERY]
        assert old == before[query, : len(old)].tolist()
    assert (similarities[:3, 1] > 0.9).all()
    union = pd.read_csv(Path(earth["gallery"]) / "index" / "gallery.csv")
    assert len(union) == GALLERY + 3
    table, _ = read_retrieval_table(Path(earth["test"]) / "retrieval.csv")
    assert table[0].candidates[1] == (1.5, 2.5)
    for query, found in zip(table, rows, strict=True):
        places = union.loc[found, ["LAT", "LON"]].to_numpy().tolist()
        assert list(query.candidates.values()) == list(map(tuple, places))

    with pytest.raises(SystemExit, match=r"3 photos are in .* already, such as more_0\.png"):
        main(add.split())
    with pytest.raises(SystemExit, match=r"has photos in added-001, which would be lost"):
        main(earth["build"].split())


def test_an_index_that_another_process_writes_is_left_alone(earth: dict[str, str], tmp_path: Path, make_image) -> None:
    assert main(earth["build"].split()) == 0
    index, addition = Path(earth["gallery"]) / "index", more_photos(earth, tmp_path, make_image)
    files = {path.name: path.read_bytes() for path in index.iterdir()}
    with held(index) as message:
        for command in (earth["build"], addition):
            with pytest.raises(SystemExit, match=message):
                main(command.split())
        assert main(earth["search"].split()) == 0
    (index / ".lock").unlink()
    assert {path.name: path.read_bytes() for path in index.iterdir()} == files


def test_an_interrupted_addition_leaves_the_index_as_it_was(
    earth: dict[str, str], tmp_path: Path, make_image, monkeypatch
) -> None:
    assert main(earth["build"].split()) == 0
    assert main(earth["search"].split()) == 0
    before = results(earth["test"])
    add = more_photos(earth, tmp_path, make_image)
    with monkeypatch.context() as patch:
        patch.setattr(IndexInfo, "save", interrupt)
        assert main(add.split()) == 130
    assert main(earth["search"].split()) == 0
    for old, new in zip(before, results(earth["test"]), strict=True):
        np.testing.assert_array_equal(old, new)
    assert main(add.split()) == 0
    assert main(earth["search"].split()) == 0
    assert results(earth["test"])[0][0, 1] == GALLERY


def interrupt(*args) -> None:
    raise KeyboardInterrupt


def test_a_query_of_the_gallery_is_excluded_by_id_and_owner(tmp_path: Path, tiny_base: Path, make_image) -> None:
    # Photo i shows the same as photo i + 6, and belongs to owner i % 3.
    ids = [f"{row}_secret_{row % 3}@N00.jpg" for row in range(12)]
    for row, name in enumerate(ids):
        make_image(24, 24, row % 6).save(tmp_path / name)
    pd.DataFrame({"IMG_ID": ids, "LAT": 0, "LON": np.arange(12)}).to_csv(tmp_path / "metadata.csv", index=False)
    table = f"{tmp_path}/metadata.csv"
    common = f"--index {tmp_path}/index --workers 0"
    assert main(f"build --gallery {table} --image_data_path {tmp_path} --model {tiny_base} {common}".split()) == 0
    search = f"search --queries {table} --image_path {tmp_path} --output_dir {tmp_path}/out --topk 4 {common}".split()

    def found(*flags: str) -> np.ndarray:
        assert main([*search, *flags]) == 0
        return results(f"{tmp_path}/out")[0]

    photos = np.arange(12)
    assert (found()[:, :2] == np.stack([photos % 6, photos % 6 + 6], axis=1)).all()
    by_id = found("--exclude_same_id")
    assert (by_id[:, 0] == (photos + 6) % 12).all()
    assert not (by_id == photos[:, None]).any()
    by_owner = found("--exclude_owner")
    assert (by_owner % 3 != photos[:, None] % 3).all()
    np.testing.assert_array_equal(found("--exclude_owner", r"_(\d)@"), by_owner)
    with pytest.raises(SystemExit, match="no IMG_ID of the gallery"):
        main([*search, "--exclude_owner", r"(owner\d)"])
    with pytest.raises(SystemExit, match="fewer than 9 photos are left"):
        main([*search, "--topk", "9", "--exclude_owner"])


def test_ivfpq_index(earth: dict[str, str], tmp_path: Path, tiny_base: Path, make_image, monkeypatch, capsys) -> None:
    monkeypatch.setattr(compressed_index, "MIN_PHOTOS", 256)
    ids = [f"{row}.png" for row in range(300)]
    (tmp_path / "many").mkdir()
    for row, name in enumerate(ids):
        make_image(16, 16, row).save(tmp_path / "many" / name)
    pd.DataFrame({"IMG_ID": ids, "LAT": 0, "LON": np.arange(300) / 2}).to_csv(tmp_path / "many.csv", index=False)
    build = f"build --gallery {tmp_path}/many.csv --image_data_path {tmp_path}/many --model {tiny_base} --workers 0"
    build += f" --index {earth['gallery']}/index --storage float16 --exact_gib 1e-9 --code_bytes 8"
    assert main(build.split()) == 0
    assert "ivfpq index of 300 photos, 16 bytes each, instead of 128: recall@20 " in capsys.readouterr().out
    search = (
        f"search --queries {tmp_path}/many.csv --image_path {tmp_path}/many --output_dir {tmp_path}/out --workers 0"
    )
    search += f" --index {earth['gallery']}/index --topk {TOPK}"
    assert main(search.split()) == 0
    rows, scores, similarities = results(f"{tmp_path}/out")
    assert (rows[:, 0] == np.arange(300)).all()
    np.testing.assert_allclose(scores, similarities, atol=1e-6)
    embeddings = np.load(Path(earth["gallery"]) / "index" / "embeddings.npy")
    assert embeddings.dtype == np.float16

    assert main(more_photos(earth, tmp_path, make_image).split()) == 0
    assert main(search.split()) == 0
    assert (results(f"{tmp_path}/out")[0][:, 0] == np.arange(300)).all()

    with pytest.raises(SystemExit):
        main([*build.split(), "--components", "4", "--index_type", "ivfpq"])
    assert "--components is for the exact index" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--index_type exact --code_bytes 64", "--code_bytes: no use with --index_type exact"),
        ("--index_type ivfpq --exact_gib 8", "--exact_gib: no use with --index_type ivfpq"),
    ],
)
def test_flags_of_another_index_are_refused(flags, message, capsys):
    with pytest.raises(SystemExit):
        main(
            ["build", *["--gallery", "g.csv", "--image_data_path", "g", "--model", "m", "--index", "i"], *flags.split()]
        )
    assert message in capsys.readouterr().err


def test_no_command_is_an_error_that_names_them(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "arguments are required: {build,add,search}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--components 5000", "error: --components 5000: at most 30, since there are 30 photos with embeddings of"),
        ("--index_type ivfpq", "error: 30 photos are too few for an ivfpq index.* --index_type exact"),
    ],
)
def test_an_index_that_cannot_be_is_refused_before_photos_are_embedded(earth, flags, message, monkeypatch) -> None:
    monkeypatch.setattr(gallery_embeddings, "embedded_batches", lambda *_: pytest.fail("embedded"))
    with pytest.raises(SystemExit, match=message):
        main([*earth["build"].split(), *flags.split()])


def test_a_gallery_without_its_photos_says_where_they_were_looked_for(earth: dict[str, str]) -> None:
    folder = earth["test"]  # of other photos
    with pytest.raises(SystemExit) as stop:
        main(earth["build"].replace(f"{earth['gallery']}/images.tar", folder).split())
    none = f"error: {earth['gallery']}/metadata.csv: none of its 30 photos can be read from --image_data_path"
    assert str(stop.value) == f"{none}; gallery_0.png: not in {folder}"


def test_two_processes_build_the_index_of_one(earth: dict[str, str], tmp_path: Path, monkeypatch) -> None:
    assert main(earth["build"].split()) == 0
    index = Path(earth["gallery"]) / "index"
    wanted = np.load(index / "embeddings.npy")
    shutil.rmtree(index)

    monkeypatch.setattr(gallery_embeddings, "SHARD", 8)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    for name, value in (("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", str(port))):
        monkeypatch.setenv(name, value)

    def second() -> None:
        torch.set_num_threads(1)  # a forked process has none of the threads it would wait for
        os.environ["RANK"] = "1"
        sys.exit(main(earth["build"].split()))

    process = multiprocessing.get_context("fork").Process(target=second)
    process.start()
    monkeypatch.setenv("RANK", "0")
    assert main(earth["build"].split()) == 0
    process.join(60)
    assert process.exitcode == 0
    np.testing.assert_allclose(np.load(index / "embeddings.npy"), wanted, atol=1e-6)
