"""Folders that are there whole or not at all."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.jobs.files import temporary_path
from utils.jobs.locks import making


@contextmanager
def whole_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary folder beside ``folder`` that becomes it when the block succeeds, and is removed when not.

    What killed processes left of the same folder is removed, too; another that is making it is waited for. Raises
    ``FileExistsError`` where ``folder`` holds something, ``ValueError`` where it cannot be replaced: a mount point.
    """
    folder = Path(os.path.realpath(folder))  # a link stays one
    if os.path.ismount(folder):
        raise ValueError(f"{folder} is a mount point, which cannot be replaced: name a folder inside of it")
    _check_free(folder)  # before a lock is left beside it
    with making(folder):
        _check_free(folder)  # whoever was waited for has made it
        left = re.compile(rf"\.\d+\.{re.escape(folder.name)}")
        for path in folder.parent.glob(".*"):
            if left.fullmatch(path.name) and path.is_dir():  # a file is there while others ask whether they can write
                shutil.rmtree(path)
        made = temporary_path(folder)
        made.mkdir()
        try:
            yield made
            made.replace(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _check_free(folder: Path) -> None:
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):  # a link here leads to itself
        raise FileExistsError(f"{folder} exists and is not an empty folder: name a new one")
