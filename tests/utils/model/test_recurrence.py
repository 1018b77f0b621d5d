"""Suffixes over a prefix's cache, against the stock language model on whole rows."""

import pytest
import torch
from transformers import AutoConfig, AutoModel, DynamicCache

from tests.tiny_models import FAMILIES
from utils.model.prefix_cache import over_prefixes
from utils.model.recurrence import is_recurrent

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
PREFIX = 70  # longer than the chunks of 64 tokens in which linear attention is computed


@pytest.fixture(scope="module")
def language_model(tiny_bases):
    return AutoModel.from_pretrained(tiny_bases["qwen3_5"], dtype=torch.float32).language_model.eval()


def test_one_family_is_recurrent(tiny_bases):
    found = {family: is_recurrent(AutoConfig.from_pretrained(tiny_bases[family])) for family in FAMILIES}
    assert found == dict.fromkeys(FAMILIES, False) | {"qwen3_5": True}


@pytest.mark.parametrize("length", [1, 2, 9, 80])
def test_suffixes_go_on_from_their_prefixes(language_model, length):
    """Several times from the same ones, which training needs unchanged for the backward pass."""
    torch.manual_seed(0)
    prefixes = torch.randn(2, PREFIX, 32, requires_grad=True)
    suffixes = torch.randn(3, length, 32, requires_grad=True)
    index = torch.tensor([1, 0, 1])
    whole = language_model(inputs_embeds=torch.cat([prefixes[index], suffixes], dim=1), use_cache=False)
    expected = whole.last_hidden_state[:, PREFIX:]
    cache = language_model(inputs_embeds=prefixes, use_cache=True).past_key_values

    def read(chosen: torch.Tensor) -> torch.Tensor:
        over = over_prefixes(cache, index[chosen])
        assert isinstance(over, DynamicCache)
        return language_model(inputs_embeds=suffixes[chosen], past_key_values=over, use_cache=True).last_hidden_state

    found = torch.cat([read(torch.tensor([0, 1])), read(torch.tensor([2]))])
    torch.testing.assert_close(found, expected, **CLOSE)
    weights = torch.randn_like(expected)
    wanted = torch.autograd.grad((weights * expected).sum(), (prefixes, suffixes))
    gradients = torch.autograd.grad((weights * found).sum(), (prefixes, suffixes))
    assert min(gradient.abs().max() for gradient in wanted) > 1e-3
    torch.testing.assert_close(gradients, wanted, atol=1e-4, rtol=1e-4)
