"""Memory from shapes, against models that were loaded."""

import pytest
import torch
from transformers import AutoModel, AutoModelForImageTextToText

from benchmarks.measure import peak_memory
from tests.tiny_models import FAMILIES
from utils.candidates import Candidate, Query
from utils.geo_ranker import GeoRanker
from utils.model.batch import part
from utils.model.checkpoint import load_checkpoint
from utils.model.memory import DoesNotFit, activation_bytes, on_meta, room, weight_bytes
from utils.model.quantizations import QUANTIZATIONS

CODES = ("SCB", "absmax")  # what belongs to codes beside them and counts


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("quantize", [None, *QUANTIZATIONS])
@pytest.mark.parametrize("model_class", [AutoModel, AutoModelForImageTextToText])
def test_weights_take_what_is_loaded(tiny_bases, family, quantize, model_class):
    model = load_checkpoint(model_class, tiny_bases[family], dtype=torch.bfloat16, quantize=quantize)
    held = {name: tensor.nbytes for name, tensor in model.state_dict().items()}
    own = dict(model.named_parameters())
    loaded = sum(size for name, size in held.items() if name in own or name.endswith(CODES))
    shapes = on_meta(model_class.from_config, load_checkpoint(model_class, tiny_bases[family]).config)
    assert weight_bytes(shapes, 2, quantize) == pytest.approx(loaded, rel=0.01)


def test_a_tied_head_counts_once(tiny_base):
    config = load_checkpoint(AutoModel, tiny_base).config
    sizes = {}
    for tied in (False, True):
        config.tie_word_embeddings = tied
        sizes[tied] = weight_bytes(on_meta(AutoModelForImageTextToText.from_config, config), 4)
    text = config.get_text_config()
    assert sizes[False] - sizes[True] == text.vocab_size * text.hidden_size * 4


@pytest.fixture(scope="module")
def batch(ranker, make_image):
    images = {name: ranker.packer.encode(make_image(32, 32)) for name in "qc"}
    candidates = (Candidate(46.1, 7.1, ("Martigny",), "c"), Candidate(1.0, 2.0), Candidate(3.0, 4.0, (), "c"))
    return ranker.packer.pack([Query("q", candidates)], images)


def test_more_work_takes_more(ranker, batch):
    one = part(batch, 0, 1, 2)
    sizes = [activation_bytes(ranker.backbone, work, size) for work in (one, batch) for size in (2, 4)]
    assert sizes[0] < sizes[1] < sizes[3]
    assert sizes[0] < sizes[2] < sizes[3]
    least = sum(tensor.nbytes for tensor in (one.pixel_values,))
    assert all(activation_bytes(ranker.backbone, one, 2, quantize) > least for quantize in QUANTIZATIONS)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_estimate_is_near_what_is_held(tiny_bases, make_image, family):
    ranker = GeoRanker.from_pretrained(tiny_bases[family], device="cpu")
    images = {name: ranker.packer.encode(make_image(32, 32)) for name in "qc"}
    candidates = 5 * (Candidate(46.1, 7.1, ("Martigny",), "c"), Candidate(1.0, 2.0))
    batch = ranker.packer.pack([Query("q", candidates)], images)

    @torch.inference_mode()
    def rank():
        ranker(batch)

    held = peak_memory(rank, torch.device("cpu"))
    assert activation_bytes(ranker.backbone, batch, 4) == pytest.approx(held, rel=0.2)


def test_a_checkpoint_that_does_not_fit_names_the_quantisation_that_would(tiny_base, monkeypatch):
    shapes = on_meta(AutoModel.from_config, load_checkpoint(AutoModel, tiny_base).config)
    sizes = {name: weight_bytes(shapes, 4, name) for name in (None, *QUANTIZATIONS)}
    assert sizes[None] > sizes["8bit"] > sizes["4bit"]

    def full(*args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(AutoModel, "from_pretrained", full)
    for space, quantize, said in (
        (sizes["8bit"], None, "; --quantize 8bit takes about"),
        (sizes["4bit"], None, "; --quantize 4bit takes about"),
        (sizes["8bit"], "8bit", "; --quantize 4bit takes about"),
        (sizes["4bit"] - 1, None, "; no --quantize makes it fit"),
        (sizes[None], "4bit", "; no --quantize makes it fit"),
        (None, None, "its weights take 0.0 GiB"),
    ):
        monkeypatch.setattr("utils.model.memory.room", lambda device, space=space: space)
        with pytest.raises(DoesNotFit, match=f"{tiny_base} does not fit into memory: its weights take .*") as caught:
            load_checkpoint(AutoModel, tiny_base, dtype=torch.float32, quantize=quantize)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("generate", [False, True])
def test_a_quantised_ranker_names_what_is_left(tiny_base, batch, monkeypatch, generate):
    monkeypatch.setattr("utils.model.memory.room", lambda device: None)
    ranker = GeoRanker.from_pretrained(tiny_base, device="cpu", quantize="8bit", generate=generate)
    assert ranker.remedy(batch, 1) == ""
    monkeypatch.setattr("utils.model.memory.room", lambda device: 2**30)
    assert ranker.remedy(batch, 1).startswith(": --quantize 4bit takes about ")


def test_room_is_what_is_free_and_what_is_held(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 7)
    assert room(torch.device("cuda:0")) == 12
    assert room(torch.device("cpu")) is None
