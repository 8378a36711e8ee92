"""Arrays of an Orbax checkpoint, read through TensorStore.

Orbax's own handlers are passed by: they wrap every failure in a bare Exception, pad or cut arrays
when shapes differ, take a third longer, and need JAX. Which arrays there are, `folder` knows.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, final

import numpy as np
import tensorstore as ts

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Tree, format_path
from orbax_model_lite.errors import InvalidBundleError
from orbax_model_lite.jax2obm.checkpoint.folder import NATIVE, CheckpointFolder, reason
from orbax_model_lite.jax2obm.weights import buffers
from orbax_model_lite.jax2obm.weights.buffers import Index
from orbax_model_lite.jax2obm.weights.stored import StoredArray

# TensorStore turns its status codes into these: invalid, absent, out of range, not built in.
_TENSORSTORE_ERRORS: Final = (ValueError, KeyError, IndexError, NotImplementedError, OSError)


@final
class CheckpointReader:
    """Arrays of one checkpoint; safe to use from several threads."""

    def __init__(self, folder: CheckpointFolder) -> None:
        """Prepares reading; no array is opened yet."""
        self._folder = folder
        self._where = f"checkpoint {str(folder.path)!r}"
        self._context = _context()
        self._handles: dict[str, ts.TensorStore] = {}

    @property
    def tree(self) -> Tree:
        """The tree with a StoredArray for every leaf."""
        return self._folder.tree

    def open(self, arrays: Sequence[StoredArray]) -> list[StoredArray]:
        """Returns the arrays with their specs, checked against what is on disk; reads no data.

        Raises:
          InvalidBundleError: If one is missing, damaged, or not what the record says.
          UnsupportedError: If its element type is unknown.
        """
        futures = [
            None
            if array.name is None
            else ts.open(self._spec(array.name), open=True, read=True, context=self._context)
            for array in arrays
        ]
        opened = []
        for array, future in zip(arrays, futures, strict=True):
            if future is not None and array.name is not None:
                with self._damage_named(array):
                    self._handles[array.name] = future.result()
            opened.append(self._described(array))
        return opened

    def read(
        self, array: StoredArray, indices: Sequence[Index], dtype: np.dtype | None = None
    ) -> list[np.ndarray]:
        """Returns parts of an opened array in new buffers.

        Args:
          array: As `open` returned it.
          indices: The parts. Those that share chunks on disk are read together, once.
          dtype: Element type to cast to.

        Raises:
          InvalidBundleError: If a chunk is missing or damaged.
          UnsupportedError: If there is not enough memory.
        """
        where = self._where_of(array)
        if array.name is None:
            return [
                buffers.empty(buffers.shape_of(i), dtype or array.dtype, where) for i in indices
            ]
        chunk = self.chunk_shape(array)
        shares_chunks = len(indices) > 1 and any(
            size is not None and size > part
            for index in indices
            for size, part in zip(chunk or (), buffers.shape_of(index), strict=False)
        )
        if not shares_chunks:
            return [self._read_part(array, index, dtype, where) for index in indices]
        hull = buffers.hull(indices)
        joined = self._read_part(array, hull, dtype, where)
        return [buffers.copied(joined[buffers.inside(i, hull)], None, where) for i in indices]

    def chunk_shape(self, array: StoredArray) -> tuple[int | None, ...] | None:
        """Returns the sizes of what lies together on disk, None where nothing says so.

        Args:
          array: As `open` returned it.
        """
        if array.name is None:
            return None
        return self._handles[array.name].chunk_layout.read_chunk.shape

    def close(self) -> None:
        """Forgets all arrays."""
        self._handles.clear()

    def _read_part(
        self, array: StoredArray, index: Index, dtype: np.dtype | None, where: str
    ) -> np.ndarray:
        assert array.name is not None
        handle = self._handles[array.name]
        is_cast = False
        if dtype is not None and not array.is_bytes and DType.from_numpy(dtype) in NATIVE:
            handle, is_cast = ts.cast(handle, dtype.name), True
        bytes_dims = buffers.whole(array.stored_shape[len(array.shape) :])
        full = (*index, *bytes_dims)
        element = handle.dtype.numpy_dtype
        target = buffers.empty(buffers.shape_of(full), element, where)
        part = handle[full][ts.d[:].translate_to[0]] if full else handle
        with self._damage_named(array):
            ts.array(target).write(part).result()
        read = array.from_stored(target)
        return read if dtype is None or is_cast else buffers.copied(read, dtype, where)

    def _spec(self, name: str) -> dict[str, Any]:
        folder = self._folder
        inner = name if name in ("",) or name.endswith("/") else f"{name}/"
        files = {"driver": "file", "path": f"{folder.path}{os.sep}"}
        if folder.is_ocdbt:
            store = {
                "driver": "ocdbt",
                "base": files,
                "path": inner,
                "cache_pool": "cache_pool#nodes",
            }
        else:
            store = files | {"path": f"{folder.path}{os.sep}{inner}"}
        return {
            "driver": "zarr3" if folder.is_zarr3 else "zarr",
            "kvstore": store,
            "recheck_cached_data": False,
            "recheck_cached_metadata": False,
            "fill_missing_data_reads": not folder.has_all_chunks,
        }

    def _described(self, array: StoredArray) -> StoredArray:
        if array.name is None:
            return array
        handle = self._handles[array.name]
        found = Spec(shape=tuple(handle.shape), dtype=DType.from_numpy(handle.dtype.numpy_dtype))
        if array.spec is None:
            return replace(
                array, spec=replace(found, logical=self._folder.key_types.get(array.name))
            )
        expected = Spec(shape=array.stored_shape, dtype=array.stored_dtype)
        if found != expected:
            raise InvalidBundleError(
                f"{self._where_of(array)}: expected {expected} as "
                f"recorded; found {found}; the checkpoint is damaged, save it again"
            )
        return array

    def _where_of(self, array: StoredArray) -> str:
        return f"{self._where}, array {format_path(array.path)!r}"

    @contextlib.contextmanager
    def _damage_named(self, array: StoredArray) -> Iterator[None]:
        try:
            yield
        except _TENSORSTORE_ERRORS as e:
            raise InvalidBundleError(
                f"{self._where_of(array)}: expected a complete array; "
                f"{reason(e)}; the checkpoint is damaged, copy or save it again"
            ) from e


def _context() -> ts.Context:
    settings = {
        "file_io_concurrency": {"limit": max(8, 2 * (os.cpu_count() or 1))},
        "cache_pool#nodes": {"total_bytes_limit": 100_000_000},
    }
    try:
        return ts.Context(settings | {"file_io_mode": {"mode": "memmap"}})
    except ValueError:
        # TensorStore of before 2025 has no memory-mapped files.
        return ts.Context(settings)
