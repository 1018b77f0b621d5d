"""The released tar index: its format, and pickles that are no index but a trap."""

import io
import os
import pickle
import tarfile
from pathlib import Path

import pytest

from utils.photos.tar_index_pickle import Member, read_tar_index, write_tar_index


def test_index_has_the_released_format(tmp_path):
    """dict id -> TarInfo, which a plain pickle and tarfile can use, and which reads back."""
    with tarfile.open(tmp_path / "images.tar", "w") as tar:
        for number in range(5):
            member = tarfile.TarInfo(f"./{number}/" + "long" * 30 * number)
            member.size = number
            tar.addfile(member, io.BytesIO(bytes([number]) * number))
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    write_tar_index(tmp_path / "images.tar", tmp_path / "tar_index.pkl")
    index = pickle.loads((tmp_path / "tar_index.pkl").read_bytes())
    members, left_out = read_tar_index(tmp_path / "tar_index.pkl")
    assert left_out == []
    assert list(index) == list(members) == [f"{number}/" + "long" * 30 * number for number in range(5)]
    with tarfile.open(tmp_path / "images.tar") as tar:
        for number, (image_id, member) in enumerate(index.items()):
            assert type(member) is tarfile.TarInfo
            assert tar.extractfile(member).read() == bytes([number]) * number
            assert members[image_id] == Member(member.offset_data, number, member.offset, image_id)


def test_what_is_no_tar_gets_no_index(tmp_path):
    (tmp_path / "not.tar").write_bytes(b"not a tar" * 100)
    with pytest.raises(tarfile.ReadError):
        write_tar_index(tmp_path / "not.tar", tmp_path / "not.pkl")
    assert not (tmp_path / "not.pkl").exists()


class Payload:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("kind", ["system", "eval", "getattr", "hidden", "state"])
def test_malicious_index_is_refused_and_not_run(tmp_path, kind, protocol):
    trace = tmp_path / "trace"
    payload = {
        "system": Payload(os.system, f"touch {trace}"),
        "eval": Payload(eval, f"open({str(trace)!r}, 'w')"),
        "getattr": Payload(getattr, tarfile.TarInfo, "frombuf"),
        "state": {"photo.jpg": Payload(tarfile.TarInfo, Payload(os.system, f"touch {trace}"))},
        "hidden": {"photo.jpg": [Payload(Path.touch, trace)]},
    }[kind]
    path = tmp_path / "tar_index.pkl"
    path.write_bytes(pickle.dumps(payload, protocol))
    with pytest.raises(ValueError, match=r"tar_index\.pkl is not a tar index: .*no place in a tar index"):
        read_tar_index(path)
    assert not trace.exists()


def test_the_payload_of_that_test_works(tmp_path):
    """Otherwise the test above could not fail."""
    trace = tmp_path / "trace"
    pickle.loads(pickle.dumps(Payload(os.system, f"touch {trace}")))
    assert trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({"a": 1}),
        pickle.dumps({5: tarfile.TarInfo("a")})[:-9],
    ],
)
def test_no_index(tmp_path, content):
    path = tmp_path / "tar_index.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"tar_index\.pkl is not a tar index"):
        read_tar_index(path)


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'touch trace'\ntR.",  # GLOBAL, REDUCE
        b"(S'touch trace'\nios\nsystem\n.",  # INST
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0btouch trace\x85R.",  # STACK_GLOBAL
        b"\x80\x02\x82\x01.",  # EXT1
        b"Ptouch trace\n.",  # PERSID
    ],
)
def test_every_way_to_a_function_is_closed(tmp_path, monkeypatch, program):
    monkeypatch.chdir(tmp_path)
    Path("tar_index.pkl").write_bytes(program)
    with pytest.raises(ValueError, match=r"tar_index\.pkl is not a tar index"):
        read_tar_index("tar_index.pkl")
    assert not Path("trace").exists()


def test_ids_are_text(tmp_path):
    path = tmp_path / "tar_index.pkl"
    path.write_bytes(pickle.dumps({5: tarfile.TarInfo("a")}))
    with pytest.raises(ValueError, match="image id 5 is not a string"):
        read_tar_index(path)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("offset_data", "x"),
        ("offset_data", None),
        ("offset_data", 0),  # no room for a header
        ("offset_data", -512),
        ("offset_data", 1024.0),
        ("offset_data", 2**70),
        ("size", None),
        ("size", -1),
        ("size", "5"),
        ("offset", None),
        ("name", 7),
    ],
)
def test_places_that_are_no_numbers_are_refused_at_the_start(tmp_path, attribute, value):
    info = tarfile.TarInfo("a.jpg")
    info.offset_data = 512
    setattr(info, attribute, value)
    path = tmp_path / "tar_index.pkl"
    path.write_bytes(pickle.dumps({"a.jpg": info}))
    with pytest.raises(ValueError, match=r"tar_index\.pkl is not a tar index: .*"):
        read_tar_index(path)


def test_entries_made_by_hand_may_not_know_where_headers_start(tmp_path):
    info = tarfile.TarInfo("a.jpg")
    info.offset_data, info.size = 2**33 + 512, 5
    path = tmp_path / "tar_index.pkl"
    path.write_bytes(pickle.dumps({"a.jpg": info}))
    assert read_tar_index(path) == ({"a.jpg": Member(2**33 + 512, 5, 2**33, "")}, [])


def test_what_is_no_file_is_left_out_and_named(tmp_path):
    infos = {}
    for number, (name, kind, link) in enumerate(
        [
            ("b", tarfile.REGTYPE, ""),
            ("folder", tarfile.DIRTYPE, ""),
            ("hard", tarfile.LNKTYPE, "./b"),
            ("soft", tarfile.SYMTYPE, "b"),
            ("torn", tarfile.LNKTYPE, "away"),
            ("pipe", tarfile.FIFOTYPE, ""),
            ("holes", tarfile.GNUTYPE_SPARSE, ""),
        ]
    ):
        info = infos[name] = tarfile.TarInfo(name)
        info.type, info.linkname, info.offset, info.offset_data = kind, link, 512 * number, 512 * number + 512
    path = tmp_path / "tar_index.pkl"
    path.write_bytes(pickle.dumps(infos))
    members, left_out = read_tar_index(path)
    assert members == dict.fromkeys(["b", "hard"], Member(512, 0, 0, "b"))
    assert [name for name, _ in left_out] == ["soft", "torn", "pipe", "holes"]
    assert [reason.split(",")[0] for _, reason in left_out] == [
        "a symbolic link to b",
        "a hard link to away",
        "neither a file nor a folder",
        "a sparse member",
    ]
