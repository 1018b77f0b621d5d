"""Two exact ways in which the candidates of a query share the prefix of their prompts, by name.

    prefix_cache  one call on the prefixes, their cache given to every suffix, one or two on the suffixes
    packed_row    one call on rows [prefix][suffix 1]...[suffix K], a mask keeping the suffixes apart; costs the
                  square of the row, but works with gradient checkpointing; not for recurrent layers (``recurrence.py``)

Both give the same rewards; ``last_hidden.py`` computes them.
"""

from typing import Literal

Sharing = Literal["prefix_cache", "packed_row"]
SHARINGS: tuple[Sharing, ...] = ("prefix_cache", "packed_row")
