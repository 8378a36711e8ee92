"""Weights saved: a tree of arrays of any kind, or existing weights in the same or another format.

How a format lies on disk is in `checkpoint` and `safetensors`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from orbax_model_lite import _lazy
from orbax_model_lite.core.digests import FileDigest
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.storage import storage_errors
from orbax_model_lite.core.tree import Path as TreePath
from orbax_model_lite.core.tree import Tree, flatten_with_path, format_path, leaves, unflatten
from orbax_model_lite.errors import BundleExistsError, InvalidModelError, UnsupportedError
from orbax_model_lite.jax2obm.checkpoint.folder import locate, require_contained
from orbax_model_lite.jax2obm.weights import safetensors
from orbax_model_lite.jax2obm.weights.loading import load_weights
from orbax_model_lite.jax2obm.weights.matching import spec_of
from orbax_model_lite.jax2obm.weights.placement import to_host
from orbax_model_lite.jax2obm.weights.sources import is_safetensors, weights_spec


def save_weights(
    path: str | os.PathLike[str],
    weights: Tree | str | os.PathLike[str],
    *,
    format: Literal["orbax", "safetensors"] = "orbax",  # noqa: A002
    as_traced: bool = False,
    hashed: bool = False,
) -> dict[str, FileDigest]:
    """Writes weights without compression; those in SafeTensors always give the same bytes.

    The file system is not asked to make the files durable; whoever finishes the bundle does.

    Args:
      path: The folder ("orbax") or file ("safetensors") to make.
      weights: A plain tree of arrays: NumPy's, JAX's (sharded or not, typed PRNG keys as well) or
        Python numbers. Or the path of existing weights, which are copied, or converted where the
        format differs.
      format: Orbax checkpoint or SafeTensors file.
      as_traced: Whether NumPy's 64-bit arrays are saved in the 32-bit types that JAX traces them
        with while x64 mode is off, so that they fit a function that was converted with them.
      hashed: Whether digests are worked out while files are written, where that is possible.

    Returns:
      Sizes and SHA-256 of files whose digest is known, by path relative to the folder that `path`
      is in, as `SaveOptions.digests` takes them: of a SafeTensors file written with `hashed`.

    Raises:
      BundleExistsError: If something is there already.
      InvalidModelError: If a leaf is not an array, an integer does not fit the type that JAX traces
        it with, or a container is not plain.
      StorageError: If the file system refuses. Nothing is left behind then.
      UnsupportedError: If an array lies in several processes and the format cannot store it so.
    """
    if format not in ("orbax", "safetensors"):
        raise ValueError(f"format: expected 'orbax' or 'safetensors'; found {format!r}")
    target = Path(path)
    if os.path.lexists(target):
        raise BundleExistsError(
            f"weights {str(target)!r}: expected a path where nothing is; found a "
            f"{'folder' if target.is_dir() else 'file'}; remove it or choose another path"
        )
    if isinstance(weights, (str, os.PathLike)):
        return _save_existing(target, Path(weights), format, hashed)
    arrays, specs = [], []
    for found, leaf in _plain_leaves(weights):
        where = f"weights {format_path(found)!r}"
        spec, words = _leaf_to_save(_narrowed(leaf, where) if as_traced else leaf, where)
        specs.append(spec)
        arrays.append(words)
    return _write(target, unflatten(weights, specs), arrays, format, hashed)


def _write(
    target: Path, specs: Tree, arrays: Sequence[Any], kind: str, hashed: bool
) -> dict[str, FileDigest]:
    if kind == "orbax":
        writing = _lazy.load(
            "orbax_model_lite.jax2obm.checkpoint.writing", purpose="saving a checkpoint"
        )
        writing.write(target, writing.planned(specs), arrays)
        return {}
    by_path = dict(zip((path for path, _ in flatten_with_path(specs)), arrays, strict=True))
    digest = safetensors.write(
        target,
        safetensors.planned(specs),
        lambda array: to_host(by_path[array.path], f"weights {format_path(array.path)!r}"),
        hashed=hashed,
    )
    return {} if digest is None else {target.name: digest}


def _save_existing(target: Path, given: Path, kind: str, hashed: bool) -> dict[str, FileDigest]:
    is_file = is_safetensors(given, None)
    if is_file != (kind == "safetensors"):
        # The words of PRNG keys alone do not tell what they are; the specs do.
        arrays = leaves(load_weights(given, to="host"))
        return _write(target, weights_spec(given), arrays, kind, hashed)
    if is_file:
        with storage_errors("copying", given):
            shutil.copyfile(given, target)
    else:
        source = require_contained(locate(given))
        with storage_errors("copying", given):
            shutil.copytree(source, target)
    return {}


def _plain_leaves(tree: Tree) -> list[tuple[TreePath, Any]]:
    """Returns the leaves by path, after a look at the keys of all dicts."""
    stack: list[tuple[TreePath, Any]] = [((), tree)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, dict):
            odd = [key for key in node if not isinstance(key, str)]
            if odd:
                raise InvalidModelError(
                    f"weights {format_path(path)!r}: expected text as keys; found {odd[0]!r}; "
                    "make the tree plain first"
                )
            stack += [((*path, key), child) for key, child in node.items()]
        elif isinstance(node, (list, tuple)):
            stack += [((*path, i), child) for i, child in enumerate(node)]
    return flatten_with_path(tree)


def _leaf_to_save(leaf: Any, where: str) -> tuple[Spec, Any]:
    """Returns the spec of a leaf, and the leaf as an array without PRNG keys."""
    if isinstance(leaf, (bool, int, float, complex)) and not isinstance(leaf, np.generic):
        leaf = np.asarray(leaf, jax.numpy.result_type(leaf))
    if not isinstance(leaf, (jax.Array, np.ndarray, np.generic)):
        raise InvalidModelError(
            f"{where}: expected an array; found {type(leaf).__name__}; "
            "make the tree plain first, or take this leaf out of it"
        )
    try:
        spec = spec_of(leaf)
    except UnsupportedError as e:
        raise InvalidModelError(f"{where}, {e}") from e
    if spec.dtype in (DType.STRING, DType.FLOAT0):
        raise InvalidModelError(
            f"{where}: expected numbers or booleans; found {spec}; take it out of the weights"
        )
    return spec, jax.random.key_data(leaf) if isinstance(leaf, jax.Array) and spec.logical else leaf


def _narrowed(leaf: Any, where: str) -> Any:
    """Returns a NumPy array in the type that JAX would trace it with."""
    if not isinstance(leaf, (np.ndarray, np.generic)) or leaf.dtype.kind not in "iufc":
        return leaf
    dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
    with np.errstate(over="ignore"):
        narrow = np.asarray(leaf).astype(dtype, copy=False)
    if leaf.dtype.kind in "iu" and not np.array_equal(narrow, leaf):
        raise InvalidModelError(
            f"{where}: expected integers that fit {dtype}, as JAX would trace them; found some of "
            f"{leaf.dtype} that do not; turn on jax_enable_x64"
        )
    return narrow
