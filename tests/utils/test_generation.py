import base64
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from loopback import completion, serving
from scipy.stats import chisquare
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from utils.generation import (
    ApiModel,
    Journal,
    LocalModel,
    SeededSampling,
    answer_generator,
    ask_api,
    ask_local,
)
from utils.images import ImageStore, open_image
from utils.prompts import GENERATION_PROMPT, ChatFrame

KEY = "sk-secret"


@pytest.fixture
def store(tmp_path: Path, make_image) -> ImageStore:
    """Photos 0.png .. 4.png of different sizes; 2.png is no image."""
    for number in range(5):
        make_image(16 + 8 * number, 24, number).save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"no image")
    return ImageStore.from_paths([tmp_path])


@pytest.fixture(scope="module", params=["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def local(request: pytest.FixtureRequest, tiny_bases) -> tuple[LocalModel, Path]:
    return LocalModel.from_pretrained(tiny_bases[request.param]), tiny_bases[request.param]


def stock_greedy(base: Path, image, max_tokens: int) -> str:
    """One photo through the stock model, token by token and without a cache."""
    model = AutoModelForImageTextToText.from_pretrained(base).eval()
    tokenizer = AutoTokenizer.from_pretrained(base)
    inputs = AutoImageProcessor.from_pretrained(base, backend="pil")(images=image, return_tensors="pt")
    frame = ChatFrame.of(tokenizer)
    count = int(inputs["image_grid_thw"].prod()) // 4
    prompt = frame.head + frame.image.replace("<|image_pad|>", "<|image_pad|>" * count) + GENERATION_PROMPT + frame.tail
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    start = ids.shape[1]
    for _ in range(max_tokens):
        kinds = (ids == tokenizer.convert_tokens_to_ids("<|image_pad|>")).long()
        with torch.no_grad():
            logits = model(input_ids=ids, mm_token_type_ids=kinds, use_cache=False, **inputs).logits
        ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
        if ids[0, -1] == tokenizer.convert_tokens_to_ids("<|im_end|>"):
            break
    return tokenizer.decode(ids[0, start:], skip_special_tokens=True)


def test_first_answer_is_the_stock_models_greedy_one(local: tuple[LocalModel, Path], make_image) -> None:
    model, base = local
    photos = {"a": make_image(16, 24, 0), "b": make_image(40, 24, 1)}
    answers = model.answers(photos, num_samples=2, max_tokens=6)
    for image, (first, _) in zip(photos.values(), answers, strict=True):
        assert first == stock_greedy(base, image, 6)


def test_answers_do_not_depend_on_company(local: tuple[LocalModel, Path], make_image) -> None:
    model, _ = local
    photos = {"a": make_image(16, 24, 0), "b": make_image(40, 24, 1), "c": make_image(24, 24, 2)}
    together = model.answers(photos, num_samples=3, max_tokens=6)
    for (name, image), answers in zip(photos.items(), together, strict=True):
        assert model.answers({name: image}, num_samples=3, max_tokens=6) == [answers]
        assert model.answers({name: image}, num_samples=5, max_tokens=6)[0][:3] == answers
        assert len(set(model.answers({name: image}, num_samples=6, max_tokens=6)[0])) > 1
        other = model.answers({name: image}, num_samples=3, max_tokens=6, seed=1)[0]
        assert other[0] == answers[0]
        assert other[1:] != answers[1:]


@pytest.mark.parametrize("temperature", [0.5, 1.2])
def test_noise_draws_from_the_softmax(temperature: float) -> None:
    scores = torch.randn(6, generator=torch.Generator().manual_seed(0))
    draws = 4000
    rows = scores.expand(draws, -1)
    generators = [answer_generator(0, str(number), 1) for number in range(draws)]
    drawn = SeededSampling(temperature, generators)(None, rows).argmax(1)
    counts = Counter(drawn.tolist())
    expected = (scores.double() / temperature).softmax(0).numpy() * draws
    assert chisquare([counts[token] for token in range(6)], expected).pvalue > 1e-3


def test_rows_without_a_generator_keep_their_scores() -> None:
    scores = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    result = SeededSampling(1.2, [None, answer_generator(0, "a", 1)])(None, scores)
    assert torch.equal(result[0], scores[0])
    assert not torch.equal(result[1], scores[1])


def test_unreadable_photos_are_named(store: ImageStore, tiny_base: Path) -> None:
    model = LocalModel.from_pretrained(tiny_base)
    names = [f"{number}.png" for number in range(5)]
    replies = {reply.img_id: reply for reply in ask_local(model, names, store, 2, num_samples=2, max_tokens=3)}
    assert sorted(replies) == names
    assert replies["2.png"].problem.startswith("2.png in ")
    assert all(len(replies[name].answers) == 2 for name in names if name != "2.png")


def test_what_the_server_is_sent(make_image) -> None:
    image = make_image(20, 30)
    with serving(lambda body, number: completion("one", None, "two")) as server:
        model = ApiModel("some-model", KEY, server.url, num_samples=3, temperature=0.7, max_tokens=50)
        assert model.answers(image) == ("one", "two")
    assert server.authorizations == [f"Bearer {KEY}"]
    (body,) = server.bodies
    (message,) = body.pop("messages")
    assert body == {"model": "some-model", "n": 3, "temperature": 0.7, "max_tokens": 50}
    text, picture = message["content"]
    assert text == {"type": "text", "text": GENERATION_PROMPT}
    assert picture["image_url"]["detail"] == "low"
    data = picture["image_url"]["url"].removeprefix("data:image/jpeg;base64,")
    sent = open_image(base64.b64decode(data))
    assert sent.size == (20, 30)
    assert abs(np.asarray(sent).mean() - np.asarray(image).mean()) < 3


def test_busy_servers_are_asked_again(make_image) -> None:
    def respond(body: dict, number: int) -> tuple[int, dict]:
        return completion("yes") if number == 3 else (503, {"error": {"message": "busy"}})

    with serving(respond) as server:
        assert ApiModel("m", KEY, server.url).answers(make_image(8, 8)) == ("yes",)
    assert len(server.bodies) == 3


def test_failures_cost_one_photo_and_never_show_the_key(store: ImageStore) -> None:
    def respond(body: dict, number: int) -> tuple[int, dict]:
        return (400, {"error": {"message": f"bad, {KEY}"}}) if number == 2 else completion("yes")

    names = [f"{number}.png" for number in range(5)]
    with serving(respond) as server:
        replies = list(ask_api(ApiModel("m", KEY, server.url), names, store, workers=1))
    answered = {reply.img_id: reply.answers for reply in replies if not reply.problem}
    assert answered == dict.fromkeys(("0.png", "3.png", "4.png"), ("yes",))
    problems = {reply.img_id: reply.problem for reply in replies if reply.problem}
    assert problems.keys() == {"1.png", "2.png"}
    assert problems["1.png"].startswith("1.png: BadRequestError")
    assert "[key]" in problems["1.png"]
    assert KEY not in problems["1.png"]


def test_silence_is_a_problem(store: ImageStore) -> None:
    with serving(lambda body, number: completion(None, "")) as server:
        (reply,) = ask_api(ApiModel("m", KEY, server.url), ["0.png"], store)
    assert reply.problem == "0.png: OpenAIError: the server gave no answer"


def test_a_refused_key_stops_the_run(store: ImageStore) -> None:
    def respond(body: dict, number: int) -> tuple[int, dict]:
        return 401, {"error": {"message": f"wrong key {KEY}"}}

    with serving(respond) as server, pytest.raises(RuntimeError, match=r"wrong key \[key\]"):
        list(ask_api(ApiModel("m", KEY, server.url), ["0.png"] * 50, store, workers=2))
    assert len(server.bodies) < 10


def test_journal_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    path, settings = tmp_path / "deep" / "answers.jsonl", {"model": "m", "temperature": 1.2}
    journal = Journal(path, settings)
    journal.add("a", ["x\ny", "\u00e9"])
    journal.add("b", ["z"])
    assert Journal(path, settings).answers == {"a": ["x\ny", "\u00e9"], "b": ["z"]}
    path.write_bytes(path.read_bytes()[:-5])
    torn = Journal(path, settings)
    assert torn.answers == {"a": ["x\ny", "\u00e9"]}
    torn.add("b", ["w"])
    assert Journal(path, settings).answers == {"a": ["x\ny", "\u00e9"], "b": ["w"]}
    path.write_bytes(b'{"mod')
    Journal(path, settings).add("a", ["x"])
    assert Journal(path, settings).answers == {"a": ["x"]}
    with pytest.raises(ValueError, match=r"answers\.jsonl was made with other settings"):
        Journal(path, {"model": "n", "temperature": 1.2})
