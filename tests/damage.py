"""Ways to damage a file, for hypothesis; what a reader may make of it: the result of the whole file, or an error."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf, nan
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

DEEP = json.loads("[" * 200 + "]" * 200)
# Of a wrong type, sign, range or size in most places.
NONSENSE = [None, True, "", "x", "\0", -1, 0, 0.5, -0.5, 1e300, 10**30, 10**400, nan, -inf, [], {}, [0], {"x": 1}, DEEP]


@contextmanager
def replaced(path: Path, data: bytes | str) -> Iterator[None]:
    """Let ``path`` hold something else for a while."""
    whole = path.read_bytes()
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    try:
        yield
    finally:
        path.write_bytes(whole)


def outcome(read: Callable[[], Any], path: Path, data: bytes | str) -> Any:
    """What ``read`` makes of ``path`` holding ``data``; None where it is refused, on one line that names the file."""
    with replaced(path, data):
        try:
            return read()
        except (ValueError, OSError) as error:  # what a script ends with in one line
            message = str(error)
    assert path.name in message, message
    assert "\n" not in message
    return None


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The keys that lead to every value in JSON, from the outermost; of long lists only to the first two."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from places(part, (*path, key))


def with_value(value: Any, path: tuple, new: Any) -> Any:
    """A copy of JSON with another value at ``path``."""
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return copy


def nonsense(values: dict[str, Any]) -> st.SearchStrategy[tuple[tuple, Any]]:
    """A place in JSON and what is put there."""
    return st.tuples(st.sampled_from(list(places(values))), st.sampled_from(NONSENSE))


@st.composite
def cut(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file that ends early or lacks a range, which is as likely near its start, where headers are."""
    start = draw(st.integers(0, len(whole) - 1) | st.integers(0, min(len(whole) - 1, 200)))
    length = draw(st.integers(1, 64) | st.just(len(whole)))
    return whole[:start] + whole[start + length :]
