import os
import signal
import threading

import pytest

from utils.jobs.signals import ctrl_c_held


def test_ctrl_c_waits_for_the_end_of_the_block():
    done = []

    def work():
        with ctrl_c_held():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with ctrl_c_held():
        done.append("and nothing is raised without one")


def test_an_error_of_the_block_is_its_own():
    with pytest.raises(ValueError, match="own"), ctrl_c_held():
        raise ValueError("own")


def test_other_threads_are_left_alone():
    done = []

    def work():
        with ctrl_c_held():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
