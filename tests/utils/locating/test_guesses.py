from collections.abc import Sequence

import pytest

from tests.loopback import completion, serving
from utils.generation.api import ApiModel
from utils.generation.journal import Reply
from utils.generation.local import LocalModel
from utils.geography.answers import parse_answers
from utils.locating.guesses import Guesses
from utils.locating.photo import Photo


@pytest.fixture
def photos(make_image) -> list[Photo]:
    return [Photo(make_image(24, 24, number), f"trip/{number}.png", f"{number}.png") for number in range(3)]


def points(found) -> list[tuple[float, float]]:
    return [(candidate.latitude, candidate.longitude) for candidate in found.candidates]


def test_a_local_model_is_asked_as_for_a_benchmark(tiny_base, photos):
    model = LocalModel.from_pretrained(tiny_base)
    guesses = Guesses.local(model, "tiny", 4)
    replies = model.replies({photo.name: photo.image for photo in photos}, num_samples=4)
    for found, reply in zip(guesses.find(photos), replies, strict=True):
        places, _ = parse_answers(reply.whole)
        assert points(found) == places
        lost = 4 - len(places)
        assert found.notes == ((f"{lost} of 4 guesses name no usable place and are left out",) if lost else ())
    assert (guesses.take, guesses.words) == (4, "guesses of tiny")
    fewer = guesses.with_count(2)
    (reply,) = model.replies({photos[0].name: photos[0].image}, num_samples=2)
    assert points(fewer.find(photos[:1])[0]) == parse_answers(reply.whole)[0]
    assert (fewer.take, fewer.words) == (2, "guesses of tiny")


def test_only_usable_places_are_candidates(photos):
    def ask(pictures, count) -> dict[str, Reply]:
        answers = ('{"latitude": 1.5, "longitude": 2.5}', "no idea", "3.25 S, 4.5 W", "(5.5, 6.7")
        good = {name: Reply(name, answers, cut=(3,)) for name in pictures}
        return good | {"1.png": Reply("1.png", problem="1.png: the server is busy")}

    first, second, _ = Guesses(ask, "m", 4).find(photos)
    assert points(first) == [(1.5, 2.5), (-3.25, -4.5)]
    assert {candidate.source for candidate in first.candidates} == {"generation"}
    assert first.notes == ("2 of 4 guesses name no usable place and are left out",)
    assert (second.candidates, second.problems) == ([], ("no guesses: 1.png: the server is busy",))
    assert (first.unanswered, second.unanswered) == (False, True)


def served(url: str) -> Guesses:
    return Guesses.served(lambda count: ApiModel("m", "sk-test", url, num_samples=count), "m", 2)


def test_a_server_is_asked_with_the_same_client(photos):
    with serving(lambda body, _: completion("46.5, 7.25", "no idea")) as server:
        guesses = served(server.url)
        for part in (photos, photos[:1]):  # one loop after the other
            for found in guesses.find(part):
                assert points(found) == [(46.5, 7.25)]
    assert {body["model"] for body in server.bodies} == {"m"}
    assert server.authorizations == ["Bearer sk-test"] * 4


def test_a_server_that_refuses_all_ends_the_run(photos):
    def refuse(body, number) -> Sequence:
        return 401, {"error": {"message": "who are you?"}}

    with serving(refuse) as server, pytest.raises(RuntimeError, match="who are you"):
        served(server.url).find(photos)
