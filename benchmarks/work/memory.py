"""Memory of rankers in the shapes of Qwen2-VL, for ``benchmarks.memory``: estimated, and measured if asked to."""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText

from benchmarks.inputs import encode, synthetic_inputs
from benchmarks.measure import peak_memory
from benchmarks.models import load_ranker
from utils.geo_ranker import GeoRanker
from utils.model.batch import PackedBatch
from utils.model.device import own_device
from utils.model.memory import GIB, activation_bytes, on_meta, weight_bytes
from utils.model.packing import Packer, chunks
from utils.model.quantizations import QUANTIZATIONS


def rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Bytes of each preset, photo size and quantisation."""
    return [row for preset in args.preset for row in rows_of(preset, args)]


def rows_of(preset: str, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    dtype = getattr(torch, args.dtype)
    shapes = load_ranker(preset, args.layout, dtype=dtype, device="meta", layers=args.layers)
    whole = on_meta(AutoModelForImageTextToText.from_config, shapes.backbone.config)
    batches = {photo: make_batches(shapes.packer, photo, args) for photo in args.photo}
    with tempfile.TemporaryDirectory() as folder:
        if args.measure:
            save_random(shapes, Path(folder), dtype)
        for quantize in (None, *QUANTIZATIONS):
            estimated = {
                "weights": weight_bytes(shapes.backbone, dtype.itemsize, quantize),
                "weights_with_head": weight_bytes(whole, dtype.itemsize, quantize),
            }
            loaded = None
            if args.measure:
                device = torch.device(args.device or own_device(0))
                loaded = GeoRanker.from_pretrained(folder, dtype=dtype, device=device, quantize=quantize)
            for photo, own in batches.items():
                row = {"preset": preset, "photo": "x".join(map(str, photo)), "quantize": quantize, **estimated}
                row["batches"] = len(own)
                row["activations"] = max(
                    activation_bytes(shapes.backbone, batch, dtype.itemsize, quantize) for batch in own
                )
                yield row if loaded is None else row | measured(loaded, own)


def make_batches(packer: Packer, photo: tuple[int, int], args: argparse.Namespace) -> list[PackedBatch]:
    """One query of synthetic photos, all of them of the size ``photo``."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = synthetic_inputs(
            Path(folder),
            packer.tokenizer,
            count=1,
            candidates=args.candidates,
            generated=args.generated,
            photo=photo,
            candidate_photo=photo,
        )
        queries, images = encode(inputs, packer)
    tokenized = (packer.tokenize(query, images) for query in queries)
    return [packer.collate(chunk, images) for chunk in chunks(tokenized, args.max_tokens)]


def save_random(ranker: GeoRanker, folder: Path, dtype: torch.dtype) -> None:
    """A checkpoint of random weights in the shapes of ``ranker``."""
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(ranker.backbone.config, dtype=dtype).save_pretrained(folder)
    ranker.packer.tokenizer.save_pretrained(folder)
    ranker.packer.image_processor.save_pretrained(folder)


def measured(ranker: GeoRanker, batches: Sequence[PackedBatch]) -> dict[str, int]:
    """Bytes of the weights as they are loaded, and the most that ranking ``batches`` takes beside them."""

    @torch.inference_mode()
    def work() -> None:
        for batch in batches:
            ranker(batch.to(device))

    device = ranker.backbone.device
    work()  # what is made once, such as workspaces, is made
    held = {tensor.data_ptr(): tensor.nbytes for tensor in ranker.backbone.state_dict().values()}
    return {"measured_weights": sum(held.values()), "measured_activations": peak_memory(work, device)}


def table(found: Sequence[dict[str, Any]]) -> str:
    """Markdown, in GiB."""
    columns = ["weights", "activations", "weights_with_head", "measured_weights", "measured_activations"]
    columns = [name for name in columns if name in found[0]]
    head = ["preset", "photos", "weights in", "batches", *(name.replace("_", " ") for name in columns), "together"]
    lines = [head, ["---"] * len(head)]
    for row in found:
        sizes = [f"{row[name] / GIB:.2f}" for name in columns]
        together = f"{(row['weights'] + row['activations']) / GIB:.1f}"
        kind = row["quantize"] or "as they are"
        lines.append([row["preset"], row["photo"], kind, str(row["batches"]), *sizes, together])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
