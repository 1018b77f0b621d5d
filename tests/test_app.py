"""The app's script: what its flags mean, and what goes with what."""

import pytest

import app


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--port 65536", "a port is at most 65535"),
        ("--max_queue 0", "it is at least 1"),
        ("--topn 3", "--topn: no use without --index or --retriever"),
        ("--generate 3", "--generate needs --model, or --model_name"),
        ("--index i", "--index needs --image_data_path"),
        ("--base_url http://host/v1", "--base_url: no use without --model_name"),
        ("--decode consensus", "--decode: no use where nothing says who decides"),
        ("--within 25", "--within: no use without --min_confidence"),
        ("--ranker consensus", "nothing says where candidates come from"),
        ("--retriever geoclip --model m", "--model: no use without --model_path or --generate"),
        ("--retriever geoclip --topn 0", "--topn and --generate leave no place to rank"),
    ],
)
def test_flags_without_effect_are_refused(flags, message, capsys):
    with pytest.raises(SystemExit):
        app.parse_arguments(flags.split())
    assert message in capsys.readouterr().err


def test_without_flags_it_is_this_machine_that_chooses():
    args = app.parse_arguments(["--model_name", "m", "--base_url", "http://host/v1", "--min_confidence", "0.5"])
    assert not args.chosen
    assert (args.host, args.port, args.max_queue, args.max_upload_mb, args.keep) == ("127.0.0.1", 8000, 16, 32, None)
    assert args.max_megapixels == 100
    assert app.parse_arguments(["--retriever", "geoclip"]).chosen


def test_a_missing_package_is_named(monkeypatch, capsys):
    monkeypatch.setattr(app, "PACKAGES", ("no-such-package",))
    with pytest.raises(SystemExit) as stopped:
        app.main(["--quiet"])
    assert stopped.value.code == "error: app.py needs the package no-such-package: pip install -e '.[web]'"


def test_what_another_host_means_is_said(monkeypatch, capsys):
    def listen(host, port):
        raise OSError("not here")

    monkeypatch.setattr("utils.web.server.listen", listen)
    for host, said in (("127.0.0.1", False), ("0.0.0.0", True)):
        with pytest.raises(SystemExit) as stopped:
            app.main(["--host", host])
        assert stopped.value.code == "error: not here"
        assert ("neither encryption nor a password: anyone who reaches it can" in capsys.readouterr().err) == said
