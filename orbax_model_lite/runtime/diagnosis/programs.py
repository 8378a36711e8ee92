"""Checks of programs: what their modules are written at, what they call, whether they compile."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from orbax_model_lite.runtime.diagnosis.asking import (
    Jax,
    Judged,
    Judgement,
    Silence,
    TensorFlow,
    unanswered,
)
from orbax_model_lite.runtime.diagnosis.checks import Check, heaviest, listed, refusal
from orbax_model_lite.runtime.diagnosis.needs import Needs, Program
from orbax_model_lite.runtime.diagnosis.places import is_foreign
from orbax_model_lite.runtime.diagnosis.requirements import is_older

_NO_JAX = "get JAX to start first, as said above"
_SEE = "see the lines about JAX and programs"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Custom calls by target: those that the bundle records, and those that the caller trusts."""

    recorded: Mapping[str, int]
    trusted: frozenset[str]


def program_checks(
    needs: Needs,
    jax: Jax | Silence | None,
    judgement: Judgement,
    calls: Calls,
    tensorflow: TensorFlow | Silence | None,
) -> Iterator[Check]:
    """Yields the checks of StableHLO and TensorFlow programs, and of the weights that they take.

    Args:
      needs: What the bundle needs.
      jax: What a new process has; None where JAX is not installed.
      judgement: What came of compiling the programs.
      calls: What is known of custom calls.
      tensorflow: What the gate says; None where TensorFlow is not needed.
    """
    if needs.unknown_kinds:
        kinds = [f"{name} (of type {kind!r})" for name, kind in needs.unknown_kinds.items()]
        yield Check(
            name="engine",
            verdict="problem",
            found=f"nothing here runs {listed(kinds)}",
            advice="run it with the program that wrote it",
        )
    if needs.programs:
        yield _modules(needs.programs, jax, judgement)
        yield _custom_calls(needs.programs, judgement, calls)
    if tensorflow is not None:
        yield _tensorflow(tensorflow)
    bound = sorted({program.weights for program in needs.programs if program.weights})
    if bound:
        yield _weights(bound, judgement)
    if needs.programs:
        yield _compiled(needs.programs, jax, judgement)


def _modules(programs: Sequence[Program], jax: Jax | Silence | None, judgement: Judgement) -> Check:
    judged = [found for found in judgement.values() if isinstance(found, Judged)]
    versions = sorted({found.stablehlo_version for found in judged if found.stablehlo_version})
    conventions = sorted({program.function.calling_convention_version for program in programs})
    written = f"StableHLO {listed(versions)}" if versions else "StableHLO of an unknown version"
    called = f"calling convention {', '.join(map(str, conventions))}"
    if not isinstance(jax, Jax):
        found = f"{called}; JAX cannot be asked what it reads"
        return Check(name="modules", verdict="unknown", found=found, advice=_NO_JAX)
    low, high = jax.conventions
    found = (
        f"{written}, {called}; JAX {jax.version} reads StableHLO up to {jax.stablehlo_version} "
        f"and calls conventions {low} to {high}"
    )
    newer = [version for version in versions if is_older(jax.stablehlo_version, version)]
    if newer:
        advice = "upgrade JAX: pip install --upgrade jax jaxlib"
        return Check(name="modules", verdict="problem", found=found, advice=advice)
    if any(not low <= convention <= high for convention in conventions):
        return Check(
            name="modules",
            verdict="note",
            found=found,
            advice="load lifts such a module to JAX code; pack it again to have it called as it is",
        )
    if not versions:
        advice = "see below why no module was read"
        return Check(name="modules", verdict="unknown", found=found, advice=advice)
    return Check(name="modules", verdict="ok", found=found)


def _custom_calls(programs: Sequence[Program], judgement: Judgement, calls: Calls) -> Check:
    judged = {
        program.label: found
        for program in programs
        if isinstance(found := judgement.get(program.where), Judged)
    }
    for found in judged.values():
        if found.refused:
            told = refusal("custom calls", found.refused)
            # A line to be copied into a shell, of names that a stranger chose.
            quoted = map(shlex.quote, sorted(found.custom_calls))
            names = " ".join(f"--trust-custom-call {name}" for name in quoted)
            advice = f"{told.advice}; to go on here: obm doctor {names}"
            return Check(name=told.name, verdict="problem", found=told.found, advice=advice)
    for label, found in judged.items():
        absent = [name for name in found.custom_calls if name and name in found.problem]
        if absent:
            return Check(
                name="custom calls",
                verdict="unknown",
                found=f"{label} calls {listed(absent)}, which a new process does not have",
                advice="import the package that registers it (jax.ffi.register_ffi_target) before "
                "load",
            )
    targets = sorted({name for found in judged.values() for name in found.custom_calls})
    if not judged:
        told = listed(sorted(calls.recorded)) or "none"
        return Check(
            name="custom calls",
            verdict="unknown",
            found=f"no module could be read; as recorded: {told}",
            advice=_SEE,
        )
    kinds = {
        "guaranteed by JAX": [target for target in targets if target not in calls.trusted],
        "trusted, and registered here": [target for target in targets if target in calls.trusted],
    }
    told = "; ".join(f"{kind}: {listed(names)}" for kind, names in kinds.items() if names)
    return Check(name="custom calls", verdict="ok", found=told or "none")


def _tensorflow(tensorflow: TensorFlow | Silence) -> Check:
    name = "tf operations"
    if isinstance(tensorflow, Silence):
        return unanswered(name, tensorflow)
    if tensorflow.refused:
        return refusal(name, tensorflow.refused)
    return Check(name=name, verdict="ok", found="only such as compute, or trusted ones")


def _weights(bound: Sequence[str], judgement: Judgement) -> Check:
    judged = [found for found in judgement.values() if isinstance(found, Judged)]
    problems = [found.weights_problem for found in judged if found.weights_problem]
    if problems:
        return refusal("weights", problems[0])
    names = listed(bound)
    if not judged:
        found = f"{names}: not compared with what the programs take"
        return Check(name="weights", verdict="unknown", found=found, advice=_SEE)
    found = f"{names}: headers have the names, types and sizes that the programs take"
    return Check(name="weights", verdict="ok", found=found)


def _compiled(
    programs: Sequence[Program], jax: Jax | Silence | None, judgement: Judgement
) -> Check:
    if not isinstance(jax, Jax):
        found = "nothing was compiled"
        return Check(name="programs", verdict="unknown", found=found, advice=_NO_JAX)
    checks = [_one(program, jax, judgement.get(program.where)) for program in programs]
    verdict = heaviest(check.verdict for check in checks)
    if verdict == "ok":
        found = "; ".join(check.found for check in checks[:6])
        more = f"; and {len(checks) - 6} more" if checks[6:] else ""
        return Check(name="programs", verdict="ok", found=f"compiled: {found}{more}")
    heavy = [check for check in checks if check.verdict == verdict]
    more = f" (and {len(heavy) - 1} more like it)" if heavy[1:] else ""
    return Check(
        name="programs",
        verdict=verdict,
        found=heavy[0].found + more,
        advice=heavy[0].advice,
    )


def _one(program: Program, jax: Jax, judged: Judged | Silence | None) -> Check:
    name = "programs"
    if is_foreign(program, jax):
        found = f"{program.label} is not for {jax.platform}, so it was not compiled"
        return Check(name=name, verdict="unknown", found=found, advice="see platform")
    if judged is None:
        found = f"{program.label} was not compiled"
        return Check(name=name, verdict="unknown", found=found, advice="see the lines above")
    if isinstance(judged, Silence):
        check = unanswered(name, judged)
        found = f"{program.label}: {check.found}"
        return Check(name=name, verdict=check.verdict, found=found, advice=check.advice)
    if judged.refused:
        found = f"{program.label} is not trusted, so it was not compiled"
        return Check(name=name, verdict="unknown", found=found, advice="see custom calls")
    if judged.problem:
        return refusal(name, judged.problem)
    if judged.estimate is None:
        found = f"{program.label} was not compiled"
        return Check(name=name, verdict="unknown", found=found, advice="see the lines above")
    sizes = ", ".join(f"{k}={v}" for k, v in judged.estimate.sizes.items())
    found = f"{program.label} with {sizes}" if sizes else program.label
    return Check(name=name, verdict="ok", found=found)
