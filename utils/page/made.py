"""When and with which versions something was made."""

import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version

PACKAGES = ("torch", "transformers", "peft", "faiss-cpu", "numpy", "pillow")


def made() -> dict[str, object]:
    """Now, to the second, and the packages that an answer depends on."""
    return {"time": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"), "versions": versions()}


@cache
def versions() -> dict[str, str]:
    """Package -> version."""
    return {"Python": platform.python_version()} | {name: version(name) for name in PACKAGES}
