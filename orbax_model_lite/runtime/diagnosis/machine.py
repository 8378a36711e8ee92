"""The machine as it can be told without a framework: versions of packages, memory, the system."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Final, final

from orbax_model_lite import __version__

# A distribution for CPUs only, for Apple's machines or of the night has another name.
_DISTRIBUTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "jax": ("jax", "jax-nightly"),
    "jaxlib": ("jaxlib", "jaxlib-nightly"),
    "ml_dtypes": ("ml_dtypes",),
    "numpy": ("numpy",),
    "orbax-checkpoint": ("orbax-checkpoint",),
    "protobuf": ("protobuf",),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-macos", "tf-nightly"),
    "tensorstore": ("tensorstore",),
}
_UNLIMITED: Final = 1 << 60


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where a bundle is to be loaded.

    Attributes:
      python: Its version.
      system: Name and kind of processor, such as "Linux x86_64".
      versions: By package, of those that are installed and matter; ours among them.
      requires: By package, what its distribution says that it requires.
      memory_bytes: What a new process may take; None where the system does not tell.
      memory_limit: What limits that: "the system", "the control group", "the address space".
    """

    python: str
    system: str
    versions: Mapping[str, str]
    requires: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    memory_bytes: int | None = None
    memory_limit: str = "the system"


def this_machine() -> Machine:
    """Returns the machine that this process runs on; imports nothing that it names."""
    versions, requires = {"orbax_model_lite": __version__}, {}
    for package, names in _DISTRIBUTIONS.items():
        for name in names:
            try:
                found = metadata.distribution(name)
            except metadata.PackageNotFoundError:
                continue
            versions[package] = found.version
            requires[package] = tuple(found.requires or ())
            break
    limits = dict(_memory_limits())
    lowest = min(limits, key=lambda name: limits[name], default="the system")
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        versions=versions,
        requires=requires,
        memory_bytes=limits.get(lowest),
        memory_limit=lowest,
    )


def _memory_limits() -> Iterator[tuple[str, int]]:
    """Yields what limits the memory of a new process, and to how many bytes."""
    available = _available_bytes()
    if available is not None:
        yield "the system", available
    for folder in _control_groups():
        left = _left_in(folder)
        if left is not None:
            yield "the control group", left
    with contextlib.suppress(ImportError):  # Windows has no such module
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            yield "the address space", limit


def _available_bytes() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _control_groups() -> Iterator[Path]:
    """Yields the folders of this process's memory control groups, of both versions, and above."""
    try:
        lines = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number != "0" and "memory" not in controllers.split(","):
            continue
        for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"):
            below = Path(root, path.lstrip("/"))
            for folder in (below, *below.parents):
                if folder.is_relative_to(root) and folder.is_dir():
                    yield folder


def _left_in(folder: Path) -> int | None:
    """Returns what a control group has left; None where it has no limit."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            most = int(Path(folder, limit).read_text("ascii"))
            if most < _UNLIMITED:
                taken = int(Path(folder, used).read_text("ascii")) - _given_back_in(folder)
                return max(0, most - max(0, taken))
    return None


def _given_back_in(folder: Path) -> int:
    """Returns what a control group counts as used and gives back when asked: old file pages."""
    # Reading a bundle is enough to fill a group with the pages of its files.
    with contextlib.suppress(OSError, ValueError):
        counts = dict(line.split() for line in Path(folder, "memory.stat").read_text().splitlines())
        # Of version 1, the plain count leaves out the groups below.
        return int(counts.get("total_inactive_file", counts.get("inactive_file", 0)))
    return 0
