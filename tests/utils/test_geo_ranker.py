"""Both ways of sharing a prefix against the naive way: one candidate, one plain forward of the stock model."""

import warnings
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from tests.naive import naive_rewards
from tests.released import saved_as_jpeg, write_base
from tests.tiny_models import FAMILIES, LORA_LAYERS, SHARINGS_OF
from utils.candidates import Candidate, Query
from utils.geo_ranker import GeoRanker
from utils.model import batch as packed_batch
from utils.model.adapter import add_lora
from utils.model.preprocessing import load_image_processor
from utils.model.prompts import LAYOUTS
from utils.model.sharing import SHARINGS
from utils.model.tower import with_features
from utils.photos.store import ImageStore

SIZES = {"tiny.jpg": (8, 9), "wide.jpg": (60, 20), "high.jpg": (15, 41), "square.jpg": (32, 32)}
CLOSE = {"atol": 1e-4, "rtol": 1e-4}

candidates = st.builds(
    Candidate,
    st.floats(-90, 90),
    st.floats(-180, 180),
    st.lists(st.text(max_size=8), max_size=2).map(tuple),
    st.sampled_from([None, *SIZES]),
)
queries = st.builds(
    Query,
    st.sampled_from(list(SIZES)),
    st.lists(candidates, min_size=1, max_size=4).map(tuple),
    st.lists(candidates, max_size=2).map(tuple),
)
groups = st.lists(queries, min_size=1, max_size=3)

ROME = Candidate(41.9, 12.5, ("Rome", "Italy"), "wide.jpg")
SYDNEY = Candidate(-33.87, 151.21, ("Sydney",), "square.jpg")
GUESS = Candidate(46.0, 7.0)
QUERIES = (
    Query("high.jpg", (ROME, GUESS, SYDNEY), (SYDNEY, GUESS)),
    Query("square.jpg", (SYDNEY,)),
    Query("tiny.jpg", (GUESS, replace(ROME, image="tiny.jpg")), (ROME,)),
)


@pytest.fixture(scope="module")
def photos(make_image):
    return {name: make_image(*size) for name, size in SIZES.items()}


@pytest.fixture(scope="module")
def rankers(tiny_bases) -> dict[tuple[str, str], GeoRanker]:
    """By family and layout; the heads are large enough for rewards to differ by much."""
    made = {}
    for family in FAMILIES:
        for layout in LAYOUTS:
            ranker = GeoRanker.from_pretrained(tiny_bases[family], layout=layout, device="cpu")
            torch.manual_seed(1)
            torch.nn.init.normal_(ranker.score.weight)
            made[family, layout] = ranker
    return made


@pytest.fixture(scope="module")
def encoded(rankers, photos):
    packer = rankers["qwen2_vl", "published"].packer  # the families' tiny models share one image processor
    return {name: packer.encode(photo) for name, photo in photos.items()}


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=20)
@given(queries=groups, layout=st.sampled_from(LAYOUTS), call_tokens=st.sampled_from([1, 512]))
def test_both_ways_equal_the_naive_one(rankers, tiny_bases, photos, encoded, family, queries, layout, call_tokens):
    ranker = rankers[family, layout]
    stock = AutoModel.from_pretrained(tiny_bases[family], dtype=torch.float32)
    with torch.no_grad(), patch.object(packed_batch, "CALL_TOKENS", call_tokens):
        expected = naive_rewards(stock, ranker.score, ranker.packer, queries, photos)
        batch = ranker.packer.pack(queries, encoded)
        for sharing in SHARINGS_OF[family]:
            rewards = ranker(batch, sharing)
            assert rewards.dtype == torch.float32
            torch.testing.assert_close(rewards, expected, **CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_part_of_the_prompt_counts(rankers, encoded, family, layout):
    """Otherwise the equality above would say little."""
    ranker = rankers[family, layout]
    query = Query("high.jpg", (ROME,), (SYDNEY, GUESS))
    others = [
        replace(query, image="square.jpg"),
        replace(query, candidates=(replace(ROME, latitude=42.9),)),
        replace(query, candidates=(replace(ROME, texts=("Rome", "Spain")),)),
        replace(query, candidates=(replace(ROME, image="tiny.jpg"),)),
        replace(query, candidates=(replace(ROME, image=None),)),
        replace(query, negatives=(SYDNEY,)),
        replace(query, negatives=(GUESS, SYDNEY)),
    ]
    base, *changed = torch.cat(ranker.score_queries([query, *others], encoded)).tolist()
    assert min(abs(base - reward) for reward in changed) > 1e-2


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=10)
@given(
    queries=groups,
    layout=st.sampled_from(LAYOUTS),
    order=st.randoms(),
    max_tokens=st.sampled_from([1, 300, 900]),
)
def test_rewards_do_not_depend_on_order_company_or_batch(rankers, encoded, family, queries, layout, order, max_tokens):
    ranker = rankers[family, layout]
    alone = [
        [ranker.score_queries([replace(q, candidates=(c,))], encoded)[0].item() for c in q.candidates] for q in queries
    ]
    shuffled = []
    for index in order.sample(range(len(queries)), len(queries)):
        places = order.sample(range(len(queries[index].candidates)), len(queries[index].candidates))
        chosen = tuple(queries[index].candidates[place] for place in places)
        shuffled.append((replace(queries[index], candidates=chosen), [alone[index][place] for place in places]))
    together = ranker.score_queries([query for query, _ in shuffled], encoded, max_tokens)
    for rewards, (_, expected) in zip(together, shuffled, strict=True):
        torch.testing.assert_close(rewards, torch.tensor(expected), **CLOSE)


def test_queries_without_candidates_have_no_rewards(rankers, encoded):
    ranker = rankers["qwen2_vl", "published"]
    assert ranker.score_queries([], encoded) == []
    empty, full = ranker.score_queries([Query("tiny.jpg", ()), QUERIES[1]], encoded)
    assert empty.shape == (0,)
    assert full.shape == (1,)


def trainable_ranker(base, seed: int = 0):
    """A ranker under LoRA, without dropout, that also trains a weight of language model and tower."""
    torch.manual_seed(seed)
    ranker = GeoRanker.from_pretrained(base, device="cpu")
    adapted = add_lora(ranker, r=4)
    for name, parameter in adapted.named_parameters():
        if "score" in name or "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
        parameter.requires_grad_(
            parameter.requires_grad or name.endswith(("layers.0.mlp.up_proj.weight", "visual.blocks.0.attn.qkv.weight"))
        )
    return adapted.eval(), ranker


def gradients(model, rewards: torch.Tensor) -> dict[str, torch.Tensor]:
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    weights = torch.linspace(-1, 2, len(rewards))
    return dict(zip(named, torch.autograd.grad((weights * rewards).sum(), named.values()), strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_equal_the_naive_ones(tiny_bases, photos, encoded, family):
    adapted, ranker = trainable_ranker(tiny_bases[family])
    expected = gradients(adapted, naive_rewards(ranker.backbone, ranker.score, ranker.packer, QUERIES, photos))
    assert len(expected) == 1 + 2 * LORA_LAYERS[family] + 2  # head, LoRA, the two others
    assert min(gradient.abs().max() for gradient in expected.values()) > 1e-3
    batch = ranker.packer.pack(QUERIES, encoded)
    for sharing, call_tokens in (("packed_row", 1), ("prefix_cache", 1), ("prefix_cache", 512)):
        with patch.object(packed_batch, "CALL_TOKENS", call_tokens):
            assert len(batch.suffixes_by_length()) == (2 if call_tokens == 1 else 1)
            if sharing not in SHARINGS_OF[family]:
                continue
            torch.testing.assert_close(gradients(adapted, adapted(batch, sharing=sharing)), expected, **CLOSE)


@pytest.mark.parametrize(("zero3", "calls"), [(False, 3), (True, 2)])
def test_processes_that_share_weights_make_the_same_calls(rankers, encoded, monkeypatch, zero3, calls):
    """Otherwise, with a short suffix in the batch of one process alone, they would wait for each other for ever."""
    monkeypatch.setattr(packed_batch, "CALL_TOKENS", 1)
    monkeypatch.setattr("utils.model.last_hidden.is_deepspeed_zero3_enabled", lambda: zero3)
    ranker, made = rankers["qwen2_vl", "published"], []
    handle = ranker.backbone.language_model.register_forward_pre_hook(lambda *_: made.append(None))
    ranker.score_queries(QUERIES, encoded)
    handle.remove()
    assert len(made) == calls


@pytest.mark.parametrize("family", [family for family in FAMILIES if "packed_row" in SHARINGS_OF[family]])
def test_gradient_checkpointing(tiny_bases, encoded, family):
    adapted, ranker = trainable_ranker(tiny_bases[family])
    batch = ranker.packer.pack(QUERIES, encoded)
    expected = gradients(adapted, adapted(batch))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # renamed in 5.2x; 5.17 has this name only
        ranker.enable_gradient_checkpointing()
    ranker.backbone.language_model.train()  # the layers check it; their dropout is 0
    for module in ranker.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    runs = []
    first, last = ranker.backbone.language_model.layers
    for layer in (first, last):
        layer.mlp.register_forward_pre_hook(lambda module, _: runs.append(module))
    torch.testing.assert_close(gradients(adapted, adapted(batch, sharing="packed_row")), expected, **CLOSE)
    assert runs == [first.mlp, last.mlp, first.mlp]  # forward, and again in the backward pass
    with pytest.raises(ValueError, match="gradient checkpointing keeps no cache"):
        adapted(batch)


def test_recurrent_layers_take_no_packed_rows(rankers, encoded):
    ranker = rankers["qwen3_5", "published"]
    with pytest.raises(ValueError, match=r"^the base model has recurrent layers, .*: use sharing='prefix_cache'$"):
        ranker(ranker.packer.pack(QUERIES, encoded), "packed_row")
    with pytest.raises(ValueError, match=r"^the base model has recurrent layers: train it without gradient checkpoint"):
        ranker.enable_gradient_checkpointing()


def test_an_unknown_way_of_sharing(rankers, encoded):
    ranker = rankers["qwen2_vl", "published"]
    with pytest.raises(ValueError, match="sharing is 'pigeon'"):
        ranker(ranker.packer.pack(QUERIES, encoded), "pigeon")


@pytest.mark.parametrize("family", FAMILIES)
def test_eager_and_sdpa_agree(rankers, tiny_bases, encoded, family):
    sdpa = rankers[family, "published"]
    eager = GeoRanker.from_pretrained(tiny_bases[family], device="cpu", attn_implementation="eager")
    assert eager.backbone.language_model.config._attn_implementation == "eager"
    eager.score.load_state_dict(sdpa.score.state_dict())
    batch = sdpa.packer.pack(QUERIES, encoded)
    with torch.no_grad():
        for sharing in SHARINGS_OF[family]:
            torch.testing.assert_close(eager(batch, sharing), sdpa(batch, sharing), **CLOSE)


def test_attention_of_each_part(tiny_base):
    parts = {"text_config": "eager", "vision_config": "sdpa"}
    backbone = GeoRanker.from_pretrained(tiny_base, device="cpu", attn_implementation=parts).backbone
    assert backbone.language_model.config._attn_implementation == "eager"
    assert backbone.visual.config._attn_implementation == "sdpa"


def test_attention_that_takes_no_mask_is_refused(tiny_base):
    ranker = GeoRanker.from_pretrained(tiny_base, device="cpu")
    ranker.backbone.language_model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match="attention is 'flash_attention_2'"):
        GeoRanker(ranker.backbone, ranker.packer, ranker.info)


@pytest.mark.parametrize("family", FAMILIES)
def test_given_features_stand_for_pixels(rankers, encoded, family):
    ranker = rankers[family, "published"]
    known = dict(zip(encoded, with_features(ranker.backbone, ranker.packer, list(encoded.values())), strict=True))
    levels = 3 if family == "qwen3_vl" else 1
    assert known["wide.jpg"].features.shape == (levels, ranker.packer.image_tokens(encoded["wide.jpg"]), 32)
    assert known["wide.jpg"].pixel_values is None
    pixels, features = (ranker.packer.pack(QUERIES, images) for images in (encoded, known))
    assert features.pixel_values is None
    with torch.no_grad():
        for sharing in SHARINGS_OF[family]:
            torch.testing.assert_close(ranker(features, sharing), ranker(pixels, sharing), **CLOSE)


def test_a_photo_is_encoded_once_and_a_frozen_tower_keeps_no_graph(tiny_base, encoded, monkeypatch):
    adapted, ranker = trainable_ranker(tiny_base)
    calls, stock = [], ranker.backbone.get_image_features

    def counting(pixel_values, image_grid_thw):
        calls.append((len(image_grid_thw), torch.is_grad_enabled()))
        return stock(pixel_values, image_grid_thw)

    monkeypatch.setattr(ranker.backbone, "get_image_features", counting)
    repeated = Query("wide.jpg", (ROME, ROME, replace(ROME, latitude=1.0), SYDNEY))
    batch = ranker.packer.pack([repeated, repeated], encoded)
    assert len(batch.pixel_values) == sum(len(encoded[name].pixel_values) for name in ("wide.jpg", "square.jpg"))
    adapted(batch)
    ranker.backbone.visual.requires_grad_(False)
    adapted(batch)
    assert calls == [(2, True), (2, False)]


def test_bfloat16_rewards_are_float32(tiny_base, rankers, encoded):
    full = rankers["qwen2_vl", "published"]
    half = GeoRanker.from_pretrained(tiny_base, dtype=torch.bfloat16, device="cpu")
    half.score.load_state_dict(full.score.state_dict())
    assert half.backbone.dtype == torch.bfloat16
    with torch.no_grad():
        for sharing in SHARINGS:
            batch = full.packer.pack(QUERIES, encoded)
            rewards, expected = half(batch, sharing), full(batch, sharing)
            assert rewards.dtype == torch.float32
            assert torch.corrcoef(torch.stack([rewards, expected]))[0, 1] > 0.98


@pytest.mark.parametrize("cast", [False, True])
def test_the_head_computes_in_float32_under_16_bit_weights(tiny_base, encoded, cast):
    """As loaded, where its own weight stays float32, and where it was cast with the rest, as DeepSpeed does."""
    ranker = GeoRanker.from_pretrained(tiny_base, dtype=torch.bfloat16, device="cpu")
    if cast:
        ranker.bfloat16()
    batch = ranker.packer.pack(QUERIES, encoded)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rewards, hidden = ranker(batch), ranker.last_hidden(batch)
    assert rewards.dtype == torch.float32
    assert (rewards != rewards.bfloat16().float()).any()
    expected = hidden.double() @ ranker.score.weight[0].double()
    torch.testing.assert_close(rewards, expected.float(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_missing_and_left_over_weights_are_errors_that_name_them(tiny_bases, tmp_path, family):
    base = tmp_path / family
    base.mkdir()
    for path in tiny_bases[family].iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    tensors = load_file(base / "model.safetensors")
    (name,) = (name for name in tensors if name.endswith("layers.1.mlp.up_proj.weight"))
    del tensors[name]
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"missing tensors \['language_model.layers.1.mlp.up_proj.weight'\]"):
        GeoRanker.from_pretrained(base, device="cpu")
    tensors |= {name: torch.zeros(48, 32), "model.visual.ghost.weight": torch.zeros(1)}
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"missing tensors \[\], unexpected tensors \['.*visual.ghost.weight'\]"):
        GeoRanker.from_pretrained(base, device="cpu")
    del tensors["model.visual.ghost.weight"]
    save_file(tensors | {name: torch.zeros(48, 31)}, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"layers.1.mlp.up_proj.weight \[48, 31\] instead of \[48, 32\]'\]"):
        GeoRanker.from_pretrained(base, device="cpu")


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize("shards", [1, 3])
def test_both_key_layouts_of_the_hub_load(rankers, tiny_bases, encoded, tmp_path, family, layout, shards):
    write_base(tiny_bases[family], tmp_path / "base", layout, shards)
    expected = rankers[family, "published"]
    ranker = GeoRanker.from_pretrained(tmp_path / "base", device="cpu")
    ranker.score.load_state_dict(expected.score.state_dict())
    batch = expected.packer.pack(QUERIES, encoded)
    with torch.no_grad():
        assert torch.equal(ranker(batch), expected(batch))


def test_all_weights_come_from_the_checkpoint(tiny_bases, rankers):
    for (family, _), ranker in rankers.items():
        stored = load_file(tiny_bases[family] / "model.safetensors")
        loaded = {name: tensor for name, tensor in ranker.backbone.state_dict().items()}
        assert len(loaded) == len(stored) - 1  # all but lm_head.weight
        assert sorted(t.double().sum().item() for t in loaded.values()) == sorted(
            tensor.double().sum().item() for name, tensor in stored.items() if name != "lm_head.weight"
        )


def test_candidates_are_re_encoded_as_jpeg_and_the_query_is_not(rankers, photos, monkeypatch):
    """Also where a candidate shows the query's own photo, by an id or as the same object."""
    ranker = rankers["qwen2_vl", "published"]
    query = replace(QUERIES[0], candidates=(*QUERIES[0].candidates, replace(SYDNEY, image="high.jpg")))
    seen = {f"query {name}": photo for name, photo in photos.items()}
    seen |= {name: saved_as_jpeg(photo) for name, photo in photos.items()}
    with torch.no_grad():
        shown = replace(query, image="query high.jpg")
        expected = naive_rewards(ranker.backbone, ranker.score, ranker.packer, [shown], seen).tolist()
        plain = naive_rewards(ranker.backbone, ranker.score, ranker.packer, [query], photos).tolist()
    objects = [replace(candidate, image=photos.get(candidate.image)) for candidate in query.candidates]
    monkeypatch.setattr(ranker, "info", replace(ranker.info, candidate_jpeg_quality=75))
    for candidates, images in ((query.candidates, photos), (objects, None)):
        ranked = ranker.rank(photos["high.jpg"], candidates, query.negatives, images=images)
        rewards = {place.candidate.latitude: place.reward for place in ranked if place.candidate is not candidates[3]}
        assert [rewards[candidate.latitude] for candidate in candidates[:3]] == pytest.approx(expected[:3], abs=1e-4)
        (own,) = (place.reward for place in ranked if place.candidate is candidates[3])
        assert own == pytest.approx(expected[3], abs=1e-4)
        assert abs(own - plain[3]) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("limit", [100, 512])  # below the least size of a query's photo, and above
def test_candidates_photos_are_smaller_where_the_adapter_says_so(tiny_bases, photos, family, limit):
    """Also where a candidate shows the query's own photo; the stock processor is given the limit by itself."""
    ranker = GeoRanker.from_pretrained(tiny_bases[family], device="cpu", candidate_max_pixels=limit)
    torch.nn.init.normal_(ranker.score.weight)
    candidates = (*QUERIES[0].candidates, replace(SYDNEY, image="high.jpg"))
    query = replace(QUERIES[0], candidates=candidates)
    smaller = load_image_processor(tiny_bases[family])
    smaller.size = {"shortest_edge": min(128, limit), "longest_edge": limit}
    with torch.no_grad():
        stock = ranker.backbone, ranker.score, ranker.packer, [query], photos
        expected, plain = naive_rewards(*stock, smaller), naive_rewards(*stock)
    objects = tuple(replace(candidate, image=photos.get(candidate.image)) for candidate in candidates)
    (rewards,) = ranker.score_photos([replace(query, image=photos["high.jpg"], candidates=objects)])
    torch.testing.assert_close(rewards, expected, **CLOSE)
    torch.testing.assert_close(expected[1], plain[1], **CLOSE)  # it has no photo
    assert (expected - plain)[[0, 2, 3]].abs().min() > 1e-3
    encoded = {name: ranker.candidate_packer.encode(photo) for name, photo in photos.items()}
    encoded["query photo"] = ranker.packer.encode(photos["high.jpg"])
    for sharing in SHARINGS_OF[family]:
        with torch.no_grad():
            batch = ranker.packer.pack([replace(query, image="query photo")], encoded)
            torch.testing.assert_close(ranker(batch, sharing), expected, **CLOSE)


def test_what_candidates_photos_cannot_be_limited_to(tiny_base):
    for limit, message in ((63, "63: a token takes 8 x 8 = 64 pixels"), (1025, r"1025, more than max_pixels \(1024\)")):
        with pytest.raises(ValueError, match=f"^candidate_max_pixels is {message}"):
            GeoRanker.from_pretrained(tiny_base, device="cpu", candidate_max_pixels=limit)


def test_rank(rankers, photos, encoded, tmp_path, monkeypatch):
    ranker = rankers["qwen2_vl", "published"]
    ranker.info = replace(ranker.info, temperature=2.0)
    for name, photo in photos.items():
        photo.save(tmp_path / name, format="PNG")
    query = QUERIES[0]
    (rewards,) = ranker.score_queries([query], encoded)
    order = rewards.argsort(descending=True).tolist()
    probabilities = (rewards / 2).exp() / (rewards / 2).exp().sum()

    def check(ranked, candidates):
        assert [place.candidate for place in ranked] == [candidates[i] for i in order]
        torch.testing.assert_close(torch.tensor([place.reward for place in ranked]), rewards[order], **CLOSE)
        torch.testing.assert_close(torch.tensor([place.share for place in ranked]), probabilities[order], **CLOSE)

    store = ImageStore.from_paths([tmp_path])
    for images in (store, photos):
        check(ranker.rank(tmp_path / query.image, query.candidates, query.negatives, images=images), query.candidates)
    for location in (lambda name: str(tmp_path / name), photos.__getitem__):
        places = [
            replace(candidate, image=candidate.image and location(candidate.image)) for candidate in query.candidates
        ]
        check(ranker.rank(location(query.image), places, query.negatives), places)
    with pytest.raises(ValueError, match=r"absent\.jpg"):
        ranker.rank(tmp_path / "tiny.jpg", [replace(ROME, image="absent.jpg")], images=store)
    monkeypatch.setattr(ranker, "score_queries", lambda *_: [torch.tensor([1.0, torch.nan])])
    with pytest.raises(ValueError, match="a reward is no number"):
        ranker.rank(tmp_path / "tiny.jpg", [replace(ROME, image=None)] * 2)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_but_the_embedding_is_as_large_as_the_vocabulary(tiny_bases, family):
    """Neither the language model's head nor a copy of the embedding is in memory."""
    ranker = GeoRanker.from_pretrained(tiny_bases[family], dtype=torch.bfloat16, device="cpu")
    embedding = ranker.backbone.get_input_embeddings().weight
    tensors = {**dict(ranker.named_parameters()), **dict(ranker.named_buffers())}
    large = [tensor for tensor in tensors.values() if len(embedding) in tensor.shape]
    assert len(large) == 1
    assert large[0] is embedding
    assert {tensor.dtype for name, tensor in tensors.items() if name.endswith("weight")} == {
        torch.bfloat16,
        torch.float32,
    }
    assert ranker.score.weight.dtype == torch.float32


def test_half_precision_weights_give_float32_rewards_without_a_graph(tiny_base, encoded):
    ranker = GeoRanker.from_pretrained(tiny_base, dtype=torch.bfloat16, device="cpu")
    seen = []
    handle = ranker.backbone.language_model.register_forward_hook(
        lambda module, inputs, output: seen.append(output.last_hidden_state)
    )
    rewards = ranker.score_queries(QUERIES, encoded)
    handle.remove()
    assert {hidden.dtype for hidden in seen} == {torch.bfloat16}
    assert all(hidden.is_inference() for hidden in seen)
    assert {values.dtype for values in rewards} == {torch.float32}


def test_batches_that_do_not_fit_into_memory_are_halved(rankers, encoded, monkeypatch, caplog):
    ranker = rankers["qwen2_vl", "published"]
    expected = ranker.score_queries(QUERIES, encoded)
    forward, most = ranker.forward, 1

    def limited(batch):
        if len(batch.query_index) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(batch)

    monkeypatch.setattr(ranker, "forward", limited)
    found = ranker.score_queries(QUERIES, encoded)
    assert "do not fit into memory" in caplog.text
    for values, others in zip(found, expected, strict=True):
        torch.testing.assert_close(values, others, **CLOSE)
    most = 0
    caplog.clear()
    with pytest.raises(torch.OutOfMemoryError, match="with one candidate"):
        ranker.score_queries(QUERIES, encoded)
    assert "do not fit into memory" in caplog.text


def test_what_does_not_fit_names_the_quantisation_that_would(rankers, encoded, monkeypatch):
    ranker = rankers["qwen2_vl", "published"]

    def full(batch):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(ranker, "forward", full)
    monkeypatch.setattr("utils.model.memory.room", lambda device: 2**30)
    with pytest.raises(MemoryError, match=r"with one candidate does not fit into memory: --quantize 8bit takes about"):
        ranker.score_queries(QUERIES, encoded)
    monkeypatch.setattr("utils.model.memory.room", lambda device: 1000)
    with pytest.raises(MemoryError, match=r"memory: no --quantize makes it fit into the 0\.0 GiB there are$"):
        ranker.score_queries(QUERIES, encoded)
