"""Constants that a function carries in its module: how much is too much.

Arrays that a function closes over end up in the module, where they cannot be loaded apart, sharded
or replaced. Making them weights is in `hoisting`.
"""

from __future__ import annotations

import warnings

from orbax_model_lite.core.module_facts import ModuleFacts
from orbax_model_lite.errors import InvalidModelError

WARN_BYTES = 1_000_000
"""Above this, constants are worth a warning."""

REFUSE_BYTES = 64_000_000
"""Above this, they are refused unless asked for."""


class LargeConstantsWarning(UserWarning):
    """A module holds more than a megabyte of constants."""


def check_constants(
    facts: ModuleFacts, *, allow_large: bool = False, where: str = "function", stacklevel: int = 2
) -> None:
    """Warns of a module with more than 1 MB of constants, and refuses one with more than 64 MB.

    Args:
      facts: Of the module.
      allow_large: Whether more than 64 MB is only worth the warning too.
      where: First words of the message: which function.
      stacklevel: Of the warning, as in `warnings.warn`, seen from the caller of this.

    Raises:
      InvalidModelError: If there are more than 64 MB and `allow_large` is false.
    """
    size = facts.constant_bytes
    if size <= WARN_BYTES:
        return
    largest = facts.largest_constants[0] if facts.largest_constants else None
    found = f"{size / 1e6:.1f} MB" + (f", the largest of them {largest}" if largest else "")
    remedy = "make them weights with jax2obm.hoist_constants"
    if size > REFUSE_BYTES and not allow_large:
        raise InvalidModelError(
            f"{where}: expected at most {REFUSE_BYTES / 1e6:.0f} MB of constants in the graph; "
            f"found {found}; {remedy}, or pass allow_large_constants=True"
        )
    warnings.warn(
        f"{where}: expected at most {WARN_BYTES / 1e6:.0f} MB of constants in the graph; found "
        f"{found}; {remedy}",
        LargeConstantsWarning,
        stacklevel=stacklevel + 1,
    )
