from argparse import ArgumentParser, Namespace

import pytest

from utils.cli.flags import (
    add_candidate_choice,
    add_device,
    add_gallery_photos,
    add_quantize,
    add_vision_attention,
    add_workers,
    at_least,
    attention,
    check_quantize,
    check_vision_attention,
    choose_base,
    positive,
    script_parser,
    set_default_paths,
)
from utils.data_paths import BENCHMARKS
from utils.model.adapter_info import AdapterInfo


def parse(kind, text: str):
    """What a flag of this type makes of ``text``."""
    parser = ArgumentParser()
    parser.add_argument("--flag", type=kind)
    return parser.parse_args([f"--flag={text}"]).flag


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (at_least(1), "1", 1),
        (at_least(1), "2", 2),
        (at_least(-3), "-3", -3),
        (at_least(0, most=2**64 - 1), "18446744073709551615", 2**64 - 1),
        (at_least(0, float), "0", 0.0),
        (at_least(0.5, float), "0.5", 0.5),
        (at_least(0, float), "1e300", 1e300),
        (positive, "1e-300", 1e-300),
        (positive, "2", 2.0),
    ],
)
def test_numbers_in_their_bounds(kind, text, value):
    found = parse(kind, text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (at_least(1), "0", "0: it is at least 1"),
        (at_least(1), "-5", "-5: it is at least 1"),
        (at_least(0, most=5), "6", "6: it is at most 5"),
        (at_least(1), "many", "invalid int value: 'many'"),
        (at_least(1), "1.5", "invalid int value: '1.5'"),
        (at_least(1), "nan", "invalid int value: 'nan'"),
        (at_least(1), "", "invalid int value: ''"),
        (at_least(0, float), "-1e-9", "-1e-9: it is at least 0"),
        (at_least(0, float), "nan", "nan: it is at least 0"),
        (at_least(0, float), "inf", "inf: it is at least 0"),
        (at_least(0, float), "-inf", "-inf: it is at least 0"),
        (at_least(0, float), "far", "invalid float value: 'far'"),
        (positive, "0", "0: it must be positive"),
        (positive, "-1", "-1: it must be positive"),
        (positive, "nan", "nan: it must be positive"),
        (positive, "inf", "inf: it must be positive"),
        (positive, "hot", "invalid positive value: 'hot'"),
    ],
)
def test_other_numbers_are_refused(kind, text, message, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(kind, text)
    assert stop.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: argument --flag: {message}\n")


@pytest.mark.parametrize(("module", "name"), [(None, "script.py"), ("tools.some", "python -m tools.some")])
def test_every_script_can_be_quiet(module, name, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/checkout/script.py"])
    parser = script_parser("First line.\n\n    python script.py", module)
    assert parser.format_usage() == f"usage: {name} [-h] [--quiet]\n"
    assert "First line.\n\n    python script.py\n" in parser.format_help(), "commands keep their lines"
    assert [parser.parse_args(flags).quiet for flags in ([], ["--quiet"])] == [False, True]


def test_an_error_is_one_line(capsys):
    parser = script_parser("", "tools.some")
    parser.add_subparsers(required=True).add_parser("kind").add_argument("--count", type=int)
    for arguments, prog, message in (
        (["kind", "--count", "x"], "tools.some kind", "argument --count: invalid int value: 'x'"),
        (["kind", "--nonsense"], "tools.some", "unrecognized arguments: --nonsense"),
    ):
        with pytest.raises(SystemExit) as stop:
            parser.parse_args(arguments)
        assert stop.value.code == 2
        assert capsys.readouterr().err == f"python -m {prog}: error: {message}\n"


def test_groups_of_flags():
    parser = ArgumentParser()
    add_device(parser.add_argument)
    add_workers(parser.add_argument, default=2)
    add_gallery_photos(parser.add_argument, default="photos.tar")
    add_candidate_choice(parser.add_argument, topn=12, topn_zs=3)
    parser.format_help()  # every default that a help text names is there
    defaults = {"device": None, "num_workers": 2, "image_data_path": "photos.tar", "tar_index_path": None}
    assert vars(parser.parse_args([])) == defaults | {"topn": 12, "topn_zs": 3, "merge_km": 0}
    given = parser.parse_args(["--workers", "0", "--topn", "0", "--topn_zs", "5", "--merge_km", "0.3"])
    assert (given.num_workers, given.topn, given.topn_zs, given.merge_km) == (0, 0, 5, 0.3)
    assert parser.parse_args(["--num_workers", "4"]).num_workers == 4


@pytest.fixture
def adapter(tmp_path):
    AdapterInfo("the/recorded").save(tmp_path / "adapter")
    return str(tmp_path / "adapter")


def test_the_base_is_the_one_given_then_the_adapters_then_the_default(adapter, tmp_path, capsys):
    def chosen(model: str | None, model_path: str | None) -> str:
        args = Namespace(model=model, model_path=model_path)
        choose_base(args, ArgumentParser(), "the/default")
        assert args.model_path == model_path
        return args.model

    assert chosen("the/given", adapter) == "the/given"
    assert chosen(None, adapter) == "the/recorded"
    assert chosen(None, str(tmp_path)) == chosen(None, None) == "the/default"
    (tmp_path / "adapter" / "georanker.json").write_text("{")
    assert chosen("the/given", adapter) == "the/given"
    with pytest.raises(SystemExit) as stop:
        chosen(None, adapter)
    assert stop.value.code == 2
    assert f"error: {adapter}/georanker.json: " in capsys.readouterr().err


def test_paths_left_open_are_those_of_benchmark_and_split(adapter):
    def completed(**given: str) -> dict[str, str | None]:
        names = ("candidates", "image_path", "image_data_path", "model", "model_path")
        args = Namespace(**dict.fromkeys(names) | {"dataset": "earth", "split": "val"} | given)
        assert set_default_paths(args, ArgumentParser()) is BENCHMARKS[args.dataset]
        return {name: getattr(args, name) for name in names}

    assert completed(model="m") == {
        "candidates": "dataset/earth/val/candidates.csv",
        "image_path": "dataset/earth/val/images",
        "image_data_path": "dataset/earth/gallery/images.tar",
        "model": "m",
        "model_path": "checkpoints/earth",
    }
    given = {"candidates": "c.csv", "image_path": "p", "image_data_path": "g.tar", "model_path": adapter}
    assert completed(**given) == given | {"model": "the/recorded"}
    assert completed(dataset="im2gps3k", candidates="c.csv") == {
        "candidates": "c.csv",
        "image_path": "dataset/im2gps3k/im2gps3ktest",
        "image_data_path": "dataset/mp16-pro/mp-16-images.tar",
        "model": "Qwen/Qwen2-VL-7B-Instruct",
        "model_path": None,
    }


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", None),
        ("--attn_implementation eager", "eager"),
        ("--vision_attn eager", {"text_config": "sdpa", "vision_config": "eager"}),
        ("--vision_attn sdpa --attn_implementation eager", {"text_config": "eager", "vision_config": "sdpa"}),
        ("--vision_attn flash_attention_2", {"text_config": "sdpa", "vision_config": "flash_attention_2"}),
    ],
)
def test_attention_of_the_vision_tower_alone(flags, expected):
    parser = ArgumentParser()
    parser.add_argument("--attn_implementation")
    add_vision_attention(parser.add_argument)
    args = parser.parse_args(flags.split())
    assert attention(args, "cuda") == expected
    if "flash" in flags:
        with pytest.raises(ValueError, match="flash_attention_2 needs a GPU, not device cpu"):
            attention(args, "cpu")
    else:
        assert attention(args, "cpu") == expected


def test_flash_attention_needs_its_package_and_16_bits(monkeypatch):
    args = Namespace(vision_attn="flash_attention_2", dtype=None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = r"vision_attn flash_attention_2 needs the package flash-attn: pip install .* -e '\.\[flash-attn\]'"
    with pytest.raises(ValueError, match=message):
        check_vision_attention(args)
    check_vision_attention(Namespace(vision_attn="eager", dtype=None))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: {"flash_attn": "there"}.get(name))
    check_vision_attention(args)
    args.dtype = "float32"
    with pytest.raises(ValueError, match="not dtype float32"):
        check_vision_attention(args)


def test_quantising_needs_its_package(monkeypatch, capsys):
    parser = ArgumentParser()
    add_quantize(parser.add_argument)
    assert [parser.parse_args(flags.split()).quantize for flags in ("", "--quantize 8bit", "--quantize 4bit")] == [
        None,
        "8bit",
        "4bit",
    ]
    with pytest.raises(SystemExit):
        parser.parse_args(["--quantize", "2bit"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_quantize(Namespace(quantize=None))
    with pytest.raises(ValueError, match=r"^quantize needs the package bitsandbytes: pip install -e '\.\[quantize\]'$"):
        check_quantize(Namespace(quantize="4bit"))
