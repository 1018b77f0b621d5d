"""Zips to read, sound and otherwise."""

import struct
import zipfile
from contextlib import contextmanager

CENTRAL = b"PK\1\2"  # how an entry of the directory begins
LOCAL = b"PK\3\4"  # how the header before a member begins


def write_zip(path, contents, method=zipfile.ZIP_DEFLATED):
    """``contents``: (name or ZipInfo, bytes) each."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in contents:
            archive.writestr(name, data, compress_type=method)
    return path


def info(name, **attributes):
    """A ZipInfo of Unix with some attributes of its own."""
    made = zipfile.ZipInfo(name)
    made.create_system = 3
    for attribute, value in attributes.items():
        setattr(made, attribute, value)
    return made


@contextmanager
def edited(path):
    """The bytes of a file to change in place."""
    data = bytearray(path.read_bytes())
    yield data
    path.write_bytes(data)


def entry(data, name, start=CENTRAL):
    """Where the directory's entry, or with ``LOCAL`` the header, of the member ``name`` begins in a zip's bytes."""
    length, names = (28, 46) if start == CENTRAL else (26, 30)
    place = -1
    while (place := data.index(start, place + 1)) >= 0:
        (size,) = struct.unpack_from("<H", data, place + length)
        if bytes(data[place + names : place + names + size]) == name.encode():
            return place
    raise ValueError(name)
