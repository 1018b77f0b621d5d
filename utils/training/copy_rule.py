"""When two photos of a gallery show the same spot in the same way."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CopyRule:
    """When two photos are near-copies. Cosines differ between encoders: look at some pairs before you trust 0.95."""

    metres: float = 100.0
    cosine: float = 0.95
