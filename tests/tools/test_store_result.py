import json
import os

import pytest

from tools import store_result

METRICS = {"rankers": {"model": {"accuracy": {"25": 44.4}}}, "problems": []}


@pytest.fixture
def store(tmp_path):
    """``store(metrics)``: exit code; the file is tmp_path/stored.json."""

    def store(metrics):
        source = tmp_path / "evaluated" / "metrics.json"
        source.parent.mkdir(exist_ok=True)
        source.write_text(json.dumps(metrics))
        os.utime(source, (86400 * 365,) * 2)
        words = [
            str(source.parent),
            str(tmp_path / "stored.json"),
            "--command",
            "python evaluate.py",
            "--machine",
            "a box",
        ]
        return store_result.main(words)

    return store


def test_the_file_holds_the_figures_and_where_they_come_from(store, tmp_path):
    assert store(METRICS) == 0
    assert json.loads((tmp_path / "stored.json").read_text()) == {
        "command": "python evaluate.py",
        "machine": "a box",
        "date": "1971-01-01",
        "metrics": METRICS,
    }


def test_figures_of_an_evaluation_with_problems_are_refused(store, tmp_path):
    with pytest.raises(SystemExit, match=r"metrics\.json: 1 problems"):
        store(METRICS | {"problems": ["a.jpg: gone"]})
    assert not (tmp_path / "stored.json").exists()
