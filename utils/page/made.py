"""When and with which versions something was made."""

import platform
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "transformers", "peft", "faiss-cpu", "numpy", "pillow")


def made() -> dict[str, object]:
    """Now, to the second, and the packages that an answer depends on."""
    return {"time": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"), "versions": versions()}


@cache
def versions() -> dict[str, str]:
    """Package -> version, of those that are installed under this name: FAISS also comes as ``faiss-gpu``."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
