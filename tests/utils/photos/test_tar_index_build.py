"""Passes over tars, against tarfile itself: also those that are interrupted, and over tars that are damaged."""

import io
import multiprocessing
import os
import pickle
import sqlite3
import tarfile
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import utils.photos.tar_index_build
from tests.tars import interrupt, members_of, numbered, write_tar
from utils.photos.images import ImageError
from utils.photos.store import ImageStore
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


def write_kinds(path, *members):
    """A tar of (name, type, what it links to or its bytes)."""
    with tarfile.open(path, "w") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                member.linkname = content
                tar.addfile(member)
    return path


def reasons(index):
    return {name: reason.split(",")[0] for name, reason in index.left_out()}


def test_a_hard_link_is_its_target_and_what_is_left_out_is_named(tmp_path):
    path = write_kinds(
        tmp_path / "images.tar",
        ("./folder", tarfile.DIRTYPE, ""),
        ("early", tarfile.LNKTYPE, "folder/photo"),
        ("./folder/photo", tarfile.REGTYPE, b"first"),
        ("soft", tarfile.SYMTYPE, "folder/photo"),
        ("hard", tarfile.LNKTYPE, "./folder/photo"),
        ("harder", tarfile.LNKTYPE, "hard"),
        ("pipe", tarfile.FIFOTYPE, ""),
        ("to soft", tarfile.LNKTYPE, "soft"),
        ("./folder/photo", tarfile.REGTYPE, b"second"),
        ("late", tarfile.LNKTYPE, "folder/photo"),
    )
    assert index_tar(path) == []
    store = ImageStore.from_paths([path])
    index, (source,) = TarIndex(f"{path}.index"), store.sources
    with tarfile.open(path) as tar:
        assert {name: source.read(name) for name in index} == {
            name: tar.extractfile(tar.getmember(name)).read() for name in ("hard", "harder", "late")
        } | {"folder/photo": b"second"}
    assert reasons(index) == {
        "early": "a hard link to folder/photo",
        "soft": "a symbolic link to folder/photo",
        "pipe": "neither a file nor a folder",
        "to soft": "a hard link to soft",
        "folder/photo": "the id of several members",
    }
    with pytest.raises(ImageError, match=r"soft: not in .*images\.tar; a symbolic link to folder/photo"):
        store.open("soft")


def test_without_their_first_folders_a_link_means_no_other_member(tmp_path):
    path = write_kinds(
        tmp_path / "images.tar",
        ("a/x", tarfile.REGTYPE, b"a"),
        ("a/hard", tarfile.LNKTYPE, "a/x"),
        ("b/x", tarfile.REGTYPE, b"b"),
        ("a/late", tarfile.LNKTYPE, "a/x"),
    )
    index_tar(path, strip=1)
    (source,) = ImageStore.from_paths([path]).sources
    assert {name: source.read(name) for name in source.index} == {"x": b"b", "hard": b"a"}
    assert reasons(source.index) == {"x": "the id of several members", "a/late": "a hard link to a/x"}


def sparse_tar(path, format):
    """A tar whose second member has two bytes of data and a kilobyte of holes, as GNU tar writes it."""
    member = tarfile.TarInfo("holes.bmp")
    if format == "gnu":
        header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
        header[124:136], header[156:157] = b"%011o\0" % 512, tarfile.GNUTYPE_SPARSE
        for place, number in ((386, 1022), (398, 2), (483, 1024)):  # one piece: where and how long; the whole
            header[place : place + 12] = b"%011o\0" % number
        header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
        data = b"xx".ljust(512, b"\0")
    else:
        member.size = 1024
        member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        member.pax_headers |= {"GNU.sparse.name": "holes.bmp", "GNU.sparse.realsize": "1024"}
        header = member.tobuf(tarfile.PAX_FORMAT)
        data = b"1\n1022\n2\n".ljust(512, b"\0") + b"xx".ljust(512, b"\0")
    first = tarfile.TarInfo("first").tobuf(tarfile.GNU_FORMAT)
    path.write_bytes(first + bytes(header) + data + bytes(2048))
    return path


@pytest.mark.parametrize("format", ["gnu", "pax"])
def test_a_sparse_member_is_called_that(tmp_path, format):
    path = sparse_tar(tmp_path / "images.tar", format)
    with tarfile.open(path) as tar:
        assert tar.extractfile("holes.bmp").read() == bytes(1022) + b"xx"
        (tmp_path / "other.pkl").write_bytes(pickle.dumps({member.name: member for member in tar}))
    assert index_tar(path) == []
    for pickled in (None, str(tmp_path / "other.pkl")):
        store = ImageStore.from_paths([path], pickled)
        assert list(store.sources[0].index) == ["first"]
        with pytest.raises(ImageError, match=r"holes\.bmp: not in .*images\.tar; a sparse member, whose holes"):
            store.open("holes.bmp")


def test_a_pass_by_an_earlier_version_is_not_gone_on_with(tmp_path, counted):
    path = numbered(tmp_path / "images.tar")
    counted.stop = interrupt
    with pytest.raises(KeyboardInterrupt):
        index_tar(path)
    with closing(sqlite3.connect(tmp_path / ".images.tar.index.partial")) as database:
        database.executescript("DROP TABLE left_out; DROP TABLE members; PRAGMA user_version = 0")
        database.executescript("CREATE TABLE members (id BLOB PRIMARY KEY, offset INTEGER, size INTEGER) WITHOUT ROWID")
    counted.stop, counted.read = None, 0
    assert index_tar(path) == []
    assert counted.read > 50
    assert dict(TarIndex(f"{path}.index")) == members_of(path)


def test_what_was_left_out_before_an_interruption_is_still_named(tmp_path, counted):
    links = [(f"link {number:02d}", tarfile.SYMTYPE, "away") for number in range(50)]
    path = write_kinds(tmp_path / "images.tar", *links)
    counted.stop = interrupt
    with pytest.raises(KeyboardInterrupt):
        index_tar(path)
    counted.stop = None
    assert index_tar(path) == []
    assert [name for name, _ in TarIndex(f"{path}.index").left_out()] == [name for name, *_ in links]


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
