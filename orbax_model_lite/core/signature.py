"""What a function takes and gives: two plain trees of specs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from orbax_model_lite import _lazy
from orbax_model_lite.core.spec import Leaf, Spec, dim_names
from orbax_model_lite.core.tree import Path, Tree, flatten_with_path, leaves

_MOST_LEAVES = 6


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Inputs and outputs of a function, as plain trees whose leaves are `Spec` or `Token`.

    Attributes:
      inputs: By the format's habit a pair `(args, kwargs)`: a tuple and a dict. A foreign bundle
        may hold another tree; then `has_call_form` is False.
      outputs: The tree that the function returns.
    """

    inputs: Tree
    outputs: Tree

    @classmethod
    def of_call(
        cls, args: tuple[Tree, ...], kwargs: Mapping[str, Tree], outputs: Tree
    ) -> Signature:
        """Returns the signature of a function called as `f(*args, **kwargs)`."""
        return cls(inputs=(tuple(args), dict(kwargs)), outputs=outputs)

    @property
    def has_call_form(self) -> bool:
        """Whether the inputs are a pair of a tuple and a dict."""
        match self.inputs:
            case (tuple(), dict()):
                return True
        return False

    @property
    def args(self) -> tuple[Tree, ...]:
        """Positional arguments; the whole input tree as one argument without call form."""
        return self.inputs[0] if self.has_call_form else (self.inputs,)

    @property
    def kwargs(self) -> dict[str, Tree]:
        """Keyword arguments by name."""
        return self.inputs[1] if self.has_call_form else {}

    @property
    def input_leaves(self) -> list[Leaf]:
        """Input leaves in flatten order, which is the module's argument order."""
        return leaves(self.inputs)

    @property
    def output_leaves(self) -> list[Leaf]:
        """Output leaves in flatten order, which is the module's result order."""
        return leaves(self.outputs)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the symbolic dimensions of the inputs, in order of appearance."""
        names: dict[str, None] = {}
        for leaf in self.input_leaves:
            if isinstance(leaf, Spec):
                names.update(dict.fromkeys(dim_names(leaf.shape)))
        return tuple(names)

    @property
    def is_static(self) -> bool:
        """Whether every dimension of every input is a number."""
        return all(leaf.is_static for leaf in self.input_leaves if isinstance(leaf, Spec))

    def input_paths(self) -> list[tuple[Path, Leaf]]:
        """Returns (path, leaf) of the inputs; a path begins with the argument's index or name."""
        if not self.has_call_form:
            return flatten_with_path(self.inputs)
        positional = flatten_with_path(self.inputs[0])
        return positional + flatten_with_path(self.inputs[1])

    def __repr__(self) -> str:
        """Returns for example "<Signature (float32 [b, 4]) -> float32 [b, 3]>"."""
        return f"<Signature {brief(self)}>"

    def _repr_html_(self) -> str:
        """Returns inputs and outputs as trees, for a notebook."""
        return _lazy.load("orbax_model_lite.inspection.page.notebook:signature_html")(self)

    def __str__(self) -> str:
        """Returns a one-line form such as "(float32 [b, 4]) -> float32 [b, 3]"."""
        args = [format_tree(arg) for arg in self.args]
        args += [f"{name}={format_tree(tree)}" for name, tree in self.kwargs.items()]
        return f"({', '.join(args)}) -> {format_tree(self.outputs)}"


def brief(signature: Signature) -> str:
    """Returns a one-line form in which a large tree is only counted."""
    args = [_brief_tree(arg) for arg in signature.args]
    args += [f"{name}={_brief_tree(tree)}" for name, tree in signature.kwargs.items()]
    return f"({', '.join(args)}) -> {_brief_tree(signature.outputs)}"


def _brief_tree(tree: Tree) -> str:
    count = len(leaves(tree))
    return format_tree(tree) if count <= _MOST_LEAVES else f"{{{count} arrays}}"


def format_tree(tree: Any) -> str:
    """Returns a tree of specs on one line.

    >>> from orbax_model_lite.core.dtype import DType
    >>> format_tree({"a": (Spec(shape=("b", 2), dtype=DType.FLOAT32), None)})
    '{a: (float32 [b, 2], None)}'
    """
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{k}: {format_tree(v)}" for k, v in tree.items()) + "}"
    if isinstance(tree, tuple):
        inner = ", ".join(map(format_tree, tree))
        return f"({inner},)" if len(tree) == 1 else f"({inner})"
    if isinstance(tree, list):
        return "[" + ", ".join(map(format_tree, tree)) + "]"
    pairs = getattr(tree, "pairs", None)
    if pairs is not None:
        return "pairs(" + ", ".join(f"{k}: {format_tree(v)}" for k, v in pairs) + ")"
    return str(tree)
