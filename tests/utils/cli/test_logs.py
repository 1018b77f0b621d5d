import logging
import os
import subprocess
import sys

import pytest

from utils.cli.logs import OURS, set_up_logging

pytestmark = pytest.mark.usefixtures("unset_logging")


def speak(*names: str) -> None:
    """A note and a warning of each of these loggers."""
    for name in names:
        logging.getLogger(name).info("note of %s", name)
        logging.getLogger(name).warning("warning of %s", name)


def test_nothing_is_printed_before_a_script_asks(capsys):
    logging.getLogger("utils.photos.exif").info("note")
    assert capsys.readouterr() == ("", "")


def test_notes_of_ours_and_warnings_of_all_go_to_standard_error(capsys):
    set_up_logging()
    ours = [*OURS, "utils.photos.exif", "earth.lvlm.trainer"]
    speak(*ours, "another", "utilsx")
    output = capsys.readouterr()
    assert output.out == ""
    expected = [line for name in ours for line in (f"note of {name}", f"warning of {name}")]
    assert output.err.splitlines() == [*expected, "warning of another", "warning of utilsx"]


@pytest.mark.parametrize("rank", ["0", "1"])
def test_only_the_first_process_has_notes(rank, monkeypatch, capsys):
    monkeypatch.setenv("RANK", rank)
    set_up_logging()
    speak("utils.jobs")
    notes = ["note of utils.jobs"] if rank == "0" else []
    assert capsys.readouterr().err.splitlines() == [*notes, "warning of utils.jobs"]
    assert ("HF_HUB_DISABLE_PROGRESS_BARS" in os.environ) == (rank != "0")


def test_what_the_hubs_client_says_is_said_once(capfd):
    code = (
        "import logging; from utils.cli.logs import set_up_logging; set_up_logging(); "
        "import huggingface_hub; logging.getLogger('huggingface_hub.utils').warning('retrying')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert capfd.readouterr().err.splitlines() == ["retrying"]


def test_quiet_hides_notes_and_what_others_show_while_they_load(capsys):
    set_up_logging(quiet=True)
    speak("utils.jobs", "scripts", "another")
    assert capsys.readouterr().err.splitlines() == [
        f"warning of {name}" for name in ("utils.jobs", "scripts", "another")
    ]
    assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"


def test_set_up_again_it_prints_once_and_the_last_word_holds(capsys):
    set_up_logging(quiet=True)
    set_up_logging()
    speak("utils.jobs")
    assert capsys.readouterr().err.splitlines() == ["note of utils.jobs", "warning of utils.jobs"]
    set_up_logging(quiet=True)
    speak("utils.jobs")
    assert capsys.readouterr().err.splitlines() == ["warning of utils.jobs"]
