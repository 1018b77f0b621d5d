"""docs/reproduce.md: its commands are those of the scripts, and its small version runs as it stands."""

import re
import subprocess
from pathlib import Path

import pandas as pd
from scipy.stats import binomtest

from tests.commands import ROOT, fenced, is_ours, run
from utils.data_paths import PUBLISHED_BASE, SOURCES

DOCUMENT = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", DOCUMENT, flags=re.MULTILINE | re.DOTALL))
COMMANDS = fenced(DOCUMENT)
SMALL = fenced(SECTIONS["The same steps, small"])


def test_downloads_are_what_the_scripts_advise():
    advised = {"make setup", "source .venv/bin/activate", f"hf download {PUBLISHED_BASE}"}
    for path, source in SOURCES.items():
        folder = Path("dataset", path.removeprefix("dataset/")).parent
        advised |= {command.format(folder=folder).partition("   #")[0] for command in source.fetch}
    others = {command.partition("   #")[0] for command in COMMANDS if not is_ours(command)}
    assert others <= advised
    for page in re.findall(r"<(http.*?)>", SECTIONS["2. Download"]):
        assert f"save {page} with a browser" in advised


def test_make_reproduce_runs_the_same_commands():
    steps = [command for title, text in SECTIONS.items() if title[:1] in "34567" for command in fenced(text)]
    command = ["make", "-n", "-B", "reproduce"]  # -B: also what has been made already
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = re.sub(r"\s*\\\n\s*", " ", printed).replace(".venv/bin/", "").splitlines()
    assert [line.rstrip() for line in lines if ".py " in line] == steps


def test_the_expected_figures_have_wilson_intervals():
    rows = re.findall(r"^\| \S+ \| ([\d,]+) \| (.*) \|$", SECTIONS["What to expect"], flags=re.MULTILINE)
    assert [row[0] for row in rows] == ["2,997", "4,536"]
    for count, cells in rows:
        queries = int(count.replace(",", ""))
        for percent, low, high in re.findall(r"([\d.]+) \[([\d.]+), ([\d.]+)\]", cells):
            interval = binomtest(round(queries * float(percent) / 100), queries).proportion_ci(method="wilson")
            assert [f"{100 * bound:.1f}" for bound in interval] == [low, high]


def test_the_small_version_runs(tmp_path, monkeypatch):
    """In an empty folder that has the checkout's weights but none of its data; in one process, which imports once."""
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    monkeypatch.chdir(tmp_path)
    for command in SMALL:
        assert run(command, monkeypatch) == 0, command
    assert (tmp_path / "outputs" / "small" / "ranker" / "adapter_model.safetensors").exists()
    predictions = pd.read_csv(tmp_path / "outputs" / "small" / "own" / "predictions.csv")
    assert len(predictions) == 12
    assert predictions["error_km"].notna().all()
    assert predictions["candidate_reward_lis"].notna().all()
