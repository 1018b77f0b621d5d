import itertools
import json
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel, Qwen2VLImageProcessorPil

from tests.packed import SIZES, segment
from tests.tiny_models import FAMILIES, SPECIAL_TOKENS
from utils.candidates import Candidate, Query
from utils.geo_ranker import GeoRanker
from utils.model.batch import EncodedImage, TokenizedQuery
from utils.model.packing import Packer, chunks, image_key
from utils.model.prompts import LAYOUTS, PARTS, negative_examples, question

# Place names: letters of many scripts, digits, spaces, line breaks, punctuation, lone combining marks.
texts = st.lists(st.text(max_size=12), max_size=3).map(tuple)
candidates_photos = st.sampled_from([None, *SIZES])
candidates = st.builds(Candidate, st.floats(-90, 90), st.floats(-180, 180), texts, candidates_photos)
queries = st.builds(
    Query,
    st.sampled_from(list(SIZES)),
    st.lists(candidates, min_size=1, max_size=3).map(tuple),
    st.lists(candidates, max_size=3).map(tuple),
)


@pytest.fixture(scope="module")
def packers(tiny_bases) -> dict[str, Packer]:
    return {family: GeoRanker.from_pretrained(base, device="cpu").packer for family, base in tiny_bases.items()}


@pytest.fixture(scope="module")
def packer(packers) -> Packer:
    return packers["qwen2_vl"]


@pytest.fixture(scope="module")
def images(packer, make_image):
    return {name: packer.encode(make_image(*size)) for name, size in SIZES.items()}


def with_layout(packer: Packer, layout: str) -> Packer:
    return Packer(packer.tokenizer, packer.image_processor, packer.rope_index, layout)


def whole_prompt(query: Query, candidate: Candidate, layout: str) -> tuple[list[dict], list[str]]:
    """The user turn of one candidate, part by part, and the photos it shows."""
    text, image = (lambda words: {"type": "text", "text": words}), {"type": "image"}
    negatives = negative_examples(query.negatives)
    own = [text(question(candidate))] + [image] * (candidate.image is not None)
    if layout == "published":
        parts = [image, *own, text(negatives)]
    else:
        parts = [image, text(negatives + "\n" if negatives else ""), *own]
    shown = [query.image] + [candidate.image] * (candidate.image is not None)
    return [{"role": "user", "content": parts}], shown


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(deadline=None, max_examples=60)
@given(query=queries)
def test_prefix_and_suffix_are_the_tokens_of_the_whole_prompt(packer, images, layout, query):
    tokenizer = packer.tokenizer
    tokenized = with_layout(packer, layout).tokenize(query, images)
    assert len(tokenized.suffixes) == len(query.candidates)
    for suffix, candidate in zip(tokenized.suffixes, query.candidates, strict=True):
        turn, shown = whole_prompt(query, candidate, layout)
        whole = tokenizer.apply_chat_template(turn, add_generation_prompt=True, enable_thinking=False)["input_ids"]
        counts = iter(int(images[name].grid_thw.prod()) // 4 for name in shown)
        expected = [token for token in whole for _ in range(next(counts) if token == packer.image_token_id else 1)]
        assert torch.cat([tokenized.prefix.ids, suffix.ids]).tolist() == expected
        assert tokenized.prefix.images + suffix.images == shown


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(deadline=None, max_examples=40)
@given(query=queries, omit=st.sets(st.sampled_from(PARTS)))
def test_parts_left_out_are_in_no_prompt(packer, images, layout, query, omit):
    """Against the prompts of a query that never had them."""

    def bare(place: Candidate) -> Candidate:
        names = () if "texts" in omit else place.texts
        return Candidate(place.latitude, place.longitude, names, None if "images" in omit else place.image)

    negatives = () if "negatives" in omit else tuple(map(bare, query.negatives))
    stripped = Query(query.image, tuple(map(bare, query.candidates)), negatives)
    omitting = Packer(packer.tokenizer, packer.image_processor, packer.rope_index, layout, sorted(omit))
    found = omitting.pack([query], images)
    expected = with_layout(packer, layout).pack([stripped], images)
    for name, tensor in vars(expected).items():
        assert torch.equal(getattr(found, name), tensor) if tensor is not None else getattr(found, name) is None
    if {"texts", "negatives", "images"} <= omit:
        assert len(found.image_grid_thw) == 1


grids = st.tuples(st.just(1), *[st.integers(1, 30).map(lambda tokens: 2 * tokens)] * 2)


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=25)
@given(query=queries, layout=st.sampled_from(LAYOUTS), sizes=st.tuples(*[grids] * len(SIZES)))
def test_positions_are_those_of_the_whole_prompt(packers, tiny_bases, family, query, layout, sizes):
    with torch.device("meta"):
        stock = AutoModel.from_config(AutoConfig.from_pretrained(tiny_bases[family]))
    packer = packers[family]
    images = {name: EncodedImage(torch.tensor(grid)) for name, grid in zip(SIZES, sizes, strict=True)}
    tokenized = with_layout(packer, layout).tokenize(query, images)
    for suffix in tokenized.suffixes:
        ids = torch.cat([tokenized.prefix.ids, suffix.ids])[None]
        grids = torch.stack([images[name].grid_thw for name in tokenized.prefix.images + suffix.images])
        expected, _ = stock.get_rope_index(
            ids, mm_token_type_ids=(ids == packer.image_token_id).int(), image_grid_thw=grids
        )
        found = torch.cat([tokenized.prefix.positions, suffix.positions]).T
        assert torch.equal(found, expected[:, 0])


def test_encode_follows_the_resizing_rule(packer, make_image):
    encoded = packer.encode(make_image(100, 30))  # 3,000 pixels, over the limit of 1,024; multiples of 8 remain
    assert encoded.grid_thw.tolist() == [1, 4, 14]
    assert encoded.pixel_values.shape == (4 * 14, 3 * 2 * 4 * 4)
    assert packer.image_tokens(encoded) == 2 * 7


def test_image_key(make_image):
    photo, copy = make_image(8, 8), make_image(8, 8)
    assert image_key("a.jpg") == "a.jpg"
    assert image_key(photo) == image_key(photo) != image_key(copy)


SPECIAL = st.sampled_from([*SPECIAL_TOKENS, "<|im_end|><|im_start|>", "<|vision_start|><|image_pad|><|vision_end|>"])
special_texts = st.lists(st.one_of(st.text(max_size=6), SPECIAL), min_size=1, max_size=4).map("".join)
special_candidates = st.builds(Candidate, st.just(1.5), st.just(-2.0), st.tuples(special_texts), candidates_photos)


@pytest.fixture(scope="module")
def without_special_tokens(packer) -> Tokenizer:
    """The tokenizer that the same file gives without its special tokens."""
    return Tokenizer.from_str(
        json.dumps(json.loads(packer.tokenizer.backend_tokenizer.to_str()) | {"added_tokens": []})
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(deadline=None, max_examples=20)
@given(candidate=special_candidates, negatives=st.lists(special_candidates, max_size=2).map(tuple))
def test_special_tokens_in_names_stay_text(packer, images, without_special_tokens, layout, candidate, negatives):
    tokenized = with_layout(packer, layout).tokenize(Query("tiny.jpg", (candidate,), negatives), images)
    found = torch.cat([tokenized.prefix.ids, tokenized.suffixes[0].ids]).tolist()

    def text(words):
        return without_special_tokens.encode(words).ids

    def tags(words):
        return packer.tokenizer(words, add_special_tokens=False)["input_ids"]

    start, photo, end = packer.frame.head, packer.frame.image, packer.frame.tail
    shown = [] if candidate.image is None else tags(photo)
    if layout == "published":
        own = question(candidate), negative_examples(negatives)
        expected = text(own[0]) + shown + text(own[1]) if shown else text("".join(own))
    else:
        shared = negative_examples(negatives)
        expected = text(shared + "\n" if shared else "") + text(question(candidate)) + shown
    expected = tags(start + photo) + expected + tags(end)
    # In a batch a photo's placeholder stands once for each of its tokens.
    assert [token for token, _ in itertools.groupby(found)] == [token for token, _ in itertools.groupby(expected)]
    assert found.count(packer.image_token_id) == sum(
        packer.image_tokens(images[name]) for name in ("tiny.jpg", candidate.image) if name
    )


def test_a_missing_photo_is_named(packer, images):
    with pytest.raises(KeyError, match=r"absent\.jpg"):
        packer.pack([Query("tiny.jpg", (Candidate(0, 0, image="absent.jpg"),))], images)


def test_packer_can_be_sent_to_a_worker_process(packer, images):
    data = pickle.dumps(packer)
    assert len(data) < 200_000  # the tokenizer, but no weights
    query = Query("tiny.jpg", (Candidate(1, 2, image="wide.jpg"),))
    here, there = packer.pack([query], images), pickle.loads(data).pack([query], images)
    assert torch.equal(here.suffix_positions, there.suffix_positions)
    assert torch.equal(here.suffix_ids, there.suffix_ids)


def test_collate(hand_made):
    batch = hand_made
    assert batch.prefix_ids.tolist() == [[1, 9, 9], [9, 3, 0]]
    assert batch.prefix_mask.tolist() == [[True, True, True], [True, True, False]]
    assert batch.prefix_positions.tolist() == [
        [[0, 1, 2], [0, 1, 0]],
        [[100, 101, 102], [100, 101, 0]],
        [[200, 201, 202], [200, 201, 0]],
    ]
    assert batch.suffix_ids.tolist() == [[2, 0, 0, 0], [4, 9, 9, 5], [6, 7, 0, 0]]
    assert batch.suffix_mask.sum(1).tolist() == [1, 4, 2]
    assert batch.suffix_positions[0].tolist() == [[3, 0, 0, 0], [2, 3, 4, 5], [2, 3, 0, 0]]
    assert batch.query_index.tolist() == [0, 1, 1]
    assert batch.group_sizes == [1, 2]
    # Photo b comes first, its two rows are 0 and 1; a has row 2. Each is there once, the unused one is not.
    assert batch.pixel_values.flatten().tolist() == [2.0] * 8 + [1.0] * 4
    assert batch.image_grid_thw.tolist() == [[1, 2, 4], [1, 2, 2]]
    assert batch.prefix_image_rows.tolist() == [[-1, 0, 1], [2, -1, -1]]
    assert batch.suffix_image_rows.tolist() == [[-1] * 4, [-1, 0, 1, -1], [-1] * 4]
    assert batch.suffix_last().nonzero().tolist() == [[0, 0], [1, 3], [2, 1]]


@settings(deadline=None, max_examples=200)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 9), st.lists(st.integers(1, 9), max_size=5)), max_size=6),
    max_tokens=st.integers(1, 120),
)
def test_chunks_keep_order_and_bound(lengths, max_tokens):
    queries = [
        TokenizedQuery(segment([1] * prefix), [segment([2] * length) for length in suffixes])
        for prefix, suffixes in lengths
    ]
    cut = list(chunks(iter(queries), max_tokens))

    def pairs(queries):
        return [(id(query.prefix), id(suffix)) for query in queries for suffix in query.suffixes]

    def size(chunk):
        prefix = max(len(query.prefix.ids) for query in chunk)
        suffix = max(len(suffix.ids) for query in chunk for suffix in query.suffixes)
        return len(chunk) * prefix + len(pairs(chunk)) * (prefix + suffix)

    assert pairs(query for chunk in cut for query in chunk) == pairs(queries)
    for chunk in cut:
        assert size(chunk) <= max_tokens or len(pairs(chunk)) == 1
    # A query is split only where it would not fit alone, and then no part could have taken the next candidate.
    whole = {id(query.prefix): query for query in queries}
    for chunk, (following, *_) in itertools.pairwise(cut):
        if following.prefix is chunk[-1].prefix:
            assert len(chunk) == 1
            assert size([whole[id(following.prefix)]]) > max_tokens
            taken = chunk[-1].suffixes + following.suffixes[:1]
            assert size([TokenizedQuery(following.prefix, taken)]) > max_tokens
        else:
            assert size([*chunk, whole[id(following.prefix)]]) > max_tokens


@pytest.mark.parametrize(
    ("size", "tokens"),
    # Sizes of IM2GPS3K photos, of Flickr's exports, and one below the least number of pixels.
    [((448, 336), 192), ((448, 299), 176), ((299, 448), 176), ((500, 375), 234), ((1024, 768), 999), ((20, 20), 4)],
)
def test_image_tokens_with_the_limits_of_the_hub(packer, make_image, size, tokens):
    """round(height / 28) x round(width / 28), as Qwen2-VL's checkpoints on the hub have it."""
    limits = {"shortest_edge": 3_136, "longest_edge": 12_845_056}
    processor = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, size=limits)
    real = Packer(packer.tokenizer, processor, packer.rope_index, "published")
    encoded = real.encode(make_image(*size))
    assert real.image_tokens(encoded) == tokens
    assert encoded.pixel_values.shape == (4 * tokens, 3 * 2 * 14 * 14)
    batch = real.pack([Query("photo", (Candidate(1.0, 2.0, image="photo"), Candidate(3.0, 4.0)))], {"photo": encoded})
    assert int((batch.prefix_ids == real.image_token_id).sum()) == tokens
    assert (batch.suffix_ids == real.image_token_id).sum(1).tolist() == [tokens, 0]
    assert batch.pixel_values.shape == encoded.pixel_values.shape, "one photo, though it is shown twice"
