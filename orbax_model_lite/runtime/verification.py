"""Is a bundle whole, does it fit together, and does it still give what the original gave?"""

from __future__ import annotations

import os

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.checking import check
from orbax_model_lite.core.reading import read
from orbax_model_lite.core.report import Finding, Report
from orbax_model_lite.errors import ObmError
from orbax_model_lite.orchestration import check_orchestration
from orbax_model_lite.runtime import replay as replaying
from orbax_model_lite.runtime.loading import load, read_orchestration
from orbax_model_lite.runtime.programs import check_programs
from orbax_model_lite.runtime.replay import Tolerances
from orbax_model_lite.runtime.trust import Trust


def verify(
    path: str | os.PathLike[str],
    *,
    replay: bool = False,
    tolerances: Tolerances | None = None,
    trust: Trust | None = None,
) -> Report:
    """Returns everything that is wrong with a bundle, not only the first thing.

    Structure, digests, references and wires are checked without importing a framework.

    Args:
      path: The bundle's folder.
      replay: Whether the recorded examples are run and compared too, and the recorded facts about
        programs computed again. That loads the frameworks that the bundle needs and runs its
        programs, inside the limits of `trust`.
      tolerances: For the comparison, by dtype name: a relative tolerance or a `Tolerance`.
        Left out: float32 1e-5, bfloat16 and float16 1e-2, float64 1e-12 relative to the largest
        magnitude of an output; integers and strings equal.
      trust: What the programs may do beyond the harmless.

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
    findings = list(check(path).findings)
    try:
        bundle = read(path)
        findings += _check_pipelines(bundle)
        is_sound = not any(finding.severity == "error" for finding in findings)
        if replay and is_sound:
            findings += check_programs(bundle)
            findings += _replayed(bundle, tolerances, trust)
    except ObmError as e:
        if not any(finding.severity == "error" for finding in findings):
            findings.append(Finding(severity="error", where=str(path), message=str(e)))
    return Report(findings=tuple(findings))


def _check_pipelines(bundle: Bundle) -> list[Finding]:
    orchestration = read_orchestration(bundle)
    problems = check_orchestration(orchestration, bundle.objects, bundle.read_bytes)
    return [Finding(severity="error", where="orchestration", message=p) for p in problems]


def _replayed(bundle: Bundle, tolerances: Tolerances | None, trust: Trust | None) -> list[Finding]:
    with load(bundle, trust=trust) as model:
        return replaying.replay(model, tolerances)
