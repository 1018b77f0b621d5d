"""Ctrl-C, which reaches every process of a script at any moment: the script alone answers it, and none is lost."""

import os
import signal
import sys
import threading
import time
from _thread import start_new_thread
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

INTERRUPTED = 130  # the exit code of what Ctrl-C stopped


@contextmanager
def none_lost() -> Iterator[None]:
    """Raise Ctrl-C in the block once more where Python drops it, as it does in ``__del__`` and around a fork."""
    show = sys.unraisablehook

    def again(dropped: "sys.UnraisableHookArgs") -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            start_new_thread(_interrupt, ())
        else:
            show(dropped)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = show


def _interrupt() -> None:
    time.sleep(0.001)  # by then it no longer falls into what dropped it
    # A signal to the thread that answers it: one that is only noted would not end a system call.
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def _leave_it_to_the_script() -> None:
    """In a forked process, such as a worker of a DataLoader, which the script ends: say nothing of Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = _unless_the_script_left


def _in_one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an exception; of Ctrl-C, one line, and end with the exit code that shells know it by."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    print("stopped", file=sys.stderr)
    raise SystemExit(INTERRUPTED)


def _unless_the_script_left(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an exception, but not that the script no longer takes what this worker has for it."""
    if not issubclass(kind, (ConnectionError, EOFError)):
        sys.__excepthook__(kind, error, trace)


# While a script is imported, before ``run_command`` answers, and after it.
sys.excepthook = _in_one_line
os.register_at_fork(after_in_child=_leave_it_to_the_script)
