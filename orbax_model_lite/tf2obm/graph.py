"""What a SavedModel runs, and when: found in its file, without TensorFlow and without running it.

Functions are walked from the signatures, and from everything that `tf.saved_model.load` runs by
itself: resources are created, initialized and destroyed, state is restored through saved functions,
and stateless operations on constants are evaluated as soon as any function is imported. The gate
that decides on these facts is `runtime.trust`.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, final

from orbax_model_lite._proto import saved_model_pb2
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import FileRange
from orbax_model_lite.errors import unknown_name
from orbax_model_lite.tf2obm.allowed_ops import ALLOWED_OPS, FILE_READERS, NEVER_EVALUATED
from orbax_model_lite.tf2obm.origins import Origin, Origins, is_inside
from orbax_model_lite.tf2obm.program import (
    ASSETS_FOLDER,
    OTHER_PROGRAM_FILES,
    PROGRAM_FILE,
    Program,
    attributes,
    called_functions,
    parse,
)

# Python classes that loading looks up by a name in the file. These only hold what they are given.
_KNOWN_CLASSES: Final = frozenset({"", "tf.StaticHashTable", "tf.TrackableConstant"})
_KNOWN_OBJECTS: Final = frozenset(
    {
        "_generic_user_object",
        "signature_map",
        "trackable_dict_wrapper",
        "trackable_list_wrapper",
        "trackable_tuple_wrapper",
    }
)
# What TensorFlow names the traces and captures of a function.
_FUNCTION_PARTS: Final = re.compile(r"(trace|capture)_\d+")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FileRead:
    """An operation that reads a file.

    Attributes:
      op: The operation.
      function: The library function that holds it.
      origin: Where the file's name comes from.
    """

    op: str
    function: str
    origin: Origin

    @property
    def is_own(self) -> bool:
        """Whether the file is an asset inside the SavedModel."""
        return self.origin.kind == "asset" and is_inside(self.origin.name)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFacts:
    """Everything that loading a SavedModel and calling its signatures may run.

    Attributes:
      ops: Operations, each with the library functions that hold it.
      load_ops: Those among them that loading alone runs.
      file_reads: Operations that read files, one for each possible origin of the name.
      assets: File names below the SavedModel's folder of assets.
      unfollowed: What the walk could not follow, as sentences; it may run anything.
    """

    ops: Mapping[str, tuple[str, ...]]
    load_ops: Mapping[str, tuple[str, ...]]
    file_reads: tuple[FileRead, ...] = ()
    assets: tuple[str, ...] = ()
    unfollowed: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One reason not to hand a SavedModel to TensorFlow.

    Attributes:
      op: The operation that a caller may grant; "" when no grant helps.
      reason: What was found, and where.
    """

    op: str
    reason: str

    def __str__(self) -> str:
        """Returns the reason."""
        return self.reason


def reachable(content: bytes, signatures: Iterable[str] | None = None) -> GraphFacts:
    """Returns what loading a SavedModel and calling some of its signatures may run.

    Args:
      content: The bytes of its `saved_model.pb`.
      signatures: Keys of the signatures that will be called; None takes all.

    Raises:
      InvalidBundleError: If the bytes are not a SavedModel of TensorFlow 2.
      UnknownNameError: If it has no such signature.
    """
    program = parse(content)
    known = program.signatures()
    wanted = list(known) if signatures is None else list(signatures)
    for name in wanted:
        if name not in known:
            raise unknown_name("signature", name, known)
    loading = _Walk(program)
    _walk_load(loading)
    calling = _Walk(program)
    for name in wanted:
        calling.start(known[name], f"signature {name!r}")
    load_ops = loading.ops()
    ops = {
        op: tuple(dict.fromkeys((*load_ops.get(op, ()), *functions)))
        for op, functions in (load_ops | calling.ops()).items()
    }
    return GraphFacts(
        ops=ops,
        load_ops=load_ops,
        file_reads=_file_reads(program, ops),
        assets=program.assets,
        unfollowed=tuple(dict.fromkeys((*loading.unfollowed, *calling.unfollowed))),
    )


def refusals(
    bundle: Bundle, folder: str, *, allow: Collection[str] = frozenset()
) -> tuple[Refusal, ...]:
    """Returns the reasons not to load a SavedModel of a bundle; none means that it is harmless.

    Args:
      bundle: The bundle.
      folder: The SavedModel's folder, relative to the bundle.
      allow: Operations that are granted beyond those that compute only.

    Raises:
      InvalidBundleError: If the SavedModel is missing, damaged or not one of TensorFlow 2, or one
        of its assets is missing or outside the bundle.
      StorageError: If the file system refuses.
    """
    where = f"SavedModel {folder!r}"
    path = posixpath.join(folder, PROGRAM_FILE)
    others = _other_programs(bundle, folder)
    if others:
        return others
    facts = reachable(bundle.read_bytes(FileRange(path=path), where=where))
    for asset in facts.assets:
        bundle.resolve(posixpath.join(folder, ASSETS_FOLDER, asset), where=f"{where}, asset")
    found = [Refusal(op="", reason=sentence) for sentence in facts.unfollowed]
    granted = ALLOWED_OPS | frozenset(allow)
    for op, functions in sorted(facts.ops.items()):
        when = "run by loading it" if op in facts.load_ops else "run when it is called"
        if op not in granted and op not in FILE_READERS:
            found.append(Refusal(op=op, reason=f"{op} in function {functions[0]!r}, {when}"))
    for read in facts.file_reads:
        if not read.is_own and read.op not in granted:
            reason = f"{read.op} in function {read.function!r} reads a file outside: {read.origin}"
            found.append(Refusal(op=read.op, reason=reason))
    return tuple(found)


def _other_programs(bundle: Bundle, folder: str) -> tuple[Refusal, ...]:
    """Returns a refusal for each form of program but the one that is read here.

    Which form TensorFlow takes when there are several differs between its loaders and versions.
    """
    place = bundle.resolve(folder, where=f"SavedModel {folder!r}")
    return tuple(
        Refusal(op="", reason=f"a program in {name!r}, a form that only TensorFlow reads")
        for name in OTHER_PROGRAM_FILES
        if os.path.lexists(place / name)
    )


@final
@dataclass(slots=True)
class _Walk:
    """The functions reached so far, and the operations in them."""

    program: Program
    reached: dict[str, None] = field(default_factory=dict)
    extra: list[tuple[str, str]] = field(default_factory=list)
    unfollowed: list[str] = field(default_factory=list)

    def start(self, functions: Iterable[str], where: str) -> None:
        """Adds functions and all that they call."""
        names = list(functions)
        if not names:
            self.unfollowed.append(f"{where}, which leads to no function")
        pending = [(name, where) for name in names]
        while pending:
            name, origin = pending.pop()
            if name in self.reached:
                continue
            definition = self.program.functions.get(name)
            if definition is None:
                self.unfollowed.append(f"{origin} calls function {name!r}, which is not there")
                continue
            self.reached[name] = None
            here = f"function {name!r}"
            for node in definition.node_def:
                if node.op in self.program.functions:
                    pending.append((node.op, here))
                pending.extend((called, here) for called in called_functions(node))
                if _holds_handles(node):
                    self.unfollowed.append(f"{here} holds a constant that refers to other objects")
            if _implements(definition):
                # The runtime may put any other implementation of the same interface in its place.
                pending.extend(
                    (other, here) for other, d in self.program.functions.items() if _implements(d)
                )

    def ops(self) -> dict[str, tuple[str, ...]]:
        """Returns the operations but calls, each with the functions that hold it."""
        found: dict[str, dict[str, None]] = {}
        for name in self.reached:
            for node in self.program.functions[name].node_def:
                if node.op not in self.program.functions:
                    found.setdefault(node.op, {})[name] = None
        for op, name in self.extra:
            found.setdefault(op, {})[name] = None
        return {op: tuple(functions) for op, functions in found.items()}


def _walk_load(walk: _Walk) -> None:
    """Adds to a walk what `tf.saved_model.load` runs."""
    program = walk.program
    walk.unfollowed += [f"function {name!r} is defined more than once" for name in program.repeated]
    for index, node in enumerate(program.nodes):
        where = f"object {index}"
        if node.registered_name not in _KNOWN_CLASSES:
            walk.unfollowed.append(f"{where} is made by class {node.registered_name!r}")
        if node.slot_variables:
            walk.unfollowed.append(f"{where} is an optimizer, which makes variables as it likes")
        if node.registered_saver:
            walk.unfollowed.append(f"{where} is restored by {node.registered_saver!r}")
        kind = node.WhichOneof("kind")
        if kind == "user_object" and node.user_object.identifier not in _KNOWN_OBJECTS:
            walk.unfollowed.append(f"{where} is a {node.user_object.identifier!r}")
        for child in (*node.children, *node.dependencies):
            functions = program.functions_of(child.node_id)
            if functions and _is_method(child.local_name, kind):
                walk.start(functions, f"{where}, {child.local_name!r}")
        for name, saveable in node.saveable_objects.items():
            for function in (saveable.save_function, saveable.restore_function):
                walk.start(program.functions_of(function), f"{where}, state {name!r}")
    for name, definition in program.functions.items():
        if name not in walk.reached:
            walk.extra += [
                (node.op, name) for node in definition.node_def if _is_evaluated(node, program)
            ]


def _is_method(name: str, kind: str | None) -> bool:
    """Whether an attribute of this name may be a method that loading calls on such an object."""
    if name.startswith("_"):
        return name != "__call__"
    is_function = kind in {"function", "bare_concrete_function"}
    return kind != "user_object" and not (is_function and _FUNCTION_PARTS.fullmatch(name))


def _is_evaluated(node: saved_model_pb2.NodeDef, program: Program) -> bool:
    """Whether importing a function may evaluate this node, with an effect beyond computing."""
    harmless = ALLOWED_OPS | NEVER_EVALUATED
    return node.op not in harmless and node.op not in program.functions


def _file_reads(program: Program, ops: Mapping[str, tuple[str, ...]]) -> tuple[FileRead, ...]:
    if not FILE_READERS.keys() & ops.keys():
        return ()
    origins = Origins(program)
    found: dict[FileRead, None] = {}
    for op in sorted(FILE_READERS.keys() & ops.keys()):
        for function in ops[op]:
            for node in program.functions[function].node_def:
                if node.op == op:
                    for origin in sorted(
                        origins.of_input(function, node, FILE_READERS[op]), key=str
                    ):
                        found[FileRead(op=op, function=function, origin=origin)] = None
    return tuple(found)


def _holds_handles(node: saved_model_pb2.NodeDef) -> bool:
    return any(
        tensor.resource_handle_val or tensor.variant_val
        for value in attributes(node)
        for tensor in (value.tensor, *value.list.tensor)
    )


def _implements(definition: saved_model_pb2.FunctionDef) -> bool:
    return any(name.endswith("api_implements") for name in definition.attr)
