"""Photos: decoding rules, and a store that finds them by id in folders and tar archives.

The released gallery is one large tar (``mp-16-images.tar``) beside a pickled dict from image id to the
``tarfile.TarInfo`` of its member (``tar_index.pkl``). ``write_tar_index`` makes such an index for any tar.
"""

import functools
import io
import os
import pickle
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from utils.files import atomic_path

# More pixels than this (some 540 MB of RGB) is taken for a decompression bomb; PIL draws its line here too.
MAX_PIXELS = 178_956_970
# An id may leave the extension out; these are tried after the id itself, in this order.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG")


class ImageError(ValueError):
    """A photo that is missing or cannot be decoded; the message names it."""


def open_image(source: str | os.PathLike | bytes | BinaryIO, name: str | None = None) -> Image.Image:
    """Decode one photo to upright 8-bit RGB.

    EXIF rotation is applied, transparency composited over white, 16-bit grey scaled to 8 bits, of an
    animation the first frame taken.

    Args:
        source: path, encoded bytes, or a binary file.
        name: what an error calls the photo; a path names itself.

    Raises:
        ImageError: for what is missing, truncated, no image, over MAX_PIXELS, or of a pixel type without a
            defined range (floating point, 32-bit integers).
    """
    if name is None:
        name = str(source) if isinstance(source, (str, os.PathLike)) else "image in memory"
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}")
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    # Malformed bytes lead PIL's decoders into exceptions of any type, and none may cost the other photos.
    except Exception as error:
        raise ImageError(f"{name}: {type(error).__name__}: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any decoded image as 8-bit RGB."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined range")
    if image.mode == "I" or image.mode.startswith("I;16"):
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("32-bit pixels have no defined range")
        # 65535 / 257 = 255. Older PIL clips at 255 instead of scaling, which turns photos white.
        scaled = np.rint(np.divide(grey, 257, dtype=np.float32))
        return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


class Member(NamedTuple):
    """Where the bytes of a tar member lie."""

    offset: int  # of the first byte of the data, from the start of the tar
    size: int  # bytes


class _PickledTarInfo:
    """Takes the place of ``tarfile.TarInfo`` while an index is read, and keeps the two numbers that matter.

    Its attributes differ between Python versions; a plain ``TarInfo`` of one may not load in another.
    """

    __slots__ = ("member",)

    def __setstate__(self, state: tuple[None, dict]) -> None:
        _, slots = state
        self.member = Member(slots["offset_data"], slots["size"])


class _IndexUnpickler(pickle.Unpickler):
    """A pickle is a program: this one can build plain containers and ``TarInfo``, and call nothing else."""

    def find_class(self, module: str, name: str) -> type:
        if (module, name) == ("tarfile", "TarInfo"):
            return _PickledTarInfo
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a tar index")


def read_tar_index(path: str | os.PathLike) -> dict[str, Member]:
    """Image id -> place in the tar, from a pickled ``dict[str, tarfile.TarInfo]`` (the released format).

    Raises ``ValueError`` naming the file when it holds anything else; nothing in it is executed.
    """
    with open(path, "rb") as file:
        try:
            index = _IndexUnpickler(file).load()
            return {_checked_id(image_id): info.member for image_id, info in index.items()}
        # As with images: malformed bytes lead the unpickler into exceptions of any type.
        except Exception as error:
            raise ValueError(f"{path} is not a tar index: {type(error).__name__}: {error}") from error


def _checked_id(image_id: object) -> str:
    if not isinstance(image_id, str):
        raise TypeError(f"image id {image_id!r} is not a string")
    return image_id


def write_tar_index(tar_path: str | os.PathLike, index_path: str | os.PathLike) -> None:
    """Write the index of an uncompressed tar in the released format, in one pass over the tar.

    The id of a photo is its member name (without a leading ``./``). Of members with the same name the last
    one counts, as in tar itself. Raises ``tarfile.ReadError`` when the file is no uncompressed tar.
    """
    with tarfile.open(tar_path, "r:") as tar:
        index = {member.name.removeprefix("./"): member for member in tar if member.isreg()}
    with atomic_path(index_path) as temporary, open(temporary, "wb") as file:
        pickle.dump(index, file, protocol=4)


class Folder:
    """The files of a folder, by their path relative to it."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)

    def __contains__(self, name: str) -> bool:
        relative = PurePosixPath(name)
        # Ids come from tables that others wrote: they may not lead out of the folder.
        if relative.is_absolute() or ".." in relative.parts:
            return False
        return (self.path / relative).is_file()

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def __str__(self) -> str:
        return str(self.path)


class Tar:
    """The members of an uncompressed tar, read by their offsets.

    Reading is stateless (``pread``), so threads and forked workers share one instance. The file is opened
    when the first member is read, and again in a process that received the instance pickled.
    """

    def __init__(self, path: str | os.PathLike, index: dict[str, Member]) -> None:
        self.path = Path(path)
        self.index = index

    @functools.cached_property
    def _file(self) -> io.FileIO:
        return open(self.path, "rb", buffering=0)

    def __getstate__(self) -> dict:
        return {"path": self.path, "index": self.index}

    def __contains__(self, name: str) -> bool:
        return name in self.index

    def read(self, name: str) -> bytes:
        offset, size = self.index[name]
        missing = offset + size - os.fstat(self._file.fileno()).st_size
        if missing > 0:
            raise OSError(f"the tar ends {missing} bytes too early")
        return os.pread(self._file.fileno(), size, offset)

    def __str__(self) -> str:
        return str(self.path)


class ImageStore:
    """Photos by id from several sources; the first that holds an id answers for it.

    An id is a path relative to a folder, or the name of a tar member, with or without its extension.

    >>> photos = ImageStore.from_paths(["dataset/earth/gallery/images.tar"])  # doctest: +SKIP
    >>> photos.open("gallery_000123.jpg").size  # doctest: +SKIP
    (64, 64)
    """

    def __init__(self, sources: Sequence[Folder | Tar]) -> None:
        self.sources = tuple(sources)

    @classmethod
    def from_paths(cls, paths: Sequence[str | os.PathLike], tar_index: str | None = None) -> "ImageStore":
        """A store over folders and uncompressed ``.tar`` files.

        Args:
            paths: folders and tars, searched in this order.
            tar_index: index of the tar; without it, ``tar_index.pkl`` beside each tar.

        Raises:
            FileNotFoundError: naming a path or index that does not exist.
            ValueError: when an index cannot be read, or one index is given for several tars.
        """
        paths = [Path(path) for path in paths]
        if tar_index is not None and sum(path.suffix == ".tar" for path in paths) > 1:
            raise ValueError(f"{tar_index} is the index of one tar, but there are several")
        sources = []
        for path in paths:
            if path.suffix != ".tar":
                if not path.is_dir():
                    raise FileNotFoundError(f"{path} is neither a folder nor a .tar file")
                sources.append(Folder(path))
                continue
            index_path = Path(tar_index) if tar_index is not None else path.with_name("tar_index.pkl")
            for file in (path, index_path):
                if not file.is_file():
                    raise FileNotFoundError(f"{file} does not exist")
            sources.append(Tar(path, read_tar_index(index_path)))
        return cls(sources)

    def _find(self, image_id: str) -> tuple[Folder | Tar, str] | None:
        for source in self.sources:
            for extension in ("", *EXTENSIONS):
                if image_id + extension in source:
                    return source, image_id + extension
        return None

    def __contains__(self, image_id: str) -> bool:
        return self._find(image_id) is not None

    def open(self, image_id: str) -> Image.Image:
        """The photo as upright RGB (see ``open_image``).

        Raises ``ImageError`` naming the id and where it was looked for when it is missing or cannot be
        decoded.
        """
        found = self._find(image_id)
        if found is None:
            raise ImageError(f"{image_id}: not in {', '.join(map(str, self.sources))}")
        source, name = found
        try:
            data = source.read(name)
        except OSError as error:
            raise ImageError(f"{image_id} in {source}: {error}") from error
        return open_image(data, f"{image_id} in {source}")
