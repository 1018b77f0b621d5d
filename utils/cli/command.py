"""How a script ends: problems cost only themselves and are named, errors stop it in one line."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from utils.data_paths import absence


@contextmanager
def one_line_errors(*errors: type[Exception]) -> Iterator[None]:
    """End the process with a message and exit code 1 where the block raises OSError, ValueError or one of ``errors``.

    Of a missing file it is said how to get it where that is known. Any other exception is a defect and shows its
    traceback.
    """
    try:
        yield
    except FileNotFoundError as error:
        sys.exit("error: " + ("\n".join(absence(error.filename)) if error.filename else str(error)))
    except (OSError, ValueError, *errors) as error:
        sys.exit(f"error: {error}")


def run_command(work: Callable[[], list[str]], *errors: type[Exception]) -> int:
    """Do ``work``, which returns what could not be used, and return the exit code: 1 where there was any.

    Each problem goes to standard error; for errors see ``one_line_errors``.
    """
    with one_line_errors(*errors):
        problems = work()
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    return 1 if problems else 0
