"""The files that both kinds of index are kept in, faiss's own and archives of arrays, read whole or named."""

import zipfile
import zlib
from pathlib import Path

import faiss
import numpy as np

from utils.jobs.reading import naming


def read_faiss(path: Path, kind: type[faiss.Index], flags: int = 0) -> faiss.Index:
    """The index in a file that faiss wrote.

    Raises ``ValueError``, naming the file, unless it is whole and of ``kind``.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        index = faiss.read_index(str(path), flags)
    except (RuntimeError, MemoryError) as error:  # faiss tells where in its own source it stopped
        raise ValueError(f"{path} is damaged: faiss cannot read it; build the index again") from error
    if type(index) is not kind or index.metric_type != faiss.METRIC_L2:
        raise ValueError(f"{path} holds an index of type {type(index).__name__}, not {kind.__name__} by L2 distance")
    return index


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a ``.npz`` file by name. Raises ``ValueError``, naming the file, where it is damaged."""
    damage = (zipfile.BadZipFile, zlib.error, NotImplementedError)
    with naming(path, *damage), np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
        if strange := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{', '.join(strange)} is no array")
    return arrays
