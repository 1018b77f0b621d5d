import os

import numpy as np
import pytest

from tests.audited import picture
from utils.auditing import hash_pass
from utils.auditing.hash_pass import hash_photos
from utils.auditing.hashes import gallery_hashes
from utils.photos.images import open_image
from utils.photos.store import ImageStore

IDS = [f"{number}.png" for number in range(7)]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of seven photos, the last of them damaged; shards of three."""
    monkeypatch.setattr(hash_pass, "SHARD", 3)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(IDS):
        picture(number).save(folder / name)
    (folder / IDS[6]).write_bytes(b"no photo")
    return folder


@pytest.fixture
def opened(monkeypatch):
    """Ids of the photos that are decoded, in order."""
    names, real = [], ImageStore.open
    monkeypatch.setattr(ImageStore, "open", lambda store, name: names.append(name) or real(store, name))
    return names


def test_hashes_are_those_of_the_photos_by_row(photos, tmp_path):
    hashes, problems = hash_photos(tmp_path / "hashes", IDS, ImageStore.from_paths([photos]))
    assert hashes.readable.tolist() == [True] * 6 + [False]
    for number, name in enumerate(IDS[:6]):
        assert hashes.codes[number].tolist() == gallery_hashes(open_image(photos / name)).tolist()
    assert len(problems) == 1
    assert problems[0].startswith("6.png in ")


def test_an_interrupted_pass_goes_on_at_its_shard(photos, tmp_path, opened, monkeypatch):
    store, real = ImageStore.from_paths([photos]), hash_pass.gallery_hashes

    def stopping(photo):
        if len(opened) == 5:
            raise KeyboardInterrupt
        return real(photo)

    monkeypatch.setattr(hash_pass, "gallery_hashes", stopping)
    with pytest.raises(KeyboardInterrupt):
        hash_photos(tmp_path / "hashes", IDS, store)
    monkeypatch.setattr(hash_pass, "gallery_hashes", real)
    opened.clear()
    resumed, _ = hash_photos(tmp_path / "hashes", IDS, store)
    assert opened == IDS[3:]
    fresh, _ = hash_photos(tmp_path / "others", IDS, store)
    assert np.array_equal(resumed.codes, fresh.codes)


def test_photos_that_were_replaced_or_unreadable_are_hashed_anew(photos, tmp_path, opened):
    store = ImageStore.from_paths([photos])
    before, _ = hash_photos(tmp_path / "hashes", IDS, store)
    picture(50).save(photos / IDS[1])
    os.utime(photos / IDS[1], ns=(1, 1))
    picture(51).save(photos / IDS[6])
    opened.clear()
    after, problems = hash_photos(tmp_path / "hashes", IDS, store)
    assert opened == [IDS[1], IDS[6]]
    assert not problems
    assert after.readable.all()
    assert (before.codes[:6] != after.codes[:6]).any(axis=1).tolist() == [False, True, False, False, False, False]


def test_a_damaged_shard_is_named(photos, tmp_path):
    store = ImageStore.from_paths([photos])
    hash_photos(tmp_path / "hashes", IDS, store)
    shard = next((tmp_path / "hashes").glob("*/000000003.npy"))
    np.save(shard, np.zeros((2, 5), dtype=np.int64))
    with pytest.raises(ValueError, match=r"000000003\.npy has shape \(2, 5\), not \(3, 5\)"):
        hash_photos(tmp_path / "hashes", IDS, store)
