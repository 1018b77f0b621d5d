"""What of `make vllm-check` runs without vLLM."""

import ast

import pytest

from benchmarks.mend_vllm import mend
from benchmarks.vllm_check import MODELS
from benchmarks.work.vllm_models import FAMILIES, save_random
from benchmarks.work.vllm_server import counters
from utils.serving import vllm_checkpoint
from utils.serving.vllm_checkpoint import write_vllm_checkpoint

# As it begins in torchvision 0.28, and the part that fails.
REGISTRATIONS = """import functools

import torch
import torch.library

# Ensure that torch.ops.torchvision is visible
import torchvision.extension  # noqa: F401


@torch.library.register_fake("torchvision::nms")
def meta_nms(dets, scores, iou_threshold):
    return dets.new_empty(1)
"""


def test_torchvision_is_mended_only_as_it_is_known(tmp_path):
    path = tmp_path / "_meta_registrations.py"
    path.write_text(REGISTRATIONS)
    mend(path)
    tree = ast.parse(path.read_text())
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert names == ["_register_fake", "meta_nms"]
    registered = []
    fakes = {"torch": Namespace(library=Namespace(register_fake=registered.append))}
    (helper,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "_register_fake")
    for has_ops in (False, True):
        scope = fakes | {"torchvision": Namespace(extension=Namespace(_has_ops=lambda has_ops=has_ops: has_ops))}
        exec(compile(ast.Module([helper], []), "helper", "exec"), scope)
        scope["_register_fake"]("torchvision::nms")
        assert registered == (["torchvision::nms"] if has_ops else [])
    for other in (path.read_text(), "import torch\n"):
        path.write_text(other)
        with pytest.raises(ValueError, match="not for the reason that is known here"):
            mend(path)
        assert path.read_text() == other


class Namespace:
    def __init__(self, **values):
        vars(self).update(values)


def test_counters_of_a_page():
    page = """# HELP vllm:prefix_cache_hits_total Prefix cache hits
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total{engine="0",model_name="georanker"} 5248.0
vllm:prefix_cache_hits_total{engine="1",model_name="georanker"} 2.0
vllm:prefix_cache_hits_created{engine="0",model_name="georanker"} 1.79e+09
vllm:num_requests_running{engine="0",model_name="georanker"} 3.0
"""
    assert counters(page) == {"prefix_cache_hits_total": 5250.0}


def test_random_models_are_of_all_families(tmp_path):
    assert FAMILIES.keys() == vllm_checkpoint.FAMILIES.keys() == {name.partition("-")[0] for name in MODELS} - {"earth"}
    base, adapter = save_random(tmp_path, "qwen3_vl")
    assert write_vllm_checkpoint(adapter, tmp_path / "served", base)[0] == "float32"
