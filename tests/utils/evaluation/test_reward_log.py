from dataclasses import replace

import numpy as np
import pytest

from utils.candidates import Candidate, Query
from utils.evaluation.reward_log import RewardLog
from utils.model.adapter_info import AdapterInfo
from utils.model.fingerprints import fingerprint

QUERY = Query("q.jpg", (Candidate(1.0, 2.0), Candidate(3.0, 4.0)))


def test_log_survives_torn_lines(tmp_path):
    log = RewardLog(tmp_path, "a")
    values = np.array([0.1, -1 / 3], dtype=np.float32)
    log.append(QUERY, values)
    log.append(replace(QUERY, image="other.jpg"), values)
    path = tmp_path / "rewards.0.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    torn = RewardLog(tmp_path, "a")
    assert torn.get(replace(QUERY, image="other.jpg")) is None
    torn.append(replace(QUERY, image="third.jpg"), values)
    whole = RewardLog(tmp_path, "a", rank=3)  # reads what every process wrote
    for name in ("q.jpg", "third.jpg"):
        assert whole.get(replace(QUERY, image=name)).tobytes() == values.tobytes()


@pytest.mark.parametrize(
    "other",
    [
        replace(QUERY, image="other.jpg"),
        replace(QUERY, candidates=QUERY.candidates[:1]),
        replace(QUERY, candidates=QUERY.candidates[::-1]),
        replace(QUERY, negatives=QUERY.candidates),
        replace(QUERY, candidates=(QUERY.candidates[0], Candidate(3.0, 4.0, ("Rome",)))),
        replace(QUERY, candidates=(QUERY.candidates[0], Candidate(3.0, 4.0, image="c.jpg"))),
    ],
)
def test_log_knows_another_query(tmp_path, other):
    log = RewardLog(tmp_path, "a")
    log.append(QUERY, np.zeros(2, np.float32))
    assert RewardLog(tmp_path, "a").get(QUERY) is not None
    assert RewardLog(tmp_path, "a").get(other) is None
    assert RewardLog(tmp_path, "b").get(QUERY) is None


def test_fingerprint_follows_weights_and_prompt_but_not_calibration(tmp_path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    for folder in (base, adapter):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
    info = AdapterInfo(str(base))
    first = fingerprint(str(base), adapter, info, {"dtype": None})

    calibrated = replace(info, temperature=2.0, similarity_weight=3.0)
    calibrated.save(adapter)
    assert fingerprint(str(base), adapter, calibrated, {"dtype": None}) == first

    changed = [
        fingerprint(str(base), adapter, replace(info, layout="negatives_first"), {"dtype": None}),
        fingerprint(str(base), adapter, info, {"dtype": "bfloat16"}),
    ]
    for folder in (adapter, base):
        (folder / "model.safetensors").write_bytes(b"new weights")
        changed.append(fingerprint(str(base), adapter, info, {"dtype": None}))
    assert len({first, *changed}) == 5
