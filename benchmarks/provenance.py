"""What a number depends on and where it was made: code revision, git state, versions, device."""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
MEASURING = ("execute.py", "transfer.py")
VERSIONED = ("torch", "mlflow", "pandas", "scikit-learn", "numpy")


@cache
def code_revision(method: str | None = None) -> str:
    """Hash of the sources that decide a method's numbers: all of ``dmil/``, the files of the method and its bases, and
    the code that runs and evaluates them. A change there gives its runs new keys. Without a method: what all share."""
    from benchmarks.methods import TABLE

    files = {*(CHECKOUT / "dmil").rglob("*.py"), *(CHECKOUT / "benchmarks" / name for name in MEASURING)}
    bases = TABLE[method].__mro__ if method else ()
    files |= {Path(inspect.getfile(base)) for base in bases if base.__module__.startswith("benchmarks")}
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(CHECKOUT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def torch_release() -> str:
    """The torch version without its build, for example 2.13.0."""
    return version("torch").split("+")[0]


@cache
def tags(device: str) -> dict[str, str]:
    """Tags of every run made by this process on this device."""
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor() or "cpu"
    return {
        "git_commit": _git("rev-parse", "HEAD") or "unknown",
        "git_dirty": "true" if _git("status", "--porcelain") else "false",
        "device": device,
        "device_name": name,
        "n_cpus": str(os.cpu_count()),
        "n_threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        "versions": " ".join(f"{package}={version(package)}" for package in VERSIONED),
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(CHECKOUT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
