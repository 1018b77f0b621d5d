import sys
from pathlib import Path

import pytest

from benchmarks import startup
from benchmarks.startup import ROOT, Checkout, Cost, commands, in_turn, run, table


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    """Two scripts and a module: one takes memory, one fails."""
    (tmp_path / "large.py").write_text("import sys\nassert sys.argv[1:] == ['--help']\nheld = bytearray(300 * 2**20)\n")
    (tmp_path / "broken.py").write_text("import sys\nsys.exit('error: out of luck')\n")
    (tmp_path / "earth").mkdir()
    (tmp_path / "earth" / "dig.py").write_text('if __name__ == "__main__":\n    print(__spec__.name)\n')
    (tmp_path / "earth" / "shared.py").write_text("def help(): ...\n")
    return Checkout(tmp_path, Path(sys.executable))


def test_peak_memory_is_the_commands_own(checkout):
    held = bytearray(500 * 2**20)  # of this process: it is not inherited
    large = run(("large.py", "--help"), checkout)
    assert 300 < large.mib < 400 < len(held) / 2**20
    assert large.seconds > 0
    assert run(("earth.dig", "--help"), checkout).mib < 100


def test_a_command_that_fails_is_named(checkout):
    with pytest.raises(ValueError, match=r"broken\.py --help exited with 1: error: out of luck"):
        run(("broken.py", "--help"), checkout)


def test_commands_are_scripts_and_modules_that_can_be_run(checkout):
    assert commands(checkout.root) == [("broken.py", "--help"), ("large.py", "--help"), ("earth.dig", "--help")]
    (checkout.root / "dataset/earth/test").mkdir(parents=True)
    (checkout.root / "dataset/earth/test/candidates.csv").touch()
    assert commands(checkout.root)[-1] == ("quick_start.py",)
    ours = {command[0] for command in commands(ROOT)}
    assert {"evaluate.py", "tools.index_tar", "earth.build_dataset", "earth.studies.plots"} <= ours
    assert "earth.recipe" not in ours


def test_medians_stand_beside_each_other(checkout, monkeypatch):
    costs = iter([Cost(3.0, 30.0), Cost(6.0, 70.0), Cost(1.0, 10.0), Cost(5.0, 60.0), Cost(2.0, 50.0), Cost(4.0, 50.0)])
    monkeypatch.setattr(startup, "run", lambda command, checkout: next(costs))
    found = in_turn(("large.py", "--help"), {"here": checkout, "against": checkout}, 3)
    assert found == {"here": Cost(2.0, 30.0), "against": Cost(5.0, 60.0)}
    printed = table({"large.py --help": found, "earth.dig --help": {"here": Cost(1.234, 56.7)}}, ["here", "against"])
    assert printed.splitlines() == [
        "| command | s, here | MiB, here | s, against | MiB, against |",
        "| --- | --- | --- | --- | --- |",
        "| `large.py --help` | 2.00 | 30 | 5.00 | 60 |",
        "| `earth.dig --help` | 1.23 | 57 |  |  |",
    ]


def test_a_checkout_without_interpreter_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"\.venv/bin/python does not exist"):
        startup.main(["--against", str(tmp_path)])


def test_chosen_commands_are_measured(tmp_path, capsys):
    output = tmp_path / "startup.json"
    assert startup.main(["--only", "benchmarks.none", "--repeats", "1", "--output", str(output)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "| command | s, here | MiB, here |"
    assert output.read_text().strip() == "{}"
