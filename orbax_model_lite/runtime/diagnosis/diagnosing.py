"""From a folder to a diagnosis: asks what there is to ask, and puts the checks in order."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, final

from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.digests import Progress
from orbax_model_lite.core.reading import read
from orbax_model_lite.core.report import severity_of
from orbax_model_lite.errors import InvalidBundleError, ObmError, UnknownNameError, unknown_name
from orbax_model_lite.runtime.diagnosis import asking
from orbax_model_lite.runtime.diagnosis.asking import Jax, Judgement, Silence, TensorFlow
from orbax_model_lite.runtime.diagnosis.checks import Diagnosis, refusal
from orbax_model_lite.runtime.diagnosis.machine import Machine, this_machine
from orbax_model_lite.runtime.diagnosis.memory import memory_check
from orbax_model_lite.runtime.diagnosis.needs import Needs, needs_of, recorded_facts
from orbax_model_lite.runtime.diagnosis.places import place_checks
from orbax_model_lite.runtime.diagnosis.programs import Calls, program_checks
from orbax_model_lite.runtime.diagnosis.versions import version_checks
from orbax_model_lite.runtime.diagnosis.whole import folder_checks
from orbax_model_lite.runtime.isolation import Isolation
from orbax_model_lite.runtime.trust import Trust, saved_model_folder

_PLATFORM: Final = "JAX_PLATFORMS"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """What child processes said; None where nothing was to be asked."""

    jax: Jax | Silence | None
    tensorflow: TensorFlow | Silence | None
    judgement: Judgement


def diagnose(
    path: str | os.PathLike[str],
    *,
    function: str | None = None,
    sizes: Mapping[str, int] | None = None,
    platform: str | None = None,
    trust: Trust | None = None,
    isolation: Isolation | None = None,
    with_digests: bool = False,
    progress: Progress | None = None,
    machine: Machine | None = None,
) -> Diagnosis:
    """Returns whether a bundle will load and run here, one check a subject, each with advice.

    This process imports no framework. JAX and TensorFlow are asked in child processes, where the
    programs are compiled too, without their weights; a crash of one of them is a finding.

    Args:
      path: The bundle's folder.
      function: Look at this function alone; else at those of all pipelines, or without pipelines at
        all public ones.
      sizes: Of symbolic dimensions, for the estimate of memory; others get the smallest that the
        constraints allow.
      platform: To run on, as `JAX_PLATFORMS` spells it; None leaves it to JAX.
      trust: What the programs may do beyond the harmless; others are not compiled.
      isolation: Limits of each child process.
      with_digests: Whether every file is read and digested, as `verify` does.
      progress: Called with (bytes done, total) while files are digested.
      machine: Where it is to be loaded, as far as it can be told without asking a framework.

    Raises:
      InvalidBundleError: If there is nothing at the path.
      UnknownNameError: If there is no such function, or it has no such symbolic dimension.
      SignatureMismatchError: If its constraints forbid the sizes.

    Example:
      >>> from orbax_model_lite import core
      >>> core.save({"nothing": core.TupleValue(elements=())}, "m.obm")
      >>> diagnose("m.obm").ok
      True
    """
    told = os.fspath(path)
    try:
        bundle = read(path)
        needs = needs_of(bundle, function)
    except UnknownNameError:
        raise
    except ObmError as e:
        if not os.path.lexists(path):
            raise
        verdict = "problem" if severity_of(e) == "error" else "unknown"
        return Diagnosis(path=told, checks=(refusal("bundle", str(e), verdict),))
    _require_symbols(needs, sizes or {})
    machine = machine or this_machine()
    checks = list(folder_checks(bundle, with_digests=with_digests, progress=progress))
    trust = trust or Trust()
    answers = _ask(
        bundle,
        needs,
        machine,
        trust=trust,
        isolation=isolation or Isolation(),
        sizes=sizes or {},
        platform=platform,
    )
    jax, tensorflow, judgement = answers.jax, answers.tensorflow, answers.judgement
    checks += version_checks(machine, needs, jax, tensorflow)
    checks += place_checks(needs, jax, judgement, bundle.device_assignment)
    calls = Calls(recorded=_recorded_calls(bundle, needs), trusted=frozenset(trust.custom_calls))
    checks += program_checks(needs, jax, judgement, calls, tensorflow)
    if needs.programs or needs.tensorflow:
        checks.append(memory_check(machine, needs, jax, judgement, tensorflow))
    return Diagnosis(path=told, checks=tuple(checks))


def _require_symbols(needs: Needs, sizes: Mapping[str, int]) -> None:
    known = {symbol for p in needs.programs for symbol in p.function.signature.symbols}
    for symbol in sizes:
        if symbol not in known:
            raise unknown_name("symbolic dimension", symbol, known)


def _ask(
    bundle: Bundle,
    needs: Needs,
    machine: Machine,
    *,
    trust: Trust,
    isolation: Isolation,
    sizes: Mapping[str, int],
    platform: str | None,
) -> _Answers:
    environment = {_PLATFORM: platform} if platform else {}
    jax, judgement, tensorflow = None, {}, None
    if needs.needs_jax and {"jax", "jaxlib"} <= machine.versions.keys():
        jax, judgement = asking.ask_programs(
            bundle.path,
            needs.programs,
            isolation,
            trust=trust,
            sizes=sizes,
            environment=environment,
        )
    if needs.tensorflow:
        tensorflow = _ask_tensorflow(bundle, machine, isolation, trust)
    return _Answers(jax=jax, tensorflow=tensorflow, judgement=judgement)


def _ask_tensorflow(
    bundle: Bundle, machine: Machine, isolation: Isolation, trust: Trust
) -> TensorFlow | Silence:
    try:
        saved_model_folder(bundle)
    except InvalidBundleError as e:
        return TensorFlow(refused=str(e))
    is_here = "tensorflow" in machine.versions
    found = asking.ask_tensorflow(bundle.path, isolation, trust, is_imported=is_here)
    if isinstance(found, Silence) and is_here:
        # Which of the two ended the child: TensorFlow, or what the gate had to read?
        alone = asking.ask_tensorflow(bundle.path, isolation, trust, is_imported=False)
        if isinstance(alone, TensorFlow):
            return replace(alone, problem=found.message)
    return found


def _recorded_calls(bundle: Bundle, needs: Needs) -> dict[str, int]:
    calls: Counter[str] = Counter()
    for program in needs.programs:
        # A damaged record is the matter of `verify`; what modules really call is told by them.
        with contextlib.suppress(ObmError):
            calls.update(recorded_facts(bundle, program).custom_calls)
    return dict(calls)
