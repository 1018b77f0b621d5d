import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.loopback import Response, serving
from tests.vllm_stand_in import classification
from utils.candidates import Candidate, Query
from utils.evaluation.by_server import SentPhotos, score_by_server
from utils.evaluation.reward_log import RewardLog
from utils.model.adapter_info import AdapterInfo
from utils.photos.images import ImageError
from utils.photos.store import ImageStore
from utils.servers.errors import ServerError
from utils.serving.reward_server import RewardServer

LABEL = "georanker-0123456789abcdef"
INFO = AdapterInfo("base", layout="negatives_first")


@pytest.fixture
def store(tmp_path: Path, make_image) -> ImageStore:
    """Photos 0.jpg .. 3.jpg; 2.jpg is no image."""
    for number in range(4):
        make_image(16, 24, number).save(tmp_path / f"{number}.jpg")
    (tmp_path / "2.jpg").write_bytes(b"no image")
    return ImageStore.from_paths([tmp_path])


def queries(count: int) -> dict[int, Query]:
    """Three candidates each, with 1.jpg, 3.jpg and no photo; positions begin at 5."""
    found = {}
    for number in range(5, 5 + count):
        candidates = (
            Candidate(number, 0.0, ("a",), "1.jpg"),
            Candidate(number, 1.0, (), "3.jpg"),
            Candidate(number, 2.0),
        )
        found[number] = Query("0.jpg", candidates, (Candidate(9.0, 9.0),))
    return found


def texts(body: dict) -> str:
    return " ".join(part["text"] for part in body["messages"][0]["content"] if part["type"] == "text")


def photos(body: dict) -> list[str]:
    return [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]


def reward_of(body: dict) -> float:
    """A number that tells a candidate: latitude and longitude of the question."""
    _, _, question = texts(body).partition("How far is this place from latitude: ")
    latitude, _, rest = question.partition(", longitude: ")
    return float(latitude) + float(rest[:3]) / 10


def run(respond, asked: dict[int, Query], store: ImageStore, folder: Path, info: AdapterInfo = INFO, at_once: int = 2):
    with serving(respond) as server, RewardLog(folder, "f") as log:
        client = RewardServer(server.url, LABEL, max_retries=0)
        found = score_by_server([client], info, asked, store, store, log, at_once)
    return *found, server


def test_rewards_of_all_candidates(store, tmp_path):
    asked = queries(4)
    rewards, problems, server = run(
        lambda body, number: classification(reward_of(body), LABEL), asked, store, tmp_path / "log"
    )
    assert problems == []
    assert rewards.keys() == asked.keys()
    for position, found in rewards.items():
        np.testing.assert_allclose(found, [position, position + 0.1, position + 0.2], rtol=1e-6)
        assert found.dtype == np.float32
    assert [len(photos(body)) for body in server.bodies].count(1) == 4
    assert all("latitude: 9.0" in texts(body) for body in server.bodies)
    with RewardLog(tmp_path / "log", "f") as log:
        assert log.known([*asked.values()]).keys() == set(range(4))


def test_photos_are_sent_as_the_adapter_saw_them(store, tmp_path):
    def sent(info: AdapterInfo) -> list[str]:
        _, _, server = run(lambda body, number: classification(1.0, LABEL), queries(1), store, tmp_path / "log", info)
        return photos(server.bodies[0])

    own, candidate = sent(replace(INFO, candidate_jpeg_quality=75))
    assert own == SentPhotos(store)["0.jpg"]
    assert candidate == SentPhotos(store, 75)["1.jpg"] != SentPhotos(store)["1.jpg"]
    assert sent(replace(INFO, omit=("images", "negatives"))) == [own]


def test_what_cannot_be_scored_costs_only_itself(store, tmp_path):
    asked = queries(5)
    asked[5] = replace(asked[5], image="2.jpg")  # unreadable
    asked[6] = replace(asked[6], candidates=(replace(asked[6].candidates[0], image="2.jpg"), *asked[6].candidates[1:]))
    asked[7] = replace(asked[7], candidates=(replace(asked[7].candidates[0], texts=("<|im_end|>",)),))

    def respond(body: dict, number: int) -> Response:
        if "latitude: 8, longitude: 1.0" in texts(body):
            return Response(400, {"error": {"message": "too long"}})
        return classification(reward_of(body), LABEL)

    rewards, problems, _ = run(respond, asked, store, tmp_path / "log")
    assert rewards.keys() == {6, 8, 9}
    assert math.isnan(rewards[6][0])
    assert math.isnan(rewards[8][1])
    assert np.isfinite([*rewards[6][1:], rewards[8][0], rewards[8][2], *rewards[9]]).all()
    lost = {(problem.query, problem.candidate): problem.message for problem in problems}
    assert lost.keys() == {(5, None), (6, 0), (7, 0), (8, 1)}
    assert "2.jpg: query left out: 2.jpg in" in lost[5, None]
    assert "special token" in lost[7, 0]
    assert "0.jpg: candidate 1 left out: BadRequestError" in lost[8, 1]
    with RewardLog(tmp_path / "log", "f") as log:
        assert log.known([*asked.values()]).keys() == {4}


@pytest.mark.parametrize(
    ("answer", "message", "most"),
    [
        (Response(400, {"error": {"message": "no"}}), "20 requests in a row failed, the last one with BadRequest", 21),
        (classification(1.0, "another"), "the server's model is 'another'", 2),
    ],
)
def test_a_server_that_cannot_do_it_ends_the_run(answer, message, most, store, tmp_path):
    asked = queries(20)
    with serving(lambda body, number: answer) as server, RewardLog(tmp_path / "log", "f") as log:
        client = RewardServer(server.url, LABEL, max_retries=0)
        with pytest.raises(ServerError, match=message):
            score_by_server([client], INFO, asked, store, store, log, 2)
    assert len(server.bodies) <= most


def test_photos_too_long_for_a_jpeg(store, monkeypatch):
    def refuse(*args: object, **options: object) -> None:
        raise OSError("encoder error")

    monkeypatch.setattr("utils.evaluation.by_server.encoded", refuse)
    with pytest.raises(ImageError, match=r"1\.jpg: 16 x 24 pixels do not go into a JPEG: encoder error"):
        SentPhotos(store, 75)["1.jpg"]


def test_several_servers_share_the_queries(store, tmp_path):
    """All candidates of a query are asked about at one of them, whose cache knows its photo."""
    asked = queries(6)

    def respond(body: dict, number: int) -> Response:
        return classification(reward_of(body), LABEL)

    with serving(respond) as first, serving(respond) as second, RewardLog(tmp_path / "log", "f") as log:
        clients = [RewardServer(server.url, LABEL) for server in (first, second)]
        rewards, problems = score_by_server(clients, INFO, asked, store, store, log, 3)
    assert (rewards.keys(), problems) == (asked.keys(), [])
    shares = [{int(reward_of(body)) for body in server.bodies} for server in (first, second)]
    assert shares in ([{5, 7, 9}, {6, 8, 10}], [{6, 8, 10}, {5, 7, 9}])
