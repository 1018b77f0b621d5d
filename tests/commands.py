"""Command lines as documents and users write them, run in this process."""

import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


class Parsed(BaseException):
    """Raised as soon as a script has accepted its arguments, so that it does no work."""


def split(command: str) -> tuple[str, list[str]]:
    """(script, arguments) of a command line; interpreter and launcher are left out, a module is its file."""
    words = shlex.split(command, comments=True)
    at = next(i for i, word in enumerate(words) if word.endswith(".py") or word == "-m")
    if words[at] == "-m":
        return words[at + 1].replace(".", "/") + ".py", words[at + 2 :]
    return words[at], words[at + 1 :]


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> str | int | None:
    """Run a script of the checkout, and return what it exits with."""
    target, arguments = split(command)
    monkeypatch.setattr(sys, "argv", [target, *arguments])
    try:
        runpy.run_path(str(ROOT / target), run_name="__main__")
    except SystemExit as stop:
        return stop.code
    return None


def accept(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail unless the parser of the command's script takes its arguments."""
    parse = argparse.ArgumentParser.parse_args

    def parse_only(self, args=None, namespace=None):
        parse(self, args, namespace)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    with pytest.raises(Parsed):
        run(command, monkeypatch)


def fenced(text: str) -> list[str]:
    """The commands of a document's bash blocks, continued lines joined."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in re.sub(r"\s*\\\n\s*", " ", block).splitlines() if line.strip()]


def is_ours(command: str) -> bool:
    """Whether a command runs a script or a module of the checkout."""
    return ".py" in command or " -m " in command
