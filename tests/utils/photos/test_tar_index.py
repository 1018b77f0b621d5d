"""Tar indexes as they are opened: which one belongs to a tar, what is none, and several readers at once."""

import multiprocessing
import os
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest

import utils.photos.tar_index
from tests.tars import interrupt, members_of, numbered, write_tar
from utils.photos.tar_index import TarIndex, open_index
from utils.photos.tar_index_build import index_pickle, index_tar
from utils.photos.tar_index_pickle import write_tar_index


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
