"""Checks of where programs run: platform, number of devices, mesh, 64-bit types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orbax_model_lite.core.device import Device
from orbax_model_lite.runtime.diagnosis.asking import Jax, Judged, Judgement, Silence
from orbax_model_lite.runtime.diagnosis.checks import Check, listed, refusal
from orbax_model_lite.runtime.diagnosis.needs import Needs, Program, wide_types
from orbax_model_lite.runtime.diagnosis.requirements import JAX_FOR


def place_checks(
    needs: Needs,
    jax: Jax | Silence | None,
    judgement: Judgement,
    assigned: tuple[Device, ...] | None,
) -> Iterator[Check]:
    """Yields the checks of platform, devices and element types; none without programs.

    Args:
      needs: What the bundle needs.
      jax: What a new process has; None where JAX is not installed.
      judgement: What came of compiling the programs.
      assigned: The devices that the bundle records.
    """
    if not needs.programs:
        return
    yield _platform(needs, jax)
    yield _devices(needs, jax, judgement, assigned)
    wide = {p.label: types for p in needs.programs if (types := wide_types(p.function.signature))}
    if wide:
        yield _wide(wide, jax)


def is_foreign(program: Program, jax: Jax) -> bool:
    """Whether a program was not made for the platform at hand."""
    info = program.function.jax
    is_unchecked = info is not None and "platform" in info.disabled_checks
    return jax.platform not in program.function.platforms and not is_unchecked


def _platform(needs: Needs, jax: Jax | Silence | None) -> Check:
    wanted = {p.label: " ".join(p.function.platforms) for p in needs.programs}
    if not isinstance(jax, Jax):
        return Check(
            name="platform",
            verdict="unknown",
            found=f"programs are for {listed(sorted(set(wanted.values())))}; JAX cannot be asked "
            "what is here",
            advice="get JAX to start first, as said above",
        )
    foreign = [program for program in needs.programs if is_foreign(program, jax)]
    if not foreign:
        kinds = sorted(set(wanted.values()))
        found = f"{jax.platform} here; made for {listed(kinds)}"
        return Check(name="platform", verdict="ok", found=found)
    first = foreign[0]
    platforms = first.function.platforms
    ways = [f"pack it again with platforms=({jax.platform!r}, ...)"]
    if "cpu" in platforms:
        ways.insert(0, "run it on the CPU with JAX_PLATFORMS=cpu")
    elif platforms:
        lines = [f" ({JAX_FOR[name]})" if name in JAX_FOR else "" for name in platforms]
        there = [name + line for name, line in zip(platforms, lines, strict=True)]
        ways.insert(0, f"load it on a machine with {' or '.join(there)}")
    ways.append(f"or try model.lift({first.name!r}), which gives JAX code for any platform")
    return Check(
        name="platform",
        verdict="problem",
        found=f"{jax.platform} here; {listed([p.label for p in foreign])} made for "
        f"{' '.join(platforms) or 'none'} only",
        advice=", ".join(ways),
    )


def _devices(
    needs: Needs,
    jax: Jax | Silence | None,
    judgement: Judgement,
    assigned: tuple[Device, ...] | None,
) -> Check:
    most = max(needs.programs, key=lambda program: program.device_count)
    made = f"{most.label} was made on {_counted(most.device_count)}{_mesh(most)}"
    if not isinstance(jax, Jax):
        return Check(
            name="devices",
            verdict="unknown",
            found=f"{made}; JAX cannot be asked how many are here",
            advice="get JAX to start first, as said above",
        )
    here = len(jax.devices)
    found = f"{_counted(here)} ({jax.devices[0].kind if jax.devices else 'none'}) here; {made}"
    if most.device_count <= here:
        if jax.platform != "tpu" and any(device.coords is not None for device in assigned or ()):
            return Check(
                name="devices",
                verdict="note",
                found=f"{found}; the record says which TPUs by coordinates",
                advice="devices are taken in JAX's order; pass mesh=... to choose another",
            )
        return Check(name="devices", verdict="ok", found=found)
    judged = judgement.get(most.where)
    if isinstance(judged, Judged) and judged.estimate is not None:
        return Check(
            name="devices",
            verdict="note",
            found=f"{found}; load takes {judged.estimate.device_count} of them",
            advice=_more(most.device_count, jax),
        )
    if isinstance(judged, Judged) and judged.problem:
        told = refusal("devices", judged.problem)
        return Check(
            name="devices",
            verdict="problem",
            found=f"{found}; {told.found}",
            advice=_more(most.device_count, jax),
        )
    return Check(
        name="devices",
        verdict="unknown",
        found=f"{found}; whether it runs on fewer could not be tried",
        advice=_more(most.device_count, jax),
    )


def _more(count: int, jax: Jax) -> str:
    if jax.platform == "cpu":
        return f"for as many as it was made on: JAX_NUM_CPU_DEVICES={count} makes them of one CPU"
    return f"for as many as it was made on, load it on a machine with {count}"


def _wide(wide: Mapping[str, tuple[str, ...]], jax: Jax | Silence | None) -> Check:
    types = sorted({name for found in wide.values() for name in found})
    found = f"{', '.join(types)} in {listed(list(wide))}; called in 64-bit mode, whatever JAX's is"
    if isinstance(jax, Jax) and jax.platform == "tpu":
        return Check(
            name="64-bit types",
            verdict="note",
            found=found,
            advice="a TPU computes them with 32-bit units, slowly; pack it with 32-bit types",
        )
    return Check(name="64-bit types", verdict="ok", found=found)


def _mesh(program: Program) -> str:
    return f" ({', '.join(f'{name}={size}' for name, size in program.axes)})" * bool(program.axes)


def _counted(count: int) -> str:
    return "1 device" if count == 1 else f"{count:,} devices"
