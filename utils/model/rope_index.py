"""The position rule of a stock Qwen-VL, apart from its weights."""

from torch import nn
from transformers import PreTrainedModel

from utils.model.packing import RopeIndex


def rope_index(backbone: PreTrainedModel) -> RopeIndex:
    """``backbone.get_rope_index`` without the weights, so that data workers can be sent it.

    The method reads nothing of its model but the configuration.
    """
    shell = type(backbone).__new__(type(backbone))
    nn.Module.__init__(shell)
    shell.config = backbone.config
    return shell.get_rope_index
