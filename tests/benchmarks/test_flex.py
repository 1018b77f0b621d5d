"""Block masks against SDPA, in the same model. Nothing is compiled here: that would take a C++ compiler."""

import pytest
import torch

from benchmarks import naive
from benchmarks.flex import FlexRanker
from benchmarks.inputs import encode, synthetic_inputs
from benchmarks.models import load_ranker, with_language_head
from utils.model.sharing import SHARINGS


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("layout", ["published", "negatives_first"])
def test_block_masks_and_the_published_side(tmp_path, layout):
    settings = {"dtype": torch.float32, "device": "cpu"}
    stock, flex = (load_ranker("tiny", layout, attention=name, **settings) for name in ("sdpa", "flex_attention"))
    assert isinstance(flex, FlexRanker)
    flex.score.load_state_dict(stock.score.state_dict())
    sizes = {"photo": (90, 60), "candidate_photo": (60, 60)}
    inputs = synthetic_inputs(tmp_path, stock.packer.tokenizer, count=2, candidates=2, generated=1, **sizes)
    queries, images = encode(inputs, stock.packer)
    batch = stock.packer.pack(queries, images)
    (prompts,) = naive.batches(flex, inputs[0][0], *inputs[1:])
    with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
        expected = stock(batch)
        for sharing in SHARINGS:
            torch.testing.assert_close(flex(batch, sharing), expected, atol=1e-5, rtol=1e-4)
        published = naive.rewards(with_language_head(flex), flex, prompts)
    torch.testing.assert_close(published, expected[:3], atol=1e-5, rtol=1e-4)
