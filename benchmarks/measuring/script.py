"""The frame of a benchmark script: its command line, its scratch folder, its exit code."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a benchmark was asked for.

    Attributes:
      is_quick: Whether it only has to show that it runs.
      folder: An empty folder for it, removed afterwards.
    """

    is_quick: bool
    folder: Path


def main(description: str | None, measure: Callable[[Options], bool]) -> None:
    """Runs a benchmark and exits: with 1 if a budget is missed, unless it was a quick run.

    Args:
      description: For `--help`.
      measure: Measures and prints; returns whether all budgets are met.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="few rounds and small models")
    parser.add_argument(
        "--folder", type=Path, help="where to write; a temporary folder if left out"
    )
    given = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="benchmark-") as folder:
        # Where Python is told to keep no bytecode, every import would compile JAX anew.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder, "bytecode"))
        is_met = measure(Options(is_quick=given.quick, folder=Path(folder)))
    sys.exit(0 if is_met or given.quick else 1)
