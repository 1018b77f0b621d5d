"""How scripts speak: results to standard output; progress, notes and problems to standard error, through one logger.

The library says what it has to say to ``logging.getLogger(__name__)``: notes at level INFO, what a user should know of
at level WARNING. Nothing is printed until a script sets this up.
"""

import logging
import os
import sys

from tqdm import tqdm

# `scripts` are those at the top of the checkout, however they are run.
OURS = ("utils", "earth", "tools", "benchmarks", "scripts", "__main__")


class _Handler(logging.Handler):
    """A line to standard error, above the progress bars that stand there."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


HANDLER = _Handler()


def set_up_logging(quiet: bool = False) -> None:
    """Show warnings of every package and notes of ours; with ``quiet``, and in all processes but the first, no notes.

    May be called again. What transformers and the hub's client show while they load is hidden with the notes.
    """
    silent = quiet or int(os.environ.get("RANK", 0)) > 0
    root = logging.getLogger()
    if HANDLER not in root.handlers:
        root.addHandler(HANDLER)
    # peft imports bitsandbytes wherever it is installed, which warns of kernels that nobody asked for.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    logging.getLogger("huggingface_hub").propagate = False  # it has a handler of its own, and would say all twice
    for name in OURS:
        logging.getLogger(name).setLevel(logging.WARNING if silent else logging.INFO)
    if silent:  # read when transformers is imported, which no script does before its flags are parsed
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
