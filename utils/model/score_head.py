"""The head of a GeoRanker: the last hidden state of a prompt in, its reward out."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class ScoreHead(nn.Linear):
    """A linear map (..., hidden) -> (..., 1) without bias that computes in float32, whatever its weight is stored in.

    Rewards of near places differ by less than the 8 significant bits of bfloat16 can tell. The cast stands in
    ``forward`` because others cast the weight (DeepSpeed, ``.to()``) or have it whole only there (ZeRO-3).
    """

    def __init__(self, hidden: int, device: torch.device | None = None) -> None:
        super().__init__(hidden, 1, bias=False, dtype=torch.float32, device=device)

    def forward(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return functional.linear(hidden.float(), self.weight.float())
