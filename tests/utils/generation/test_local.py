from collections import Counter
from pathlib import Path

import pytest
import torch
from scipy.stats import chisquare
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    CLIPImageProcessorPil,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaProcessor,
)

from tests.tiny_models import FAMILIES, build_tiny_tokenizer, save_adapter
from utils.candidates import Candidate, Query
from utils.generation.journal import Reply
from utils.generation.local import LocalModel, SeededSampling, answer_generator, ask_local, load_encoder
from utils.geo_ranker import GeoRanker
from utils.model.adapter import add_lora
from utils.model.adapter_info import AdapterInfo
from utils.model.prompts import GENERATION_PROMPT, ChatFrame
from utils.photos.store import ImageStore


@pytest.fixture
def store(tmp_path: Path, make_image) -> ImageStore:
    """Photos 0.png .. 4.png of different sizes; 2.png is no image."""
    for number in range(5):
        make_image(16 + 8 * number, 24, number).save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"no image")
    return ImageStore.from_paths([tmp_path])


@pytest.fixture(scope="module", params=FAMILIES)
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
    replies = model.replies(photos, num_samples=2, max_tokens=6)
    for image, reply in zip(photos.values(), replies, strict=True):
        assert reply.answers[0] == stock_greedy(base, image, 6)


@pytest.fixture(scope="module", params=["llava", "llava_next"])
def other_family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that is no Qwen-VL, with its processor. LLaVA-NeXT needs more tokens for larger photos."""
    tokenizer = build_tiny_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.replace("<|vision_start|><|image_pad|><|vision_end|>", "<image>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]}, replace_extra_special_tokens=False)
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.2}
    text = {"model_type": "qwen2", "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, **layers}
    text |= {"num_key_value_heads": 1, "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>")}
    vision = {"model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 24, "image_size": 16}
    vision |= {"patch_size": 8, **layers}
    settings = {"image_token_id": tokenizer.convert_tokens_to_ids("<image>"), "vision_feature_layer": -1}
    pixels = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    if request.param == "llava":
        model_class, config_class, processor_class = LlavaForConditionalGeneration, LlavaConfig, LlavaProcessor
        image_processor = CLIPImageProcessorPil(**pixels)
    else:
        model_class, config_class = LlavaNextForConditionalGeneration, LlavaNextConfig
        processor_class = LlavaNextProcessor
        settings["image_grid_pinpoints"] = [[16, 32], [32, 16], [32, 32]]
        image_processor = LlavaNextImageProcessorPil(**pixels, image_grid_pinpoints=settings["image_grid_pinpoints"])
    folder = tmp_path_factory.mktemp(request.param)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = config_class(text_config=text, vision_config=vision, **settings)
        model_class(config).save_pretrained(folder)
    processor_class(
        image_processor,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=tokenizer.chat_template,
        image_token="<image>",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return folder


def test_models_that_are_no_qwen(other_family: Path, make_image) -> None:
    photos = {"a": make_image(16, 40, 0), "b": make_image(40, 24, 1), "c": make_image(60, 60, 2)}
    model = LocalModel.from_pretrained(other_family)
    replies = model.replies(photos, num_samples=3, max_tokens=6)
    stock = AutoModelForImageTextToText.from_pretrained(other_family).eval()
    processor = AutoProcessor.from_pretrained(other_family)
    head, tail = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<image>",
        "<|im_end|>\n<|im_start|>assistant\n",
    )
    for (name, image), given in zip(photos.items(), replies, strict=True):
        inputs = processor(text=head + GENERATION_PROMPT + tail, images=image, return_tensors="pt")
        output = stock.generate(**inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert given.answers[0] == processor.tokenizer.decode(output, skip_special_tokens=True)
        assert model.replies({name: image}, num_samples=3, max_tokens=6) == [given]
        assert len(set(model.replies({name: image}, num_samples=6, max_tokens=6)[0].answers)) > 1


def test_answers_do_not_depend_on_company(local: tuple[LocalModel, Path], make_image) -> None:
    model, _ = local
    photos = {"a": make_image(16, 24, 0), "b": make_image(40, 24, 1), "c": make_image(24, 24, 2)}
    together = model.replies(photos, num_samples=3, max_tokens=6)
    for (name, image), reply in zip(photos.items(), together, strict=True):
        assert model.replies({name: image}, num_samples=3, max_tokens=6) == [reply]
        assert model.replies({name: image}, num_samples=5, max_tokens=6)[0].answers[:3] == reply.answers
        assert len(set(model.replies({name: image}, num_samples=6, max_tokens=6)[0].answers)) > 1
        other = model.replies({name: image}, num_samples=3, max_tokens=6, seed=1)[0]
        assert other.answers[0] == reply.answers[0]
        assert other.answers[1:] != reply.answers[1:]


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

        def replies(self, photos: dict) -> list[Reply]:
            sizes.append(len(photos))
            if len(photos) > 1:
                raise torch.OutOfMemoryError("no room")
            return [Reply(name, (name,)) for name in photos]

    names = [f"{number}.png" for number in range(5)]
    replies = list(ask_local(Small(), names, store, 4))
    assert [reply.img_id for reply in replies] == names
    assert [reply.answers for reply in replies if not reply.problem] == [(n,) for n in names if n != "2.png"]
    assert sizes == [3, 2, 1, 1, 1, 1]

    class Full:
        def replies(self, photos: dict) -> list[Reply]:
            raise torch.OutOfMemoryError("no room")

    problems = {reply.img_id: reply.problem for reply in ask_local(Full(), names, store, 4)}
    assert list(problems) == names
    assert problems["0.png"] == "0.png: does not fit into memory"
    assert all(problems.values())


def test_answers_without_an_end_are_cut_off(local: tuple[LocalModel, Path], make_image) -> None:
    model, base = local
    photos = {"a": make_image(16, 24, 0), "b": make_image(40, 24, 1)}
    end = AutoTokenizer.from_pretrained(base).convert_tokens_to_ids("<|im_end|>")

    def cut(max_tokens: int) -> set[tuple[str, int]]:
        replies = model.replies(photos, num_samples=20, max_tokens=max_tokens)
        return {(reply.img_id, number) for reply in replies for number in reply.cut}

    with torch.inference_mode():  # a head that likes the end: answers of a token or two
        head = model.model.get_output_embeddings()
        forward = head.forward
        head.forward = lambda hidden: forward(hidden).index_add(
            -1, torch.tensor([end]), torch.full((*hidden.shape[:-1], 1), 5.0)
        )
    try:
        assert {(name, number) for name in photos for number in range(20)} >= cut(1) > cut(3) >= cut(40) == set()
    finally:
        head.forward = forward


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("quantize", [None, "8bit", "4bit"])
def test_one_load_ranks_and_guesses(tiny_bases, make_image, tmp_path, family, quantize) -> None:
    """As a ranker and a model of their own do, in any order, though the LoRA changes what the model would say."""
    base, adapter = tiny_bases[family], tmp_path / "adapter"
    torch.manual_seed(0)
    adapted = add_lora(GeoRanker.from_pretrained(base, device="cpu"), r=4)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    save_adapter(adapted, adapter, AdapterInfo(str(base)))
    photos = {"a": make_image(16, 24, 0), "b": make_image(40, 24, 1)}
    candidates = [Candidate(46.1, 7.1, ("Martigny",)), Candidate(-33.9, 151.2)]

    def ranked(ranker: GeoRanker) -> list[torch.Tensor]:
        encoded = {name: ranker.packer.encode(photo) for name, photo in photos.items()}
        return ranker.score_queries([Query(name, tuple(candidates)) for name in photos], encoded)

    asked = {"num_samples": 3, "max_tokens": 6}
    rewards = ranked(GeoRanker.from_pretrained(base, adapter, device="cpu", quantize=quantize))
    answers = LocalModel.from_pretrained(base, quantize=quantize).replies(photos, **asked)

    ranker = GeoRanker.from_pretrained(base, adapter, device="cpu", quantize=quantize, generate=True)
    assert ranker.stock.base_model is ranker.backbone
    assert not any("lm_head" in name for name in ranker.state_dict())
    model = LocalModel(ranker.stock, load_encoder(base, ranker.stock), ranker.without_adapter)
    for _ in range(2):
        for found, own in zip(ranked(ranker), rewards, strict=True):
            torch.testing.assert_close(found, own, atol=1e-5, rtol=1e-5)
        assert model.replies(photos, **asked) == answers
    assert LocalModel(ranker.stock, model.encode).replies(photos, **asked) != answers


def test_a_model_that_ranks_and_guesses_is_not_merged(tiny_base: Path) -> None:
    with pytest.raises(ValueError, match=r"^merge: an adapter stays beside weights .* guess places, too"):
        GeoRanker.from_pretrained(tiny_base, device="cpu", merge=True, generate=True)
