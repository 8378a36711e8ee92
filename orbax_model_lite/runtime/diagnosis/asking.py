"""The questions of a diagnosis to child processes, and their answers as nouns.

A child that sees programs of the bundle may crash, hang or be taken over: each of these is an
answer too, a `Silence`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeAlias, final

from orbax_model_lite.core.report import Finding
from orbax_model_lite.errors import ObmError, SignatureMismatchError
from orbax_model_lite.runtime import isolation as isolating
from orbax_model_lite.runtime.diagnosis.checks import Check, refusal
from orbax_model_lite.runtime.diagnosis.needs import Program
from orbax_model_lite.runtime.diagnosis.requirements import JAX_FOR
from orbax_model_lite.runtime.isolation import Isolation
from orbax_model_lite.runtime.trust import Trust

_MALFORMED = (AttributeError, KeyError, TypeError, ValueError)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Why a child process gave no answer.

    Attributes:
      message: What was expected, what was found, what to do.
      is_late: Whether it did not end in time, so that nothing is known.
      is_short: Whether it wanted more memory than it was granted, so that nothing is known either.
    """

    message: str
    is_late: bool = False
    is_short: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device as JAX has it; its memory in bytes, None where JAX does not tell."""

    kind: str
    memory_bytes: int | None = None
    memory_in_use_bytes: int | None = None

    def __post_init__(self) -> None:
        """Checks what came from a process that programs may meddle with."""
        _require(str, self.kind)
        _require(int | None, self.memory_bytes, self.memory_in_use_bytes)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Jax:
    """The JAX that a new process has.

    Attributes:
      version: As it says itself.
      platform: That it compiles for: "cpu", "cuda", "rocm", "tpu".
      devices: Of that platform.
      conventions: Oldest and newest calling convention that it calls.
      stablehlo_version: The newest that it reads.
      peak_bytes: The most memory of the process that has started it and compiled the programs.
    """

    version: str
    platform: str
    devices: tuple[Device, ...]
    conventions: tuple[int, int]
    stablehlo_version: str
    peak_bytes: int = 0

    def __post_init__(self) -> None:
        """Checks what came from a process that programs may meddle with."""
        _require(str, self.version, self.platform, self.stablehlo_version)
        _require(int, *self.conventions, self.peak_bytes)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFlow:
    """TensorFlow in a new process, and the gate before it.

    Attributes:
      problem: Why it cannot be imported; "" if it can.
      refused: What the gate says of the SavedModel; "" if it lets it pass.
      peak_bytes: The most memory of the process that has imported it.
    """

    problem: str = ""
    refused: str = ""
    peak_bytes: int = 0

    def __post_init__(self) -> None:
        """Checks what came from a process that programs may meddle with."""
        _require(str, self.problem, self.refused)
        _require(int, self.peak_bytes)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What XLA says of a compiled program; see `jax2obm.estimating`. Bytes are of one device."""

    device_count: int
    sizes: Mapping[str, int]
    argument_bytes: int
    weights_bytes: int
    output_bytes: int
    temporary_bytes: int
    code_bytes: int
    shared_bytes: int = 0

    def __post_init__(self) -> None:
        """Checks what came from a process that programs may meddle with."""
        numbers = [getattr(self, f.name) for f in fields(self) if f.name != "sizes"]
        _require(int, *numbers, *dict(self.sizes).values())
        _require(str, *dict(self.sizes))
        if min(numbers) < 0:
            raise ValueError(f"estimate: expected no negative numbers; found {self!r}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One program, as the child saw it.

    Attributes:
      stablehlo_version: That its module is written at; "" where it does not say.
      custom_calls: Target to number of calls.
      refused: What the gate says of the module; "" if it lets it pass.
      problem: Why it was not compiled; "" if it was, or was refused.
      weights_problem: Why the weights on disk are not those that it takes; "" if they are.
      estimate: What it takes; None if it was not compiled.
    """

    stablehlo_version: str = ""
    custom_calls: Mapping[str, int] = field(default_factory=dict)
    refused: str = ""
    problem: str = ""
    weights_problem: str = ""
    estimate: Estimate | None = None

    def __post_init__(self) -> None:
        """Checks what came from a process that programs may meddle with."""
        texts = (self.stablehlo_version, self.refused, self.problem, self.weights_problem)
        _require(str, *texts, *dict(self.custom_calls))


Judgement: TypeAlias = Mapping[str, Judged | Silence]
"""By the `where` of a program."""


def _require(kind: Any, *found: object) -> None:
    for value in found:
        if not isinstance(value, kind):
            raise TypeError(f"answer: expected {kind}; found {value!r}")


def unanswered(name: str, silence: Silence) -> Check:
    """Returns the check of a subject on which a child process said nothing."""
    is_unknown = silence.is_late or silence.is_short
    return refusal(name, silence.message, "unknown" if is_unknown else "problem")


def ask_tensorflow(
    path: str | os.PathLike[str], isolation: Isolation, trust: Trust, *, is_imported: bool
) -> TensorFlow | Silence:
    """Returns whether TensorFlow can be imported, and whether its gate lets the SavedModel pass."""
    request = {
        "task": "tensorflow",
        "path": str(Path(path).absolute()),
        "tf_ops": sorted(trust.tf_ops),
        "is_imported": is_imported,
    }
    found = _asked(request, isolation, {})
    if isinstance(found, Silence):
        return found
    try:
        return TensorFlow(**found)
    except _MALFORMED:
        return Silence(message=isolating.NO_ANSWER)


def ask_programs(
    path: str | os.PathLike[str],
    programs: Sequence[Program],
    isolation: Isolation,
    *,
    trust: Trust,
    sizes: Mapping[str, int],
    environment: Mapping[str, str],
) -> tuple[Jax | Silence, Judgement]:
    """Returns the JAX of a new process, and what that says of each program.

    If one of them ends the child, JAX is asked alone, and each function in a child of its own, so
    that it is known which one it was.

    Raises:
      SignatureMismatchError: If a program cannot have the sizes.
    """
    names = {program.name: program.weights for program in programs}
    request = {
        "task": "programs",
        "path": str(Path(path).absolute()),
        "functions": list(names.items()),
        "sizes": dict(sizes),
        "custom_calls": sorted(trust.custom_calls),
    }
    found = _asked(request, isolation, environment)
    if not isinstance(found, Silence):
        return _jax(found, environment), _judgement(found, programs)
    # No program is there to be limited, and too low a limit says nothing of JAX.
    roomy = replace(isolation, memory_bytes=max(isolation.memory_bytes, Isolation().memory_bytes))
    alone = _asked({**request, "functions": []}, roomy, environment)
    jax = alone if isinstance(alone, Silence) else _jax(alone, environment)
    if len(names) == 1 or found.is_late or isinstance(jax, Silence):
        return jax, {program.where: found for program in programs}
    judged: dict[str, Judged | Silence] = {}
    for name in names:
        own = [program for program in programs if program.name == name]
        judged |= _asked_alone(request, own, isolation, environment)
    return jax, judged


def _asked_alone(
    request: dict[str, Any],
    programs: Sequence[Program],
    isolation: Isolation,
    environment: Mapping[str, str],
) -> Judgement:
    """Returns what is said of the programs of one function in a child of its own."""
    functions = [(programs[0].name, programs[0].weights)]
    found = _asked({**request, "functions": functions}, isolation, environment)
    if isinstance(found, Silence):
        return {program.where: found for program in programs}
    return _judgement(found, programs)


def _jax(found: Mapping[str, Any], environment: Mapping[str, str]) -> Jax | Silence:
    try:
        facts = dict(found["jax"])
        if "problem" in facts:
            return Silence(message=_not_started(str(facts["problem"]), environment))
        devices = tuple(Device(**device) for device in facts.pop("devices"))
        low, high = facts.pop("conventions")
        return Jax(devices=devices, conventions=(low, high), **facts)
    except _MALFORMED:
        return Silence(message=isolating.NO_ANSWER)


def _not_started(problem: str, environment: Mapping[str, str]) -> str:
    wanted = {**os.environ, **environment}.get("JAX_PLATFORMS", "")
    on = f" on {wanted!r}" if wanted else ""
    line = JAX_FOR.get(wanted.partition(",")[0].strip(), "install it again")
    return (
        f"expected a JAX that starts{on}; found {problem}; {line}, or choose another platform "
        "(--platform, JAX_PLATFORMS)"
    )


def _judgement(found: Mapping[str, Any], programs: Sequence[Program]) -> Judgement:
    judged: dict[str, Judged | Silence] = {
        program.where: Silence(message=isolating.NO_ANSWER) for program in programs
    }
    try:
        for entry in found["programs"]:
            where, estimate = entry.pop("where"), entry.pop("estimate")
            made = None if estimate is None else Estimate(**estimate)
            judged[str(where)] = Judged(estimate=made, **entry)
    except _MALFORMED:
        return {program.where: Silence(message=isolating.NO_ANSWER) for program in programs}
    return judged


def _asked(
    request: dict[str, Any], isolation: Isolation, environment: Mapping[str, str]
) -> dict[str, Any] | Silence:
    try:
        found = isolating.ask(request, isolation, environment=environment)
    except SignatureMismatchError:
        raise  # The caller's mistake, not the bundle's.
    except ObmError as e:
        return Silence(message=str(e))
    if isinstance(found, Finding):
        is_limited = found.severity == "inconclusive"
        is_late = is_limited and found.message.endswith(isolating.MORE_TIME)
        return Silence(message=found.message, is_late=is_late, is_short=is_limited and not is_late)
    return found
