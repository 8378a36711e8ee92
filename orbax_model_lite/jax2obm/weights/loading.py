"""Weights loaded, whole or in part, onto the host or onto devices.

Which arrays there are and how they are read tells `sources`, where they go `placement`.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, TypeVar

import jax
import numpy as np

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Tree, flatten_with_path, format_path, unflatten
from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.jax2obm.weights.buffers import whole
from orbax_model_lite.jax2obm.weights.matching import choose, pruned
from orbax_model_lite.jax2obm.weights.placement import Parts, Placer, assembled, placer
from orbax_model_lite.jax2obm.weights.safetensors import SafeTensorsReader
from orbax_model_lite.jax2obm.weights.sources import Source, open_source, require_readable
from orbax_model_lite.jax2obm.weights.stored import StoredArray

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def load_weights(
    path: str | os.PathLike[str],
    mime_type: str | None = None,
    *,
    names: str | Collection[str] | None = None,
    to: Literal["device", "host"] = "device",
    devices: Sequence[Any] | None = None,
    mesh: jax.sharding.Mesh | None = None,
    shardings: Any = None,
    dtype: Any = None,
    step: int | None = None,
    item: str | None = None,
) -> Tree:
    """Returns weights as a plain tree of arrays.

    What `save_weights` wrote comes back with its own containers. Checkpoints of others have lists
    for tuples and text for integer keys; SafeTensors files of others are one flat dict.

    Args:
      path: A SafeTensors file; or a checkpoint's folder, a step's, or a CheckpointManager's.
      mime_type: In any spelling; None tells a file from a folder.
      names: Dotted key paths of arrays or containers, or shell patterns of them; only those are
        read. Lists and tuples that lose elements become dicts by index. None reads all.
      to: "device" gives JAX arrays, "host" NumPy arrays; from SafeTensors these are read-only views
        of the file, and must not outlive a change of it.
      devices: One device for everything, or several that each get all of it. With `mesh` and
        `shardings` left out too, JAX's default device, uncommitted.
      mesh: Devices that each get all of what `shardings` does not split.
      shardings: A Sharding, a PartitionSpec over `mesh`, or a plain tree of them by key path. Every
        device reads its own part only. The devices need not be those of the save.
      dtype: Floating-point type that floating-point arrays are cast to; others stay.
      step: Of a CheckpointManager's folder; None is the latest.
      item: Of a step with several items.

    Raises:
      InvalidBundleError: If there are no weights, or damaged or hostile ones.
      UnknownNameError: If a name means no array.
      UnsupportedError: If something is no array, a sharding does not divide it, or memory is short.
    """
    return load_from(
        lambda: open_source(path, mime_type, step=step, item=item),
        f"weights {os.fspath(path)!r}",
        names=names,
        to=to,
        devices=devices,
        mesh=mesh,
        shardings=shardings,
        dtype=dtype,
    )


def load_from(
    opened: Callable[[], Source],
    where: str,
    *,
    names: str | Collection[str] | None = None,
    to: Literal["device", "host"] = "device",
    devices: Sequence[Any] | None = None,
    mesh: jax.sharding.Mesh | None = None,
    shardings: Any = None,
    dtype: Any = None,
) -> Tree:
    """Returns weights from a source, which is closed afterwards.

    Args:
      opened: Gives the source; called when the other arguments were found to be right.
      where: The weights, as the beginning of a message.
      names: Like the others below, see `load_weights`.
      to: Host or device.
      devices: Where arrays go.
      mesh: Where arrays go.
      shardings: How arrays are split.
      dtype: What floating-point arrays are cast to.

    Raises:
      InvalidBundleError: See `load_weights`, for the others too.
      UnknownNameError: For a name.
      UnsupportedError: For an array.
    """
    if to not in ("device", "host"):
        raise ValueError(f"to: expected 'device' or 'host'; found {to!r}")
    target = None if dtype is None else _float_type(dtype)
    place = placer(devices, mesh, shardings)
    with contextlib.closing(opened()) as source:
        found = flatten_with_path(source.tree)
        if names is not None:
            chosen = choose([key for key, _ in found], names, where)
            found = [(key, array) for key, array in found if key in chosen]
        arrays = [array for _, array in found]
        require_readable(arrays, where)
        arrays = source.open(arrays)
        read = _onto_devices if to == "device" else _onto_host
        values = read(source, arrays, place, target)
        if names is None:
            return unflatten(source.tree, values)
        return pruned(source.tree, dict(zip((key for key, _ in found), values, strict=True)))


def _float_type(dtype: Any) -> np.dtype:
    known = {member.value: member for member in DType}
    try:
        found = known.get(dtype) if isinstance(dtype, str) else DType.from_numpy(dtype)
    except (UnsupportedError, TypeError):
        found = None
    if found is None or not _is_float(found):
        raise ValueError(
            f"dtype: expected a floating-point type such as 'bfloat16'; found {dtype!r}"
        )
    return found.numpy


def _is_float(dtype: DType) -> bool:
    return dtype.value.startswith(("float", "bfloat")) and dtype is not DType.FLOAT0


def _cast(array: StoredArray, target: np.dtype | None) -> np.dtype | None:
    """Returns the type to cast an array to, or None."""
    is_cast = target is not None and _is_float(array.known_spec.dtype) and array.dtype != target
    return target if is_cast else None


def _onto_host(
    source: Source, arrays: Sequence[StoredArray], place: Placer, target: np.dtype | None
) -> list[np.ndarray]:
    def read(array: StoredArray) -> np.ndarray:
        cast = _cast(array, target)
        if cast is None and isinstance(source, SafeTensorsReader):
            return source.view(array)
        return source.read(array, [whole(array.shape)], cast)[0]

    return list(_in_order(read, arrays, _workers(source)))


def _onto_devices(
    source: Source, arrays: Sequence[StoredArray], place: Placer, target: np.dtype | None
) -> list[jax.Array]:
    parts = []
    for array in arrays:
        cast = _cast(array, target)
        spec = array.known_spec
        if cast is not None:
            spec = Spec(shape=spec.shape, dtype=DType.from_numpy(cast))
        parts.append(Parts.of(spec, place(array.path), array.path))

    def read(job: tuple[StoredArray, Parts]) -> list[np.ndarray]:
        array, wanted = job
        return source.read(array, wanted.indices, _cast(array, target))

    jobs = list(zip(arrays, parts, strict=True))
    if isinstance(source, SafeTensorsReader) and source.is_in_memory:
        # Threads would have nothing to wait for.
        return jax.block_until_ready(assembled(parts, list(map(read, jobs)), arrays))
    with contextlib.closing(_in_order(read, jobs, _workers(source))) as results:
        # Placed in the caller's thread, where the caller's JAX settings hold.
        loaded = [
            wanted.assemble(found, f"weights {format_path(array.path)!r}")
            for (array, wanted), found in zip(jobs, results, strict=True)
        ]
    return jax.block_until_ready(loaded)


def _workers(source: Source) -> int:
    """Returns how many threads read: more than cores only where they wait for one another."""
    cores = min(16, os.cpu_count() or 1)
    return cores if isinstance(source, SafeTensorsReader) else max(4, cores)


def _in_order(
    function: Callable[[_In], _Out], items: Iterable[_In], workers: int
) -> Generator[_Out, None, None]:
    """Yields the results for all items in their order, worked out by several threads ahead."""
    waiting: deque[Future[_Out]] = deque()
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="load-weights") as pool:
        try:
            for item in items:
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
