"""Where the weights of a packed bundle come from: a pytree in memory, or an existing checkpoint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from orbax_model_lite.core import layout
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.jax2obm import load_weights, locate, plain, save_weights, weights_spec


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """Weights that will be written into a bundle.

    Attributes:
      specs: The author's pytree, or specs of the checkpoint, to trace functions with.
      path: Where they lie in the bundle.
      mime_type: Of what lies there.
      arrays: Gives the weights in memory.
      write: Writes them below a bundle's folder.
    """

    specs: Any
    path: str
    mime_type: str
    arrays: Callable[[], Any]
    write: Callable[[Path], None]

    @classmethod
    def of(cls, params: Any, format: Literal["orbax", "safetensors"]) -> WeightsSource | None:  # noqa: A002
        """Returns the source for what was given to `pack`; None for no weights."""
        if format not in ("orbax", "safetensors"):
            raise ValueError(f"weights_format: expected 'orbax' or 'safetensors'; found {format!r}")
        if params is None:
            return None
        if isinstance(params, (str, os.PathLike)):
            return cls._from_checkpoint(Path(params))
        is_file = format == "safetensors"
        path = layout.SAFETENSORS_FILE if is_file else layout.WEIGHTS_FOLDER
        return cls(
            specs=params,
            path=path,
            mime_type=layout.MIME_SAFETENSORS if is_file else layout.MIME_ORBAX_CHECKPOINT,
            arrays=lambda: params,
            write=lambda folder: save_weights(
                folder / path, plain(params, "weights")[0], format=format
            ),
        )

    @classmethod
    def _from_checkpoint(cls, given: Path) -> WeightsSource:
        if not given.exists():
            raise InvalidModelError(
                f"weights {str(given)!r}: expected a pytree of arrays or an existing checkpoint; "
                "found nothing there; pass the folder that the checkpoint was saved to"
            )
        if given.is_file():
            path, mime, source = layout.SAFETENSORS_FILE, layout.MIME_SAFETENSORS, given
        else:
            path, mime = layout.WEIGHTS_FOLDER, layout.MIME_ORBAX_CHECKPOINT
            source = locate(given)

        def write(folder: Path) -> None:
            if source.is_file():
                shutil.copyfile(source, folder / path)
            else:
                shutil.copytree(source, folder / path)

        return cls(
            specs=weights_spec(source, mime),
            path=path,
            mime_type=mime,
            arrays=lambda: load_weights(source, mime),
            write=write,
        )
