from collections import Counter
from pathlib import Path

import pytest
import torch
from scipy.stats import chisquare
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from utils.generation import LocalModel, SeededSampling, answer_generator, ask_local
from utils.images import ImageStore
from utils.prompts import GENERATION_PROMPT, ChatFrame


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


def test_too_large_a_batch_is_halved(store: ImageStore) -> None:
    sizes = []

    class Small:
        """Has room for one photo."""

        def answers(self, photos: dict) -> list[tuple[str, ...]]:
            sizes.append(len(photos))
            if len(photos) > 1:
                raise torch.OutOfMemoryError("no room")
            return [(name,) for name in photos]

    names = [f"{number}.png" for number in range(5)]
    replies = list(ask_local(Small(), names, store, 4))
    assert [reply.img_id for reply in replies] == names
    assert [reply.answers for reply in replies if not reply.problem] == [(n,) for n in names if n != "2.png"]
    assert sizes == [3, 2, 1, 1, 1, 1]

    class Full:
        def answers(self, photos: dict) -> list[tuple[str, ...]]:
            raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError):
        list(ask_local(Full(), names, store, 4))
