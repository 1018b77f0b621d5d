"""How many bits a weight of the language model's linear layers takes, by name; ``quantized.py`` loads them so.

    8bit  LLM.int8: whole numbers with a scale a row; of activations, too, but for outlying columns (arXiv 2208.07339)
    4bit  NF4: 16 quantiles of a normal distribution, with a scale for every 64 weights (QLoRA, arXiv 2305.14314)

Neither is exact: rewards and guesses are others than with the weights as they are (docs/memory.md has how far).
"""

from typing import Literal

Quantization = Literal["8bit", "4bit"]
QUANTIZATIONS: tuple[Quantization, ...] = ("8bit", "4bit")
