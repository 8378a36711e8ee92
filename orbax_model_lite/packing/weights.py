"""Where the weights of a packed bundle come from: a pytree in memory, or an existing checkpoint."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

from orbax_model_lite.core import layout
from orbax_model_lite.core.digests import FileDigest
from orbax_model_lite.core.value import ExternalValue, convert_path_to_value
from orbax_model_lite.errors import InvalidModelError
from orbax_model_lite.jax2obm import load_weights, save_weights, weights_spec
from orbax_model_lite.jaxtypes import plain

WeightsFormat: TypeAlias = Literal["orbax", "safetensors"]

_PLACES: dict[str, tuple[str, str]] = {
    "orbax": (layout.WEIGHTS_FOLDER, layout.MIME_ORBAX_CHECKPOINT),
    "safetensors": (layout.SAFETENSORS_FILE, layout.MIME_SAFETENSORS),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """Weights that will be written into a bundle.

    Attributes:
      given: A pytree of arrays, or the path of an existing checkpoint.
      format: How they are written.
    """

    given: Any
    format: WeightsFormat

    @classmethod
    def of(cls, params: Any, format: WeightsFormat | None) -> WeightsSource | None:  # noqa: A002
        """Returns the source for what was given to `pack`; None for no weights.

        Args:
          params: A pytree of arrays, the path of a checkpoint, or None.
          format: None keeps that of a checkpoint, and is "orbax" for a pytree.

        Raises:
          InvalidModelError: If there is nothing at the path.
        """
        if format is not None and format not in _PLACES:
            raise ValueError(f"weights_format: expected 'orbax' or 'safetensors'; found {format!r}")
        if params is None:
            return None
        if not isinstance(params, (str, os.PathLike)):
            return cls(given=params, format=format or "orbax")
        path = Path(params)
        if not path.exists():
            raise InvalidModelError(
                f"weights {str(path)!r}: expected a pytree of arrays or an existing checkpoint; "
                "found nothing there; pass the folder that the checkpoint was saved to"
            )
        return cls(given=path, format=format or ("safetensors" if path.is_file() else "orbax"))

    @property
    def value(self) -> ExternalValue:
        """The object that stands for the weights in the bundle."""
        return convert_path_to_value(*_PLACES[self.format])

    def specs(self) -> Any:
        """Returns what functions are traced with: the author's pytree, or a checkpoint's specs."""
        return weights_spec(self.given) if isinstance(self.given, Path) else self.given

    def arrays(self) -> Any:
        """Returns the weights in memory."""
        return load_weights(self.given) if isinstance(self.given, Path) else self.given

    def write(self, folder: Path) -> dict[str, FileDigest]:
        """Writes the weights below a bundle's folder.

        Returns:
          Digests of its files, as far as they are known by then, by path relative to the bundle.
        """
        weights = self.given if isinstance(self.given, Path) else plain(self.given, "weights")[0]
        place = folder / _PLACES[self.format][0]
        return save_weights(place, weights, format=self.format, as_traced=True, hashed=True)
