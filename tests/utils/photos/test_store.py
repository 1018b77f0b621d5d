"""Photos by id from folders and tars, by several readers at once."""

import io
import pickle
import sqlite3
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from tests.pictures import encoded, photo, pixels
from tests.reading import Pixels
from tests.tars import write_tar
from utils.photos.images import ImageError
from utils.photos.store import ImageStore
from utils.photos.tar_index_build import index_tar
from utils.photos.tar_index_pickle import write_tar_index


@pytest.fixture
def gallery(tmp_path):
    """A tar of 30 photos with one that is no photo, its index, and what each id should decode to."""
    expected = {f"gallery_{i:06d}.png": photo(seed=i) for i in range(30)}
    tar_path = tmp_path / "images.tar"
    with tarfile.open(tar_path, "w") as tar:
        for name, data in [
            *((name, encoded(image)) for name, image in expected.items()),
            ("a/" + "deep/" * 40 + "name.png", encoded(photo(seed=99))),  # needs an extended header
            ("broken.png", b"no photo"),
        ]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        tar.addfile(member_of_type(tarfile.DIRTYPE))
    write_tar_index(tar_path, tmp_path / "tar_index.pkl")
    return tar_path, expected


def member_of_type(kind):
    member = tarfile.TarInfo("folder")
    member.type = kind
    return member


def test_tar(gallery):
    tar_path, expected = gallery
    store = ImageStore.from_paths([tar_path])
    for name, image in expected.items():
        assert name in store
        assert (pixels(store.open(name)) == pixels(image)).all()
    assert (pixels(store.open("a/" + "deep/" * 40 + "name.png")) == pixels(photo(seed=99))).all()
    assert "folder" not in store
    assert "gallery_000007" in store
    assert (pixels(store.open("gallery_000007")) == pixels(photo(seed=7))).all()


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))  # 3 came with Python 3.0
def test_index_of_any_protocol_and_member_names(gallery, tmp_path, protocol):
    tar_path, _ = gallery
    with tarfile.open(tar_path) as tar:
        index = {f"id {i}": member for i, member in enumerate(tar.getmembers()) if member.isfile()}
    other = tmp_path / "other.pkl"
    other.write_bytes(pickle.dumps(index, protocol))
    store = ImageStore.from_paths([tar_path], tar_index=str(other))
    assert (pixels(store.open("id 3")) == pixels(photo(seed=3))).all()


def test_dot_slash_members_and_the_last_of_equal_names(tmp_path):
    tar_path = tmp_path / "images.tar"
    with tarfile.open(tar_path, "w") as tar:
        for seed in (1, 2):
            data = encoded(photo(seed=seed))
            member = tarfile.TarInfo("./photo.png")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    write_tar_index(tar_path, tmp_path / "tar_index.pkl")
    image = ImageStore.from_paths([tar_path]).open("photo.png")
    assert (pixels(image) == pixels(photo(seed=2))).all()


def test_a_tar_that_is_not_the_indexed_one_shows_no_wrong_photo(gallery):
    """Rewritten with the same size: every member stands elsewhere, or is another."""
    tar_path, expected = gallery
    store = ImageStore.from_paths([tar_path])
    data = tar_path.read_bytes()
    tar_path.write_bytes(data[512:] + data[:512])
    for name in expected:
        with pytest.raises(ImageError, match=rf"{name} in .*images\.tar: no member of .*is the index of this tar"):
            store.open(name)


names = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30),
    st.text("ab/é", min_size=90, max_size=260),
    st.builds("".join, st.tuples(st.just("long/" * 19), st.text("ab", min_size=1, max_size=12))),  # about 100 bytes
    st.sampled_from(["./a", "a", "\udcff.jpg"]),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(names, max_size=8, unique=True), st.sampled_from([0, 1, 2]), st.integers(0, 3))
def test_the_name_in_the_tar_is_compared_without_false_alarms(tmp_path_factory, names, format, strip):
    """Every member is read by its id, whatever its name and however the tar writes it; ustar cannot write all."""
    path = tmp_path_factory.mktemp("tar") / "images.tar"
    try:
        write_tar(path, [(name, name.encode("utf-8", "surrogateescape")) for name in names], format)
    except ValueError:
        assume(False)
    index_tar(path, strip=strip)
    write_tar_index(path, f"{path}.pkl")
    with tarfile.open(path) as tar:
        expected = {member.name.removeprefix("./"): tar.extractfile(member).read() for member in tar if member.isreg()}
    (source,) = ImageStore.from_paths([path], f"{path}.pkl").sources
    assert {name: source.read(name) for name in source.index} == expected
    (source,) = ImageStore.from_paths([path]).sources
    for image_id in source.index:
        assert source.read(image_id) in [expected[name] for name in expected if name.endswith(image_id)]


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("stem", ["", "long/" * 30, "é"])
@pytest.mark.parametrize("way", ["pass", "pickle"])
def test_the_index_of_a_tar_of_the_same_photos_in_another_order_shows_no_wrong_photo(tmp_path, format, stem, way):
    """Photos of one size begin at the same bytes: only their names differ, and those perhaps only at the end."""
    names = [f"{stem}{letter}.bmp" for letter in "ab"]
    files = [
        (name, encoded(Image.new("RGB", (16, 16), colour), "BMP"))
        for name, colour in zip(names, ("red", "blue"), strict=True)
    ]
    one, other = write_tar(tmp_path / "1.tar", files, format), write_tar(tmp_path / "2.tar", files[::-1], format)
    index = tmp_path / "an.index"
    if way == "pass":
        index_tar(one, index)
    else:
        write_tar_index(one, index)
    store = ImageStore.from_paths([one], str(index))
    assert [store.open(name).getpixel((0, 0)) for name in names] == [(255, 0, 0), (0, 0, 255)]
    for name in names:
        with pytest.raises(ImageError, match=rf"its name is .*, not {name}; is the index of this tar\?"):
            ImageStore.from_paths([other], str(index)).open(name)


def test_an_index_of_an_earlier_version_is_refused_or_made_anew(gallery, tmp_path):
    tar_path, _ = gallery
    index_tar(tar_path)
    ImageStore.from_paths([tar_path], tmp_path / "tar_index.pkl")
    for name in ("images.tar.index", "tar_index.pkl.index"):
        with closing(sqlite3.connect(tmp_path / name)) as database:
            database.executescript("PRAGMA user_version = 0")
    with pytest.raises(
        ValueError, match=r"images\.tar\.index is of another version: make it anew with `python -m tools"
    ):
        ImageStore.from_paths([tar_path])
    (tmp_path / "images.tar.index").unlink()
    assert (pixels(ImageStore.from_paths([tar_path]).open("gallery_000007")) == pixels(photo(seed=7))).all()


def test_shards(gallery, tmp_path):
    """A folder of tars, each with an index of its own, means the photos of all of them."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(3):
        with tarfile.open(folder / f"{number}.tar", "w") as tar:
            for seed in (number, 10 + number):
                data = encoded(photo(seed=seed))
                member = tarfile.TarInfo(f"photo {seed}.png")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    with pytest.raises(FileNotFoundError, match=r"0\.tar has no 0\.tar\.index beside it; `python -m tools\.index_tar"):
        ImageStore.from_paths([folder])
    for number in range(3):
        index_tar(folder / f"{number}.tar")
    for paths in ([folder], sorted(folder.glob("*.tar")), [gallery[0], folder]):
        store = ImageStore.from_paths(paths)
        for seed in (0, 1, 2, 10, 11, 12):
            assert (pixels(store.open(f"photo {seed}")) == pixels(photo(seed=seed))).all()
        assert "photo 3.png" not in store


def test_missing_and_broken_members_are_named_and_cost_no_other(gallery):
    tar_path, expected = gallery
    store = ImageStore.from_paths([tar_path])
    with pytest.raises(ImageError, match=r"absent\.png: not in .*images\.tar"):
        store.open("absent.png")
    with pytest.raises(ImageError, match=r"broken\.png in .*images\.tar"):
        store.open("broken.png")
    assert (pixels(store.open("gallery_000000.png")) == pixels(expected["gallery_000000.png"])).all()


def test_truncated_tar(gallery):
    """A download that stopped: the photos that arrived are readable, the others say what is wrong."""
    tar_path, _ = gallery
    data = tar_path.read_bytes()
    tar_path.write_bytes(data[: len(data) // 2])
    store = ImageStore.from_paths([tar_path])
    store.open("gallery_000000.png")
    with pytest.raises(ImageError, match=r"gallery_000029\.png in .*images\.tar: the tar ends \d+ bytes too early"):
        store.open("gallery_000029.png")


def test_folder_with_and_without_extension(tmp_path):
    (tmp_path / "sub").mkdir()
    for name, seed in [("one.jpg", 1), ("sub/two.PNG", 2), ("three", 3), ("x@N00.jpg.webp", 4)]:
        (tmp_path / name).write_bytes(encoded(photo(seed=seed)))
    store = ImageStore.from_paths([str(tmp_path)])
    for image_id, seed in [("one.jpg", 1), ("one", 1), ("sub/two", 2), ("three", 3), ("x@N00.jpg", 4)]:
        assert image_id in store
        assert (pixels(store.open(image_id)) == pixels(photo(seed=seed))).all()
    assert "sub" not in store


def test_ids_do_not_lead_out_of_the_folder(tmp_path):
    (tmp_path / "inside").mkdir()
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(photo()))
    store = ImageStore.from_paths([tmp_path / "inside"])
    for image_id in ("../secret.png", str(secret), "sub/../../secret.png", "bad\0id"):
        assert image_id not in store
        with pytest.raises(ImageError):
            store.open(image_id)


@pytest.mark.parametrize("name", ["x" * 252, "x" * 300, "ü" * 150, "folder/" * 900, "\0", "\ud800"])
def test_a_name_that_no_file_can_have_is_that_of_no_photo(tmp_path, name):
    """252 bytes fit, but not with `.jpeg` behind them."""
    store = ImageStore.from_paths([tmp_path])
    assert (name in store, store.place(name)) == (False, None)
    with pytest.raises(ImageError, match=f"not in {tmp_path}"):
        store.open(name)


def test_an_exact_id_goes_before_one_with_an_extension(tmp_path):
    for name, seed in [("a/photo.jpg", 1), ("b/photo", 2)]:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(encoded(photo(seed=seed)))
    store = ImageStore.from_paths([tmp_path / "a", tmp_path / "b"])
    assert (pixels(store.open("photo")) == pixels(photo(seed=2))).all()


def test_every_id_of_a_photo_has_one_place(gallery, tmp_path, monkeypatch):
    tar_path, _ = gallery
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "one.jpg").write_bytes(encoded(photo()))
    monkeypatch.chdir(tmp_path)
    for paths in ([tar_path, tmp_path / "folder"], ["images.tar", "folder"]):
        store = ImageStore.from_paths(paths)
        assert store.place("one") == store.place("one.jpg") == str(tmp_path / "folder" / "one.jpg")
        assert store.place("gallery_000001") == str(tar_path / "gallery_000001.png")
        assert store.place("absent") is None


def test_first_source_answers(gallery, tmp_path):
    tar_path, _ = gallery
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "gallery_000001.png").write_bytes(encoded(photo(seed=500)))
    for paths, seed in [([folder, tar_path], 500), ([tar_path, folder], 1)]:
        image = ImageStore.from_paths(paths).open("gallery_000001.png")
        assert (pixels(image) == pixels(photo(seed=seed))).all()


def test_wrong_paths(gallery, tmp_path):
    (tmp_path / "empty").mkdir()
    tar_path, _ = gallery
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ImageStore.from_paths([tmp_path / "nowhere"])
    with pytest.raises(FileNotFoundError, match=r"nowhere\.tar"):
        ImageStore.from_paths([tmp_path / "nowhere.tar"])
    with pytest.raises(FileNotFoundError, match=r"no\.pkl"):
        ImageStore.from_paths([tar_path], tar_index=str(tmp_path / "no.pkl"))
    with pytest.raises(ValueError, match="none"):
        ImageStore.from_paths([tmp_path / "empty"], tar_index=str(tmp_path / "tar_index.pkl"))
    with pytest.raises(ValueError, match="several"):
        ImageStore.from_paths([tar_path, tar_path], tar_index=str(tmp_path / "tar_index.pkl"))


# ---- processes ----


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1)])  # to start a process anew takes seconds
def test_workers_share_one_store(gallery, method, workers):
    """Several readers at once on a tar that the parent has open: each gets the bytes of each photo."""
    tar_path, expected = gallery
    store = ImageStore.from_paths([tar_path])
    store.open("gallery_000000.png")  # opens tar and index before the workers start
    names = list(expected) * 10
    photos = DataLoader(
        Pixels(store, names), batch_size=4, num_workers=workers, collate_fn=list, multiprocessing_context=method
    )
    assert [data for batch in photos for data in batch] == [expected[name].tobytes() for name in names]
    assert pixels(store.open("gallery_000001.png")).tolist() == pixels(expected["gallery_000001.png"]).tolist()


def test_threads_share_one_store(gallery):
    tar_path, expected = gallery
    store = ImageStore.from_paths([tar_path])
    names = list(expected) * 10
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda name: store.open(name).tobytes(), names)) == [expected[n].tobytes() for n in names]
