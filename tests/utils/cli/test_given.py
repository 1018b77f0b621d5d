from argparse import ArgumentParser

import pytest

from utils.cli.given import given_flags, refuse


@pytest.fixture
def parser():
    parser = ArgumentParser()
    parser.add_argument("--count", "--number", type=int, default=3)
    parser.add_argument("--all", dest="limit", type=lambda text: None, default=1)
    parser.add_argument("--switch", action="store_true")
    parser.add_argument("--paths", nargs="+", default=[])
    parser.add_argument("--name", default="text")
    return parser


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ([], set()),
        (["--count", "3"], {"count"}),  # the default, said aloud
        (["--number=4", "--switch"], {"count", "switch"}),
        (["--all", "x"], {"limit"}),  # its value is None
        (["--paths", "a", "b", "--na", "text"], {"paths", "name"}),
    ],
)
def test_what_the_command_line_gives(parser, arguments, given):
    assert given_flags(parser, arguments, parser.parse_args(arguments)) == given


def test_without_arguments_it_is_the_command_line(parser, monkeypatch):
    monkeypatch.setattr("sys.argv", ["program", "--switch"])
    assert given_flags(parser, None, parser.parse_args()) == {"switch"}


def test_what_is_of_no_use_is_named(parser, capsys):
    refuse(parser, {"count"}, ("switch", "name"), "here")
    with pytest.raises(SystemExit):
        refuse(parser, {"count", "name", "switch"}, ("switch", "name"), "with --count")
    assert "error: --switch, --name: no use with --count\n" in capsys.readouterr().err
