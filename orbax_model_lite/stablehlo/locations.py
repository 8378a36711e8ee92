"""Locations of a module: file positions are removed, argument names and scopes stay.

JAX notes for every operation the call stack that made it, with paths of the author's machine.
Names of arguments and scopes (`jax.named_scope`, function names) live in the same place and nowhere
else. So the finished module is walked and every location is rebuilt without its positions; printing
and parsing again would lose the names, and JAX's own settings leave the paths of earlier traces in.
"""

from __future__ import annotations

# What jax.extend.mlir gives too; but who only reads names need not wait for JAX.
from jaxlib.mlir import ir

from orbax_model_lite.stablehlo.module import operations


def strip_file_positions(module: ir.Module, *, has_frames: bool | None = None) -> None:
    """Removes files, lines, columns and stack frames from a module, in place.

    Every operation and every block argument is visited. What stays of a location is its names: the
    argument's, or the scope such as "jit(f)/layer_1/dot_general".

    Args:
      module: Of any dialects.
      has_frames: Whether a name right above a file position is the name of a Python function on the
        call stack (and goes) or a scope (and stays). By default as JAX is configured to write them
        (`jax_include_full_tracebacks_in_locations`).
    """
    if has_frames is None:
        import jax

        # JAX defines its options at run time.
        has_frames = bool(jax.config.jax_include_full_tracebacks_in_locations)  # pyright: ignore[reportAttributeAccessIssue]
    names = _Names(module.context, has_frames=has_frames)
    for operation in operations(module):
        operation.location = names.of(operation.location)
        for region in operation.regions:
            for block in region:
                for argument in block.arguments:
                    argument.set_location(names.of(argument.location))


def scope_of(location: ir.Location) -> str:
    """Returns the outermost name in a location: a scope or an argument's name; "" without one."""
    if isinstance(location, ir.NameLoc):
        return location.name_str
    for part in _parts(location):
        found = scope_of(part)
        if found:
            return found
    return ""


class _Names:
    """Rebuilds locations without positions; every distinct location is rebuilt once."""

    def __init__(self, context: ir.Context, *, has_frames: bool) -> None:
        self._unknown = ir.Location.unknown(context)
        self._context = context
        self._has_frames = has_frames
        self._rebuilt: dict[ir.Attribute, ir.Location] = {}

    def of(self, location: ir.Location) -> ir.Location:
        key = location.attr
        if key not in self._rebuilt:
            self._rebuilt[key] = self._rebuild(location)
        return self._rebuilt[key]

    def _rebuild(self, location: ir.Location) -> ir.Location:
        if isinstance(location, ir.NameLoc):
            child = location.child_loc
            if self._has_frames and isinstance(child, ir.FileLineColLoc):
                return self._unknown
            return ir.Location.name(location.name_str, self.of(child), self._context)
        kept: list[ir.Location] = []
        for part in map(self.of, _parts(location)):
            if part != self._unknown and part not in kept:
                kept.append(part)
        if not kept:
            return self._unknown
        return kept[0] if len(kept) == 1 else ir.Location.fused(kept, context=self._context)


def _parts(location: ir.Location) -> list[ir.Location]:
    """Returns what a location is composed of; nothing for a position or an unknown one."""
    if isinstance(location, ir.CallSiteLoc):
        return [location.callee, location.caller]
    if isinstance(location, ir.FusedLoc):
        return [part for part in location.locations if isinstance(part, ir.Location)]
    return []
