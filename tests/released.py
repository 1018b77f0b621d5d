"""Miniatures of the released system's checkpoints: base models and adapters in the layouts they were written in."""

import io
import json
import re
import shutil
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel, PreTrainedModel

KeyLayout = Literal["old", "new"]
# adapter_config.json as published, and what peft writes beside it.
CONFIG = {
    "alpha_pattern": {},
    "auto_mapping": {"base_model_class": "RewardModel", "parent_library": "utils.geo_ranker"},
    "base_model_name_or_path": "Qwen/Qwen2-VL-7B-Instruct",
    "bias": "none",
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": True,
    "layers_pattern": None,
    "layers_to_transform": None,
    "lora_alpha": 32,
    "lora_dropout": 0.05,
    "modules_to_save": ["value_head"],
    "peft_type": "LORA",
    "r": 16,
    "rank_pattern": {},
    "revision": None,
    "target_modules": ["k_proj", "v_proj", "q_proj"],
    "task_type": None,
    "use_dora": False,
    "use_rslora": False,
}


def write_base(source: Path, target: Path, layout: KeyLayout, shards: int = 1) -> None:
    """Copy a tiny Qwen2-VL or Qwen2.5-VL checkpoint, its keys as in the hub's old or in the new layout."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors"))
    tensors = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        part, rest = re.fullmatch(r"(?:model\.)?(language_model\.|visual\.|lm_head\.|)(.+)", name).groups()
        if part != "lm_head.":
            language = {"old": "model.", "new": "model.language_model."}[layout]
            vision = {"old": "visual.", "new": "model.visual."}[layout]
            part = vision if part == "visual." else language
        tensors[part + rest] = tensor
    assert "lm_head.weight" in tensors
    names = sorted(tensors)
    files = {f"model-{i + 1:05}-of-{shards:05}.safetensors": names[i::shards] for i in range(shards)}
    if shards == 1:
        files = {"model.safetensors": names}
    for file, part in files.items():
        save_file({name: tensors[name] for name in part}, target / file, {"format": "pt"})
    if shards > 1:
        weights = {name: file for file, part in files.items() for name in part}
        size = sum(tensor.nbytes for tensor in tensors.values())
        index = {"metadata": {"total_size": size}, "weight_map": weights}
        (target / "model.safetensors.index.json").write_text(json.dumps(index))


def write_adapter(
    folder: Path, base: Path, layout: KeyLayout = "old", prefix: str = "base_model.model.", infix: str = "", **settings
) -> None:
    """A random adapter for ``base``. ``infix`` is the adapter's name in the keys, where it was left there."""
    config = CONFIG | settings
    model = AutoModel.from_pretrained(base, dtype=torch.float32)
    language = {"old": "model.", "new": "model.language_model."}[layout]
    generator = torch.Generator().manual_seed(5)
    tensors = {}
    for number, layer in enumerate(model.language_model.layers):
        for name in ("q_proj", "k_proj", "v_proj"):
            module = f"{language}layers.{number}.self_attn.{name}"
            rank = config["rank_pattern"].get(module, config["r"])
            rows, columns = layer.self_attn.get_submodule(name).weight.shape
            for side, shape in (("A", (rank, columns)), ("B", (rows, rank))):
                key = f"{prefix}{module}.lora_{side}{infix}.weight"
                tensors[key] = 0.1 * torch.randn(shape, generator=generator)
    head = f"{prefix}value_head{infix and '.modules_to_save' + infix}.weight"
    tensors[head] = torch.randn(1, model.language_model.config.hidden_size, generator=generator)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(config))


def saved_as_jpeg(photo: Image.Image) -> Image.Image:
    """What the original's models see of a photo: it is saved as JPEG by PIL's defaults, and opened again."""
    file = io.BytesIO()
    photo.save(file, "JPEG")
    return Image.open(file).convert("RGB")


def merged_by_hand(base: Path, adapter: Path) -> tuple[PreTrainedModel, Tensor]:
    """The stock model with ``adapter`` added to its weights, W + scale * B A, and the head (1, hidden)."""
    config = json.loads((adapter / "adapter_config.json").read_text())
    tensors = load_file(adapter / "adapter_model.safetensors")
    model = AutoModel.from_pretrained(base, dtype=torch.float32)
    (head,) = (tensor for name, tensor in tensors.items() if "value_head" in name)
    with torch.no_grad():
        for name, a in tensors.items():
            if ".lora_A." in name:
                b = tensors[name.replace(".lora_A.", ".lora_B.")]
                number, projection = re.search(r"layers\.(\d+)\.self_attn\.(\w+)\.", name).groups()
                module = re.search(r"model\.(language_model\.)?layers\.[^_]+_attn\.\w+", name)[0]
                alpha = config["alpha_pattern"].get(module, config["lora_alpha"])
                scale = alpha / (len(a) ** 0.5 if config["use_rslora"] else len(a))
                attention = model.language_model.layers[int(number)].self_attn
                attention.get_submodule(projection).weight += scale * b @ a
    return model.eval(), head
