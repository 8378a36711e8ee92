"""Reads an MLIR module into programs, once and in time linear in its operations.

Each operation meets its builder here, and everything that cannot be lifted is collected, so that it
can be told at once. The functions of a module are read one after the other from a list of those
that are called, so the depth of their nesting does not matter.
"""

from __future__ import annotations

from collections import Counter
from typing import final

from jaxlib.mlir import ir

from orbax_model_lite.errors import UnsupportedError, unknown_name
from orbax_model_lite.lift.call_graph import CallGraph
from orbax_model_lite.lift.folding import folder_of
from orbax_model_lite.lift.operation import Operation, Options
from orbax_model_lite.lift.operations.resources import resources
from orbax_model_lite.lift.problems import Coverage, NotLiftable, Problem, too_deep
from orbax_model_lite.lift.program import Block, Program, Step
from orbax_model_lite.lift.table import handler_of
from orbax_model_lite.lift.types import TensorType, tensor_type
from orbax_model_lite.stablehlo.module import functions

_ENDS = ("func.return", "stablehlo.return", "sdy.return")


@final
class ModuleReader:
    """Reads the functions of one module that are reached from an entry.

    Args:
      module: Parsed.
      options: How it is lifted.
      where: First words of an error message.
    """

    def __init__(self, module: ir.Module, *, options: Options, where: str) -> None:
        """Finds the functions; none is read yet."""
        self.options = options
        self._module = module
        self._functions = functions(module)
        self._resources: dict[str, bytes] | None = None
        self._where = where
        self._programs: dict[str, Program] = {}
        self._waiting: list[str] = []
        self._operations = Counter[str]()
        self._problems: list[Problem] = []
        self._graph = CallGraph()
        self._current = ""

    def read(self, entry: str) -> Program:
        """Returns the program of a function, with all that it calls.

        Raises:
          UnknownNameError: If the module has no such function.
          UnsupportedError: If the function is only declared, nests regions too deep, or calls
            make it endless or astronomic.
        """
        if entry not in self._functions:
            raise unknown_name("function", entry, self._functions)
        if not len(self._functions[entry].regions[0].blocks):
            raise UnsupportedError(
                f"{self._where}: expected a function with a body; found that {entry!r} is only "
                "declared; name one that the module defines"
            )
        program = self.program(entry)
        while self._waiting:
            symbol = self._waiting.pop()
            self._current = symbol
            self._graph.enter(symbol)
            try:
                _FunctionReader(self, self._programs[symbol]).read(self._functions[symbol])
            except RecursionError as e:
                raise too_deep(f"{self._where}, function {symbol!r}") from e
        self._graph.require_finite(self._where)
        return program

    def coverage(self) -> Coverage:
        """Returns what has been read, and what of it cannot be lifted."""
        return Coverage(operations=dict(self._operations), problems=tuple(self._problems))

    def program(self, symbol: str, *, is_called: bool = True) -> Program:
        """Returns the program of a function, which is filled before `read` returns."""
        if symbol not in self._functions:
            raise NotLiftable(f"a call of {symbol!r}, which the module does not have")
        if not len(self._functions[symbol].regions[0].blocks):
            raise NotLiftable(f"a call of {symbol!r}, which the module only declares")
        if self._current and is_called:
            self._graph.note_call(self._current, symbol)
        if symbol not in self._programs:
            self._programs[symbol] = Program(name=symbol)
            self._waiting.append(symbol)
        return self._programs[symbol]

    def function(self, symbol: str) -> ir.Operation:
        """Returns a function of the module as MLIR has it."""
        if symbol not in self._functions:
            raise NotLiftable(f"no function {symbol!r} in the module")
        return self._functions[symbol]

    def resource(self, name: str) -> bytes | None:
        """Returns the bytes of a resource of the module; None if it has no such resource."""
        if self._resources is None:
            self._resources = resources(self._module)
        return self._resources.get(name)

    def count(self, name: str) -> None:
        """Notes an operation."""
        self._operations[name] += 1
        self._graph.note_operation(self._current)

    def note(self, problem: Problem) -> None:
        """Notes an operation that cannot be lifted."""
        self._problems.append(problem)


@final
class _FunctionReader:
    """Reads one function; numbers its values."""

    def __init__(self, module: ModuleReader, program: Program) -> None:
        self._module = module
        self._program = program
        self._slots: dict[ir.Value, int] = {}
        self._types: dict[ir.Type, TensorType | None] = {}

    def read(self, function: ir.Operation) -> None:
        self._program.body = self._block(function.regions[0].blocks[0])
        self._program.slots = len(self._slots)
        ends = function.regions[0].blocks[0].operations
        self._program.result_types = [self._type_of(v) for v in ends[len(ends) - 1].operands]

    def _slot(self, value: ir.Value) -> int:
        return self._slots.setdefault(value, len(self._slots))

    def _block(self, block: ir.Block) -> Block:
        found = Block(
            parameters=[self._slot(argument) for argument in block.arguments],
            parameter_types=[self._type_of(argument) for argument in block.arguments],
        )
        own = set(found.parameters)
        used: list[int] = []
        for view in block.operations:
            operation = view.operation
            if operation.name in _ENDS:
                found.results = [self._slot(operand) for operand in operation.operands]
                used.extend(found.results)
                break
            step = self._step(operation)
            if step is not None:
                found.steps.append(step)
                own.update(step.outputs)
                used.extend(_read_by(step))
        found.captured = frozenset(used) - own
        _note_drops(found, own)
        return found

    def _step(self, inner: ir.Operation) -> Step | None:
        """Returns the step of an operation; None if it cannot be lifted, which is noted."""
        self._module.count(inner.name)
        regions = [self._block(region.blocks[0]) for region in inner.regions if len(region.blocks)]
        inputs = [self._slot(operand) for operand in inner.operands]
        outputs = [self._slot(result) for result in inner.results]
        operation = Operation(
            name=inner.name,
            inner=inner,
            operand_types=[self._type_of(operand) for operand in inner.operands],
            result_types=[self._type_of(result) for result in inner.results],
            regions=regions,
            around=self._module,
        )
        try:
            handler = handler_of(operation.name)
            run = handler.build(operation)
            if handler.also_reads is not None:
                inputs.extend(map(self._slot, handler.also_reads(inner)))
        except NotLiftable as e:
            self._note(operation, str(e))
            return None
        except (ir.MLIRError, LookupError, ValueError, TypeError) as e:
            # The bindings raise these for an attribute of a form that no known writer gives it.
            self._note(operation, f"attributes of an unknown form: {str(e).partition(chr(10))[0]}")
            return None
        is_call = isinstance(run, Program)
        return Step(
            name=operation.name,
            run=None if is_call else run,
            callee=run if is_call else None,
            inputs=inputs,
            outputs=outputs,
            result_types=operation.result_types,
            regions=regions,
            keeps_known=handler.keeps_known,
            fold=folder_of(operation),
        )

    def _type_of(self, value: ir.Value) -> TensorType | None:
        if value.type not in self._types:
            self._types[value.type] = self._new_type(value.type)
        return self._types[value.type]

    def _new_type(self, type_: ir.Type) -> TensorType | None:
        try:
            return tensor_type(type_)
        except NotLiftable as e:
            self._module.note(Problem(operation=str(type_), scope="", reason=str(e)))
            return None

    def _note(self, operation: Operation, reason: str) -> None:
        problem = Problem(operation=operation.label, scope=operation.scope, reason=reason)
        self._module.note(problem)


def _note_drops(block: Block, own: set[int]) -> None:
    """Notes for each step which of the block's own values nothing reads after it."""
    kept = set(block.results)
    for step in reversed(block.steps):
        # Not `own - kept`, which takes time for each value of the block at each step of it.
        touched = {*step.outputs, *_read_by(step)}
        last = {slot for slot in touched if slot in own and slot not in kept}
        step.drops = sorted(last)
        kept |= last


def _read_by(step: Step) -> list[int]:
    inner = [slot for block in step.regions for slot in block.captured]
    return [*step.inputs, *inner]
