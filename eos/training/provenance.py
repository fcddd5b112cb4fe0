"""Where a run comes from: versions, commit, machine."""

import datetime as dt
import importlib.metadata
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import eos

PACKAGES = ("eos-playground", "torch", "lightning", "numpy", "tokenizers", "triton")


def provenance(command: list[str], device: torch.device) -> dict[str, Any]:
    """What a start of a run records of its surroundings."""
    return {
        "time": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "command": command,
        "python": platform.python_version(),
        "versions": versions(),
        "commit": _commit(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Of the packages that numbers depend on."""
    return {name: version for name in PACKAGES if (version := _version(name)) is not None}


def device_name(device: torch.device) -> str:
    """What a person calls the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that tensors took on a CUDA device, or the most that this process took in its life."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts kibibytes, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _version(package: str) -> str | None:
    if package == "torch":
        return torch.__version__  # with its build, such as +cu130, which a package's metadata may leave out
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout that this code stands in, with + where files differ from it; None outside of one."""
    root = Path(eos.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        # No git on this machine, or a folder that it does not trust: a run is worth as much without a commit.
        return None


def _git(root: Path, *arguments: str) -> str:
    answer = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return answer.stdout.strip()
