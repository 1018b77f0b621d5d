"""Photos read out of zips: sound, damaged, hostile and replaced ones, by several readers at once."""

import multiprocessing
import os
import pickle
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tests.damage import outcome
from tests.pictures import encoded, photo, pixels
from tests.reading import Pixels
from tests.zips import LOCAL, edited, entry, write_zip
from utils.photos import zip_store
from utils.photos.images import ImageError
from utils.photos.store import ImageStore
from utils.photos.zip_store import ZipStore


@pytest.fixture
def gallery(tmp_path):
    """A folder of three zips, stored and deflated ones in turn, and what each id should decode to."""
    expected = {f"{shard:02}/{shard}{i}.png": photo(seed=10 * shard + i) for shard in range(3) for i in range(5)}
    folder = tmp_path / "train"
    folder.mkdir()
    for shard in range(3):
        photos = [(name, encoded(image)) for name, image in expected.items() if name.startswith(f"{shard:02}/")]
        method = zipfile.ZIP_DEFLATED if shard % 2 else zipfile.ZIP_STORED
        write_zip(folder / f"{shard:02}.zip", photos, method)
    return folder, expected


def test_many_zips_are_one_store(gallery):
    folder, expected = gallery
    store = ImageStore.from_paths([folder])
    for name, image in expected.items():
        bare = name.split("/")[1]
        for image_id in (name, name.removesuffix(".png"), f"./{name}", bare, bare.removesuffix(".png")):
            assert (pixels(store.open(image_id)) == pixels(image)).all()
            assert store.place(image_id) == f"{folder}/{name}"
    assert "30.png" not in store
    with pytest.raises(ImageError, match=r"30\.png: not in .*train"):
        store.open("30.png")


def test_one_zip(gallery):
    folder, expected = gallery
    store = ImageStore.from_paths([folder / "01.zip"])
    assert (pixels(store.open("12")) == pixels(expected["01/12.png"])).all()
    assert "02" not in store
    assert store.stamp("12") == (len(encoded(expected["01/12.png"])), os.stat(folder / "01.zip").st_mtime_ns)
    with pytest.raises(FileNotFoundError, match=r"09\.zip does not exist"):
        ImageStore.from_paths([folder / "09.zip"])


def test_files_beside_zips_come_first(gallery):
    folder, expected = gallery
    (folder / "00.png").write_bytes(encoded(photo(seed=77)))
    store = ImageStore.from_paths([folder])
    assert (pixels(store.open("00.png")) == pixels(photo(seed=77))).all()
    assert (pixels(store.open("01.png")) == pixels(expected["00/01.png"])).all()


def test_a_name_without_folders_is_no_id_where_two_are_called_so(tmp_path):
    photos = [(f"{folder}/x.png", encoded(photo(seed=seed))) for seed, folder in enumerate("ab")]
    store = ImageStore.from_paths([write_zip(tmp_path / "0.zip", photos)])
    assert "x.png" not in store
    assert (pixels(store.open("b/x.png")) == pixels(photo(seed=1))).all()


def test_a_name_that_is_unclear_is_that_of_no_other_photo(tmp_path):
    """Neither one with another extension, nor the last one where the others are left out."""
    photos = [(name, encoded(photo(seed=seed))) for seed, name in enumerate(["a/x.png", "b/x.png", "c/x.gif"])]
    path = write_zip(tmp_path / "0.zip", photos)
    assert "x" not in ImageStore.from_paths([path])
    with edited(path) as data:
        data[entry(data, "b/x.png") + 8] |= 1  # encrypted
    store = ImageStore.from_paths([path])
    for name in ("x", "x.png"):
        with pytest.raises(ImageError, match=r"0\.zip; several members are called so: a/x\.png, b/x\.png$"):
            store.open(name)
    for name in ("b/x", "b/x.png"):
        with pytest.raises(ImageError, match=r"0\.zip; it is encrypted \(0\.zip\)$"):
            store.open(name)
    (tmp_path / "x.png").write_bytes(encoded(photo(seed=9)))
    assert ImageStore.from_paths([path, tmp_path]).place("x") == f"{tmp_path}/x.png"


def test_any_number_of_dots_before_a_name(tmp_path):
    store = ZipStore(write_zip(tmp_path / "0.zip", [("./././c.png", b"1")]))
    names = "c.png", "./c.png", "./././c.png"
    assert [store.read(store.find(name)) for name in names] == [b"1"] * 3
    assert list(store.index) == ["c.png"]


def test_names_are_printable_in_messages(tmp_path, caplog):
    path = write_zip(tmp_path / "0.zip", [("../a\n\x1b[31mred.png", b"1"), ("b\n.png", b"2")])
    store = ImageStore.from_paths([path])
    assert r"(../a\n\x1b[31mred.png in 0.zip: its name is no path" in caplog.text
    with pytest.raises(ImageError, match=r"^b\\n\.png in [^\n]*: not an image"):
        store.open("b\n.png")
    with pytest.raises(ImageError, match=r"^c\\n: not in "):
        store.open("c\n")


def test_of_members_of_one_id_the_last_counts(tmp_path, recwarn, caplog):
    for shard, seeds in enumerate(([1, 2], [3])):
        path = tmp_path / f"{shard}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for seed in seeds:
                archive.writestr("x.png", encoded(photo(seed=seed)))
    recwarn.clear()  # of zipfile: duplicate name
    store = ImageStore.from_paths([tmp_path])
    assert (pixels(store.open("x.png")) == pixels(photo(seed=3))).all()
    reason = "the id of several members, of which the index has the last"
    assert store.sources[1].index.left_out() == [("x.png in 0.zip", reason)] * 2
    assert "2 members are left out (x.png in 0.zip: the id of several" in caplog.text


names = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0\\"), min_size=1, max_size=30),
    st.text("ab/é", min_size=90, max_size=260),
    st.sampled_from(["./a", "a"]),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(names, max_size=8, unique_by=lambda name: name.removeprefix("./")), st.sampled_from([0, 8]))
def test_every_member_is_read_by_its_id(tmp_path_factory, names, method):
    path = write_zip(tmp_path_factory.mktemp("zip") / "0.zip", [(name, name.encode()) for name in names], method)
    store = ZipStore(path)
    left_out = {name.removesuffix(" in 0.zip") for name, _ in store.index.left_out()}
    files = {name for name in names if not name.endswith("/")}
    assert {name: store.read(name) for name in store.index} == {
        name.removeprefix("./"): name.encode() for name in files if name.removeprefix("./") not in left_out | {""}
    }
    assert all(name.startswith("/") or ".." in name for name in left_out)


# ---- damage ----


def flip_data(data):
    data[entry(data, "a.png", LOCAL) + 60] ^= 0xFF


def other_name(data):
    data[entry(data, "a.png", LOCAL) + 30] = ord("z")


def no_header(data):
    data[entry(data, "a.png", LOCAL)] = 0


def other_method(data):
    data[entry(data, "a.png", LOCAL) + 8] ^= 8


def longer(data):
    struct.pack_into("<I", data, entry(data, "a.png") + 24, 10)  # the size that the directory states


def shorter(data):
    struct.pack_into("<I", data, entry(data, "a.png") + 24, 10**6)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_data, "damaged: "),
        (other_name, r"no member b'a\.png' at byte 0; has the zip changed\?"),
        (no_header, "no member"),
        (other_method, "no member"),
        (longer, "damaged: longer than the 10 bytes that its directory states"),
        (shorter, "damaged: shorter than the 1000000 bytes"),
    ],
)
def test_damage_is_named_and_costs_only_its_member(tmp_path, method, damage, message):
    path = write_zip(tmp_path / "0.zip", [(f"{name}.png", encoded(photo(seed=ord(name)))) for name in "ab"], method)
    with edited(path) as data:
        damage(data)
    store = ImageStore.from_paths([path])
    with pytest.raises(ImageError, match=rf"a\.png in .*0\.zip: .*0\.zip: {message}"):
        store.open("a.png")
    assert store.content("a.png") is None
    assert (pixels(store.open("b.png")) == pixels(photo(seed=ord("b")))).all()


def test_a_bomb_is_not_inflated_further_than_it_admits_to(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "0.zip", [("a.png", bytes(10**8))])
    with edited(path) as data:
        longer(data)
    taken = []
    inflate = zip_store.zlib.decompressobj

    class Noting:
        def __init__(self, *window):
            self.inflating = inflate(*window)

        def decompress(self, data, most):
            taken.append(self.inflating.decompress(data, most))
            return taken[-1]

    monkeypatch.setattr(zip_store.zlib, "decompressobj", Noting)
    with pytest.raises(OSError, match="longer"):
        ZipStore(path).read("a.png")
    assert [len(data) for data in taken] == [11]


def test_what_is_inflated_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(zip_store, "PIECE", 100)
    contents = [(str(size), os.urandom(size // 2) + bytes(size - size // 2)) for size in (0, 99, 100, 101, 1000)]
    contents.append(("bomb", bytes(1000)))
    path = write_zip(tmp_path / "0.zip", contents)
    with edited(path) as data:
        struct.pack_into("<I", data, entry(data, "bomb") + 24, 299)
    store = ZipStore(path)
    assert [store.read(name) for name, _ in contents[:-1]] == [content for _, content in contents[:-1]]
    with pytest.raises(OSError, match="longer than the 299 bytes"):
        store.read("bomb")


def test_a_header_with_more_fields_than_the_directory_has(tmp_path):
    """Its length stands in the header alone."""
    path, data = tmp_path / "0.zip", encoded(photo())
    member = zipfile.ZipInfo("a.png")
    member.extra = struct.pack("<HH", 0x7777, 500) + bytes(500)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, data)
        member.extra = b""  # of the directory, which is written last
    assert ZipStore(path).read("a.png") == data


def test_sizes_behind_the_data(tmp_path):
    """A zip that was written to a pipe has no sizes in the header before a member."""
    read, write = os.pipe()
    with open(write, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", encoded(photo()))
    with open(read, "rb") as file:
        (tmp_path / "0.zip").write_bytes(file.read())
    assert (tmp_path / "0.zip").read_bytes()[14:26] == bytes(12)
    assert ZipStore(tmp_path / "0.zip").read("a.png") == encoded(photo())


def test_a_zip_that_cannot_be_read_costs_only_itself(gallery, caplog):
    folder, expected = gallery
    (folder / "00.zip").write_bytes((folder / "00.zip").read_bytes()[:-100])
    for _ in range(2):  # with the index made, and made already
        caplog.clear()
        store = ImageStore.from_paths([folder])
        assert "00.zip: File is not a zip file" in caplog.text
    assert (pixels(store.open("10.png")) == pixels(expected["01/10.png"])).all()
    with pytest.raises(ImageError, match=r"00\.png: not in .*; 00\.zip: File is not a zip file"):
        store.open("00.png")
    with pytest.raises(ValueError, match=r"^[^\n]*train/00\.zip: File is not a zip file$"):
        ImageStore.from_paths([folder / "00.zip"])


def test_what_is_only_called_a_zip_costs_only_itself(gallery, caplog):
    folder, expected = gallery
    (folder / "a.zip").mkdir()
    (folder / "b.zip").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "c.zip")
    for _ in range(2):  # with the index made, and made already
        caplog.clear()
        store = ImageStore.from_paths([folder])
        for letter in "abc":
            assert f"{folder}/{letter}.zip: neither a file nor a link to one" in caplog.text
    assert (pixels(store.open("10.png")) == pixels(expected["01/10.png"])).all()


def test_what_is_left_out_is_said_where_it_is_asked_for(tmp_path):
    path = write_zip(tmp_path / "0.zip", [("../x.png", encoded(photo())), ("good.png", encoded(photo()))])
    with pytest.raises(ImageError, match=r"x\.png: not in .*; its name is no path inside of a folder \(0\.zip\)"):
        ImageStore.from_paths([path]).open("../x.png")


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_any_damage_gives_the_photo_or_an_error_of_one_line(tmp_path_factory, data):
    content = {name: name.encode() * 20 for name in ("a", "b/c")}
    method = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    path = write_zip(tmp_path_factory.mktemp("zip") / "0.zip", content.items(), method)
    damaged = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=3)):
        damaged[place] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.sampled_from([len(damaged), len(damaged) // 2, len(damaged) - 5])) :]

    def read():
        store = ZipStore(path)
        return {name: store.read(name) for name in content if name in store.index}

    assert (outcome(read, path, bytes(damaged)) or {}).items() <= content.items()


# ---- changed zips ----


def test_the_index_is_made_once_and_again_when_a_zip_changes(gallery):
    folder, _ = gallery
    ImageStore.from_paths([folder])
    made = (folder / "zips.index").stat().st_ino
    ImageStore.from_paths([folder])
    assert (folder / "zips.index").stat().st_ino == made
    write_zip(folder / "01.zip", [("01/new.png", encoded(photo(seed=5)))])
    store = ImageStore.from_paths([folder])
    assert "01/new.png" in store
    assert "01/10.png" not in store
    write_zip(folder / "03.zip", [("03/30.png", encoded(photo(seed=6)))])
    assert "30" in ImageStore.from_paths([folder])
    (folder / "03.zip").unlink()
    assert "30" not in ImageStore.from_paths([folder])
    (folder / "zips.index").write_bytes(b"no index")
    assert "new" in ImageStore.from_paths([folder])


def in_new_thread(function, *arguments):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


def test_an_open_store_reads_on_when_the_index_is_made_anew(tmp_path):
    """As another command does that finds more zips: threads that open the index then find what it says."""
    write_zip(tmp_path / "1.zip", [("1.png", b"1")])
    store = ImageStore.from_paths([tmp_path])
    write_zip(tmp_path / "0.zip", [("0.png", b"0")])
    ImageStore.from_paths([tmp_path])
    assert store.read("1.png")[0] == in_new_thread(store.read, "1.png")[0] == b"1"
    write_zip(tmp_path / "1.zip", [("more.png", b"m"), ("1.png", b"new")])
    ImageStore.from_paths([tmp_path])
    assert in_new_thread(store.read, "1.png")[0] == b"new"


def test_an_index_that_is_gone_is_named(tmp_path):
    write_zip(tmp_path / "1.zip", [("1.png", b"1")])
    store = ImageStore.from_paths([tmp_path])
    (tmp_path / "zips.index").unlink()
    for read in (store.read, store.place):
        with pytest.raises(ImageError, match=r"^1\.png: [^\n]*/zips\.index: unable to open database file$"):
            in_new_thread(read, "1.png")
    assert in_new_thread(store.content, "1.png") is None


def test_of_processes_that_start_together_one_makes_the_index(gallery):
    folder, _ = gallery

    def places():
        return ImageStore.from_paths([folder]).place("12"), (folder / "zips.index").stat().st_ino

    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    processes = [context.Process(target=lambda: answers.put(places())) for _ in range(4)]
    for process in processes:
        process.start()
    found = {answers.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert found == {(f"{folder}/01/12.png", (folder / "zips.index").stat().st_ino)}


def test_a_zip_that_changes_under_the_store_shows_no_wrong_photo(tmp_path):
    """Of the same names and sizes in another order, written in place."""
    photos = [(f"{name}.bmp", encoded(photo(seed=ord(name)), "BMP")) for name in "ab"]
    path = write_zip(tmp_path / "0.zip", photos, zipfile.ZIP_STORED)
    store = ImageStore.from_paths([path])
    store.open("a.bmp")
    write_zip(path, photos[::-1], zipfile.ZIP_STORED)
    with pytest.raises(ImageError, match=r"a\.bmp in .*: no member b'a\.bmp' at byte 0; has the zip changed\?"):
        store.open("a.bmp")
    assert "a.bmp" in ImageStore.from_paths([path])


def test_where_the_folder_cannot_be_written_the_index_goes_to_the_cache(gallery, tmp_path, monkeypatch, caplog):
    folder, expected = gallery
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # tests may run as root, who may write anywhere
    for _ in range(2):
        store = ImageStore.from_paths([folder])
        assert (pixels(store.open("10.png")) == pixels(expected["01/10.png"])).all()
    assert caplog.text.count("cannot be written: the index of") == 1
    assert not (folder / "zips.index").exists()


# ---- readers ----


def test_forked_workers_share_one_store(gallery):
    folder, expected = gallery
    store = ImageStore.from_paths([folder])
    store.open("00.png")  # opens zip and index before the workers start
    names = list(expected) * 10
    photos = DataLoader(
        Pixels(store, names), batch_size=4, num_workers=2, collate_fn=list, multiprocessing_context="fork"
    )
    assert [data for batch in photos for data in batch] == [expected[name].tobytes() for name in names]


def test_a_pickled_store_reads_on(gallery):
    """As spawned workers receive it."""
    folder, expected = gallery
    store = ImageStore.from_paths([folder])
    store.open("00.png")
    again = pickle.loads(pickle.dumps(store))
    assert [again.open(name).tobytes() for name in expected] == [image.tobytes() for image in expected.values()]


def test_threads_share_one_store_with_fewer_open_files_than_zips(gallery, monkeypatch):
    folder, expected = gallery
    monkeypatch.setattr(zip_store, "OPEN_FILES", 1)
    store = ImageStore.from_paths([folder])
    names = sorted(expected, key=lambda name: name[::-1]) * 10  # another zip each time
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda name: store.open(name).tobytes(), names)) == [expected[n].tobytes() for n in names]
    assert store.sources[1]._file.cache_info().currsize == 1
