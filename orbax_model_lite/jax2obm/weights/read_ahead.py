"""A weights file that comes into memory while its function is being bound.

Importing JAX and binding keep the interpreter busy for longer than weights of ordinary size take
from disk. The thread here reads bytes and nothing else: it imports no module, so that it cannot
meet an import of the caller half-way, and raises nothing. Whatever stops it is found again, and
told, by whoever reads the weights without it.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final, final

import numpy as np

from orbax_model_lite.errors import UnsupportedError
from orbax_model_lite.jax2obm.weights import buffers
from orbax_model_lite.jax2obm.weights.safetensors import SafeTensorsReader
from orbax_model_lite.jax2obm.weights.sources import Source, is_safetensors, open_source

_MOST_BYTES: Final = 1 << 28
"""Larger files are read array by array, so that the host need not hold all of one at a time."""

_STEP_BYTES: Final = 1 << 24


@final
class ReadAhead:
    """One SafeTensors file on its way into memory.

    Args:
      path: The weights; of any kind, for others nothing happens.
      mime_type: In any spelling; None tells a file from a folder.
    """

    def __init__(self, path: Path, mime_type: str | None) -> None:
        """Begins to read."""
        self._path, self._mime_type = path, mime_type
        self._content: np.ndarray | None = None
        self._is_dropped = False
        self._thread: threading.Thread | None = None
        try:
            # Whatever is no file, a pipe that nobody writes to for one, is not waited for.
            is_wanted = is_safetensors(path, mime_type) and path.is_file()
        except (UnsupportedError, OSError):
            return
        if is_wanted:
            self._thread = threading.Thread(target=self._read, name="read-ahead", daemon=True)
            self._thread.start()

    def source(self) -> Source:
        """Returns the weights to read from, in memory if they came there.

        Raises:
          InvalidBundleError: See `sources.open_source`.
          UnsupportedError: See there.
        """
        if self._thread is not None:
            self._thread.join()
        content, self._content = self._content, None
        if content is None:
            return open_source(self._path, self._mime_type)
        return SafeTensorsReader(self._path, content=content)

    def drop(self) -> None:
        """Lets go of what was read, and reads no further."""
        self._is_dropped = True
        self._content = None

    def _read(self) -> None:
        try:
            with self._path.open("rb", buffering=0) as file:
                size_bytes = os.fstat(file.fileno()).st_size
                if size_bytes > _MOST_BYTES:
                    return
                content = buffers.empty((size_bytes,), np.dtype(np.uint8), "weights")
                target, begin = content.data, 0
                while begin < size_bytes:
                    count = file.readinto(target[begin : begin + _STEP_BYTES])
                    if not count or self._is_dropped:
                        return
                    begin += count
        except (OSError, UnsupportedError):
            return
        content.flags.writeable = False
        self._content = content
