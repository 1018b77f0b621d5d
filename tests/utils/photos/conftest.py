import tarfile

import pytest


@pytest.fixture
def counted(monkeypatch):
    """Counts the members that passes read, and calls ``stop`` at the thirtieth."""
    plain = tarfile.TarFile.next

    class Counted:
        read = 0
        stop = None

    def counting_next(tar):
        Counted.read += 1
        if Counted.read == 30 and Counted.stop:
            Counted.stop()
        return plain(tar)

    monkeypatch.setattr(tarfile.TarFile, "next", counting_next)
    return Counted
