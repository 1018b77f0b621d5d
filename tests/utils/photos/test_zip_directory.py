"""What is taken from the directories of zips, and what is left out and why."""

import os
import stat
import struct
import zipfile

import pytest

from tests.zips import CENTRAL, edited, entry, info, write_zip
from utils.photos import zip_directory, zip_entries
from utils.photos.zip_directory import read_directory
from utils.photos.zip_member import ZipMember
from utils.photos.zip_store import ZipStore

LINK = (stat.S_IFLNK | 0o777) << 16


def left_out(path):
    return dict(read_directory(path)[1])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_lie_where_zipfile_finds_them(tmp_path, method):
    names = ["a.jpg", "00/b.jpg", "./c.jpg", "ü.jpg", "empty.jpg"]
    path = write_zip(tmp_path / "0.zip", [(name, name.encode() * 50 * (name != "empty.jpg")) for name in names], method)
    with zipfile.ZipFile(path) as archive:
        archive_members = {
            one.filename.removeprefix("./"): ZipMember(
                one.header_offset, one.compress_size, one.file_size, method, one.CRC, one.filename.encode()
            )
            for one in archive.infolist()
        }
    assert read_directory(path) == (list(archive_members.items()), [])


def test_names_in_the_code_page_of_dos(tmp_path):
    path = write_zip(tmp_path / "0.zip", [("?.jpg", b"1")])
    with edited(path) as data:
        for place in (30, entry(data, "?.jpg") + 46):
            data[place] = 0x81  # ü
    ((name, member),), _ = read_directory(path)
    assert (name, member.name) == ("ü.jpg", b"\x81.jpg")


def test_names_in_utf_8_that_do_not_say_so(tmp_path):
    """As zip 3.0 writes them."""
    path = write_zip(tmp_path / "0.zip", [("école.jpg", b"1")])
    with edited(path) as data:
        data[entry(data, "école.jpg") + 9] &= ~8
    assert ZipStore(path).read("école.jpg") == b"1"


def test_folders_are_neither_members_nor_left_out(tmp_path):
    assert read_directory(write_zip(tmp_path / "0.zip", [("folder/", b"")])) == ([], [])


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (info("link.jpg", external_attr=LINK), "a symbolic link"),
        (info("pipe.jpg", external_attr=(stat.S_IFIFO | 0o600) << 16), "neither a file nor a folder"),
        *((name, "its name is no path inside of a folder") for name in ("/etc/a.jpg", "a/../../b.jpg", "..", "a\\b")),
    ],
)
def test_what_is_no_file_of_its_own_is_left_out(tmp_path, member, reason):
    path = write_zip(tmp_path / "0.zip", [("good.jpg", b"1"), (member, b"2")])
    name = member if isinstance(member, str) else member.filename
    assert [found for found, _ in read_directory(path)[0]] == ["good.jpg"]
    assert left_out(path) == {name: reason}


def test_encrypted_members_and_unknown_methods_are_left_out(tmp_path):
    path = write_zip(tmp_path / "0.zip", [(f"{letter}.jpg", b"1") for letter in "abc"])
    with edited(path) as data:
        data[entry(data, "a.jpg") + 8] |= 1
        struct.pack_into("<H", data, entry(data, "b.jpg") + 10, zipfile.ZIP_LZMA)
    assert left_out(path) == {
        "a.jpg": "it is encrypted",
        "b.jpg": "compressed by method 14: pack it with deflate, or without compression",
    }
    assert [name for name, _ in read_directory(path)[0]] == ["c.jpg"]


def test_a_member_larger_than_any_photo_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(zip_directory, "MAX_SIZE", 1000)
    path = write_zip(tmp_path / "0.zip", [("bomb.jpg", bytes(1001)), ("good.jpg", bytes(1000))])
    assert left_out(path) == {"bomb.jpg": "1,001 bytes, more than the 1,000 of the largest photo"}


def test_a_member_outside_of_the_zip_is_left_out(tmp_path):
    path = write_zip(tmp_path / "0.zip", [(f"{letter}.jpg", b"1") for letter in "ab"])
    with edited(path) as data:
        struct.pack_into("<I", data, entry(data, "b.jpg") + 42, 10**9)
    assert left_out(path) == {"b.jpg": "it lies outside of the zip"}


def test_members_that_overlap_are_left_out(tmp_path):
    """As in a bomb whose members all hold the last one: what reaches into another is no photo."""
    path = write_zip(tmp_path / "0.zip", [(f"{letter}.jpg", b"x" * 90) for letter in "abcd"], zipfile.ZIP_STORED)
    with edited(path) as data:
        for place in (20, 24):
            struct.pack_into("<I", data, entry(data, "a.jpg") + place, 200)
        offset = data[entry(data, "d.jpg") + 42 :][:4]
        data[entry(data, "c.jpg") + 42 : entry(data, "c.jpg") + 46] = offset
    assert left_out(path) == {"a.jpg": "it overlaps b.jpg", "c.jpg": "it overlaps d.jpg"}


def test_an_entry_that_points_into_another_member_costs_only_itself(tmp_path):
    path = write_zip(tmp_path / "0.zip", [(f"{letter}.jpg", b"x" * 500) for letter in "abc"], zipfile.ZIP_STORED)
    with edited(path) as data:
        struct.pack_into("<I", data, entry(data, "b.jpg") + 42, 100)
    assert left_out(path) == {"b.jpg": "it overlaps a.jpg"}


def test_what_is_no_file_or_left_out_overlaps_nothing(tmp_path):
    contents = [("a.jpg", b"x" * 500), ("folder/", b""), ("locked.jpg", b"x" * 500), ("b.jpg", b"x" * 500)]
    path = write_zip(tmp_path / "0.zip", contents, zipfile.ZIP_STORED)
    with edited(path) as data:
        data[entry(data, "locked.jpg") + 8] |= 1
        for name in ("folder/", "locked.jpg"):
            struct.pack_into("<I", data, entry(data, name) + 42, 100)
    assert [name for name, _ in read_directory(path)[0]] == ["a.jpg", "b.jpg"]
    assert left_out(path) == {"locked.jpg": "it is encrypted"}


def unknown_version(data, place):
    data[place + 6] = 200


def no_text(data, place):
    data[place + 46] = 0xFF
    data[place + 9] |= 8  # its name is UTF-8


def cut_zip64(data, place):
    struct.pack_into("<I", data, place + 24, 2**32 - 1)


@pytest.mark.parametrize(
    ("damage", "name", "reason"),
    [
        (unknown_version, "b.jpg", "it needs version 20.0 of the format"),
        (no_text, r"\xff.jpg", "its name is not the UTF-8 that it says it is"),
        (cut_zip64, "b.jpg", "its zip64 field is cut"),
    ],
)
def test_a_bad_entry_costs_only_itself(tmp_path, damage, name, reason):
    bad = info("b.jpg", extra=struct.pack("<HH4s", 1, 4, b"1234"))
    path = write_zip(tmp_path / "0.zip", [("a.jpg", b"1"), (bad, b"2"), ("c.jpg", b"3")])
    with edited(path) as data:
        damage(data, entry(data, "b.jpg"))
    assert left_out(path) == {name: reason}
    assert [name for name, _ in read_directory(path)[0]] == ["a.jpg", "c.jpg"]


def test_a_zip_behind_other_bytes_and_with_a_comment(tmp_path):
    path = write_zip(tmp_path / "0.zip", [("a.jpg", b"1")])
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"x" * 600
    path.write_bytes(b"#!/bin/sh\n" * 50 + path.read_bytes())
    assert [ZipStore(path).read(name) for name, _ in read_directory(path)[0]] == [b"1"]


def test_zip64(tmp_path, monkeypatch):
    """More members than the directory of a plain zip can count, and one that begins behind what it can point to."""
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    path, far = tmp_path / "0.zip", 5 * 2**30
    path.touch()
    os.truncate(path, far)
    with zipfile.ZipFile(path, "a") as archive:
        for name in "abc":
            archive.writestr(name, name * 9)
    with open(path, "rb") as file:
        file.seek(far)
        assert b"PK\6\6" in file.read()
    members, _ = read_directory(path)
    assert [(name, member.offset >= far) for name, member in members] == [("a", True), ("b", True), ("c", True)]
    assert [ZipStore(path).read(name) for name in "abc"] == [b"a" * 9, b"b" * 9, b"c" * 9]


def test_a_directory_as_large_as_no_gallery_needs_is_refused(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "0.zip", [("a.jpg", b"1")])
    monkeypatch.setattr(zip_entries, "MAX_DIRECTORY", 50)
    with pytest.raises(ValueError, match=r"0\.zip: its directory of 51 bytes is longer than 50: split it"):
        read_directory(path)


def cut(data):
    del data[-30:]


def no_entry(data):
    data[data.index(CENTRAL)] = 0


def cut_entry(data):
    struct.pack_into("<H", data, data.index(CENTRAL) + 28, 999)  # bytes of its name


def long_directory(data):
    struct.pack_into("<I", data, data.index(b"PK\5\6") + 12, 2**31)


@pytest.mark.parametrize("damage", [cut, no_entry, cut_entry, long_directory, bytearray.clear])
def test_a_damaged_directory_is_named(tmp_path, damage):
    path = write_zip(tmp_path / "0.zip", [("a.jpg", b"1")])
    with edited(path) as data:
        damage(data)
    with pytest.raises(ValueError, match=r"^[^\n]*0\.zip: [^\n]+$"):
        read_directory(path)
