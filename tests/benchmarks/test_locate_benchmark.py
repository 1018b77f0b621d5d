"""The rows of a locator's costs: the flags of each case are understood, and what was measured is put together."""

import json
from pathlib import Path

import pytest

import quick_start
from benchmarks import locate
from benchmarks.fresh import Outcome
from benchmarks.work import locate as work
from utils.locating.choices import Choices


@pytest.fixture
def cases(tmp_path, monkeypatch) -> dict[str, work.Case]:
    monkeypatch.setattr(work, "random_clip", lambda folder: folder)
    return work.cases(locate.CASES, None, tmp_path)


def test_choices_and_flags_say_the_same(cases):
    assert tuple(cases) == locate.CASES
    for name, case in cases.items():
        chosen = Choices(**case.choices)
        assert len(set(case.photos)) == work.PHOTOS
        args = quick_start.parse_arguments(["--image", case.photos[0], *case.flags.split()])
        if not case.flags:  # what quick_start.py finds out by itself
            continue
        flagged = Choices.of(vars(args) | {"places": None})
        for field in ("model", "model_path", "index", "retriever", "generate", "clip", "by_model", "guesses_here"):
            assert getattr(flagged, field) == getattr(chosen, field), (name, field)
    assert not cases["guesses"].choices.keys() & {"model_path", "index"}
    assert Path(cases["geoclip"].photos[0]).is_file()


def test_cold_is_without_the_further_photos_and_the_first_process_is_told_apart(cases, monkeypatch, tmp_path, capsys):
    seconds = iter([30.0, 12.0, 16.0, 14.0])

    def fresh(function, environment, **arguments):
        if function is work.quick_start:
            assert arguments["words"][:2] == ["--image", str(Path(cases["guesses"].photos[0]).absolute())]
            return Outcome(None, 1.0, 800.0, 20.0)
        assert function is work.locate
        assert (arguments["photos"], arguments["clock"]) == (list(cases["guesses"].photos), "processor")
        return Outcome({"load": 2.0, "first": 1.0, "further": [1.0, 2.0, 3.0]}, 1.0, 700.0, next(seconds))

    monkeypatch.setattr(work, "in_fresh_process", fresh)
    path = tmp_path / "locate.json"
    path.write_text(json.dumps({"rows": [{"case": "geoclip", **dict.fromkeys(COLUMNS, 1.0)}]}))
    monkeypatch.setattr(locate, "NEEDED", ())
    assert locate.main(["--only", "guesses", "--clock", "processor", "--output", str(path), "--quiet"]) == 0
    guesses, geoclip = json.loads(path.read_text())["rows"]
    assert geoclip["case"] == "geoclip"
    assert {name: guesses[name] for name in COLUMNS} == {
        "cold_seconds": 8.0,
        "load_seconds": 2.0,
        "first_photo_seconds": 1.0,
        "warm_seconds": 2.0,
        "peak_mib": 700.0,
        "command_seconds": 20.0,
        "command_mib": 800.0,
        "once_seconds": 16.0,
    }
    assert "| guesses | 8.0 | 2.0 | 1.0 | 2.0 | 700 | 20 | 800 | 16 |" in capsys.readouterr().out


COLUMNS = ("cold_seconds", "load_seconds", "first_photo_seconds", "warm_seconds", "peak_mib")
COLUMNS += ("command_seconds", "command_mib", "once_seconds")
