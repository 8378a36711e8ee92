"""Sweeps the rows and writes the table to docs/lift.md, or shows some rows on the screen."""

from __future__ import annotations

import argparse
import json
import os
import time
import zlib
from dataclasses import asdict
from pathlib import Path

from tests.lift.conformance import report
from tests.lift.conformance.checking import Verdict
from tests.lift.conformance.rows import row_names
from tests.lift.conformance.workers import sweep


def main() -> None:
    """Sweeps and writes; see the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.lift.conformance", description=__doc__)
    parser.add_argument("prefixes", nargs="*", help="only rows whose names begin so; no writing")
    parser.add_argument("--dtypes", default="", help="only these columns, such as f32,i32")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the verdicts to this file")
    parser.add_argument("--again", action="store_true", help="only what the file has not as passed")
    given = parser.parse_args()
    # Rows are compiled once and run once, so the time goes into compiling.
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    names = [n for n in row_names() if n.startswith(tuple(given.prefixes) or "")]
    # What is expensive stands together in the modules; mixed, both processes end at one time.
    names.sort(key=lambda name: zlib.crc32(name.encode()))
    dtypes = tuple(filter(None, given.dtypes.split(",")))
    verdicts = _passed(given.json) if given.again else []
    names = sorted(set(names) - {v.name for v in verdicts}, key=names.index)
    began, done = time.monotonic(), len(verdicts)
    for verdict in sweep(names, dtypes=dtypes, processes=given.processes):
        verdicts.append(verdict)
        told = report.wrong_cells(verdict) or verdict.left_out
        if told or given.prefixes:
            print(
                f"{len(verdicts) - done}/{len(names)} {verdict.name}: {told or 'pass'}", flush=True
            )
        if given.json:
            given.json.write_text(json.dumps([asdict(v) for v in verdicts], indent=1), "utf-8")
    print(f"{len(names)} rows in {time.monotonic() - began:.0f} s")
    print(report.summary(verdicts))
    if not given.prefixes:
        report.write(verdicts, dtypes)


def _passed(kept: Path) -> list[Verdict]:
    """Returns the verdicts of an earlier sweep that need no other."""
    known = [Verdict(**fields) for fields in json.loads(kept.read_text("utf-8"))]
    return [verdict for verdict in known if report.is_passed(verdict)]


if __name__ == "__main__":
    main()
