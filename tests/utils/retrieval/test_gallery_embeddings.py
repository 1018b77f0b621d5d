from pathlib import Path

import numpy as np
import pytest

from tests.photos import write_photos
from tests.tiny_models import build_tiny_base
from utils.jobs.processes import Processes
from utils.photos.store import ImageStore
from utils.retrieval import gallery_embeddings as module
from utils.retrieval.gallery_embeddings import gallery_embeddings


@pytest.fixture
def photos(tmp_path: Path, make_image) -> tuple[list[str], ImageStore]:
    return write_photos(tmp_path / "photos", make_image)


def test_a_gallery_is_embedded_once(photos, tiny_base: Path, tmp_path: Path, monkeypatch) -> None:
    ids, store = photos
    folder = tmp_path / "index"
    first, problems = gallery_embeddings(folder, tiny_base, ids, store)
    first = np.array(first)
    with monkeypatch.context() as patch:
        asked = counted(store, patch)
        again, unreadable = gallery_embeddings(folder, tiny_base, ids, store)
        assert gallery_embeddings(folder, tiny_base, ids, store, processes=Processes(1, 2)) is None
    assert asked == ["2.png", "4.png"], "only what could not be read is tried again"
    np.testing.assert_array_equal(again, first)
    assert problems == unreadable
    assert len(problems) == 2
    assert sorted(path.name for path in folder.iterdir()) == ["embeddings.json", "embeddings.npy", "stamps.npy"]

    half, _ = gallery_embeddings(folder, tiny_base, ids, store, storage="float16")
    np.testing.assert_array_equal(half, first.astype(np.float16))

    other = tmp_path / "other"
    build_tiny_base(other, "qwen2_vl", seed=1)
    assert not np.allclose(gallery_embeddings(folder, other, ids, store)[0][0], first[0])
    assert len(gallery_embeddings(folder, other, ids[:3], store)[0]) == 3
    with pytest.raises(ValueError, match="no photos"):
        gallery_embeddings(folder, other, [], store)


def test_a_repaired_photo_is_embedded(photos, tiny_base: Path, tmp_path: Path, make_image, monkeypatch) -> None:
    ids, store = photos
    folder = tmp_path / "index"
    first = np.array(gallery_embeddings(folder, tiny_base, ids, store)[0])
    make_image(30, 30).save(tmp_path / "photos" / "2.png")
    again, problems = gallery_embeddings(folder, tiny_base, ids, store)
    assert [problem.split()[0] for problem in problems] == ["4.png"]
    assert np.flatnonzero(np.isnan(again[:, 0])).tolist() == [ids.index("4.png")]
    readable = ~np.isnan(first[:, 0])
    np.testing.assert_array_equal(again[readable], first[readable])
    whole, _ = gallery_embeddings(tmp_path / "whole", tiny_base, ids, store)
    np.testing.assert_allclose(again, whole, atol=1e-6)

    make_image(30, 30).save(tmp_path / "photos" / "4.png")
    whole = np.array(gallery_embeddings(folder, tiny_base, ids, store)[0])
    monkeypatch.setattr(module, "load_encoder", None)  # any use would fail
    finished, problems = gallery_embeddings(folder, tiny_base, ids, store)
    assert problems == []
    np.testing.assert_array_equal(finished, whole)


def counted(store: ImageStore, monkeypatch, fail_at: int | None = None) -> list[str]:
    """The ids that ``store`` is asked for from now on; the run is interrupted at the given one."""
    asked, original = [], store.open

    def open_photo(image_id: str):
        if len(asked) == fail_at:
            raise KeyboardInterrupt
        asked.append(image_id)
        return original(image_id)

    monkeypatch.setattr(store, "open", open_photo)
    return asked


def test_an_interruption_costs_one_shard(photos, tiny_base: Path, tmp_path: Path, monkeypatch) -> None:
    ids, store = photos
    whole, _ = gallery_embeddings(tmp_path / "whole", tiny_base, ids, store)
    monkeypatch.setattr(module, "SHARD", 2)
    folder = tmp_path / "index"
    with monkeypatch.context() as patch:
        asked = counted(store, patch, fail_at=5)
        with pytest.raises(KeyboardInterrupt):
            gallery_embeddings(folder, tiny_base, ids, store, batch_size=2)
    assert asked == ids[:5]
    assert not (folder / "embeddings.npy").exists()
    asked = counted(store, monkeypatch)
    resumed, again = gallery_embeddings(folder, tiny_base, ids, store, batch_size=2)
    assert asked == ids[4:]
    np.testing.assert_allclose(resumed, whole, atol=1e-6)
    assert [problem.split()[0] for problem in again] == ["2.png:", "4.png"]


def test_a_replaced_photo_is_embedded_anew(photos, tiny_base: Path, tmp_path: Path, make_image, monkeypatch) -> None:
    ids, store = photos
    folder = tmp_path / "index"
    gallery_embeddings(folder, tiny_base, ids, store)
    make_image(31, 30, 77).save(tmp_path / "photos" / "1.png")
    with monkeypatch.context() as patch:
        asked = counted(store, patch)
        again, _ = gallery_embeddings(folder, tiny_base, ids, store)
    assert asked == ["1.png", "2.png", "4.png"]  # two of them are unreadable
    whole, _ = gallery_embeddings(tmp_path / "whole", tiny_base, ids, store)
    np.testing.assert_allclose(again, whole, atol=1e-6)

    (folder / "stamps.npy").unlink()  # as an earlier version left it
    make_image(32, 30, 78).save(tmp_path / "photos" / "1.png")
    with monkeypatch.context() as patch:
        asked = counted(store, patch)
        gallery_embeddings(folder, tiny_base, ids, store)
    assert asked == ["2.png", "4.png"]
    make_image(33, 30, 79).save(tmp_path / "photos" / "1.png")
    with monkeypatch.context() as patch:
        asked = counted(store, patch)
        gallery_embeddings(folder, tiny_base, ids, store)
    assert asked == ["1.png", "2.png", "4.png"]


def test_a_photo_replaced_while_its_shard_waited_is_embedded_anew(
    photos, tiny_base: Path, tmp_path: Path, make_image, monkeypatch
) -> None:
    ids, store = photos
    monkeypatch.setattr(module, "SHARD", 2)
    folder = tmp_path / "index"
    with monkeypatch.context() as patch:
        counted(store, patch, fail_at=5)
        with pytest.raises(KeyboardInterrupt):
            gallery_embeddings(folder, tiny_base, ids, store, batch_size=2)
    make_image(31, 30, 77).save(tmp_path / "photos" / "1.png")  # of the first shard; the second is whole, too
    asked = counted(store, monkeypatch)
    gallery_embeddings(folder, tiny_base, ids, store, batch_size=2)
    assert asked == [*ids[:2], *ids[4:]]


def test_a_damaged_shard_is_named(photos, tiny_base: Path, tmp_path: Path, monkeypatch) -> None:
    ids, store = photos
    monkeypatch.setattr(module, "SHARD", 2)
    folder = tmp_path / "index"
    with monkeypatch.context() as patch:
        counted(store, patch, fail_at=5)
        with pytest.raises(KeyboardInterrupt):
            gallery_embeddings(folder, tiny_base, ids, store, batch_size=2)
    first, second = sorted(set(folder.glob("shards-*/*.npy")) - set(folder.glob("shards-*/*.stamps.npy")))
    whole, array = second.read_bytes(), np.load(second)
    spoilt = [array[:1], array[:, :0], array[:, 0], array.astype(np.float64), np.zeros_like(array, np.int32)]
    for damaged in spoilt:
        np.save(second, damaged)
        with pytest.raises(ValueError, match=second.name):
            gallery_embeddings(folder, tiny_base, ids, store, batch_size=2)
    for data in (b"", whole[:-1], whole[:50] + whole[60:]):
        second.write_bytes(data)
        with pytest.raises(ValueError, match=second.name):
            gallery_embeddings(folder, tiny_base, ids, store, batch_size=2)
    np.save(second, array[:, 1:])
    with pytest.raises(ValueError, match=second.name):  # of another width than the first
        gallery_embeddings(folder, tiny_base, ids, store, batch_size=2)
    assert first.exists()


def test_shards_of_other_embeddings_are_not_taken(photos, tiny_base: Path, tmp_path: Path, monkeypatch) -> None:
    ids, store = photos
    monkeypatch.setattr(module, "SHARD", 2)
    folder = tmp_path / "index"
    with monkeypatch.context() as patch:
        counted(store, patch, fail_at=5)
        with pytest.raises(KeyboardInterrupt):
            gallery_embeddings(folder, tiny_base, ids, store, batch_size=2)
    asked = counted(store, monkeypatch)
    gallery_embeddings(folder, tiny_base, ids[::-1], store, batch_size=2)
    assert asked == ids[::-1]


def test_processes_that_never_meet_share_the_shards(photos, tiny_base: Path, tmp_path: Path, monkeypatch) -> None:
    """One of them is stopped; a run by itself does what it had taken."""
    ids, store = photos
    whole, _ = gallery_embeddings(tmp_path / "whole", tiny_base, ids, store)
    monkeypatch.setattr(module, "SHARD", 1)
    folder = tmp_path / "index"
    first, second = (Processes(rank, 2, folder=tmp_path / "shared") for rank in (0, 1))
    with monkeypatch.context() as patch:
        asked = counted(store, patch, fail_at=3)
        with pytest.raises(KeyboardInterrupt):
            gallery_embeddings(folder, tiny_base, ids, store, processes=second)
    assert asked == ids[:3]
    asked = counted(store, monkeypatch)
    assert gallery_embeddings(folder, tiny_base, ids, store, processes=first) is None
    assert asked == ids[4:]
    shared, found = gallery_embeddings(folder, tiny_base, ids, store)
    assert asked == [*ids[4:], ids[3]]
    np.testing.assert_allclose(shared, whole, atol=1e-6)
    assert sorted(problem.split()[0].rstrip(":") for problem in found) == ["2.png", "4.png"]
