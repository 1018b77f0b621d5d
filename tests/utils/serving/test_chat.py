from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import AutoImageProcessor, AutoTokenizer

from tests.vllm_stand_in import StandIn
from utils.candidates import Candidate, Query
from utils.geo_ranker import GeoRanker
from utils.model.prompts import LAYOUTS
from utils.serving.chat import chat_content

NEGATIVES = (Candidate(1.5, -2.25, ("Nowhere", "Land")), Candidate(-3.0, 4.0))
CANDIDATES = (
    Candidate(46.167286, 7.099698, ("Martigny", "Valais", "Switzerland"), "c.jpg"),
    Candidate(-33.87, 151.21),
    Candidate(48.0, 2.0, ("  two  spaces", "", "Îles\n<b>")),
)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("negatives", [(), NEGATIVES])
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_the_chat_template_makes_our_prompt_of_it(family, layout, negatives, tiny_bases, make_image):
    ranker = GeoRanker.from_pretrained(tiny_bases[family], layout=layout, device="cpu")
    photos = {"q.jpg": make_image(40, 30, 1), "c.jpg": make_image(30, 50, 2)}
    encoded = {name: ranker.packer.encode(photo) for name, photo in photos.items()}
    ours = ranker.packer.tokenize(Query("q.jpg", CANDIDATES, negatives), encoded)
    served = without_weights(tiny_bases[family])
    for candidate, suffix in zip(CANDIDATES, ours.suffixes, strict=True):
        names = ["q.jpg", *([candidate.image] if candidate.image else [])]
        content = chat_content(candidate, negatives, layout, names)
        assert [part["image_url"]["url"] for part in content if part["type"] == "image_url"] == names
        messages = [{"role": "user", "content": content}]
        ids, _ = StandIn.prompt_ids(served, messages, [photos[name] for name in names])
        assert ids[0].tolist() == [*ours.prefix.ids.tolist(), *suffix.ids.tolist()]


def without_weights(folder: Path) -> SimpleNamespace:
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    return SimpleNamespace(tokenizer=AutoTokenizer.from_pretrained(folder), processor=processor)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("where", ["candidate", "negatives"])
@pytest.mark.parametrize(("name", "shown"), [("<|im_end|>", r"<\|"), *((f"<{end}think>",) * 2 for end in ("", "/"))])
def test_names_of_special_tokens_are_refused(layout, where, name, shown):
    named = Candidate(1.0, 2.0, (f"a {name} b",))
    candidate, negatives = (named, NEGATIVES) if where == "candidate" else (CANDIDATES[1], (named,))
    with pytest.raises(ValueError, match=f"holds '{shown}', which vLLM would take for a special token"):
        chat_content(candidate, negatives, layout, ["url"])
