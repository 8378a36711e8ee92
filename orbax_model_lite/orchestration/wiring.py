"""How the output of one stage becomes the input of the next; decided once, from signatures.

The rule: a tuple or list gives positional arguments, a dict keyword arguments, a single tensor one
positional argument. Keys of a dict that the next stage does not name are carried along and offered
by keyword to later stages. A stage whose one input is a container of just that kind gets the
output whole. `plan` decides and finds every wire that does not fit, with both sides;
`Step.arguments` applies the decision to values. Nothing here knows a framework.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, final

from orbax_model_lite.core.signature import Signature, format_tree
from orbax_model_lite.core.tree import Tree
from orbax_model_lite.orchestration.fitting import misfits


@final
@dataclass(frozen=True, slots=True)
class Carried:
    """A source of an argument: a key that an earlier stage left over."""

    key: str


@final
@dataclass(frozen=True, slots=True)
class Whole:
    """A source of an argument: everything that the stage before returned."""


WHOLE: Final = Whole()

Source: TypeAlias = int | str | Carried | Whole
"""Where an argument comes from: index or key of the output, the whole of it, or a carried key."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StageInterface:
    """What wiring needs to know of one stage.

    Attributes:
      name: Of the function.
      args: Positional inputs, without the weights.
      kwargs: Keyword inputs.
      outputs: The tree that it returns.
      parameter_names: Names of `args`, so that a key can fill one; None where unknown.
      optional: Names of inputs that may be left out.
    """

    name: str
    args: tuple[Tree, ...]
    kwargs: Mapping[str, Tree]
    outputs: Tree
    parameter_names: tuple[str | None, ...] = ()
    optional: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        name: str,
        signature: Signature,
        *,
        has_weights: bool = False,
        parameter_names: Sequence[str | None] = (),
        optional: frozenset[str] = frozenset(),
    ) -> StageInterface:
        """Returns the interface of a function; its first argument is dropped if it is the weights.

        Args:
          name: Of the function.
          signature: Of the function, weights included.
          has_weights: Whether the pipeline passes weights as the first argument.
          parameter_names: Of the positional arguments, weights included.
          optional: Names of inputs that may be left out.
        """
        first = 1 if has_weights else 0
        return cls(
            name=name,
            args=signature.args[first:],
            kwargs=signature.kwargs,
            outputs=signature.outputs,
            parameter_names=tuple(parameter_names)[first:],
            optional=optional,
        )

    def parameter_name(self, position: int) -> str | None:
        """Returns the name of a positional input, None where it has none."""
        return self.parameter_names[position] if position < len(self.parameter_names) else None

    def __str__(self) -> str:
        """Returns for example "f(x: float32 [b, 4], ids=int32 [b])"."""
        args = []
        for i, arg in enumerate(self.args):
            name = self.parameter_name(i)
            args.append(f"{name}: {format_tree(arg)}" if name else format_tree(arg))
        args += [f"{name}={format_tree(tree)}" for name, tree in self.kwargs.items()]
        return f"{self.name}({', '.join(args)})"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How one stage is called with what came before it.

    Attributes:
      args: Source of each positional argument.
      kwargs: Source of each keyword argument.
      kept: Keys of the output before that are carried on to later stages.
    """

    args: tuple[Source, ...] = ()
    kwargs: Mapping[str, Source] = field(default_factory=dict)
    kept: tuple[str, ...] = ()

    def arguments(
        self, output: Any, carried: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], Mapping[str, Any]]:
        """Returns (args, kwargs, what is carried on) for the stage.

        Args:
          output: What the stage before returned.
          carried: What earlier stages left over, by key; not changed.
        """
        args = tuple([_fetch(source, output, carried) for source in self.args])
        kwargs = {name: _fetch(source, output, carried) for name, source in self.kwargs.items()}
        if self.kept:
            carried = {**carried, **{key: output[key] for key in self.kept}}
        return args, kwargs, carried


def _fetch(source: Source, output: Any, carried: Mapping[str, Any]) -> Any:
    if isinstance(source, Carried):
        return carried[source.key]
    return output if isinstance(source, Whole) else output[source]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """Steps for the stages after the first, and every wire that does not fit.

    Attributes:
      steps: One for each stage but the first.
      problems: One for each wire: both stages, what is expected, what is given.
    """

    steps: tuple[Step, ...]
    problems: tuple[str, ...]


def plan(stages: Sequence[StageInterface]) -> Wiring:
    """Returns how the stages of a pipeline are wired; `problems` is empty when all fits."""
    steps: list[Step] = []
    problems: list[str] = []
    carried: dict[str, Tree] = {}
    left_by: dict[str, str] = {}
    for before, after in itertools.pairwise(stages):
        given = before.outputs if isinstance(before.outputs, dict) else {}
        problems += [
            f"stage {before.name!r}, output {key!r}: expected a key that is not yet on its way; "
            f"found it carried along from stage {left_by[key]!r}; rename one of the two"
            for key in sorted(given.keys() & carried.keys())
        ]
        step = connect(before.outputs, after, carried)
        problems += _problems(step, before, after, carried)
        steps.append(step)
        for key in step.kept:
            carried[key] = given[key]
            left_by[key] = before.name
    return Wiring(steps=tuple(steps), problems=tuple(problems))


def connect(output: Tree, after: StageInterface, carried: Mapping[str, Tree]) -> Step:
    """Returns the step that leads from an output to the next stage.

    Args:
      output: Specs of what the stage before returns.
      after: The stage to call.
      carried: Specs of what earlier stages left over, by key.
    """
    given: list[Source] = [WHOLE]
    named: dict[str, Source] = {key: Carried(key) for key in carried}
    if not _is_taken_whole(output, after):
        if isinstance(output, dict):
            named |= {key: key for key in output}
            given = _the_only_way(output, after)
        elif isinstance(output, (tuple, list)):
            given = list(range(len(output)))
    kwargs: dict[str, Source] = {}
    is_gap = False
    for position in range(len(given), len(after.args)):
        name = after.parameter_name(position)
        if name is None or name not in named:
            # What follows an input that keeps its default is passed by name.
            is_gap = name in after.optional
            if not is_gap:
                break
        elif is_gap:
            kwargs[name] = named[name]
        else:
            given.append(named[name])
    kwargs |= {name: named[name] for name in after.kwargs if name in named}
    used = {source for source in (*given, *kwargs.values()) if isinstance(source, str)}
    is_split = isinstance(output, dict) and WHOLE not in given
    kept = tuple(key for key in output if key not in used) if is_split else ()
    return Step(args=tuple(given), kwargs=kwargs, kept=kept)


def _is_taken_whole(output: Tree, after: StageInterface) -> bool:
    """Whether the stage has one input, a container of the same kind as the output."""
    if len(after.args) != 1 or after.kwargs:
        return False
    (only,) = after.args
    if isinstance(output, dict):
        return isinstance(only, dict) and after.parameter_name(0) not in output
    return isinstance(output, (tuple, list)) and type(only) is type(output)


def _the_only_way(output: dict[str, Tree], after: StageInterface) -> list[Source]:
    """Returns the one key for the one nameless input, where both are alone."""
    is_nameless = len(after.args) == 1 and after.parameter_name(0) is None and not after.kwargs
    return list(output) if is_nameless and len(output) == 1 else []


def _problems(
    step: Step, before: StageInterface, after: StageInterface, carried: Mapping[str, Tree]
) -> list[str]:
    """Returns one line for each input that is left open, superfluous or of another type."""
    head = f"wire {before.name!r} -> {after.name!r}"
    sides = f"{after}; {before.name!r} gives {format_tree(before.outputs)}" + (
        f", carried along are {', '.join(sorted(carried))}" if carried else ""
    )
    problems = []
    if len(step.args) > len(after.args):
        problems.append(
            f"{head}: expected {len(after.args)} positional inputs; found {len(step.args)}; {sides}"
        )
    wires: list[tuple[str, Tree, Source]] = []
    for i, want in enumerate(after.args):
        name = after.parameter_name(i) or str(i)
        if i < len(step.args):
            wires.append((name, want, step.args[i]))
        elif name in step.kwargs:
            wires.append((name, want, step.kwargs[name]))
        elif name not in after.optional:
            problems.append(
                f"{head}, input {name!r}: expected {format_tree(want)}; found nothing; {sides}"
            )
    for name, want in after.kwargs.items():
        if name in step.kwargs:
            wires.append((name, want, step.kwargs[name]))
        elif name not in after.optional:
            problems.append(
                f"{head}, input {name!r}: expected {format_tree(want)}; found nothing; {sides}"
            )
    for name, want, source in wires:
        have = _fetch(source, before.outputs, carried)
        problems += [f"{head}, input {name!r}{misfit}" for misfit in misfits(want, have)]
    return problems
