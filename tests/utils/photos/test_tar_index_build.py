"""Passes over tars, against tarfile itself: also those that are interrupted, and over tars that are damaged."""

import multiprocessing
import os
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import utils.photos.tar_index_build
from tests.tars import interrupt, members_of, numbered, write_tar
from utils.photos.tar_index import TarIndex
from utils.photos.tar_index_build import index_pickle, index_tar
from utils.photos.tar_index_pickle import write_tar_index

names = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30),
    st.text("ab/é", min_size=90, max_size=260),
    st.sampled_from(["./a", "a", "\udcff.jpg"]),  # the last is no UTF-8, as tarfile reads it
)


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


def test_a_pass_with_other_names_does_not_go_on_with_these(tmp_path, counted):
    path = numbered(tmp_path / "images.tar")
    counted.stop = interrupt
    with pytest.raises(KeyboardInterrupt):
        index_tar(path)
    counted.stop, counted.read = None, 0
    assert index_tar(path, strip=1) == []
    assert counted.read > 50  # from the start
    assert dict(TarIndex(f"{path}.index")) == members_of(path)
