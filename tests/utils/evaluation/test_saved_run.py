import json
import sys

import numpy as np
import pandas as pd
import pytest

import evaluate
from tests.evaluated import write_evaluation
from tests.world import GENERATED, QUERIES, RETRIEVED, build_world, flags
from utils.evaluation.rankers import ranker_picks
from utils.evaluation.report import build_report
from utils.evaluation.saved_run import read_cases


def test_evaluate_py_can_be_read_back(tmp_path, tiny_base, monkeypatch):
    """The report made from what is read is the one that evaluate.py wrote."""
    build_world(tmp_path / "world", tiny_base)
    top = ["--topn", str(RETRIEVED), "--topn_zs", str(GENERATED), "--output_dir", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *flags(tmp_path / "world", tiny_base), *top])
    assert evaluate.main() == 0
    cases, problems = read_cases(tmp_path / "out")
    assert problems == []
    assert len(cases) == QUERIES
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    report = build_report(cases, ranker_picks(cases), prediction="model")
    for figure in ("rankers", "paired_differences", "calibration_error"):
        assert json.loads(json.dumps(report[figure])) == written[figure]


def test_rewards_and_similarities_come_back(tmp_path):
    written = write_evaluation(tmp_path / "run", 30, seed=0)
    cases, problems = read_cases(tmp_path / "run")
    assert problems == []
    for case, original in zip(cases, written, strict=True):
        assert case.query == original.query
        np.testing.assert_array_equal(case.rewards.astype(np.float32), original.rewards)


def test_a_query_with_other_candidates_than_in_the_table_costs_only_itself(tmp_path):
    write_evaluation(tmp_path / "run", 5, seed=1)
    table = pd.read_csv(tmp_path / "run" / "candidates.csv")
    table.loc[3, "zs_gps_lis"] = "[(1.0, 2.0), (3.0, 4.0)]"
    table.drop(index=1).to_csv(tmp_path / "run" / "candidates.csv", index=False)
    cases, problems = read_cases(tmp_path / "run")
    assert [case.query.image for case in cases] == ["q1-0.jpg", "q1-2.jpg", "q1-4.jpg"]
    assert len(problems) == 2
    assert "predictions.csv: row 1 (q1-1.jpg): other candidates" in problems[0]
    assert "(q1-3.jpg)" in problems[1]


def test_what_no_model_scored_is_refused(tmp_path):
    write_evaluation(tmp_path / "run", 3, seed=2)
    path = tmp_path / "run" / "predictions.csv"
    table = pd.read_csv(path)
    table.drop(columns="candidate_reward_lis").to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"predictions.csv: no column candidate_reward_lis"):
        read_cases(tmp_path / "run")
    table.assign(candidate_gps_lis="[]").to_csv(path, index=False)
    with pytest.raises(ValueError, match="no query to go by"):
        read_cases(tmp_path / "run")
