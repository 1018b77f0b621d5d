import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.world import GENERATED, RETRIEVED, build_world
from utils.adapter import AdapterInfo
from utils.candidates import Candidate, Query, read_candidate_table
from utils.geo_ranker import GeoRanker
from utils.images import ImageStore
from utils.scoring import Processes, RewardLog, fingerprint, score_queries


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_base):
    folder = tmp_path_factory.mktemp("world")
    build_world(folder, tiny_base)
    return folder


@pytest.fixture(scope="module")
def ranker(world, tiny_base):
    return GeoRanker.from_pretrained(tiny_base, world / "adapter", device="cpu")


@pytest.fixture(scope="module")
def stores(world):
    return ImageStore.from_paths([world / "photos"]), ImageStore.from_paths([world / "gallery.tar"])


@pytest.fixture(scope="module")
def queries(world):
    return dict(enumerate(read_candidate_table(world / "candidates.csv", RETRIEVED, GENERATED)[0]))


@pytest.fixture(scope="module")
def expected(ranker, stores, queries):
    """Rewards of each candidate ranked alone."""
    photos, gallery = stores
    return {
        position: [
            ranker.rank(photos.open(query.image), [candidate], query.negatives, images=gallery)[0].reward
            for candidate in query.candidates
        ]
        for position, query in queries.items()
    }


def check(rewards, expected):
    assert rewards.keys() == expected.keys()
    for position, values in rewards.items():
        np.testing.assert_allclose(values, expected[position], atol=1e-4)


@pytest.mark.parametrize("carrier", ["cache", "packed"])
@pytest.mark.parametrize("max_tokens", [1, 1500, 10**6])
def test_every_batch_size_gives_the_rewards_of_single_candidates(
    ranker, stores, queries, expected, tmp_path, max_tokens, carrier
):
    log = RewardLog(tmp_path, "")
    rewards, problems = score_queries(
        ranker, queries, *stores, log, max_tokens=max_tokens, carrier=carrier, progress=False
    )
    assert problems == []
    check(rewards, expected)


def test_workers_change_nothing(ranker, stores, queries, expected, tmp_path):
    log = RewardLog(tmp_path, "")
    rewards, _ = score_queries(ranker, queries, *stores, log, max_tokens=1500, num_workers=2, progress=False)
    check(rewards, expected)
    check({i: RewardLog(tmp_path, "").get(query) for i, query in queries.items()}, expected)


def test_a_gallery_photo_may_have_the_id_of_a_query_photo(ranker, stores, queries, world, tmp_path):
    query = queries[0]
    shutil.copytree(world / "gallery", tmp_path / "gallery")
    shown = query.candidates[0].image
    shutil.move(tmp_path / "gallery" / shown, tmp_path / "gallery" / query.image)
    renamed = (replace(query.candidates[0], image=query.image), *query.candidates[1:])
    stores_of = (stores[0], ImageStore.from_paths([tmp_path / "gallery"]))
    plain, _ = score_queries(ranker, {0: query}, *stores, RewardLog(tmp_path, ""), max_tokens=9999, progress=False)
    same, _ = score_queries(
        ranker,
        {0: replace(query, candidates=renamed)},
        *stores_of,
        RewardLog(tmp_path, ""),
        max_tokens=9999,
        progress=False,
    )
    np.testing.assert_allclose(plain[0], same[0], atol=1e-5)


def test_lost_photos_are_named_and_cost_only_themselves(ranker, stores, queries, expected, tmp_path):
    lost = replace(queries[1].candidates[2], image="gone.jpg")
    candidates = (*queries[1].candidates[:2], lost, *queries[1].candidates[3:])
    spoiled = {
        0: queries[0],
        1: replace(queries[1], candidates=candidates),
        2: replace(queries[2], image="nowhere.jpg"),
        3: replace(queries[3], candidates=(lost,)),
    }
    rewards, problems = score_queries(
        ranker, spoiled, *stores, RewardLog(tmp_path, ""), max_tokens=1500, progress=False
    )
    assert [(problem.query, problem.candidate) for problem in problems] == [
        (1, 2),
        (2, None),
        (3, 0),
        (3, None),
    ]
    assert "q1.jpg: candidate 2" in problems[0].message
    assert "gone.jpg" in problems[0].message
    assert "nowhere.jpg: query left out" in problems[1].message
    assert rewards.keys() == {0, 1}
    assert np.isnan(rewards[1]).nonzero()[0].tolist() == [2]
    kept = [k for k in range(len(candidates)) if k != 2]
    np.testing.assert_allclose(rewards[1][kept], np.array(expected[1])[kept], atol=1e-4)
    log = RewardLog(tmp_path, "")
    assert log.get(spoiled[0]) is not None
    assert log.get(spoiled[1]) is None


def test_a_reward_that_is_no_number_is_a_problem(ranker, stores, queries, tmp_path, monkeypatch):
    def forward(batch, carrier):
        rewards = torch.arange(len(batch.query_index), dtype=torch.float32)
        rewards[1] = torch.nan
        return rewards

    monkeypatch.setattr(ranker, "forward", forward)
    log = RewardLog(tmp_path, "")
    rewards, problems = score_queries(ranker, {0: queries[0]}, *stores, log, max_tokens=10**6, progress=False)
    assert [problem.candidate for problem in problems] == [1]
    assert "reward is nan" in problems[0].message
    assert np.isnan(rewards[0]).sum() == 1
    assert log.get(queries[0]) is None


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


def test_processes_from_environment(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert Processes.from_environment() == Processes(0, 1, 0)
    assert Processes().gather("value") == ["value"]
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert Processes.from_environment() == Processes(5, 8, 1)
