"""Pictures in files as arrays of pixels, decoded with Pillow, for inputs that are numbers.

Nothing is resized, and channels are adapted only where nothing is lost. Pixels keep the values that
the file has, 0 to 255 for most.
"""

from __future__ import annotations

import io
import warnings
from typing import Any, Final

import numpy as np

from orbax_model_lite import _lazy
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.errors import SignatureMismatchError

# Others may start programs (EPS) or are rarely meant.
_FORMATS: Final = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
_CHANNELS: Final = (1, 3, 4)
_NONE: Final = 0  # the input has no dimension of channels
_DAMAGE: Final = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


def pixels(spec: Spec, content: bytes, where: str) -> np.ndarray:
    """Returns a picture in the form that an input asks for, with the values of the file.

    The input is [height, width], [height, width, channels], [batch, height, width] where the last
    size cannot be channels, or [batch, height, width, channels].

    Args:
      spec: Of the input.
      content: Of the file.
      where: Beginning of a message.

    Returns:
      uint8 or uint16, of the rank of the input; a batch has one row.

    Raises:
      SignatureMismatchError: If the input is no picture, the file is none, or sizes differ.
      MissingDependencyError: If Pillow is not installed.
    """
    height, width, channels, is_batch = _layout(spec, where)
    pillow = _pillow(where)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pillow.DecompressionBombWarning)
        try:
            with pillow.open(io.BytesIO(content), formats=_FORMATS) as picture:
                _require_size(spec, picture, (height, width), where)
                array = _array(picture)
        except SignatureMismatchError:
            raise
        except (*_DAMAGE, pillow.DecompressionBombError, pillow.DecompressionBombWarning) as e:
            raise SignatureMismatchError(
                f"{where}: expected {spec}; found a file that is no picture "
                f"({_first_line(e)}); give .npy, .npz, .json or a picture"
            ) from e
    if channels == _NONE:
        array = _gray(spec, array, where)
    else:
        array = _with_channels(spec, array, channels, where)
    return array[None] if is_batch else array


def _layout(spec: Spec, where: str) -> tuple[Any, Any, Any, bool]:
    """Returns (height, width, channels, whether a batch is around them)."""
    shape = spec.shape or ()
    has_channels = len(shape) > 2 and (shape[-1] in _CHANNELS or _is_open(shape[-1]))
    is_batch = len(shape) > 2 and (shape[0] == 1 or _is_open(shape[0]))
    if len(shape) == 2:
        return shape[0], shape[1], _NONE, False
    if len(shape) == 3 and has_channels:
        return shape[0], shape[1], shape[2], False
    if len(shape) == 3 and is_batch:
        return shape[1], shape[2], _NONE, True
    if len(shape) == 4 and has_channels and is_batch:
        return shape[1], shape[2], shape[3], True
    raise SignatureMismatchError(
        f"{where}: expected {spec}; found a file that is neither .npy, .npz nor .json, which is "
        "taken for a picture only where the input is [height, width, channels] with 1, 3 or 4 "
        "channels, or such a batch; give an array"
    )


def _is_open(dim: Any) -> bool:
    return not isinstance(dim, int)


def _pillow(where: str) -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError as e:
        raise _lazy.missing("pillow", f"{where}: reading a picture") from e
    return Image


def _require_size(spec: Spec, picture: Any, wanted: tuple[Any, Any], where: str) -> None:
    # Before it is decoded: the header of a hostile file may claim a size that takes all memory.
    found = (picture.height, picture.width)
    if any(not _is_open(want) and want != have for want, have in zip(wanted, found, strict=True)):
        raise SignatureMismatchError(
            f"{where}: expected {spec}; found a picture of {found[0]} x {found[1]} (height x "
            "width); resize it first, as the model's author did"
        )


def _array(picture: Any) -> np.ndarray:
    """Returns [height, width, channels], uint8 or uint16; palettes are resolved."""
    if picture.mode == "P":
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    elif picture.mode == "1":
        picture = picture.convert("L")
    if picture.mode not in {"L", "LA", "RGB", "RGBA"} and not picture.mode.startswith("I;16"):
        raise ValueError(f"pixels of mode {picture.mode}, where gray, RGB and RGBA are known")
    array = np.asarray(picture)
    return array[..., None] if array.ndim == 2 else array


def _gray(spec: Spec, array: np.ndarray, where: str) -> np.ndarray:
    return _with_channels(spec, array, 1, where)[..., 0]


def _with_channels(spec: Spec, array: np.ndarray, wanted: Any, where: str) -> np.ndarray:
    have = array.shape[2]
    colors, alpha = array, None
    if have in (2, 4):
        colors, alpha = array[..., :-1], array[..., -1:]
    if _is_open(wanted):
        # Without a word about channels the file decides; gray with alpha is no usual form.
        wanted = 4 if alpha is not None else colors.shape[2]
    if wanted == have:
        return array
    opaque = np.iinfo(array.dtype).max
    if alpha is not None and wanted != 4 and not np.all(alpha == opaque):
        raise _lossy(spec, "a picture that is transparent in places", where)
    if wanted == 1 and not np.all(colors == colors[..., :1]):
        raise _lossy(spec, "a picture in colours", where)
    colors = colors[..., :1] if wanted == 1 else np.broadcast_to(colors, (*array.shape[:2], 3))
    if wanted != 4:
        return colors
    if alpha is None:
        alpha = np.full((*array.shape[:2], 1), opaque, array.dtype)
    return np.concatenate([colors, alpha], axis=2)


def _lossy(spec: Spec, found: str, where: str) -> SignatureMismatchError:
    return SignatureMismatchError(
        f"{where}: expected {spec}; found {found}; convert it first, as the model's author did"
    )


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    # Pillow's own words for an unknown file show the address of a buffer.
    if not text or "cannot identify" in text:
        return "of no known format"
    return text.splitlines()[0]
