"""Whether a tree of specs can be handed to an input: trees, ranks, sizes and dtypes compared."""

from __future__ import annotations

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.signature import format_tree
from orbax_model_lite.core.spec import Shape, Spec, Token
from orbax_model_lite.core.tree import (
    Tree,
    flatten_with_path,
    format_path,
    structure_differences,
)


def misfits(want: Tree, have: Tree) -> list[str]:
    """Returns one line for each leaf of `have` that an input of type `want` cannot take.

    A line begins with the path below the input (or nothing) and names both sides. Unknown ranks,
    unknown sizes and symbols fit everything that they may turn out to be.
    """
    if structure_differences(want, have):
        return [f": expected {format_tree(want)}; found {format_tree(have)}; change one side"]
    found = []
    for (path, expected), (_, given) in zip(
        flatten_with_path(want), flatten_with_path(have), strict=True
    ):
        if not _fits(expected, given):
            where = f".{format_path(path)}" if path else ""
            found.append(f"{where}: expected {expected}; found {given}; {_advice(expected, given)}")
    return found


def _fits(want: Spec | Token, have: Spec | Token) -> bool:
    if isinstance(want, Token) or isinstance(have, Token):
        return want == have
    is_same_type = want.dtype is have.dtype and want.logical == have.logical
    is_unknown = DType.UNSPECIFIED in (want.dtype, have.dtype)
    return (is_same_type or is_unknown) and _shapes_fit(want.shape, have.shape)


def _shapes_fit(want: Shape, have: Shape) -> bool:
    if want is None or have is None:
        return True
    if len(want) != len(have):
        return False
    return all(
        w == h for w, h in zip(want, have, strict=True) if isinstance(w, int) and isinstance(h, int)
    )


def _advice(want: Spec | Token, have: Spec | Token) -> str:
    if isinstance(want, Spec) and isinstance(have, Spec) and want.dtype is not have.dtype:
        return "cast in one of the two stages"
    return "reshape in one of the two stages"
