"""The last decoder layer, computed only where its output is needed.

A ranker needs one token a candidate. In the last layer all other tokens need their keys and values, which that one
attends to, and nothing else of what they cost there: no query or gate, no output projection, no feed-forward network.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import BoolTensor, Tensor, nn
from transformers import PreTrainedModel

# Of full and of linear attention, and behind both.
NARROWED = ("self_attn.q_proj", "self_attn.o_proj", "linear_attn.in_proj_z", "linear_attn.out_proj", "mlp")


@contextmanager
def last_layer_only_at(language_model: PreTrainedModel, needed: BoolTensor) -> Iterator[None]:
    """Calls of the language model within have a right last hidden state where ``needed`` (rows, length) is true.

    Elsewhere it means nothing, but the cache is whole. Gradients flow as ever. Raises ``ValueError`` where gradient
    checkpointing would compute the last layer again in the backward pass, when this is over.
    """
    layer = language_model.layers[-1]
    if layer.training and layer.gradient_checkpointing:
        raise ValueError("the last layer is checkpointed: see GeoRanker.enable_gradient_checkpointing")
    index = needed.nonzero(as_tuple=True)

    def narrow(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        return inputs[0][index]  # (rows, length, width) -> (tokens needed, width)

    def widen(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return output.new_zeros(*needed.shape, output.shape[-1]).index_put(index, output)

    hooks = []
    for module in [module for name, module in layer.named_modules() if name in NARROWED]:
        hooks += [module.register_forward_pre_hook(narrow), module.register_forward_hook(widen)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
