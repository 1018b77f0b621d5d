import asyncio
import base64
import gzip
import time
from collections.abc import Callable
from email.utils import formatdate

import numpy as np
import pytest

from tests.loopback import Response, Server, completion, serving
from utils.generation.api import ApiModel, ask_api, encode_photo
from utils.generation.journal import Reply
from utils.model.prompts import GENERATION_PROMPT
from utils.photos.images import open_image
from utils.photos.store import ImageStore

KEY = "sk-secret"


def ask(server: Server, names: list[str], store: ImageStore, workers: int = 1, **settings) -> list[Reply]:
    replies = []
    model = ApiModel("some-model", KEY, server.url, **{"num_samples": 1} | settings)
    asyncio.run(ask_api(model, names, store, replies.append, workers))
    return replies


def ask_one(store: ImageStore, respond: Callable[[dict, int], tuple], **settings) -> tuple[Reply, Server]:
    with serving(respond) as server:
        (reply,) = ask(server, ["0.png"], store, **settings)
    return reply, server


def test_what_the_server_is_sent(store: ImageStore, make_image) -> None:
    reply, server = ask_one(
        store,
        lambda body, number: completion("one", None, "two"),
        num_samples=3,
        temperature=0.7,
        max_tokens=50,
    )
    assert reply.answers == ("one", "", "two")
    assert server.authorizations == [f"Bearer {KEY}"]
    assert server.paths == ["/v1/chat/completions"]
    (body,) = server.bodies
    (message,) = body.pop("messages")
    assert body == {"model": "some-model", "n": 3, "temperature": 0.7, "max_tokens": 50}
    text, picture = message["content"]
    assert text == {"type": "text", "text": GENERATION_PROMPT}
    assert picture["image_url"]["detail"] == "low"
    data = picture["image_url"]["url"].removeprefix("data:image/jpeg;base64,")
    sent = open_image(base64.b64decode(data))
    assert sent.size == (16, 24)
    assert abs(np.asarray(sent).mean() - np.asarray(make_image(16, 24, 0)).mean()) < 4


def test_large_photos_are_reduced(make_image) -> None:
    def size(width: int, height: int) -> tuple[int, int]:
        url = encode_photo(make_image(width, height), 100)
        return open_image(base64.b64decode(url.split(",")[1])).size

    assert size(300, 150) == (100, 50)
    assert size(60, 240) == (25, 100)
    assert size(100, 30) == (100, 30)


@pytest.mark.parametrize("ending", ["", "/", "/chat/completions", "/chat/completions/"])
def test_both_forms_of_address(ending: str, store: ImageStore, monkeypatch) -> None:
    with serving(lambda body, number: completion("yes")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url + ending)
        model = ApiModel("m", KEY, num_samples=1)
        asyncio.run(ask_api(model, ["0.png"], store, lambda reply: None))
    assert server.paths == ["/v1/chat/completions"]


@pytest.mark.parametrize("host", ["\u2603.com", f"\u00fc{'x' * 70}.de", "[v1.x]"])
def test_no_host(host: str) -> None:
    """By IDNA or RFC 3986, which only the client knows."""
    with pytest.raises(ValueError, match="is no address such as") as raised:
        ApiModel("m", KEY, f"http://user:secret@{host}/v1")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("key", [" ", "sk-\u201cx\u201d", "sk-x\n"])
def test_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="the API key is empty or") as raised:
        ApiModel("m", key)
    assert key.strip() == "" or key not in str(raised.value)


OVERLOADED = {"error": {"message": "try later"}}


@pytest.mark.parametrize(
    "fault",
    [
        Response(429, OVERLOADED),
        Response(500, OVERLOADED),
        Response(503, "<html>"),
        Response(200, "<html>"),
        Response(200, "{"),
        Response(200, OVERLOADED),
        Response(200, {"choices": []}),
        Response(200, {"choices": [{"message": {"content": 3}}]}),
        Response(200, {"choices": [5]}),
        completion("yes" * 1000)._replace(cut=True),
        completion("late")._replace(delay=30),
        completion("dripping" * 100)._replace(drip=0.1),
        Response(200, "x" * 2**20, times=50),
        Response(500, "x" * 2**20, times=50),
        Response(200, gzip.compress(b"x" * 2**24, 1), {"Content-Encoding": "gzip"}),
        Response(200, b"no gzip", {"Content-Encoding": "gzip"}),
        Response(200, "[" * 100_000),
    ],
)
def test_what_may_pass_is_asked_again(fault: Response, store: ImageStore) -> None:
    reply, server = ask_one(store, lambda body, number: completion("yes") if number == 3 else fault, timeout=0.5)
    assert reply.answers == ("yes",)
    assert len(server.bodies) == 3


@pytest.mark.parametrize("date", [False, True])
def test_servers_say_how_long_to_wait(date: bool, store: ImageStore) -> None:
    times = []

    def respond(body: dict, number: int) -> Response:
        times.append(time.time())
        # A date has whole seconds: this one is between 2 and 3 seconds away.
        wait = formatdate(int(time.time()) + 3, usegmt=True) if date else "2"
        return completion("yes") if number == 2 else Response(429, OVERLOADED, {"Retry-After": wait})

    ask_one(store, respond)
    assert times[1] - times[0] > 1.9  # by itself the client waits half a second


@pytest.mark.parametrize("fault", [Response(500, OVERLOADED), Response(200, "no")])
def test_requests_are_repeated_a_bounded_number_of_times(fault: Response, store: ImageStore) -> None:
    reply, server = ask_one(store, lambda body, number: fault, max_retries=2)
    assert len(server.bodies) == 3
    assert reply.problem.startswith("0.png: ")


def test_servers_that_ignore_n(store: ImageStore) -> None:
    def usage(tokens: int) -> dict:
        return {"usage": {"total_tokens": tokens}}

    one, server = ask_one(store, lambda body, number: completion(str(number), **usage(10)), num_samples=3)
    assert one == Reply("0.png", ("1", "2", "3"), tokens=30)
    assert [body["n"] for body in server.bodies] == [3, 2, 1]
    many, server = ask_one(store, lambda body, number: completion(*"abcde", **usage(7)), num_samples=3)
    assert many == Reply("0.png", ("a", "b", "c"), tokens=7)
    assert len(server.bodies) == 1


def test_servers_that_refuse_n(store: ImageStore) -> None:
    def respond(body: dict, number: int) -> tuple:
        if body["n"] > 1:
            return 400, {"error": {"message": "n must be 1", "code": "invalid_value"}}
        return completion(f"answer {number}")

    with serving(respond) as server:
        replies = ask(server, ["0.png", "1.png"], store, num_samples=3)
    assert [reply.answers for reply in replies] == [
        ("answer 2", "answer 3", "answer 4"),
        ("answer 5", "answer 6", "answer 7"),
    ]
    assert [body["n"] for body in server.bodies] == [3, 1, 1, 1, 1, 1, 1]


def test_a_bad_request_stays_one(store: ImageStore) -> None:
    reply, server = ask_one(store, lambda body, number: (400, {"error": {"message": "no such thing"}}), num_samples=3)
    assert "no such thing" in reply.problem
    assert [body["n"] for body in server.bodies] == [3, 1]


def test_refusals_are_answers(store: ImageStore) -> None:
    refused, _ = ask_one(store, lambda body, number: completion(None, ""), num_samples=2)
    assert refused.answers == ("", "")
    said = {"choices": [{"message": {"content": None, "refusal": "I cannot say."}}]}
    assert ask_one(store, lambda body, number: (200, said))[0].answers == ("I cannot say.",)
    filtered = {"error": {"message": "no", "code": "content_filter"}}
    reply, server = ask_one(store, lambda body, number: (400, filtered), num_samples=2)
    assert (reply.answers, reply.problem) == (("", ""), None)
    assert len(server.bodies) == 1


def test_failures_cost_one_photo_and_never_show_the_key(store: ImageStore) -> None:
    def respond(body: dict, number: int) -> tuple:
        return (400, {"error": {"message": f"bad, {KEY}"}}) if number == 2 else completion("yes")

    with serving(respond) as server:
        replies = ask(server, [f"{number}.png" for number in range(5)], store)
    answered = {reply.img_id: reply.answers for reply in replies if not reply.problem}
    assert answered == dict.fromkeys(("0.png", "3.png", "4.png"), ("yes",))
    problems = {reply.img_id: reply.problem for reply in replies if reply.problem}
    assert problems.keys() == {"1.png", "2.png"}
    assert problems["1.png"].startswith("1.png: BadRequestError")
    assert "[key]" in problems["1.png"]
    assert KEY not in problems["1.png"]


@pytest.mark.parametrize("before", [*range(280, 301), 1000])
@pytest.mark.parametrize("status", [200, 400])
def test_a_key_is_masked_before_the_message_is_cut(before: int, status: int, store: ImageStore) -> None:
    key = "q7W-zX9" * 3
    body = {"error": {"message": "." * before + key, "code": "x"}}
    with serving(lambda _, number: (status, body)) as server:
        (reply,) = [*ask_with(key, server, store)]
    assert not any(key[at : at + 3] in reply.problem for at in range(len(key) - 2))
    assert len(reply.problem) < 320


def ask_with(key: str, server: Server, store: ImageStore) -> list[Reply]:
    replies = []
    model = ApiModel("m", key, server.url, num_samples=1, max_retries=0)
    asyncio.run(ask_api(model, ["0.png"], store, replies.append, 1))
    return replies


def test_messages_are_one_line_that_a_terminal_shows(store: ImageStore) -> None:
    reply, _ = ask_one(store, lambda body, number: (400, {"error": {"message": "\x1b[31mbad\nworse\ud800"}}))
    assert reply.problem == "0.png: BadRequestError: Error code: 400 -  [31mbad worse "


def test_answers_that_repeat_the_key_do_not_hold_it(store: ImageStore) -> None:
    parts = [{"type": "text", "text": KEY[:4]}, {"type": "text", "text": KEY[4:]}]
    whole, _ = ask_one(store, lambda body, number: completion(f"It is {KEY}.", parts, "1.5, 2.5"), num_samples=3)
    assert whole.answers == ("It is [key].", "[key]", "1.5, 2.5")
    cut, _ = ask_one(store, lambda body, number: completion(f"It is {KEY[:7]}", finish="length"))
    assert (cut.answers, cut.cut) == (("It is [key]",), (0,))


def test_the_address_may_have_user_and_password(store: ImageStore) -> None:
    def respond(body: dict, number: int) -> tuple:
        said = f"{server.authorizations[0]} of user:pass-word is wrong"
        return completion(said) if number == 2 else (400, {"error": {"message": said}})

    with serving(respond) as server:
        url = server.url.replace("//", "//user:pass-word@")
        replies = []
        asyncio.run(ask_api(ApiModel("m", KEY, url, num_samples=1), ["0.png", "1.png"], store, replies.append, 1))
    assert server.authorizations[0] == "Basic " + base64.b64encode(b"user:pass-word").decode()
    assert replies[0].problem.endswith("Basic [key] of user:[key] is wrong")
    assert replies[1].answers == ("Basic [key] of user:[key] is wrong",)


@pytest.mark.parametrize("url", ["ftp://me:pass/word@host", "http://me:pass/word@host", "//me:pass@word@host"])
def test_a_bad_address_is_shown_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"//\[key\]@host' is no address such as") as raised:
        ApiModel("m", KEY, url)
    assert "pass" not in str(raised.value)


def test_answers_that_the_token_limit_cut_off_are_known(store: ImageStore) -> None:
    def respond(body: dict, number: int) -> Response:
        return completion(None, "1.5, 2.", finish="length") if number == 1 else completion("1.5, 2.5")

    reply, _ = ask_one(store, respond, num_samples=3)
    assert (reply.answers, reply.cut) == (("", "1.5, 2.", "1.5, 2.5"), (0, 1))


@pytest.mark.parametrize(("status", "code"), [(401, None), (403, None), (404, None), (429, "insufficient_quota")])
def test_a_refused_key_or_model_stops_the_run(status: int, code: str | None, store: ImageStore) -> None:
    def respond(body: dict, number: int) -> tuple:
        return status, {"error": {"message": f"wrong key {KEY}", "code": code}}

    with serving(respond) as server, pytest.raises(RuntimeError, match=r"wrong key \[key\]"):
        ask(server, ["0.png"] * 50, store, workers=2, max_retries=0)
    assert len(server.bodies) <= 4


def test_a_server_that_only_fails_stops_the_run(store: ImageStore) -> None:
    def respond(body: dict, number: int) -> tuple:
        return completion("yes") if number == 15 else (400, OVERLOADED)

    with serving(respond) as server, pytest.raises(RuntimeError, match="20 requests in a row failed"):
        ask(server, ["0.png", "2.png"] * 500, store, workers=2)
    assert 35 <= len(server.bodies) <= 37


def test_what_keeps_the_replies_may_fail(store: ImageStore) -> None:
    def full(reply: Reply) -> None:
        raise OSError("disk full")

    with serving(lambda body, number: completion("yes")) as server:
        model = ApiModel("m", KEY, server.url, num_samples=1)
        with pytest.raises(OSError, match="disk full"):
            asyncio.run(ask_api(model, ["0.png"] * 9, store, full, 2))
        assert len(server.bodies) <= 4


def test_the_key_may_stand_in_the_environment(monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match="no API key: set OPENAI_API_KEY"):
        ApiModel("m")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert ApiModel("m").server.client.api_key == KEY
