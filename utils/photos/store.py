"""Photos by id, in folders, tars and zips.

The released gallery is one large tar, ``mp-16-images.tar``; ``tar_index.py`` says where a photo lies in it. OSV-5M is a
hundred zips, which ``zip_store.py`` reads.
"""

import errno
import functools
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from utils.photos.formats import EXTENSIONS
from utils.photos.images import ImageError, open_image
from utils.photos.printable import printable
from utils.photos.stamp import Stamp
from utils.photos.tar_index import TarIndex, open_index
from utils.photos.tar_index_pickle import Member, is_whole_file
from utils.photos.zip_index import Unclear
from utils.photos.zip_store import ZipStore


class Folder:
    """The files of a folder, by their path relative to it."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)

    def find(self, name: str) -> str | None:
        """``name`` where there is such a file."""
        relative = PurePosixPath(name)
        # Ids come from tables that others wrote: they may not lead out of the folder.
        if relative.is_absolute() or ".." in relative.parts:
            return None
        try:
            return name if (self.path / relative).is_file() else None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # no file can be called so
                return None
            raise

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def stamp(self, name: str) -> Stamp:
        status = (self.path / name).stat()
        return Stamp(status.st_size, status.st_mtime_ns)

    def why_left_out(self, name: str) -> None:
        """A folder has what it has."""

    def __str__(self) -> str:
        return str(self.path)


class Tar:
    """The members of an uncompressed tar, read by their offsets.

    Reading is stateless (``pread``), so threads and forked workers share one instance. The file is opened
    when the first member is read, and again in a process that received the instance pickled.
    """

    def __init__(self, path: str | os.PathLike, index: TarIndex) -> None:
        self.path = Path(path)
        self.index = index

    @functools.cached_property
    def _file(self) -> io.FileIO:
        return open(self.path, "rb", buffering=0)

    def __getstate__(self) -> dict:
        return {"path": self.path, "index": self.index}

    def find(self, name: str) -> str | None:
        """``name`` where there is such a member."""
        return name if name in self.index else None

    def read(self, name: str) -> bytes:
        """The bytes of a member. Raises OSError when the tar has no member of its name and size at its place."""
        member = self.index[name]
        missing = member.offset + member.size - os.fstat(self._file.fileno()).st_size
        if missing > 0:
            raise OSError(f"the tar ends {missing} bytes too early")
        headers = member.offset - member.start
        data = os.pread(self._file.fileno(), headers + member.size, member.start)
        # What stands before the data tells whether this is still the tar that was indexed.
        other = _other_than(member, data[:headers])
        if other is not None:
            place = f"of {member.size} bytes at byte {member.offset}"
            raise OSError(f"no member {place}: {other}; is the index of this tar?")
        return data[headers:]

    def stamp(self, name: str) -> Stamp:
        """Its time is that of the whole tar."""
        return Stamp(self.index[name].size, os.fstat(self._file.fileno()).st_mtime_ns)

    def why_left_out(self, name: str) -> str | None:
        return self.index.why_left_out(name)

    def __str__(self) -> str:
        return str(self.path)


def _other_than(member: Member, headers: bytes) -> str | None:
    """What the bytes before its data, which may be several headers, say of another member; None if they are its own."""
    try:
        found = tarfile.TarFile(fileobj=io.BytesIO(headers), encoding="utf-8").firstmember
    except (tarfile.TarError, ValueError) as error:
        return str(error)
    if found is None or found.offset_data != len(headers) or not is_whole_file(found.type, found.sparse is not None):
        return "no file begins there"
    if found.size != member.size:
        return f"its size is {found.size}"
    if member.name and found.name.removeprefix("./") != member.name:
        return f"its name is {found.name}, not {member.name}"
    return None


Source = Folder | Tar | ZipStore


class ImageStore:
    """Photos by id from several sources.

    An id is a path relative to a folder, or the name of a member of a tar or zip, with or without its extension. The
    first source that holds the very id answers for it; only then are extensions tried.

    >>> photos = ImageStore.from_paths(["dataset/earth/gallery/images.tar"])  # doctest: +SKIP
    >>> photos.open("gallery_000123.jpg").size  # doctest: +SKIP
    (64, 64)
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)

    @classmethod
    def from_paths(cls, paths: Sequence[str | os.PathLike], tar_index: str | None = None) -> "ImageStore":
        """A store over folders, uncompressed ``.tar`` files and ``.zip`` files.

        Args:
            paths: searched in this order. A folder with tars in it means these, in order of name, and no other file of
                it; one with zips means its files and, after them, what is in the zips.
            tar_index: index of the tar, one of ours or the released pickle; without it, the one beside each tar
                (see ``open_index``). That of zips is made where there is none (see ``open_zip_index``).

        Raises:
            FileNotFoundError: naming a path or index that does not exist.
            ValueError: when an index cannot be read, or one index is given for several tars, or no zip of a folder can
                be read.
        """
        sources = [source for path in map(Path, paths) for source in _meant_by(path)]
        tars = [source for source in sources if isinstance(source, Path)]
        if tar_index is not None and len(tars) != 1:
            raise ValueError(f"{tar_index} is the index of one tar, but there are {'several' if tars else 'none'}")
        if tar_index is not None and not Path(tar_index).is_file():
            raise FileNotFoundError(f"{tar_index} does not exist")
        return cls(
            [Tar(source, open_index(source, tar_index)) if isinstance(source, Path) else source for source in sources]
        )

    def _find(self, image_id: str) -> tuple[Source, str] | None:
        """Source and name of a photo. Raises ``ImageError`` where a source cannot say."""
        try:
            for name in _names(image_id):
                found, unclear = self._holder(name)
                if found is not None or unclear:  # with another extension it would be another photo
                    return found
        except OSError as error:
            raise ImageError(printable(f"{image_id}: {error}")) from error
        return None

    def _holder(self, name: str) -> tuple[tuple[Source, str] | None, bool]:
        """The first source that holds ``name``, with what it calls it, and whether to one it is unclear."""
        unclear = False
        for source in self.sources:
            try:
                if (found := source.find(name)) is not None:
                    return (source, found), unclear
            except Unclear:
                unclear = True
        return None, unclear

    def _why_left_out(self, image_id: str) -> list[str]:
        for name in _names(image_id):
            if reasons := [reason for source in self.sources if (reason := source.why_left_out(name))]:
                return reasons
        return []

    def __contains__(self, image_id: str) -> bool:
        return self._find(image_id) is not None

    def place(self, image_id: str) -> str | None:
        """Where the photo lies, source and name, the same for every id of it; None where there is none."""
        found = self._find(image_id)
        return found and os.path.join(os.path.abspath(found[0].path), found[1])

    def stamp(self, image_id: str) -> Stamp | None:
        """Of the photo as it lies there now; None where there is none."""
        found = self._find(image_id)
        return found and found[0].stamp(found[1])

    def content(self, image_id: str) -> str | None:
        """SHA-256 of the photo's bytes, in hexadecimal; None where there is none or it cannot be read."""
        try:
            found = self._find(image_id)
            return found and hashlib.sha256(found[0].read(found[1])).hexdigest()
        except (OSError, ImageError):
            return None

    def open(self, image_id: str) -> Image.Image:
        """The photo as upright RGB (see ``open_image``).

        Raises ``ImageError`` naming the id and where it was looked for when it is missing or cannot be
        decoded.
        """
        return open_image(*self.read(image_id))

    def read(self, image_id: str) -> tuple[bytes, str]:
        """The photo's file, and what an error should call it.

        Raises ``ImageError`` naming the id and where it was looked for when it is missing or cannot be read.
        """
        found = self._find(image_id)
        if found is None:
            sources = ", ".join(map(str, self.sources))
            reasons = [f"{image_id}: not in {sources}", *self._why_left_out(image_id)]
            raise ImageError(printable("; ".join(reasons)))
        source, name = found
        shown = printable(f"{image_id} in {source}")
        try:
            return source.read(name), shown
        except OSError as error:
            raise ImageError(f"{shown}: {printable(str(error))}") from error


def _names(image_id: str) -> Iterator[str]:
    """What the photo may be called, the likeliest first."""
    return (image_id + extension for extension in ("", *EXTENSIONS))


def _meant_by(path: Path) -> list[Folder | ZipStore | Path]:
    """The sources that a path stands for; a tar, whose index is yet to be chosen, as its path."""
    if path.is_dir():
        names = os.listdir(path)
        tars = sorted(path / name for name in names if name.endswith(".tar"))
        zips = [ZipStore(path)] if any(name.endswith(".zip") for name in names) else []
        return [*(tars or [Folder(path)]), *zips]
    if path.suffix not in (".tar", ".zip"):
        raise FileNotFoundError(f"{path} is neither a folder nor a .tar or .zip file")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    return [path if path.suffix == ".tar" else ZipStore(path)]
