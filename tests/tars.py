"""Tars to index, and what tarfile finds in them."""

import io
import tarfile

from utils.photos.tar_index_pickle import Member


def write_tar(path, contents, format=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in contents:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def numbered(path, count=50):
    return write_tar(path, [(f"photo {i:03d}.jpg", bytes([i]) * (300 * i)) for i in range(count)])


def members_of(path):
    """What tarfile finds in one go."""
    with tarfile.open(path) as tar:
        files = [(member.name.removeprefix("./"), member) for member in tar.getmembers() if member.isreg()]
        return {name: Member(member.offset_data, member.size, member.offset, name) for name, member in files}


def interrupt():
    raise KeyboardInterrupt
