import json
from dataclasses import dataclass

import numpy as np
import pytest

from utils.jobs.reading import check_keys, check_kinds, naming, read_array, read_json_object


@dataclass
class Record:
    needed: int
    known: str = ""


def test_errors_begin_with_the_path_on_one_line():
    with pytest.raises(ValueError, match=r"^file: two lines$"), naming("file"):
        raise TypeError("two\n   lines")
    with pytest.raises(ValueError, match=r"^file: MemoryError$"), naming("file"):
        raise MemoryError
    with pytest.raises(ValueError, match=r"^file: .*Invalid argument$"), naming("file"):
        raise OSError(22, "Invalid argument")
    with pytest.raises(ValueError, match=r"^file: 'a'$"), naming("file", KeyError):
        raise KeyError("a")


def test_what_is_no_damage_passes(tmp_path):
    with pytest.raises(ZeroDivisionError), naming("file"):
        _ = 1 / 0
    with pytest.raises(FileNotFoundError) as caught, naming("file"):
        (tmp_path / "absent").read_text()
    assert caught.value.filename == str(tmp_path / "absent")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "Expecting value"),
        (b'{"a": 1', "Expecting ',' delimiter"),
        (b"[]", "no JSON object"),
        (b"null", "no JSON object"),
        (b'{"a": 1, "b": 1, "a": 2}', "a given twice"),
        (b'{"x": {"a": 1, "a": 1}}', "a given twice"),
        (b'{"a": "\xff"}', "can't decode byte 0xff"),
        (b"[" * 100_000, "recursion"),
        (b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
    ],
)
def test_damaged_json_is_named(tmp_path, text, message):
    path = tmp_path / "file.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_json_object(path)
    assert str(caught.value).startswith(f"{path}: ")
    path.write_text(json.dumps({"a": [1, None]}))
    assert read_json_object(path) == {"a": [1, None]}


def test_keys_and_kinds_are_named():
    check_keys({"needed": 1}, Record)
    with pytest.raises(ValueError, match="unknown settings a, b"):
        check_keys({"needed": 1, "b": 1, "a": 2}, Record)
    with pytest.raises(ValueError, match="needed is missing"):
        check_keys({"known": ""}, Record)
    check_kinds(
        {"a": 1, "b": None, "c": True, "d": 0.5}, {"a": int, "b": str | None, "c": bool | str, "d": int | float}
    )
    for value, kind in ((True, int), (1, bool), (1.0, int), ([], str | None), (False, int | float)):
        with pytest.raises(ValueError, match="a cannot be"):
            check_kinds({"a": value}, {"a": kind})


def test_arrays_are_read_whole_or_named(tmp_path):
    path, array = tmp_path / "a.npy", np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(path, array)
    np.testing.assert_array_equal(read_array(path, ("float32",), 2), array)
    data = path.read_bytes()
    spoilt = [
        b"",
        b"\x93NUMPY",
        data[:-1],
        data[:40],
        data + b"\0",
        data.replace(b"(2, 3)", b"(1, 3)"),
        b"PK\3\4",
        b"[1]",
    ]
    spoilt += [data.replace(b"<f4", other) for other in (b"<i4", b"<f8", b"|O4", b"<x4")]
    spoilt += [data.replace(b"(2, 3)", shape) for shape in (b"(6, )", b"((((((", b"(2,-3)", b"9" * 6)]
    for damaged in spoilt:
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.npy: ") as caught:
            read_array(path, ("float32",), 2)
        assert "\n" not in str(caught.value)
    np.savez(tmp_path / "a.npz", array)
    with pytest.raises(ValueError, match=r"a\.npz: it holds no single array"):
        read_array(tmp_path / "a.npz", ("float32",), 2)
