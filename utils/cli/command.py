"""How a script runs and ends: problems cost only themselves and are named, errors stop it in one line."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from utils.cli.interrupts import INTERRUPTED, none_lost
from utils.cli.logs import set_up_logging
from utils.data_paths import absence

logger = logging.getLogger(__name__)

SHOWN = 20  # problems; of a table that is wrong throughout there may be one a row


@contextmanager
def one_line_errors(*errors: type[Exception]) -> Iterator[None]:
    """End the process with a message and exit code 1 where the block raises one of ``errors``, OSError, ValueError, or
    MemoryError.

    Of a missing file it is said how to get it where that is known. Any other exception is a defect and shows its
    traceback.
    """
    try:
        yield
    except FileNotFoundError as error:
        sys.exit("error: " + ("\n".join(absence(error.filename)) if error.filename else str(error)))
    except (OSError, ValueError, MemoryError, *errors) as error:
        sys.exit(f"error: {error}")


def first_of(problems: Sequence[str], where: str = "") -> list[str]:
    """At most ``SHOWN`` problems, and how many more there are; ``where`` says where those stand."""
    more = len(problems) - SHOWN
    return [*problems[:SHOWN], *([f"{more:,} more{where}"] if more > 0 else [])]


def run_command(
    work: Callable[[], list[str]], *errors: type[Exception], quiet: bool = False, stopped: str = "stopped"
) -> int:
    """Do ``work``, which returns what could not be used, and return the exit code.

    It is 1 where anything could not be used: each problem goes to standard error. After Ctrl-C it is 130, and
    ``stopped`` says what that means. For errors see ``one_line_errors``, for ``quiet`` ``set_up_logging``.
    """
    try:
        set_up_logging(quiet)
        with none_lost(), one_line_errors(*errors):
            problems = work()
    except KeyboardInterrupt:
        logger.warning(stopped)
        return INTERRUPTED
    for problem in problems:
        logger.warning("problem: %s", problem)
    return 1 if problems else 0
