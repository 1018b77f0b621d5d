"""Reading files that may be damaged: what is wrong with one is a ``ValueError`` of one line that names it."""

import json
import os
import reprlib
import tokenize
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args

import numpy as np

# What parsers raise for nonsense, RecursionError being that for deep nesting, MemoryError for absurd sizes.
DAMAGE = (ValueError, TypeError, OverflowError, RecursionError, MemoryError, EOFError)


@contextmanager
def naming(path: str | os.PathLike, *errors: type[Exception]) -> Iterator[None]:
    """Turn what the block raises about the file ``path`` into a ``ValueError`` of one line that begins with the path.

    That is any of ``DAMAGE``, of ``errors``, and an ``OSError`` that names no file; others pass.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise ValueError(f"{path}: {one_line(error)}") from error
    except (*DAMAGE, *errors) as error:
        raise ValueError(f"{path}: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """What ``error`` says, on one line; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def read_json_object(path: str | os.PathLike) -> dict[str, Any]:
    """The JSON object in a file.

    Raises ``ValueError``, naming the file, for anything else and for a key given twice.
    """
    with naming(path):
        value = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_object)
        if not isinstance(value, dict):
            raise ValueError("no JSON object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{', '.join(name for name in found if names.count(name) > 1)} given twice")
    return found


def check_keys(values: Mapping[str, Any], record: type) -> None:
    """Raise ``ValueError``, naming them, unless ``values`` has the fields of the dataclass ``record``.

    Those with a default may be missing.
    """
    known = {field.name: field.default is MISSING for field in fields(record)}
    if unknown := sorted(values.keys() - known.keys()):
        raise ValueError(f"unknown settings {', '.join(unknown)}")
    if missing := [name for name, needed in known.items() if needed and name not in values]:
        raise ValueError(f"{', '.join(missing)} is missing")


def check_kinds(values: Mapping[str, Any], kinds: Mapping[str, type | UnionType]) -> None:
    """Raise ``ValueError``, naming the key, where one of ``values`` is not of its kind; a bool is no number."""
    for name, kind in kinds.items():
        value = values[name]
        is_kind = bool in (kind, *get_args(kind)) if isinstance(value, bool) else isinstance(value, kind)
        if not is_kind:
            raise ValueError(f"{name} cannot be {reprlib.repr(value)}")


def read_array(
    path: str | os.PathLike, dtypes: Collection[str], dimensions: int, mode: Literal["r", "r+"] = "r"
) -> np.memmap:
    """The array in a ``.npy`` file, mapped into memory.

    Raises ``ValueError``, naming the file, unless it is whole and the array of one of ``dtypes`` and of so many
    dimensions.
    """
    with naming(path, tokenize.TokenError, SyntaxError, zipfile.BadZipFile):
        array = np.load(path, mmap_mode=mode, allow_pickle=False)
        if not isinstance(array, np.memmap):
            raise ValueError("it holds no single array")
        if array.dtype.name not in dtypes or array.ndim != dimensions:
            raise ValueError(
                f"{array.dtype} of shape {array.shape}, not {' or '.join(dtypes)} of {dimensions} dimensions"
            )
        if (surplus := Path(path).stat().st_size - array.offset - array.nbytes) > 0:
            raise ValueError(f"{surplus} bytes more than an array of shape {array.shape} has")
    return array
