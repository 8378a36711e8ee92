"""Weights written as a checkpoint by Orbax itself, so that every reader of Orbax's opens it."""

from __future__ import annotations

import copy
import math
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, final

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts

from orbax_model_lite.core.tree import Tree, flatten_with_path, format_path, unflatten
from orbax_model_lite.errors import StorageError
from orbax_model_lite.jax2obm.checkpoint.folder import ARRAY_KEY, NATIVE, reason
from orbax_model_lite.jax2obm.weights import stored
from orbax_model_lite.jax2obm.weights.placement import to_host
from orbax_model_lite.jax2obm.weights.stored import StoredArray

_CHUNK_BYTES: Final = 32 << 20
_DATA_FILES: Final = 64
_MIN_DATA_FILE_BYTES: Final = 64 << 20
# What Orbax takes by itself.
_MAX_DATA_FILE_BYTES: Final = 2 << 30
_COMMIT_FILE: Final = "commit_success.txt"
# Orbax numbers its saves in one global counter that its background threads look at.
_ONE_SAVE_AT_A_TIME = threading.Lock()


def planned(specs: Tree) -> Tree:
    """Returns how Orbax will store weights with these specs, see `stored.plan`."""
    tree = stored.plan(
        specs,
        native=NATIVE,
        keeps_empty=False,
        name_key=lambda name: name.rstrip("/"),
        # Orbax 0.11 misses an array without a name when it checks what it saved.
        taken=("",),
    )
    is_single = isinstance(tree, StoredArray) and tree.name is not None
    return replace(tree, name=ARRAY_KEY) if is_single else tree


def write(path: Path, tree: Tree, leaves: Sequence[Any]) -> None:
    """Writes a checkpoint without compression, large arrays in chunks; it need not be on the disk.

    Args:
      path: The folder to make.
      tree: What `planned` returned.
      leaves: The arrays in flatten order, on the host or on devices; PRNG keys as words.

    Raises:
      StorageError: If Orbax cannot write it. Nothing is left behind then.
    """
    arrays = [array for _, array in flatten_with_path(tree)]
    values = {
        a.path: _value(a, leaf)
        for a, leaf in zip(arrays, leaves, strict=True)
        if a.name is not None
    }
    item = _item(tree, arrays, values)
    args = ocp.args.PyTreeSave(
        item,
        save_args=jax.tree.map(lambda a: ocp.SaveArgs(chunk_byte_size=_chunk_bytes(a)), item),
        ocdbt_target_data_file_size=_data_file_bytes(arrays),
        custom_metadata={stored.RECORD_KEY: stored.to_record(tree)},
    )

    def save() -> None:
        handler = ocp.PyTreeCheckpointHandler(
            use_compression=False, type_handler_registry=_unflushed_handlers()
        )
        with _ONE_SAVE_AT_A_TIME, ocp.Checkpointer(handler) as checkpointer:
            checkpointer.save(path.absolute(), args=args)

    try:
        # Orbax starts an event loop, which a thread that runs one already cannot.
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="save-weights") as pool:
            pool.submit(save).result()
        _forget_path(path)
    except (ValueError, OSError) as e:
        for leftover in path.parent.glob(f"{path.name}.orbax-checkpoint-tmp*"):
            shutil.rmtree(leftover, ignore_errors=True)
        raise StorageError(
            f"checkpoint {str(path)!r}: expected Orbax to write it; {reason(e)}; "
            "free some space or choose another folder"
        ) from e


def _unflushed_handlers() -> Any:
    """Returns Orbax's handlers of arrays, made not to wait for the disk after every file.

    Whoever finishes the bundle flushes all files at once, and reads them for their digests
    meanwhile.
    """
    kinds = (np.ndarray, jax.Array)
    contexts: list[tuple[ts.Context, ts.Context]] = []

    def unflushed(known: ts.Context) -> ts.Context:
        # One for all arrays of a save, so that they share files.
        for given, made in contexts:
            if given is known:
                return made
        contexts.append((known, ts.Context({"file_io_sync": False}, known)))
        return contexts[-1][1]

    def handler(kind: Any) -> Any:
        made = copy.copy(ocp.type_handlers.get_type_handler(kind))
        flushing = made.serialize

        async def serialize(values: Any, infos: Sequence[Any], args: Any = None) -> Any:
            for info in infos:
                info.ts_context = unflushed(info.ts_context)
            return await flushing(values, infos, args)

        made.serialize = serialize
        return made

    return ocp.type_handlers.create_type_handler_registry(*((k, handler(k)) for k in kinds))


def _data_file_bytes(arrays: Sequence[StoredArray]) -> int:
    """Returns how large files with arrays are to be: several are written and read at a time."""
    total = sum(math.prod(a.stored_shape) * a.stored_dtype.numpy.itemsize for a in arrays)
    return min(max(total // _DATA_FILES, _MIN_DATA_FILE_BYTES), _MAX_DATA_FILE_BYTES)


def _forget_path(path: Path) -> None:
    """Takes the name of the author's folder out of the file that says that the save finished."""
    for file in path.rglob(_COMMIT_FILE):
        file.write_text("Checkpoint commit was successful\n", encoding="utf-8")


@final
class _Shared(np.ndarray):
    """A NumPy array that Orbax does not copy before it writes it."""

    def __deepcopy__(self, memo: Any) -> _Shared:
        return self


def _value(array: StoredArray, leaf: Any) -> Any:
    if isinstance(leaf, jax.Array) and not array.is_bytes:
        return leaf
    host = to_host(leaf, f"weights {format_path(array.path)!r}")
    return array.to_stored(host).view(_Shared)


def _item(tree: Tree, arrays: Sequence[StoredArray], values: dict[Any, Any]) -> Any:
    """Returns the tree for Orbax: the author's own where Orbax can keep it, else a flat one."""
    if any(path for path in values) and all(
        array.name in (None, format_path(array.path)) for array in arrays
    ):
        return unflatten(tree, [values.get(array.path) for array in arrays])
    flat = {array.name: values[array.path] for array in arrays if array.path in values}
    # Orbax refuses to save no array at all.
    return flat or {"_": np.zeros(1, np.uint8)}


def _chunk_bytes(array: Any) -> int | None:
    """Returns how large a chunk may be, or None where Orbax's way of splitting would fray it.

    Orbax divides the largest dimension by its smallest divisor again and again, so a long prime
    dimension ends in chunks of single rows.
    """
    if isinstance(array, jax.Array) and len(array.sharding.device_set) > 1:
        return None
    sizes = list(array.shape)
    while math.prod(sizes) * array.dtype.itemsize > _CHUNK_BYTES:
        largest = max(range(len(sizes)), key=lambda i: sizes[i])
        size = sizes[largest]
        divisor = next((d for d in range(2, math.isqrt(size) + 1) if size % d == 0), size)
        sizes[largest] = size // divisor
    is_frayed = math.prod(sizes) * array.dtype.itemsize < _CHUNK_BYTES // 16
    return None if is_frayed else _CHUNK_BYTES
