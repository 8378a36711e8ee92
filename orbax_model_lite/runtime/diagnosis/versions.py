"""Checks of versions: Python, this package, frameworks.

What is here is compared with what wrote the bundle and with what is known to work; what is missing
is named with the line that installs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orbax_model_lite.runtime.diagnosis.asking import Jax, Silence, TensorFlow, unanswered
from orbax_model_lite.runtime.diagnosis.checks import Check, listed
from orbax_model_lite.runtime.diagnosis.machine import Machine
from orbax_model_lite.runtime.diagnosis.needs import Needs
from orbax_model_lite.runtime.diagnosis.requirements import (
    EXTRAS,
    PYTHON,
    SUPPORTED,
    Range,
    is_older,
    pip_line,
    required,
)

_JAX_THAT_NEEDS_NEWER_PYTHON = ("0.12", "3.12")


def version_checks(
    machine: Machine,
    needs: Needs,
    jax: Jax | Silence | None,
    tensorflow: TensorFlow | Silence | None,
) -> Iterator[Check]:
    """Yields a check for each version that matters.

    Args:
      machine: Where the bundle is to be loaded.
      needs: What it needs.
      jax: What a new process says; None where it was not asked.
      tensorflow: The same.
    """
    yield _python(machine, needs)
    yield _ours(machine, needs)
    yield _jax(machine, needs, jax)
    if needs.needs_jax and "jaxlib" in machine.versions:
        yield _jaxlib(machine, needs)
    yield _tensorflow(machine, needs, tensorflow)
    yield _protobuf(machine, needs)
    yield _package("numpy", machine, needs)
    yield _reader(machine, needs)
    yield _extras(missing_packages(machine, needs))


def missing_packages(machine: Machine, needs: Needs) -> list[str]:
    """Returns the packages that a load or a call would look for in vain."""
    wanted = ["jax", "jaxlib"] if needs.needs_jax else []
    wanted += ["tensorstore"] if needs.has_checkpoint else []
    wanted += ["tensorflow"] if needs.tensorflow else []
    return [package for package in wanted if package not in machine.versions]


def _python(machine: Machine, needs: Needs) -> Check:
    found = _compared(machine.python, needs.written_with.get("python"))
    found = f"{found}; {machine.system}"
    if machine.python not in Range(PYTHON):
        older = Range(PYTHON).is_below(machine.python)
        return Check(
            name="python",
            verdict="problem" if older else "unknown",
            found=f"{found}; expected {_spoken(PYTHON)}",
            advice=f"use a Python {_spoken(PYTHON)}, for which this package is tested",
        )
    return Check(name="python", verdict="ok", found=found)


def _ours(machine: Machine, needs: Needs) -> Check:
    name = "orbax_model_lite"
    have, wrote = machine.versions.get(name, "0"), needs.written_with.get(name)
    found = _compared(have, wrote)
    if wrote and is_older(have, wrote):
        return Check(
            name=name,
            verdict="note",
            found=found,
            advice="what this version does not know is kept and not used; upgrade it to use all",
        )
    return Check(name=name, verdict="ok", found=found)


def _jax(machine: Machine, needs: Needs, jax: Jax | Silence | None) -> Check:
    if not needs.needs_jax:
        return _not_needed("jax", machine)
    check = _package("jax", machine, needs)
    if check.verdict == "problem":
        return check
    if isinstance(jax, Silence):
        return unanswered("jax", jax)
    wrote = needs.written_with.get("jax")
    if check.verdict == "ok" and wrote and is_older(machine.versions["jax"], wrote):
        advice = f'if a program below does not compile: pip install "jax>={wrote}"'
        jax_line, python_line = _JAX_THAT_NEEDS_NEWER_PYTHON
        if not is_older(wrote, jax_line) and is_older(machine.python, python_line):
            advice += f", which needs Python {python_line}"
        return Check(name="jax", verdict="note", found=f"{check.found}, newer", advice=advice)
    return check


def _jaxlib(machine: Machine, needs: Needs) -> Check:
    have = machine.versions["jaxlib"]
    found = _compared(have, needs.written_with.get("jaxlib"))
    wanted = required(machine.requires.get("jax", ()), "jaxlib")
    if wanted is not None and have not in wanted:
        jax = machine.versions.get("jax", "")
        return Check(
            name="jaxlib",
            verdict="problem",
            found=f"{found}; jax {jax} expects {wanted.text}",
            advice=f'pip install --upgrade "jax=={jax}"',
        )
    return Check(name="jaxlib", verdict="ok", found=found)


def _tensorflow(machine: Machine, needs: Needs, tensorflow: TensorFlow | Silence | None) -> Check:
    wants = listed(needs.tensorflow)
    if not needs.tensorflow:
        if needs.partly_tensorflow and "tensorflow" not in machine.versions:
            return Check(
                name="tensorflow",
                verdict="note",
                found=f"not installed; {listed(needs.partly_tensorflow)} need it for sizes that "
                "their StableHLO form does not take",
                advice=f"for those sizes: {pip_line(['tf'])}",
            )
        return _not_needed("tensorflow", machine)
    check = _package("tensorflow", machine, needs)
    if check.verdict == "problem":
        return Check(
            name=check.name,
            verdict=check.verdict,
            found=f"{check.found}; needed by {wants}",
            advice=check.advice,
        )
    if isinstance(tensorflow, Silence):
        return unanswered("tensorflow", tensorflow)
    if tensorflow is not None and tensorflow.problem:
        return Check(
            name="tensorflow",
            verdict="problem",
            found=f"{check.found}, but importing it fails: {tensorflow.problem}",
            advice=f"install it again, with a protobuf that it takes: {pip_line(['tf'])}",
        )
    have, wrote = machine.versions["tensorflow"], needs.written_with.get("tensorflow")
    if check.verdict == "ok" and wrote and is_older(have, wrote):
        return Check(
            name="tensorflow",
            verdict="note",
            found=f"{check.found}, newer; needed by {wants}",
            advice=f'it promises to read older files only: pip install "tensorflow>={wrote}"',
        )
    return Check(
        name=check.name,
        verdict=check.verdict,
        found=f"{check.found}; needed by {wants}",
        advice=check.advice,
    )


def _protobuf(machine: Machine, needs: Needs) -> Check:
    check = _package("protobuf", machine, needs)
    have = machine.versions.get("protobuf")
    wanted = required(machine.requires.get("tensorflow", ()), "protobuf")
    if needs.tensorflow and have and wanted is not None and have not in wanted:
        return Check(
            name="protobuf",
            verdict="problem",
            found=f"{check.found}; tensorflow {machine.versions['tensorflow']} expects "
            f"{wanted.text}",
            advice=f'pip install "protobuf{wanted.text}"',
        )
    return check


def _reader(machine: Machine, needs: Needs) -> Check:
    if not needs.weights:
        return Check(name="weights reader", verdict="ok", found="no weights to read")
    if not needs.has_checkpoint:
        found = "SafeTensors, read by orbax_model_lite itself"
        return Check(name="weights reader", verdict="ok", found=found)
    have = machine.versions.get("tensorstore")
    wrote = needs.written_with.get("orbax-checkpoint")
    wrote = f"; written with orbax-checkpoint {wrote}" if wrote else ""
    if have is None:
        return Check(
            name="weights reader",
            verdict="problem",
            found=f"tensorstore, which reads Orbax checkpoints, is not installed{wrote}",
            advice=pip_line(["jax"]),
        )
    found = f"tensorstore {have} reads the Orbax checkpoint{wrote}"
    return Check(name="weights reader", verdict="ok", found=found)


def _extras(missing: Sequence[str]) -> Check:
    if not missing:
        return Check(name="extras", verdict="ok", found="none is missing")
    return Check(
        name="extras",
        verdict="problem",
        found=f"not installed: {', '.join(missing)}",
        advice=pip_line(EXTRAS[package] for package in missing),
    )


def _package(name: str, machine: Machine, needs: Needs) -> Check:
    """Returns the check of a package that is needed, against what this package supports."""
    have, wrote = machine.versions.get(name), needs.written_with.get(name)
    line = pip_line([EXTRAS[name]]) if name in EXTRAS else "pip install --upgrade orbax-model-lite"
    if have is None:
        found = f"not installed{f'; written with {wrote}' if wrote else ''}"
        return Check(name=name, verdict="problem", found=found, advice=line)
    found, supported = _compared(have, wrote), Range(SUPPORTED[name])
    if have in supported:
        return Check(name=name, verdict="ok", found=found)
    is_below = supported.is_below(have)
    return Check(
        name=name,
        verdict="problem" if is_below else "unknown",
        found=f"{found}; expected {_spoken(supported.text)}",
        advice=line if is_below else f'if it fails: pip install "{name}{supported.text}"',
    )


def _not_needed(name: str, machine: Machine) -> Check:
    have = machine.versions.get(name)
    return Check(name=name, verdict="ok", found=f"not needed{f'; {have} is here' if have else ''}")


def _compared(have: str, wrote: str | None) -> str:
    return f"{have}; written with {wrote}" if wrote else have


def _spoken(text: str) -> str:
    """Returns a range as people say it: ">=0.10,<0.13" is "0.10 or newer, older than 0.13"."""
    low, _, high = text.partition(",")
    words = f"{low.removeprefix('>=')} or newer"
    return f"{words}, older than {high.removeprefix('<')}" if high else words
