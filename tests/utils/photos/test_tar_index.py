"""Tar indexes against tarfile itself; passes that are interrupted, tars that are damaged, several at once."""

import io
import multiprocessing
import os
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import utils.photos.tar_index
import utils.photos.tar_index_build
from utils.photos.tar_index import TarIndex, open_index
from utils.photos.tar_index_build import index_pickle, index_tar
from utils.photos.tar_index_pickle import Member, write_tar_index

names = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30),
    st.text("ab/é", min_size=90, max_size=260),
    st.sampled_from(["./a", "a", "\udcff.jpg"]),  # the last is no UTF-8, as tarfile reads it
)


def write_tar(path, contents, format=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in contents:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def numbered(path, count=50):
    return write_tar(path, [(f"photo {i:03d}.jpg", bytes([i]) * (300 * i)) for i in range(count)])


def members_of(path):
    """What tarfile finds in one go."""
    with tarfile.open(path) as tar:
        return {m.name.removeprefix("./"): Member(m.offset_data, m.size) for m in tar.getmembers() if m.isreg()}


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(names, st.binary(max_size=1200)), max_size=12),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_an_index_says_what_tarfile_says(tmp_path_factory, contents, format):
    path = write_tar(tmp_path_factory.mktemp("tar") / "images.tar", contents, format)
    expected = members_of(path)
    write_tar_index(path, f"{path}.pkl")
    index_pickle(f"{path}.pkl", path)
    assert index_tar(path) == []
    for index in (TarIndex(f"{path}.index"), TarIndex(f"{path}.pkl.index")):
        assert dict(index) == expected
        assert list(index) == sorted(expected)
        assert len(index) == len(expected)
        for absent in ("absent", "photo\0", "\ud800"):
            assert absent not in index
    assert sorted(os.listdir(path.parent)) == [f"images.tar{end}" for end in ("", ".index", ".pkl", ".pkl.index")]


def test_folders_and_links_are_no_photos(tmp_path):
    with tarfile.open(tmp_path / "images.tar", "w") as tar:
        for name, kind in (("folder", tarfile.DIRTYPE), ("link", tarfile.SYMTYPE), ("photo", tarfile.REGTYPE)):
            member = tarfile.TarInfo(name)
            member.type = kind
            tar.addfile(member)
    index_tar(tmp_path / "images.tar")
    assert list(TarIndex(tmp_path / "images.tar.index")) == ["photo"]


# ---- interruptions and damage ----


@pytest.fixture
def counted(monkeypatch):
    """Counts the members that passes read, and calls ``stop`` at the thirtieth."""
    plain = tarfile.TarFile.next

    class Counted:
        read = 0
        stop = None

    def counting_next(tar):
        Counted.read += 1
        if Counted.read == 30 and Counted.stop:
            Counted.stop()
        return plain(tar)

    monkeypatch.setattr(tarfile.TarFile, "next", counting_next)
    return Counted


def interrupt():
    raise KeyboardInterrupt


def test_an_interrupted_pass_leaves_no_index_and_goes_on(tmp_path, counted):
    path = numbered(tmp_path / "images.tar")
    counted.stop = interrupt
    with pytest.raises(KeyboardInterrupt):
        index_tar(path)
    assert not (tmp_path / "images.tar.index").exists()
    counted.stop, counted.read = None, 0
    assert index_tar(path) == []
    assert counted.read < 30
    assert dict(TarIndex(f"{path}.index")) == members_of(path)
    assert sorted(os.listdir(tmp_path)) == ["images.tar", "images.tar.index"]


@pytest.mark.parametrize("seconds", [0, 10])
def test_a_killed_pass_goes_on_from_what_it_saved(tmp_path, counted, monkeypatch, seconds):
    """Killed in the middle of a transaction, which leaves a journal for the next pass to roll back."""
    monkeypatch.setattr(utils.photos.tar_index_build, "_SAVE_SECONDS", seconds)
    path = numbered(tmp_path / "images.tar")
    counted.stop = lambda: os._exit(9)
    process = multiprocessing.get_context("fork").Process(target=index_tar, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert not (tmp_path / "images.tar.index").exists()
    counted.stop, counted.read = None, 0
    assert index_tar(path) == []
    assert (counted.read < 30) == (seconds == 0)
    assert dict(TarIndex(f"{path}.index")) == members_of(path)


def test_what_is_left_of_a_pass_over_another_tar_is_not_used(tmp_path, counted):
    path = numbered(tmp_path / "images.tar")
    counted.stop = interrupt
    with pytest.raises(KeyboardInterrupt):
        index_tar(path)
    write_tar(path, [("other.jpg", bytes(50_000))])
    counted.stop = None
    index_tar(path)
    assert list(TarIndex(f"{path}.index")) == ["other.jpg"]


@pytest.mark.parametrize("damage", ["truncated in a photo", "truncated in a header", "garbage"])
def test_a_damaged_tar_is_indexed_up_to_the_damage_which_is_reported(tmp_path, damage):
    path = numbered(tmp_path / "images.tar")
    expected = members_of(path)
    data = path.read_bytes()
    header = expected["photo 040.jpg"].offset - 512
    broken = {
        "truncated in a photo": data[: header + 512 + 700],
        "truncated in a header": data[: header + 100],
        "garbage": data[:header] + b"garbage " * 64 + data[header + 512 :],
    }[damage]
    path.write_bytes(broken)
    [problem] = index_tar(path)
    assert problem.startswith(f"{path}: damaged at byte ")
    found = dict(TarIndex(f"{path}.index"))
    last = 41 if damage == "truncated in a photo" else 40
    assert found == {name: expected[name] for name in sorted(expected)[:last]}


def test_a_tar_behind_the_end_of_another_is_reported(tmp_path):
    path = numbered(tmp_path / "images.tar")
    expected = members_of(path)
    path.write_bytes(path.read_bytes() * 2)
    [problem] = index_tar(path)
    assert "what follows is not in the index" in problem
    assert dict(TarIndex(f"{path}.index")) == expected


def test_a_tar_without_the_zeros_at_its_end_is_whole(tmp_path):
    path = write_tar(tmp_path / "images.tar", [("a", bytes(512))])
    path.write_bytes(path.read_bytes()[:1024])
    assert index_tar(path) == []


@pytest.mark.parametrize("content", [b"", b"no tar" * 1000, b"\x1f\x8b" + bytes(2000)])
def test_no_tar(tmp_path, content):
    path = tmp_path / "images.tar"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"images\.tar is no uncompressed tar"):
        index_tar(path)
    assert set(os.listdir(tmp_path)) <= {"images.tar", ".images.tar.index.lock"}


@pytest.mark.parametrize("content", [b"", b"no index", b"SQLite format 3\0", b"SQLite format 3\0" + bytes(5000)])
def test_no_index(tmp_path, content):
    path = tmp_path / "images.tar.index"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"images\.tar\.index is not a"):
        TarIndex(path)


def test_an_unfinished_index_is_none(tmp_path, counted):
    path = numbered(tmp_path / "images.tar")
    counted.stop = interrupt
    with pytest.raises(KeyboardInterrupt):
        index_tar(path)
    with pytest.raises(ValueError, match="not a complete tar index"):
        TarIndex(tmp_path / ".images.tar.index.partial")


# ---- which index belongs to a tar ----


def write_pickle(tar_path, path, ids):
    """A released index that calls the members of the tar by ``ids``."""
    with tarfile.open(tar_path) as tar:
        path.write_bytes(pickle.dumps(dict(zip(ids, tar.getmembers(), strict=True))))
    return path


def test_own_index_then_released_pickle_or_what_is_given(tmp_path):
    tar = write_tar(tmp_path / "images.tar", [("member", b"x")])
    with pytest.raises(FileNotFoundError, match=r"images\.tar has no images\.tar\.index or tar_index\.pkl beside it"):
        open_index(tar)
    released = write_pickle(tar, tmp_path / "tar_index.pkl", ["released"])
    other = write_pickle(tar, tmp_path / "other.pkl", ["./other"])
    assert list(open_index(tar)) == ["released"]
    assert list(open_index(tar, other)) == ["other"]
    index_tar(tar)
    assert list(open_index(tar)) == ["member"]
    assert list(open_index(tar, released)) == ["released"]
    assert list(open_index(tar, tmp_path / "other.pkl.index")) == ["other"]
    # With two tars in the folder nobody can tell which one the pickle means.
    another = write_tar(tmp_path / "another.tar", [("a", b"x")])
    with pytest.raises(FileNotFoundError, match=r"another\.tar has no another\.tar\.index beside it"):
        open_index(another)


def test_an_index_of_a_tar_that_changed_is_refused(tmp_path):
    tar = numbered(tmp_path / "images.tar")
    index_tar(tar)
    numbered(tar, count=70)
    with pytest.raises(ValueError, match=r"images\.tar\.index is out of date: .*`python -m tools\.index_tar .*tar`"):
        open_index(tar)


def test_a_pickle_is_converted_once_and_again_when_it_or_the_tar_changes(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(utils.photos.tar_index, "index_pickle", lambda *args: [calls.append(args), index_pickle(*args)])
    tar = write_tar(tmp_path / "images.tar", [("member", b"x")])
    released = write_pickle(tar, tmp_path / "tar_index.pkl", ["one"])
    for _ in range(3):
        assert list(open_index(tar)) == ["one"]
    assert len(calls) == 1
    write_pickle(tar, released, ["two"])
    os.utime(released, ns=(0, 0))
    assert list(open_index(tar)) == ["two"]
    tar.write_bytes(tar.read_bytes() + bytes(10240))
    open_index(tar)
    (tmp_path / "tar_index.pkl.index").write_bytes(b"no index")
    open_index(tar)
    assert len(calls) == 4
    assert sorted(os.listdir(tmp_path)) == ["images.tar", "tar_index.pkl", "tar_index.pkl.index"]


def test_an_index_in_a_folder_that_cannot_be_written_goes_to_the_cache(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    tar = write_tar(tmp_path / "data" / "images.tar", [("member", b"x")])
    write_tar_index(tar, tmp_path / "data" / "tar_index.pkl")
    for _ in range(2):
        index = open_index(tar)
        assert list(index) == ["member"]
        assert index.path.parent == tmp_path / "cache" / "georanker"
    [warning] = caplog.messages
    assert f"the index of {tmp_path / 'data' / 'tar_index.pkl'} goes to {index.path}" in warning
    assert sorted(os.listdir(tmp_path / "data")) == ["images.tar", "tar_index.pkl"]


def convert_and_look(tar, barrier, results):
    utils.photos.tar_index.index_pickle = lambda *args: [results.put("converted"), index_pickle(*args)]
    barrier.wait()
    results.put(len(open_index(tar)))


def test_processes_that_start_at_once_convert_once(tmp_path):
    tar = numbered(tmp_path / "images.tar")
    write_tar_index(tar, tmp_path / "tar_index.pkl")
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(6), context.Queue()
    processes = [context.Process(target=convert_and_look, args=(tar, barrier, results)) for _ in range(6)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in range(7)]
    for process in processes:
        process.join()
    assert sorted(found, key=str) == [50] * 6 + ["converted"]
    assert sorted(os.listdir(tmp_path)) == ["images.tar", "tar_index.pkl", "tar_index.pkl.index"]


def test_an_index_is_shared_by_threads_and_pickled_by_its_path(tmp_path):
    tar = numbered(tmp_path / "images.tar")
    index_tar(tar)
    index, expected = open_index(tar), members_of(tar)
    data = pickle.dumps(index)
    assert len(data) < 500
    assert dict(pickle.loads(data)) == expected
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(index.__getitem__, [*expected] * 20)) == [*expected.values()] * 20


def test_a_pass_with_other_names_does_not_go_on_with_these(tmp_path, counted):
    path = numbered(tmp_path / "images.tar")
    counted.stop = interrupt
    with pytest.raises(KeyboardInterrupt):
        index_tar(path)
    counted.stop, counted.read = None, 0
    assert index_tar(path, strip=1) == []
    assert counted.read > 50  # from the start
    assert dict(TarIndex(f"{path}.index")) == members_of(path)
