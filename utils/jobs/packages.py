"""Packages that only some need."""

import importlib.util


def check_package(flag: str, package: str, extra: str, options: str = "") -> None:
    """Raise ``ValueError`` where the package that ``flag`` needs is missing; the message says how to install it.

    ``extra`` is the extra of pyproject.toml that has it, ``options`` what pip needs beside it.
    """
    if importlib.util.find_spec(package.replace("-", "_")) is None:
        raise ValueError(f"{flag} needs the package {package}: pip install {options}-e '.[{extra}]'")
