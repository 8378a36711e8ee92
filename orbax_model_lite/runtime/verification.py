"""Is a bundle whole, does it fit together, and does it still give what the original gave?"""

from __future__ import annotations

import os
from typing import Final

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.check_files import of_error
from orbax_model_lite.core.checking import check
from orbax_model_lite.core.digests import Progress
from orbax_model_lite.core.examples import Tolerance
from orbax_model_lite.core.reading import read
from orbax_model_lite.core.report import Finding, Report, severity_of
from orbax_model_lite.core.storage import storage_errors
from orbax_model_lite.errors import ObmError
from orbax_model_lite.orchestration import Orchestration, check_orchestration
from orbax_model_lite.runtime import replay as replaying
from orbax_model_lite.runtime.isolation import Isolation, replay_isolated
from orbax_model_lite.runtime.loading import load, read_orchestration
from orbax_model_lite.runtime.programs import check_programs
from orbax_model_lite.runtime.replay import Tolerances
from orbax_model_lite.runtime.stored_weights import check_stored_weights
from orbax_model_lite.runtime.trust import Trust

_PIPELINES: Final = "orchestration"


def verify(
    path: str | os.PathLike[str],
    *,
    replay: bool = False,
    tolerances: Tolerances | None = None,
    trust: Trust | None = None,
    isolation: Isolation | None = None,
    progress: Progress | None = None,
) -> Report:
    """Returns everything that is wrong with a bundle, not only the first thing.

    Structure, digests, references, wires and the headers of weights are checked without importing a
    framework.

    Args:
      path: The bundle's folder.
      replay: Whether the recorded examples are run and compared too, and the recorded facts about
        programs computed again. That loads the frameworks that the bundle needs and runs its
        programs, inside the limits of `trust`.
      tolerances: For the comparison, by dtype name: a relative tolerance or a `Tolerance`.
        Left out: float32 1e-5, bfloat16 and float16 1e-2, float64 1e-12 relative to the largest
        magnitude of an output; integers and strings equal.
      trust: What the programs may do beyond the harmless.
      isolation: Limits of a child process in which the replay runs, so that the verdict survives a
        program that crashes; None runs it in this process.
      progress: Called with (bytes done, total) while files are digested.

    Returns:
      A report; `ok` is False when anything is wrong or could not be decided.

    Example:
      >>> import numpy as np
      >>> import orbax_model_lite as obm
      >>> x = np.ones(3, np.float32)
      >>> packed = obm.pack("m.obm", lambda x: 2 * x, None, "b", platforms=["cpu"], examples=x)
      >>> verify("m.obm", replay=True).ok
      True
    """
    findings = list(check(path, progress=progress).findings)
    try:
        bundle = read(path)
    except ObmError as e:
        # Most often `check` has said it, and one cause is one finding.
        return Report(findings=tuple(dict.fromkeys([*findings, of_error(e)])))
    is_whole = not Report(findings=tuple(findings)).has_errors
    findings += _check_pipelines(bundle, is_whole=is_whole)
    if replay and not any(f.severity == "error" or f.where == _PIPELINES for f in findings):
        try:
            findings += _replay(bundle, tolerances, trust or Trust(), isolation)
        except ObmError as e:
            where = f"bundle {os.fspath(bundle.path)!r}"
            findings.append(Finding(severity=severity_of(e), where=where, message=str(e)))
    return Report(findings=tuple(findings))


def _check_pipelines(bundle: Bundle, *, is_whole: bool) -> list[Finding]:
    """Returns what is wrong with pipelines and weights.

    A record of pipelines that cannot be read is said where `is_whole`: else it may have been said.
    """
    orchestration = Orchestration(pipelines={})
    findings = []
    try:
        orchestration = read_orchestration(bundle)
        problems = check_orchestration(orchestration, bundle.objects, bundle.read_bytes)
        findings = [Finding(severity="error", where=_PIPELINES, message=p) for p in problems]
    except ObmError as e:
        if is_whole:
            findings = [Finding(severity=severity_of(e), where=_PIPELINES, message=str(e))]
    return findings + check_stored_weights(bundle, orchestration)


def run_programs(
    bundle: Bundle, tolerances: Tolerances | None = None, trust: Trust | None = None
) -> list[Finding]:
    """Returns what the programs of a bundle show: their recorded facts, and its examples replayed.

    Args:
      bundle: One whose files are as recorded.
      tolerances: See `verify`.
      trust: See `verify`.

    Raises:
      ObmError: If a program cannot be parsed, trusted or run at all; a StorageError if the file
        system refuses.
    """
    with storage_errors("reading", bundle.path):
        findings = check_programs(bundle)
        with load(bundle, trust=trust) as model:
            return findings + replaying.replay(model, tolerances)


def _replay(
    bundle: Bundle, tolerances: Tolerances | None, trust: Trust, isolation: Isolation | None
) -> list[Finding]:
    if isolation is None:
        return run_programs(bundle, tolerances, trust)
    plain = {
        name: (value.relative, value.absolute) if isinstance(value, Tolerance) else (value, 0.0)
        for name, value in (tolerances or {}).items()
    }
    return replay_isolated(bundle.path, isolation, trust=trust, tolerances=plain)
