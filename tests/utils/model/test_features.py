import gc
import json
import os

import pytest
import torch
from PIL import Image

from tests.naive import naive_rewards
from tests.released import saved_as_jpeg
from utils.candidates import Candidate, Query
from utils.geo_ranker import GeoRanker
from utils.jobs.processes import Processes, SharedWork
from utils.jobs.shared_counters import MemoryCounter
from utils.model.features import EncodedPhotos, FeatureCache, shared_features
from utils.model.tower import with_features
from utils.photos.images import ImageError
from utils.photos.store import ImageStore

NAMES = ["a.png", "b.png", "c.png", "d.png"]


@pytest.fixture
def store(tmp_path, make_image):
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(NAMES):
        make_image(20 + 9 * number, 30, number).save(tmp_path / "photos" / name)
    return ImageStore.from_paths([tmp_path / "photos"])


@pytest.fixture
def fill(tmp_path, store):
    def fill(ranker, ids=NAMES, workers=0, quality=None):
        parts = ranker.backbone, ranker.packer, store
        return shared_features(tmp_path / "cache", *parts, ids, Processes(), workers, "photos", quality)

    return fill


def test_rewards_are_those_of_pixels(ranker, store, fill):
    cache, problems = fill(ranker)
    assert problems == []
    query = Query("a.png", tuple(Candidate(i, i, image=name) for i, name in enumerate(NAMES)))
    batch = ranker.packer.pack([query], {name: cache[name] for name in NAMES})
    assert batch.pixel_values is None
    photos = {name: store.open(name) for name in NAMES}
    with torch.inference_mode():
        expected = naive_rewards(ranker.backbone, ranker.score, ranker.packer, [query], photos)
        torch.testing.assert_close(ranker(batch), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_was_kept_is_found_by_other_processes_under_any_id(tiny_bases, store, fill, tmp_path, workers, dtype):
    ranker = GeoRanker.from_pretrained(tiny_bases["qwen3_vl"], dtype=dtype, device="cpu")
    fill(ranker, NAMES[:3], workers)
    other = FeatureCache(tmp_path / "cache", ranker.backbone, ranker.packer, store)
    assert [name in other for name in ("a", "b.png", "c", "d", "e")] == [True, True, True, False, False]
    (direct,) = with_features(ranker.backbone, ranker.packer, [other.decoded["b.png"]])
    assert torch.equal(other["b"].grid_thw, direct.grid_thw)
    assert other["b"].features.dtype == dtype
    torch.testing.assert_close(
        other["b"].features, direct.features, atol=0.02 if dtype == torch.bfloat16 else 1e-5, rtol=0.02
    )


def test_a_photo_has_a_form_for_each_quality(ranker, store, fill):
    """The same folder holds the photo as it is and re-encoded as JPEG; neither stands for the other."""
    plain, _ = fill(ranker, ["a.png"])
    again, _ = fill(ranker, ["a.png"], quality=75)
    rough, _ = fill(ranker, ["a.png", "b.png"], quality=20)
    assert plain.folder == again.folder == rough.folder
    assert [[name in cache for name in ("a.png", "b.png")] for cache in (plain, again, rough)] == [
        [True, False], [True, False], [True, True],
    ]  # fmt: skip
    seen = saved_as_jpeg(store.open("a.png"))
    (expected,) = with_features(ranker.backbone, ranker.packer, [ranker.packer.encode(seen)])
    torch.testing.assert_close(again["a.png"].features, expected.features, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(again["a.png"].features, plain["a.png"].features, atol=1e-3)
    assert not torch.allclose(again["a.png"].features, rough["a.png"].features, atol=1e-3)
    assert not any("jpeg" in line for path in plain.folder.glob(f"{plain.name}.jsonl") for line in path.open())


def test_a_photo_that_cannot_be_re_encoded_is_named(ranker, store, monkeypatch):
    monkeypatch.setattr(store, "open", lambda _: Image.new("RGB", (65_501, 400)))
    with pytest.raises(ImageError, match=r"^a\.png: 65501 x 400 pixels do not go into a JPEG"):
        _ = EncodedPhotos(store, ranker.packer, 75)["a.png"]


def test_only_what_is_missing_is_read(ranker, store, fill, monkeypatch):
    fill(ranker, NAMES[:3])
    read = []
    opened = store.open
    monkeypatch.setattr(store, "open", lambda image_id: read.append(image_id) or opened(image_id))
    cache, _ = fill(ranker)
    assert read == ["d.png"]
    assert all(name in cache for name in NAMES)


def test_two_writers_and_a_torn_line(ranker, store, tmp_path):
    writers = [FeatureCache(tmp_path / "cache", ranker.backbone, ranker.packer, store) for _ in range(2)]
    for writer, ids in zip(writers, (["a.png", "b.png"], ["b.png", "c.png", "d.png"]), strict=True):
        writer.fill(ranker.backbone, SharedWork(ids, Processes(), "photos"))
    index = writers[1].folder / f"{writers[1].name}.jsonl"
    index.write_bytes(index.read_bytes()[:-5])  # killed while it wrote about d.png
    for writer in writers:
        writer.read()
    assert [name in writers[0] for name in NAMES] == [True, True, True, False]
    for name in NAMES[:3]:
        assert torch.equal(writers[0][name].features, writers[1][name].features)


def test_features_that_end_too_early_are_an_error(ranker, fill):
    cache, _ = fill(ranker, ["a.png"])
    (features,) = cache.folder.glob("*.bin")
    features.write_bytes(features.read_bytes()[:-4])
    with pytest.raises(ImageError, match=r"a\.png: .*\.bin ends before its features"):
        _ = cache["a.png"]


def test_unreadable_photos_are_named_and_not_kept(ranker, store, fill, tmp_path):
    (tmp_path / "photos" / "b.png").write_bytes(b"no photo")
    cache, problems = fill(ranker, ["a.png", "b.png", "nowhere.png"])
    assert [problem.split()[0].rstrip(":") for problem in problems] == ["b.png", "nowhere.png"]
    for name in ("b.png", "nowhere.png"):
        assert name not in cache
        with pytest.raises(ImageError, match=name):
            cache[name]
    with pytest.raises(ImageError, match=r"d.png: not in the feature cache"):
        cache["d.png"]


def test_all_processes_know_what_any_of_them_found_unreadable(ranker, store, tmp_path, monkeypatch):
    """The second of two processes comes when the first has done all the work."""
    (tmp_path / "photos" / "b.png").write_bytes(b"no photo")
    shared = [tmp_path / "cache", ranker.backbone, ranker.packer, store, NAMES]
    _, expected = shared_features(*shared, Processes(), 0, "photos")
    assert len(expected) == 1
    monkeypatch.setattr(Processes, "wait", lambda *_: None)
    monkeypatch.setattr(Processes, "counter", lambda *_: MemoryCounter())
    monkeypatch.setattr(FeatureCache, "fill", lambda *_, **__: [])
    assert shared_features(*shared, Processes(rank=1, count=2), 0, "photos")[1] == expected


def test_photos_that_do_not_fit_into_memory_together_are_halved(ranker, fill, monkeypatch):
    def limited(backbone, packer, photos):
        if len(photos) > 1 or photos[0].grid_thw[2] == widest:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return with_features(backbone, packer, photos)

    monkeypatch.setattr("utils.model.features.with_features", limited)
    widest = -1
    cache, problems = fill(ranker, NAMES[:3])
    assert problems == []
    assert all(name in cache for name in NAMES[:3])
    widest = cache.decoded["d.png"].grid_thw[2]
    cache, problems = fill(ranker)
    assert problems == ["d.png: even alone it does not fit into memory"]
    assert "d.png" not in cache


def test_no_file_handles_of_the_workers_stay_open(ranker, fill):
    before = len(os.listdir("/dev/fd"))
    fill(ranker, workers=1)
    gc.collect()  # what is garbage by now but not collected holds its files open
    assert len(os.listdir("/dev/fd")) <= before + 1


def test_a_replaced_photo_is_encoded_anew(ranker, store, fill, tmp_path, make_image):
    old = fill(ranker)[0]["b.png"].features.clone()
    make_image(29, 30, 99).save(tmp_path / "photos" / "b.png")
    cache = FeatureCache(tmp_path / "cache", ranker.backbone, ranker.packer, store)
    assert [name in cache for name in NAMES] == [True, False, True, True]
    cache, problems = fill(ranker)
    assert problems == []
    (direct,) = with_features(ranker.backbone, ranker.packer, [cache.decoded["b.png"]])
    torch.testing.assert_close(cache["b.png"].features, direct.features)
    assert not torch.equal(cache["b.png"].features, old)


def test_features_without_stamps_are_made_anew(ranker, store, fill, tmp_path):
    """Those of an earlier version: nothing tells of which photo they are."""
    fill(ranker)
    (log,) = tmp_path.glob("cache/*/*.jsonl")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps({k: v for k, v in r.items() if k != "stamp"}) + "\n" for r in records))
    cache = FeatureCache(tmp_path / "cache", ranker.backbone, ranker.packer, store)
    assert not any(name in cache for name in NAMES)
