"""The command that fits the consensus; the fit itself is tested in tests/utils/evaluation/."""

import re

import numpy as np
import pytest

from tools.fit_consensus import main
from utils.calibration import Sources
from utils.decoding import WITHOUT_RANKER
from utils.tables.candidate_table import CandidateRow, write_candidate_table
from utils.vote_calibration import VoteCalibration


def table(path, queries, seed, guess_is_right):
    """Six retrieved candidates at random, of which two agree on a wrong place; a guess at the truth or at random."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(queries):
        truth, *places = random.uniform([-60, -170], [60, 170], (8, 2)).round(4).tolist()
        guess = truth if guess_is_right else places.pop()
        places[1] = places[0]
        rows.append(
            CandidateRow(f"q{seed}-{number}", *truth, gps=[tuple(p) for p in places[:6]], zs_gps=[tuple(guess)])
        )
    write_candidate_table(path, rows)


def guess_weights(printed):
    """That of each choice: of the folds', then the best on all."""
    *folds, best, in_use = re.findall(r"guess weight ([\d.]+)", printed)
    assert in_use == "2.5"
    return [float(weight) for weight in folds], float(best)


def test_what_is_right_gets_the_weight(tmp_path, capsys):
    table(tmp_path / "a.csv", 20, 0, guess_is_right=True)
    table(tmp_path / "b.csv", 10, 1, guess_is_right=True)
    assert main([str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--folds", "3"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("30 queries, 7.0 candidates each.")
    folds, best = guess_weights(printed)
    assert min(*folds, best) >= 2  # against two that agree, of which the second weighs less
    (row,) = re.findall(r"^consensus \*.*", printed, re.MULTILINE)
    assert row.split()[2] == "100.0"
    assert re.search(r"^consensus_equal +0\.0 ", printed, re.MULTILINE)
    assert "consensus - consensus_equal" in printed
    assert sum(map(int, re.findall(r"^  (\d+) of 3 folds", printed, re.MULTILINE))) == 3


def test_guesses_that_are_not_ranked_weigh_nothing(tmp_path, capsys):
    table(tmp_path / "a.csv", 12, 0, guess_is_right=True)
    assert main([str(tmp_path / "a.csv"), "--topn_zs", "0", "--topn", "4", "--folds", "2"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("12 queries, 4.0 candidates each.")
    _, best = guess_weights(printed)
    assert best == 0.5  # all are equally good: the first


def test_bad_rows_cost_only_themselves(tmp_path, capsys):
    path = tmp_path / "a.csv"
    table(path, 12, 0, guess_is_right=False)
    lines = path.read_text().splitlines()
    lines[3] = re.sub(r"^q0-2,[^,]*", "q0-2,95.0", lines[3])
    path.write_text("\n".join(lines) + "\n")
    assert main([str(path), "--folds", "2"]) == 1
    answered = capsys.readouterr()
    assert answered.out.startswith("11 queries")
    assert "a.csv: row 2 (q0-2)" in answered.err


def test_nothing_to_fit_on_is_an_error(tmp_path):
    path = tmp_path / "a.csv"
    table(path, 1, 0, guess_is_right=False)
    with pytest.raises(SystemExit, match="1 queries are too few for 10 folds"):
        main([str(path)])
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(SystemExit, match="no query to fit on"):
        main([str(path)])


def test_confidence_of_the_votes_in_use(tmp_path, capsys):
    table(tmp_path / "a.csv", 240, 0, guess_is_right=True)
    command = [str(tmp_path / "a.csv"), "--topn", "4", "--topn_zs", "1", "--calibration", str(tmp_path / "votes.json")]
    assert main([*command, "--about", "invented queries"]) == 0
    printed = capsys.readouterr().out
    assert "Regions of 90% held" in printed
    assert f"{tmp_path / 'votes.json'}: confidence and regions of consensus and consensus_equal" in printed
    found = VoteCalibration.load(tmp_path / "votes.json")
    assert found.candidates == "invented queries"
    assert found.calibrations.sources == Sources(4, 1, 0.0, None)
    assert found.calibrations.methods.keys() == WITHOUT_RANKER.keys()


def test_too_few_to_calibrate_on(tmp_path, capsys):
    table(tmp_path / "a.csv", 60, 0, guess_is_right=True)
    command = [str(tmp_path / "a.csv"), "--calibration", str(tmp_path / "votes.json"), "--about", "few"]
    with pytest.raises(SystemExit, match="60 queries are too few to calibrate on: at least 200"):
        main(command)
    assert "What was stated" not in capsys.readouterr().out
    assert not (tmp_path / "votes.json").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--calibration", "votes.json"], "--calibration and --about belong together"),
        (["--about", "words"], "--calibration and --about belong together"),
        (["--gallery", "photos.csv"], "--gallery is for --calibration"),
        (["--topn", "0", "--topn_zs", "0"], "--topn and --topn_zs leave no place to rank"),
    ],
)
def test_flags_that_need_each_other(flags, message, capsys):
    with pytest.raises(SystemExit):
        main(["a.csv", *flags])
    assert message in capsys.readouterr().err
