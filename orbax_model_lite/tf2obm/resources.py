"""The variables, tables and asset files that TensorFlow functions use, and who owns them.

A SavedModel keeps only what hangs on its root object. Here the root is chosen, or made from what
the functions captured, and what would be lost is named before anything is written.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.tf2obm.prepare import PreparedFunction

_HANDLES = ("handle", "resource_handle", "asset_path")
_OWNED_DTYPES = (tf.resource, tf.variant)


def root_of(functions: Mapping[str, PreparedFunction], resources: Any = None) -> Any:
    """Returns the object to save, on which everything hangs that the functions use.

    Args:
      functions: What will be saved, by name.
      resources: A `tf.Module`, which is saved itself, or any other trackable object, or a list or
        dict of them; None collects what the functions captured.

    Raises:
      InvalidModelError: If a function uses a variable or table that would not be saved, or a file
        is gone that is to be an asset; all of them are named.
    """
    root: Any = tf.Module() if resources is None else _holder(resources)
    tracked = {id(tensor) for each in _objects(root) for tensor in _handles(each)}
    missing = {
        id(tensor): (name, tensor)
        for name, function in functions.items()
        for tensor in function.concrete.captured_inputs
        if id(tensor) not in tracked and _may_have_owner(tensor)
    }
    tensors = [tensor for _, tensor in missing.values()]
    owners = _owners(tensors)
    lost = [
        f"function {name!r} uses {_describe(owners.get(id(tensor)))}"
        for name, tensor in missing.values()
        if (resources is not None if id(tensor) in owners else tensor.dtype in _OWNED_DTYPES)
    ]
    if lost:
        raise InvalidModelError(
            "trackable_resources: expected every variable and table of the functions; missing: "
            f"{'; '.join(lost)}; pass the tf.Module that owns them, or a list or dict of them"
        )
    if owners:
        root.resources = list({id(owner): owner for owner in owners.values()}.values())
    _require_assets(root)
    return root


def _holder(resources: Any) -> Any:
    is_root = isinstance(resources, tf.Module) and not hasattr(resources, "signatures")
    if is_root:
        return resources
    root: Any = tf.Module()
    root.resources = resources
    return root


def _objects(root: Any) -> list[Any]:
    """Returns everything that hangs on the root."""
    return list(tf.train.TrackableView(root).descendants())


def _require_assets(root: Any) -> None:
    """Checks that the files are there that will be copied; TensorFlow leaves out what is not."""
    assets = [each for each in _objects(root) if isinstance(each, tf.saved_model.Asset)]
    files = sorted({asset.asset_path.numpy().decode() for asset in assets})
    gone = [file for file in files if not tf.io.gfile.exists(file) or tf.io.gfile.isdir(file)]
    if gone:
        raise InvalidModelError(
            f"asset {', '.join(map(repr, gone))}: expected a file to copy into the bundle; found "
            "none; put it back, or make the table again from a file that exists"
        )


def _handles(trackable: Any) -> list[Any]:
    """Returns the tensors by which functions refer to an object."""
    if isinstance(trackable, tf.Variable):
        return [trackable.handle]
    if isinstance(trackable, tf.types.experimental.ConcreteFunction):
        return []
    return [t for t in (_attribute(trackable, name) for name in _HANDLES) if tf.is_tensor(t)]


def _attribute(trackable: Any, name: str) -> Any:
    # A property may belong to an object that is only half there, for example after deletion.
    try:
        return getattr(trackable, name, None)
    except (NotImplementedError, RuntimeError, ValueError):
        return None


def _may_have_owner(tensor: Any) -> bool:
    """Whether a captured tensor belongs to an object; others are plain constants."""
    if tensor.dtype in _OWNED_DTYPES:
        return True
    return tensor.dtype == tf.string and tensor.shape.rank == 0


def _owners(tensors: Iterable[Any]) -> dict[int, Any]:
    """Returns the trackable object that holds each tensor, by the tensor's id.

    Functions keep the tensors of tables and assets, not the objects; what refers to a tensor is
    known to the garbage collector only. TensorFlow's own messages find owners in the same way.
    """
    wanted = {id(tensor): tensor for tensor in tensors}
    if not wanted:
        return {}
    holders = [each for each in gc.get_referrers(*wanted.values()) if each is not wanted]
    namespaces = [each for each in holders if type(each) is dict]
    holders += gc.get_referrers(*namespaces) if namespaces else []
    found: dict[int, Any] = {}
    for holder in holders:
        if isinstance(holder, tf.__internal__.tracking.Trackable):
            for tensor in _handles(holder):
                if id(tensor) in wanted:
                    found.setdefault(id(tensor), holder)
    return {key: found[key] for key in wanted if key in found}


def _describe(owner: Any) -> str:
    if isinstance(owner, tf.Variable):
        return f"variable {owner.name!r} {owner.dtype.name} {owner.shape}"
    if isinstance(owner, tf.saved_model.Asset):
        return f"asset {owner.asset_path.numpy().decode()!r}"
    return (
        f"a {type(owner).__name__}" if owner is not None else "a resource that is deleted already"
    )
