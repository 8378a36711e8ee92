"""Whether two regions of a module are the same program."""

from __future__ import annotations

from collections.abc import Callable

from jaxlib.mlir import ir

_SYMBOL = "callee"


def same_blocks(
    x: ir.Block, y: ir.Block, function: Callable[[str], ir.Operation] | None = None
) -> bool:
    """Returns whether two blocks do the same: operations, attributes and values all agree.

    Args:
      x: One block.
      y: Another one, which sees the same values around it.
      function: Returns a function of their module; functions of other names that do the same are
        then equal. Without it, only those of one name are.
    """
    return _Comparison(function).same(x, y)


class _Comparison:
    """Two programs side by side; values of one are paired with those of the other."""

    def __init__(self, function: Callable[[str], ir.Operation] | None) -> None:
        self._function = function
        self._pairs: dict[ir.Value, ir.Value] = {}
        self._callees: dict[tuple[str, str], bool] = {}

    def same(self, x: ir.Block, y: ir.Block) -> bool:
        if [a.type for a in x.arguments] != [a.type for a in y.arguments]:
            return False
        if len(x.operations) != len(y.operations):
            return False
        self._pairs.update(zip(x.arguments, y.arguments, strict=True))
        pairs = zip(x.operations, y.operations, strict=True)
        return all(self._same_operations(a.operation, b.operation) for a, b in pairs)

    def _same_operations(self, x: ir.Operation, y: ir.Operation) -> bool:
        same = x.name == y.name and self._same_attributes(x, y)
        same = same and [r.type for r in x.results] == [r.type for r in y.results]
        same = same and [self._pairs.get(o, o) for o in x.operands] == list(y.operands)
        if not same or len(x.regions) != len(y.regions):
            return False
        for a, b in zip(x.regions, y.regions, strict=True):
            if len(a.blocks) != len(b.blocks):
                return False
            if not all(self.same(*pair) for pair in zip(a.blocks, b.blocks, strict=True)):
                return False
        self._pairs.update(zip(x.results, y.results, strict=True))
        return True

    def _same_attributes(self, x: ir.Operation, y: ir.Operation) -> bool:
        mine, others = _attributes(x), _attributes(y)
        callees = mine.pop(_SYMBOL, None), others.pop(_SYMBOL, None)
        return mine == others and (callees[0] == callees[1] or self._same_callees(*callees))

    def _same_callees(self, x: ir.Attribute | None, y: ir.Attribute | None) -> bool:
        if self._function is None or x is None or y is None:
            return False
        names = ir.FlatSymbolRefAttr(x).value, ir.FlatSymbolRefAttr(y).value
        if names not in self._callees:
            # A cycle of calls is refused elsewhere; here it must only end.
            self._callees[names] = False
            functions = [self._function(name) for name in names]
            marks = [
                {k: v for k, v in _attributes(f).items() if k != "sym_name"} for f in functions
            ]
            blocks = [f.regions[0].blocks[0] for f in functions]
            inner = _Comparison(self._function)
            inner._callees = self._callees
            self._callees[names] = marks[0] == marks[1] and inner.same(*blocks)
        return self._callees[names]


def _attributes(operation: ir.Operation) -> dict[str, ir.Attribute]:
    return {name: operation.attributes[name] for name in operation.attributes}
