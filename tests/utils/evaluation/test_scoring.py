import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from tests.forks import ended, start
from tests.loopback import free_port
from tests.world import GENERATED, RETRIEVED, build_world
from utils.evaluation.photos_of_queries import photos_of_queries
from utils.evaluation.reward_log import RewardLog
from utils.evaluation.scoring import QueryBatches, ScoringBatch, score_benchmark
from utils.geo_ranker import GeoRanker
from utils.jobs.processes import Processes, SharedWork
from utils.model.features import EncodedPhotos, shared_features
from utils.model.sharing import SHARINGS
from utils.photos.store import ImageStore
from utils.tables.candidate_table import read_candidate_table


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_base):
    folder = tmp_path_factory.mktemp("world")
    build_world(folder, tiny_base)
    return folder


@pytest.fixture(scope="module")
def ranker(world, tiny_base):
    return GeoRanker.from_pretrained(tiny_base, world / "adapter", device="cpu")


@pytest.fixture(scope="module")
def photos(world, ranker):
    """Of queries and gallery."""
    stores = ImageStore.from_paths([world / "photos"]), ImageStore.from_paths([world / "gallery.tar"])
    return [EncodedPhotos(store, ranker.packer) for store in stores]


@pytest.fixture(scope="module")
def queries(world):
    return dict(enumerate(read_candidate_table(world / "candidates.csv", RETRIEVED, GENERATED)[0]))


@pytest.fixture(scope="module")
def expected(ranker, photos, queries):
    own, gallery = (encoded.store for encoded in photos)
    return rewards_one_by_one(ranker, own, gallery, queries)


def rewards_one_by_one(ranker, own, gallery, queries):
    """Of each candidate ranked alone."""
    return {
        position: [
            ranker.rank(own.open(query.image), [candidate], query.negatives, images=gallery)[0].reward
            for candidate in query.candidates
        ]
        for position, query in queries.items()
    }


def check(rewards, expected):
    assert rewards.keys() == expected.keys()
    for position, values in rewards.items():
        np.testing.assert_allclose(values, expected[position], atol=1e-4)


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("max_tokens", [1, 1500, 10**6])
def test_every_batch_size_gives_the_rewards_of_single_candidates(
    ranker, photos, queries, expected, tmp_path, max_tokens, sharing
):
    log = RewardLog(tmp_path, "")
    rewards, problems = score_benchmark(ranker, queries, *photos, log, max_tokens=max_tokens, sharing=sharing)
    assert problems == []
    check(rewards, expected)


def test_workers_change_nothing(ranker, photos, queries, expected, tmp_path):
    with RewardLog(tmp_path, "") as log:
        rewards, _ = score_benchmark(ranker, queries, *photos, log, max_tokens=1500, num_workers=2)
    check(rewards, expected)
    with RewardLog(tmp_path, "") as log:
        check({i: log.get(query) for i, query in queries.items()}, expected)


@pytest.mark.parametrize("cached", [False, True])
def test_smaller_candidates_are_smaller_from_a_cache_too(world, tiny_base, queries, tmp_path, cached):
    ranker = GeoRanker.from_pretrained(tiny_base, world / "adapter", device="cpu", candidate_max_pixels=256)
    own, gallery = ImageStore.from_paths([world / "photos"]), ImageStore.from_paths([world / "gallery.tar"])
    folder = str(tmp_path / "cache") if cached else None
    shown = photos_of_queries(folder, ranker, list(queries.values()), own, gallery, Processes(), 0)
    rewards, problems = score_benchmark(ranker, queries, *shown, RewardLog(tmp_path, ""), max_tokens=10**6)
    assert problems == []
    check(rewards, rewards_one_by_one(ranker, own, gallery, queries))
    small = [shown[1][c.image].grid_thw.prod() for c in queries[0].candidates if c.image]
    assert max(small) <= 256 // 4**2 < shown[0][queries[0].image].grid_thw.prod()


def test_a_gallery_photo_may_have_the_id_of_a_query_photo(ranker, photos, queries, world, tmp_path):
    query = queries[0]
    shutil.copytree(world / "gallery", tmp_path / "gallery")
    shown = query.candidates[0].image
    shutil.move(tmp_path / "gallery" / shown, tmp_path / "gallery" / query.image)
    renamed = (replace(query.candidates[0], image=query.image), *query.candidates[1:])
    others = photos[0], EncodedPhotos(ImageStore.from_paths([tmp_path / "gallery"]), ranker.packer)
    plain, _ = score_benchmark(ranker, {0: query}, *photos, RewardLog(tmp_path, ""), max_tokens=9999)
    same, _ = score_benchmark(
        ranker,
        {0: replace(query, candidates=renamed)},
        *others,
        RewardLog(tmp_path, ""),
        max_tokens=9999,
    )
    np.testing.assert_allclose(plain[0], same[0], atol=1e-5)


def test_lost_photos_are_named_and_cost_only_themselves(ranker, photos, queries, expected, tmp_path):
    lost = replace(queries[1].candidates[2], image="gone.jpg")
    candidates = (*queries[1].candidates[:2], lost, *queries[1].candidates[3:])
    spoiled = {
        0: queries[0],
        1: replace(queries[1], candidates=candidates),
        2: replace(queries[2], image="nowhere.jpg"),
        3: replace(queries[3], candidates=(lost,)),
    }
    rewards, problems = score_benchmark(ranker, spoiled, *photos, RewardLog(tmp_path, ""), max_tokens=1500)
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


def test_a_reward_that_is_no_number_is_a_problem(ranker, photos, queries, tmp_path, monkeypatch):
    def forward(batch, sharing):
        rewards = torch.arange(len(batch.query_index), dtype=torch.float32)
        rewards[1] = torch.nan
        return rewards

    monkeypatch.setattr(ranker, "forward", forward)
    log = RewardLog(tmp_path, "")
    rewards, problems = score_benchmark(ranker, {0: queries[0]}, *photos, log, max_tokens=10**6)
    assert [problem.candidate for problem in problems] == [1]
    assert "reward is nan" in problems[0].message
    assert np.isnan(rewards[0]).sum() == 1
    assert log.get(queries[0]) is None


def test_a_candidate_that_does_not_fit_is_a_problem(ranker, photos, queries, expected, tmp_path, monkeypatch, caplog):
    """Memory is simulated: a ranker that takes so many tokens, which one candidate of query 0 alone exceeds."""
    long = replace(queries[0].candidates[1], texts=("Llanfairpwllgwyngyll " * 20,))
    candidates = (queries[0].candidates[0], long, *queries[0].candidates[2:])
    spoiled = {**queries, 0: replace(queries[0], candidates=candidates)}
    forward = ranker.forward

    def limited(batch, sharing):
        assert torch.is_inference_mode_enabled()
        if batch.prefix_ids.numel() + batch.suffix_ids.numel() > 600:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        return forward(batch, sharing)

    monkeypatch.setattr(ranker, "forward", limited)
    log = RewardLog(tmp_path, "")
    rewards, problems = score_benchmark(ranker, spoiled, *photos, log, max_tokens=5000)
    assert "do not fit into memory and are halved" in caplog.text
    assert [(problem.query, problem.candidate) for problem in problems] == [(0, 1)]
    assert problems[0].message == "q0.jpg: candidate 1 left out: even alone it does not fit into memory"
    assert np.isnan(rewards[0]).nonzero()[0].tolist() == [1]
    assert log.get(spoiled[0]) is None
    kept = [number for number in range(len(candidates)) if number != 1]
    np.testing.assert_allclose(rewards.pop(0)[kept], np.array(expected[0])[kept], atol=1e-4)
    check(rewards, {position: values for position, values in expected.items() if position})


def test_pinned_batches_hold_the_same(ranker, photos, queries, monkeypatch):
    """What the data loader calls where there is a GPU."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor.clone())
    work = SharedWork(sorted(queries), Processes(), "queries")
    batch = next(iter(QueryBatches(queries, work, ranker.packer, *photos, max_tokens=1500)))
    copy = pin_memory(batch)  # finds the method of our class
    assert isinstance(copy, ScoringBatch)
    assert (copy.slots, copy.problems) == (batch.slots, batch.problems)
    for name, tensor in vars(batch.packed).items():
        if tensor is None:
            assert getattr(copy.packed, name) is None
        else:
            assert any(tensor is one for one in pinned)
            assert torch.equal(getattr(copy.packed, name), tensor)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_features_from_the_cache_give_the_same_rewards(
    ranker, photos, queries, expected, tmp_path, monkeypatch, num_workers
):
    names = (
        [query.image for query in queries.values()],
        [candidate.image for query in queries.values() for candidate in query.candidates if candidate.image],
    )
    caches = [
        shared_features(
            tmp_path / "features",
            ranker.backbone,
            ranker.packer,
            encoded.store,
            ids,
            Processes(),
            num_workers,
            "photos",
        )[0]
        for encoded, ids in zip(photos, names, strict=True)
    ]
    monkeypatch.setattr(ranker.packer, "encode", None)  # no photo is prepared again
    log = RewardLog(tmp_path, "")
    rewards, problems = score_benchmark(ranker, queries, *caches, log, max_tokens=1500, num_workers=num_workers)
    assert problems == []
    check(rewards, expected)


def share_of(rank: int, port: int, folder: Path, base: Path) -> None:
    """One of two processes; the second cannot open its first photo until the first has scored all other queries."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    ranker = GeoRanker.from_pretrained(base, folder / "adapter", device="cpu")
    queries = dict(enumerate(read_candidate_table(folder / "candidates.csv", RETRIEVED, GENERATED)[0]))
    photos = [
        EncodedPhotos(ImageStore.from_paths([folder / name]), ranker.packer) for name in ("photos", "gallery.tar")
    ]
    work = SharedWork(range(len(queries)), Processes.from_environment(), "queries")
    if rank == 0:
        while not (folder / "stuck").exists():
            time.sleep(0.01)
    else:
        read = photos[0].store.open

        def slowly(image_id):
            (folder / "stuck").touch()
            while work.finish(0) < len(queries) - 1:
                time.sleep(0.01)
            return read(image_id)

        photos[0].store.open = slowly
    log = RewardLog(folder / "log", "", rank)
    rewards, _ = score_benchmark(ranker, queries, *photos, log, max_tokens=1500, work=work)
    Processes.from_environment().wait("the end")  # the first process serves the counters of both
    np.savez(folder / f"rewards.{rank}.npz", **{str(position): values for position, values in rewards.items()})


def test_a_slow_photo_does_not_idle_the_other_process(world, tiny_base, expected, tmp_path):
    folder = shutil.copytree(world, tmp_path / "world")
    log, port = tmp_path / "log", free_port()
    started = [start(share_of, rank, port, folder, tiny_base, log=log) for rank in (0, 1)]
    assert ended(started) == [0, 0], log.read_text()
    shares = [dict(np.load(folder / f"rewards.{rank}.npz")) for rank in (0, 1)]
    assert [len(share) for share in shares] == [len(expected) - 1, 1]
    check({int(position): values for share in shares for position, values in share.items()}, expected)
