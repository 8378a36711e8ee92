"""StableHLO forms of opaque functions: inside the function in memory, objects beside it on disk.

One record for the whole bundle says which object is whose form, and why other functions have none.
Nobody sees the record or those objects in memory; a reader that does not know the record finds one
more function in the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from orbax_model_lite._proto.bundle_info_pb2 import Lowerings
from orbax_model_lite.core import layout, records
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.function import (
    Lowering,
    OpaqueFunction,
    PolymorphicFunction,
    ShloFunction,
)
from orbax_model_lite.core.graft import keep_unknown
from orbax_model_lite.core.object_names import free_name
from orbax_model_lite.core.value import Object
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError

_WHERE = f"supplemental {layout.KEY_LOWERINGS!r}"


def is_ours(data: Data) -> bool:
    """Whether a supplemental of the bundle is this record."""
    return data.mime_type == layout.MIME_LOWERINGS


def attached(objects: Mapping[str, Object], raw: bytes) -> dict[str, Object]:
    """Returns objects with each form inside its function, and no longer beside it.

    A record about a function that is gone, or is no longer opaque, is left out.

    Args:
      objects: By name, forms included.
      raw: The record.

    Raises:
      InvalidBundleError: If the record does not parse, or a form is not there or is no StableHLO.
    """
    found = dict(objects)
    for name, entry in sorted(records.parsed(Lowerings(), raw, _WHERE).functions.items()):
        function = objects.get(name)
        if not isinstance(function, OpaqueFunction):
            continue
        form = None
        if entry.object_name:
            form = _form(objects.get(entry.object_name), name, entry.object_name)
            found.pop(entry.object_name, None)
        lowering = Lowering(
            function=form,
            reason=entry.reason,
            operation=entry.operation,
            object_name=entry.object_name,
        )
        found[name] = replace(function, lowering=lowering)
    return {name: found[name] for name in sorted(found)}


def detached(
    objects: Mapping[str, Object],
) -> tuple[dict[str, Object], dict[str, Lowering]]:
    """Returns objects with each form beside its function, and what to record about them.

    Args:
      objects: By name, forms inside their functions.

    Returns:
      The objects of the manifest, and by name of an opaque function its lowering, whose
      `object_name` is settled and whose `function` is in the objects.

    Raises:
      InvalidModelError: If a variant of a polymorphic function has a lowering, which the record
        has no place for.
    """
    found = dict(objects)
    forms: dict[str, Lowering] = {}
    for name in sorted(objects):
        function = objects[name]
        if isinstance(function, PolymorphicFunction):
            _require_none(function, name)
        if not isinstance(function, OpaqueFunction) or function.lowering is None:
            continue
        lowering, key = function.lowering, ""
        if lowering.function is not None:
            key = free_name(lowering.object_name or layout.lowered_name(name), found)
            found[key] = lowering.function
        forms[name] = replace(lowering, object_name=key)
        found[name] = replace(function, lowering=None)
    return found, forms


def encode(forms: Mapping[str, Lowering], before: bytes = b"") -> Data | None:
    """Returns the record of some lowerings; None when there are none.

    Args:
      forms: By name of the opaque function.
      before: The record that was read, whose unknown fields are kept.
    """
    if not forms:
        return None
    record = Lowerings()
    for name, lowering in forms.items():
        entry = record.functions[name]
        entry.object_name = lowering.object_name
        entry.reason = lowering.reason
        entry.operation = lowering.operation
    keep_unknown(Lowerings.FromString(before), record)
    return records.to_data(record, layout.MIME_LOWERINGS)


def _form(found: Object | None, name: str, form_name: str) -> ShloFunction | PolymorphicFunction:
    variants = found.functions if isinstance(found, PolymorphicFunction) else (found,)
    if all(isinstance(variant, ShloFunction) for variant in variants):
        assert isinstance(found, ShloFunction | PolymorphicFunction)
        return found
    kind = "nothing of that name" if found is None else f"a {type(found).__name__}"
    raise InvalidBundleError(
        f"{_WHERE}: expected object {form_name!r} to be the StableHLO form of function {name!r}; "
        f"found {kind}; the bundle is damaged, save it again"
    )


def _require_none(function: PolymorphicFunction, name: str) -> None:
    for index, variant in enumerate(function.functions):
        if isinstance(variant, OpaqueFunction) and variant.lowering is not None:
            raise InvalidModelError(
                f"function {name!r}, variant {index}: expected no StableHLO form of its own; found "
                "one; add the form to the variants of the polymorphic function instead"
            )
