"""Against the stock language model, which computes the last layer everywhere."""

import pytest
import torch
from transformers import AutoConfig, AutoModel
from transformers.cache_utils import LinearAttentionLayer

from tests.tiny_models import FAMILIES
from utils.model.last_layer import last_layer_only_at

ROWS, LENGTH = 3, 7
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module", params=[*FAMILIES, "recurrent at last"])
def language_model(request, tiny_bases):
    if request.param in FAMILIES:
        return AutoModel.from_pretrained(tiny_bases[request.param], dtype=torch.float32).language_model.eval()
    config = AutoConfig.from_pretrained(tiny_bases["qwen3_5"]).get_text_config()
    config.layer_types = config.layer_types[::-1]
    torch.manual_seed(0)
    return AutoModel.from_config(config, dtype=torch.float32).eval()


@pytest.fixture
def embeddings(language_model):
    torch.manual_seed(0)
    return torch.randn(ROWS, LENGTH, language_model.config.hidden_size, requires_grad=True)


def kept(layer):
    """What a layer's cache holds."""
    if isinstance(layer, LinearAttentionLayer):
        return layer.recurrent_states[0], layer.conv_states[0]
    return layer.keys, layer.values


@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_what_is_read_the_cache_and_gradients_are_those_of_the_stock_model(language_model, embeddings, share):
    read = torch.rand(ROWS, LENGTH) < share
    stock = language_model(inputs_embeds=embeddings, use_cache=True)
    with last_layer_only_at(language_model, read):
        output = language_model(inputs_embeds=embeddings, use_cache=True)
    torch.testing.assert_close(output.last_hidden_state[read], stock.last_hidden_state[read], **CLOSE)
    for layer, expected in zip(output.past_key_values.layers, stock.past_key_values.layers, strict=True):
        torch.testing.assert_close(kept(layer), kept(expected), **CLOSE)

    def gradient(found):
        weighed = found.last_hidden_state[read].sin().sum() + kept(found.past_key_values.layers[-1])[0].sin().sum()
        return torch.autograd.grad(weighed, embeddings)[0]

    torch.testing.assert_close(gradient(output), gradient(stock), **CLOSE)


def test_only_what_is_read_is_computed(language_model, embeddings):
    read = torch.zeros(ROWS, LENGTH, dtype=torch.bool)
    read[0, 4] = read[2, 1] = True
    first, last = language_model.layers
    computed = []
    handles = [
        layer.mlp.up_proj.register_forward_pre_hook(lambda _, inputs: computed.append(inputs[0]))
        for layer in (first, last)
    ]
    with last_layer_only_at(language_model, read):
        language_model(inputs_embeds=embeddings)
    language_model(inputs_embeds=embeddings)
    for handle in handles:
        handle.remove()
    width = embeddings.shape[-1]
    whole = (ROWS, LENGTH, width)
    assert [tuple(x.shape) for x in computed] == [whole, (2, width), whole, whole]


def test_the_model_is_as_before_after_an_error(language_model, embeddings):
    expected = language_model(inputs_embeds=embeddings).last_hidden_state
    with pytest.raises(RuntimeError), last_layer_only_at(language_model, torch.zeros(1, 1, dtype=torch.bool)):
        language_model(inputs_embeds=embeddings[..., :-1])
    assert torch.equal(language_model(inputs_embeds=embeddings).last_hidden_state, expected)


def test_a_checkpointed_last_layer_is_refused(language_model, monkeypatch):
    last = language_model.layers[-1]
    monkeypatch.setattr(last, "gradient_checkpointing", True)
    monkeypatch.setattr(last, "training", True)
    everything = last_layer_only_at(language_model, torch.ones(ROWS, LENGTH, dtype=torch.bool))
    with pytest.raises(ValueError, match="the last layer is checkpointed"), everything:
        pass
