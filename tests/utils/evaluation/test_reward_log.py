import json
import os
from dataclasses import replace

import numpy as np
import pytest

from utils.candidates import Candidate, Query
from utils.evaluation.reward_log import RewardLog
from utils.evaluation.shown_photos import ShownPhotos
from utils.model.adapter_info import AdapterInfo
from utils.model.fingerprints import fingerprint
from utils.photos.store import ImageStore

QUERY = Query("q.jpg", (Candidate(1.0, 2.0), Candidate(3.0, 4.0)))


def test_log_survives_torn_lines(tmp_path):
    values = np.array([0.1, -1 / 3], dtype=np.float32)
    with RewardLog(tmp_path, "a") as log:
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
    with RewardLog(tmp_path, "a") as log:
        log.append(QUERY, np.zeros(2, np.float32))
    for scorer, query, known in (("a", QUERY, True), ("a", other, False), ("b", QUERY, False)):
        with RewardLog(tmp_path, scorer) as log:
            assert (log.get(query) is not None) == known


def test_an_older_log_costs_nothing(tmp_path):
    """It begins each record with a line break, so that the last one has none at its end."""
    values = np.array([0.1, -1 / 3], dtype=np.float32)
    names = ("q.jpg", "other.jpg", "last.jpg")
    with RewardLog(tmp_path, "a") as log:
        lines = [
            json.dumps({"key": log.key(query), "query": query.image, "rewards": values.tolist()})
            for query in (replace(QUERY, image=name) for name in names)
        ]
    (tmp_path / "rewards.1.jsonl").write_text("".join(f"\n{line}" for line in lines))
    for rank in (0, 1):  # one who reads it, and its owner
        with RewardLog(tmp_path, "a", rank) as log:
            found = [log.get(replace(QUERY, image=name)) for name in names]
            assert all(rewards.tobytes() == values.tobytes() for rewards in found)
    with RewardLog(tmp_path, "a", 1) as log:
        log.append(replace(QUERY, image="new.jpg"), values)
    with RewardLog(tmp_path, "a") as log:
        assert all(log.get(replace(QUERY, image=name)) is not None for name in (*names, "new.jpg"))


@pytest.fixture
def shown(tmp_path, make_image):
    """q.jpg among the queries' photos, c.jpg among those of the gallery."""
    for folder, name in (("photos", "q.jpg"), ("gallery", "c.jpg")):
        (tmp_path / folder).mkdir()
        make_image(20, 20).save(tmp_path / folder / name)
    return ShownPhotos(*(ImageStore.from_paths([tmp_path / folder]) for folder in ("photos", "gallery")))


WITH_PHOTO = replace(QUERY, candidates=(QUERY.candidates[0], Candidate(3.0, 4.0, image="c.jpg")))
VALUES = np.array([0.25, 0.5], dtype=np.float32)


def logged(tmp_path, shown) -> bool:
    """Whether the rewards of the query are taken from the log; reading it twice says the same."""
    found = []
    for rank in (0, 0, 1):
        with RewardLog(tmp_path / "log", "a", rank, shown) as log:
            found.append(0 in log.known([WITH_PHOTO]))
    assert len(set(found)) == 1
    return found[0]


def log_once(tmp_path, shown) -> None:
    with RewardLog(tmp_path / "log", "a", 0, shown) as log:
        log.append(WITH_PHOTO, VALUES)


def test_rewards_of_a_replaced_photo_are_not_taken(tmp_path, shown, make_image):
    log_once(tmp_path, shown)
    assert logged(tmp_path, shown)
    photo = tmp_path / "photos" / "q.jpg"
    whole = photo.read_bytes()
    make_image(21, 20).save(photo)
    assert not logged(tmp_path, shown)
    photo.write_bytes(whole)  # another time, the same content
    os.utime(photo, ns=(1, 1))
    assert logged(tmp_path, shown)
    photo.write_bytes(whole[:-9] + bytes(9))  # another content of the same size
    assert not logged(tmp_path, shown)
    log_once(tmp_path, shown)
    assert logged(tmp_path, shown)


def test_rewards_of_a_replaced_candidate_are_not_taken(tmp_path, shown, make_image):
    log_once(tmp_path, shown)
    make_image(21, 20).save(tmp_path / "gallery" / "c.jpg")
    assert not logged(tmp_path, shown)


def test_a_log_from_before_photos_is_taken_once(tmp_path, shown, make_image, caplog):
    log_once(tmp_path, None)
    with caplog.at_level("INFO"):
        assert logged(tmp_path, shown)
    assert caplog.text.count("1 queries were logged without their photos") == 1
    make_image(21, 20).save(tmp_path / "photos" / "q.jpg")
    assert not logged(tmp_path, shown)


def test_two_evaluations_cannot_write_to_one_folder(tmp_path):
    message = r"rewards\.0\.jsonl is being written by process \d+ on "
    with RewardLog(tmp_path, "a"), RewardLog(tmp_path, "a", 1), pytest.raises(ValueError, match=message):
        RewardLog(tmp_path, "a")


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

    assert "jpeg" not in first  # logs from before there was the setting
    changed = [
        fingerprint(str(base), adapter, replace(info, layout="negatives_first"), {"dtype": None}),
        fingerprint(str(base), adapter, replace(info, candidate_jpeg_quality=75), {"dtype": None}),
        fingerprint(str(base), adapter, info, {"dtype": "bfloat16"}),
    ]
    for folder in (adapter, base):
        (folder / "model.safetensors").write_bytes(b"new weights")
        changed.append(fingerprint(str(base), adapter, info, {"dtype": None}))
    assert len({first, *changed}) == 6
