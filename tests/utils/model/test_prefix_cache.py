"""Suffixes over the keys and values of their prefixes, against the stock language model on whole rows."""

import pytest
import torch
from transformers import AutoModel

from utils.model.prefix_cache import over_prefixes

PREFIX, LENGTH = 7, 5


@pytest.mark.parametrize("index", [[0, 0, 0], [1, 0, 1]])
def test_suffixes_see_their_prefixes_which_stay_as_they_are(tiny_bases, index):
    language_model = AutoModel.from_pretrained(tiny_bases["qwen3_vl"], dtype=torch.float32).language_model.eval()
    torch.manual_seed(0)
    index = torch.tensor(index)
    prefixes = torch.randn(1 + int(index.max()), PREFIX, 32, requires_grad=True)
    suffixes = torch.randn(3, LENGTH, 32, requires_grad=True)
    whole = language_model(inputs_embeds=torch.cat([prefixes[index], suffixes], dim=1), use_cache=False)
    expected = whole.last_hidden_state[:, PREFIX:]
    cache = language_model(inputs_embeds=prefixes, use_cache=True).past_key_values
    before = [layer.keys.clone() for layer in cache.layers]
    for _ in range(2):
        found = language_model(inputs_embeds=suffixes, past_key_values=over_prefixes(cache, index), use_cache=True)
        torch.testing.assert_close(found.last_hidden_state, expected, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(layer.keys, keys) for layer, keys in zip(cache.layers, before, strict=True))
    weights = torch.randn_like(expected)
    wanted = torch.autograd.grad((weights * expected).sum(), (prefixes, suffixes))
    gradients = torch.autograd.grad((weights * found.last_hidden_state).sum(), (prefixes, suffixes))
    assert min(gradient.abs().max() for gradient in wanted) > 1e-3
    torch.testing.assert_close(gradients, wanted, atol=1e-4, rtol=1e-4)
