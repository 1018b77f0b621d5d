"""Flags that are there for nothing: what a user gives is used, or it is an error."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence


def given_flags(parser: ArgumentParser, arguments: Sequence[str] | None, args: Namespace) -> set[str]:
    """The names in ``args`` that the command line gives, whatever their values; ``args`` is what it was parsed to.

    ``arguments`` as in ``parse_args``. For parsers without commands of their own.
    """
    not_given = object()  # argparse sets defaults only where the namespace has no value yet
    again = parser.parse_args(arguments, Namespace(**dict.fromkeys(vars(args), not_given)))
    return {name for name, value in vars(again).items() if value is not not_given}


def refuse(parser: ArgumentParser, given: Iterable[str], useless: Sequence[str], why: str) -> None:
    """End in an error of ``parser`` where any flag of ``useless`` is among the ``given`` ones."""
    found = [f"--{name}" for name in useless if name in given]
    if found:
        parser.error(f"{', '.join(found)}: no use {why}")
