"""Whether tensors on disk are sound and fit the model that they are loaded into: each one that does not is named.

Every weight is looked at once, those of the base model, too: a pass over memory costs little beside reading the file,
and a damaged number would only show in the rewards, or not at all.
"""

import math
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, PreTrainedModel
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.utils.logging import set_tqdm_hook

from utils.jobs.reading import naming, one_line, read_json_object
from utils.model.memory import too_large
from utils.model.quantizations import Quantization
from utils.model.quantized import compute_as_loaded, quantizing, wrong_shapes

# The hub's Qwen2-VL checkpoints say `visual`, those saved with the module names of newer transformers `model.visual`,
# which transformers' own conversion would take for a part of the language model (5.23).
KEY_MAPPING = {r"^model\.visual\.": "visual."}
CONFIG, WEIGHTS = "config.json", "model*.safetensors"  # one file or several
FLOATS = ("F32", "F16", "BF16", "F64")  # as safetensors calls them
LONG = 1.0  # seconds that loading takes before it shows its progress
POSITIONS = ".position_ids"  # 0, 1, 2, ...: integers that older transformers saved as well, as in the hub's CLIPs


def load_tensors(path: str | os.PathLike, dtypes: Collection[str] = FLOATS) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises ``ValueError``, naming file and tensor, unless the file is whole and all tensors are of one of ``dtypes``
    and finite, in float32, too.
    """
    with naming(path, SafetensorError), safe_open(path, "pt") as file:
        names = list(file.keys())
        _check_dtypes(file, names, dtypes)
        tensors = {name: file.get_tensor(name) for name in names}
        check_finite({name: tensor.float() for name, tensor in tensors.items()})
    return tensors


def _check_dtypes(file: safe_open, names: Collection[str], dtypes: Collection[str]) -> None:
    for name in names:
        if (found := file.get_slice(name).get_dtype()) not in dtypes:
            raise ValueError(f"tensor {name} is of type {found}: it must be {' or '.join(dtypes)}")


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise ``ValueError``, naming the tensor, where one holds NaN or infinity."""
    for name, tensor in tensors.items():
        # Nothing is as fast: NaN and infinity are among the extremes, and no mask is made.
        numbers = tensor.is_floating_point() and tensor.dtype.itemsize > 1 and tensor.numel() > 0  # no 8-bit codes
        if numbers and not all(extreme.isfinite() for extreme in torch.aminmax(tensor)):
            raise ValueError(f"tensor {name} has values that are no numbers")


@contextmanager
def naming_part(base: str | os.PathLike, *files: str) -> Iterator[None]:
    """Turn whatever transformers raises about ``files`` of the checkpoint ``base`` into a ``ValueError`` naming them.

    That is the one that is no JSON object, else all that are there. It is any exception: transformers looks at little
    of what it reads, and fails where it stumbles over it. A hub's files came whole: there it is ``base`` that is named.
    Only a lack of memory is none of their fault.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        found = [path for file in files if (path := Path(base, file)).is_file()]
        for path in found:
            if path.suffix == ".json":
                read_json_object(path)
        names = " or ".join(path.name for path in found)
        raise ValueError(f"{Path(base, names) if found else base}: {one_line(error)}") from error


def check_tensors(what: str, tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    """Raise ``ValueError``, listing the tensors, unless ``tensors`` have exactly the expected names and shapes.

    ``what`` begins the message, such as "adapter FOLDER does not fit the model".
    """
    shapes = [
        (name, tensors[name].shape, shape)
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    _refuse_misfits(what, expected.keys() - tensors.keys(), shapes, tensors.keys() - expected.keys())


def load_checkpoint(
    model_class: type[AutoModel] | type[AutoModelForImageTextToText],
    base: str | os.PathLike,
    unused: Collection[str] | None = None,
    *,
    dtype: torch.dtype | str = "auto",
    device: torch.device | str = "cpu",
    quantize: Quantization | None = None,
    **options: Any,
) -> PreTrainedModel:
    """``model_class.from_pretrained(base, ...)`` on ``device``, where the checkpoint fits.

    Args:
        unused: tensors that may be left over; None: all of them.
        dtype: "auto" is that of the checkpoint.
        quantize: see ``quantizations.py``.
        options: further ones of ``from_pretrained``.

    Raises ``ValueError``: naming the file, where one is damaged or has weights that are no finite numbers; listing the
    tensors, where the checkpoint lacks some, has some of another shape, or holds any that the model has no place for;
    and with ``quantize`` as ``quantizing`` does. Raises ``DoesNotFit`` where the memory of ``device`` is too small.
    """
    try:
        return _load(model_class, base, unused, dtype, torch.device(device), quantize, options)
    except torch.OutOfMemoryError:
        error = too_large(model_class, base, dtype, torch.device(device), quantize)
    raise error  # behind the handler, whose exception holds on to what filled the memory


def _load(
    model_class: type[AutoModel] | type[AutoModelForImageTextToText],
    base: str | os.PathLike,
    unused: Collection[str] | None,
    dtype: torch.dtype | str,
    device: torch.device,
    quantize: Quantization | None,
    options: dict[str, Any],
) -> PreTrainedModel:
    if Path(base).is_dir() and "quantization_config" not in read_json_object(Path(base, CONFIG)):
        _check_stored(model_class, base, finite=quantize is not None)
    if quantize is not None:
        options |= quantizing(model_class, base, quantize, dtype, device)
    with naming_part(base, CONFIG, "model.safetensors.index.json"), _progress_of_long_loads():
        model, loading = model_class.from_pretrained(
            base,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are listed below
            dtype=dtype,
            **options,
        )
    if quantize is not None:
        compute_as_loaded(model)
    left_over = None if unused is None else set(loading["unexpected_keys"]) - set(unused)
    shapes = [*loading["mismatched_keys"], *(wrong_shapes(model) if quantize is not None else ())]
    what = f"checkpoint {base} does not fit {type(model).__name__} ({CONFIG}, {WEIGHTS})"
    _refuse_misfits(what, loading["missing_keys"], shapes, left_over)
    with naming(Path(base, WEIGHTS)):
        check_finite(model.state_dict())
    return model.to(device)


@contextmanager
def _progress_of_long_loads() -> Iterator[None]:
    """Within, transformers has no progress bars for what takes but a moment."""
    previous = set_tqdm_hook(lambda bar, items, options: bar(*items, **{"delay": LONG} | options))
    try:
        yield
    finally:
        set_tqdm_hook(previous)


def _check_stored(
    model_class: type[AutoModel] | type[AutoModelForImageTextToText], base: str | os.PathLike, finite: bool
) -> None:
    """Raise ``ValueError``, naming the file, for weights of a wrong type, or far fewer than ``config.json`` asks for.

    transformers would cast integers, and make room for all that is missing before it says so. With ``finite`` also for
    weights that are no finite numbers, which codes of 4 bits would not show.
    """
    stored = 0
    for path in sorted(Path(base).glob(WEIGHTS)):
        with naming(path, SafetensorError), safe_open(path, "pt") as file:
            names = [name for name in file.keys() if not name.endswith(POSITIONS)]  # noqa: SIM118
            _check_dtypes(file, names, FLOATS)
            for name in names:
                stored += math.prod(file.get_slice(name).get_shape())
                if finite:
                    check_finite({name: file.get_tensor(name)})
    if is_deepspeed_zero3_enabled():  # it would shard a model that is only there to be counted
        return
    with naming_part(base, CONFIG), torch.device("meta"):
        asked = sum(weight.numel() for weight in model_class.from_config(AutoConfig.from_pretrained(base)).parameters())
    if stored and asked > 2 * stored:
        raise ValueError(f"{Path(base, CONFIG)} asks for {asked:,} weights, but the checkpoint has {stored:,}")


def _refuse_misfits(
    what: str,
    missing: Collection[str],
    shapes: Collection[tuple[str, torch.Size, torch.Size]],
    unexpected: Collection[str] | None,
) -> None:
    """Raise ``ValueError`` where anything is listed; ``shapes`` are (name, stored, expected).

    With None for ``unexpected``, nothing is said about tensors that are left over.
    """
    if not (missing or shapes or unexpected):
        return
    wrong = [f"{name} {list(stored)} instead of {list(own)}" for name, stored, own in sorted(shapes)]
    parts = [f"missing tensors {sorted(missing)}"]
    parts += [] if unexpected is None else [f"unexpected tensors {sorted(unexpected)}"]
    raise ValueError(f"{what}: {', '.join([*parts, f'wrongly shaped tensors {wrong}'])}")
