"""How a tree of weights lies on disk: a name, a shape and an element type for every array.

Both weights formats keep the tree as one JSON record in their own metadata, because neither can say
what is a tuple, an empty container, a PRNG key or an element type that it lacks. No framework here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Path, Tree, flatten_with_path, format_path, unflatten
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError

if TYPE_CHECKING:
    import numpy as np

RECORD_KEY: Final = "obm_lite_weights"
"""The key of the record in the metadata of a checkpoint or a SafeTensors file."""

_VERSION: Final = 1
_MAX_DEPTH: Final = 200
_MAX_RANK: Final = 64


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArray:
    """One array of the weights, and where it lies.

    Attributes:
      path: Of the leaf in the weights' tree.
      name: In the file or checkpoint; None when it has no elements and is not stored.
      spec: Shape and element type of the leaf; for typed PRNG keys those of the keys' words.
        None in a checkpoint of somebody else, as long as the array has not been opened.
      is_bytes: Whether it is stored as uint8, because the format lacks its element type.
      problem: Why it cannot be read as an array: "text", for example.
    """

    path: Path
    name: str | None
    spec: Spec | None = None
    is_bytes: bool = False
    problem: str | None = None

    @property
    def known_spec(self) -> Spec:
        """The spec of an array that has been opened."""
        assert self.spec is not None
        return self.spec

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the leaf."""
        return static_shape(self.known_spec)

    @property
    def dtype(self) -> np.dtype:
        """Element type of the leaf."""
        return self.known_spec.dtype.numpy

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Sizes on disk; bytes have a last dimension more when an element takes several."""
        return (*self.shape, *self._byte_dims)

    @property
    def stored_dtype(self) -> DType:
        """Element type on disk."""
        return DType.UINT8 if self.is_bytes else self.known_spec.dtype

    def to_stored(self, array: np.ndarray) -> np.ndarray:
        """Returns the leaf as it goes to disk, C-contiguous and little-endian; copies if needed."""
        import numpy as np

        ready = np.asarray(array, dtype=self.dtype.newbyteorder("<"), order="C")
        if not self.is_bytes:
            return ready
        return ready.reshape(-1).view(np.uint8).reshape(self.stored_shape)

    def from_stored(self, array: np.ndarray) -> np.ndarray:
        """Returns a part of the leaf from the same part as it lies on disk, without a copy."""
        if not self.is_bytes:
            return array
        shape = array.shape[: array.ndim - len(self._byte_dims)]
        return array.reshape(-1).view(self.dtype).reshape(shape)

    @property
    def _byte_dims(self) -> tuple[int, ...]:
        if not self.is_bytes:
            return ()
        size_bytes = max(1, self.known_spec.dtype.size_bits // 8)
        return (size_bytes,) if size_bytes > 1 else ()


def static_shape(spec: Spec) -> tuple[int, ...]:
    """Returns the sizes of an array of weights, which are all known."""
    assert spec.shape is not None
    return tuple(int(dim) for dim in spec.shape if dim is not None)


def plan(
    specs: Tree,
    *,
    native: Collection[DType],
    keeps_empty: bool = True,
    name_key: Callable[[str], str] = str,
    taken: Collection[str] = (),
) -> Tree:
    """Returns the same containers with a StoredArray for every spec.

    An array is named by its dotted key path. Where two names would be one, the keys of all names
    have dots, slashes and percent signs escaped (as in URLs).

    Args:
      specs: Plain tree of specs with static shapes.
      native: Element types that the format has; others are stored as bytes.
      keeps_empty: Whether the format stores arrays without elements.
      name_key: Gives the form of a name in which the format tells names apart.
      taken: Names that the format uses itself.

    Raises:
      InvalidModelError: If a key is not text that a file can hold.
    """
    found = flatten_with_path(specs)
    names = [format_path(path) for path, _ in found]
    counts = Counter(map(name_key, names))
    if max(counts.values(), default=0) > 1 or any(name in counts for name in taken):
        names = [escaped_name(path, taken) for path, _ in found]
    arrays = []
    for (path, spec), name in zip(found, names, strict=True):
        if _has_lone_surrogate(name):
            raise InvalidModelError(
                f"weights {name!a}: expected keys that are valid Unicode; found a lone "
                "surrogate; rename the key"
            )
        is_stored = keeps_empty or 0 not in static_shape(spec)
        arrays.append(
            StoredArray(
                path=path,
                name=name if is_stored else None,
                spec=spec,
                is_bytes=spec.dtype not in native,
            )
        )
    return unflatten(specs, arrays)


def escaped_name(path: Path, taken: Collection[str] = ()) -> str:
    """Returns a dotted name that no other path of the same tree has.

    >>> escaped_name(("a.b", "c/d", 0))
    'a%2Eb.c%2Fd.0'
    """
    keys = [str(key).replace("%", "%25").replace(".", "%2E").replace("/", "%2F") for key in path]
    name = ".".join(key or "%" for key in keys) or "%"
    return f"%{ord(name[0]):02X}{name[1:]}" if name in taken else name


def _has_lone_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


def to_record(tree: Tree) -> dict[str, Any]:
    """Returns a tree of StoredArray as JSON values: `from_record(to_record(t), w) == t`."""
    return {"version": _VERSION, "tree": _to_json(tree)}


def _to_json(node: Tree) -> Any:
    match node:
        case None:
            return None
        case dict():
            return {"dict": {key: _to_json(node[key]) for key in sorted(node)}}
        case tuple():
            return {"tuple": [_to_json(child) for child in node]}
        case list():
            return {"list": [_to_json(child) for child in node]}
    spec = node.known_spec
    record: dict[str, Any] = {"dtype": spec.dtype.value, "shape": list(node.shape)}
    if node.name is not None:
        record["name"] = node.name
    if spec.logical is not None:
        record["logical"] = spec.logical
    if node.is_bytes:
        record["bytes"] = True
    return record


def from_record(record: Any, where: str) -> Tree:
    """Returns the tree of StoredArray that `to_record` wrote.

    Args:
      record: Parsed JSON, from a stranger.
      where: The file, as the beginning of a message.

    Raises:
      InvalidBundleError: If it is damaged, or of another version.
    """
    if not isinstance(record, dict) or record.get("version") != _VERSION:
        version = record.get("version") if isinstance(record, dict) else record
        raise InvalidBundleError(
            f"{where}: expected a record of weights of version {_VERSION}; found {version!r:.80}; "
            "upgrade orbax_model_lite or save the weights again"
        )
    return _from_json(record.get("tree"), (), where)


def _from_json(node: Any, path: Path, where: str) -> Tree:
    if node is None:
        return None
    if len(path) > _MAX_DEPTH:
        raise damaged_record(where, path, f"more than {_MAX_DEPTH} levels")
    match node:
        case {"dict": dict(children)}:
            return {key: _from_json(child, (*path, key), where) for key, child in children.items()}
        case {"tuple": list(children)}:
            return tuple([_from_json(c, (*path, i), where) for i, c in enumerate(children)])
        case {"list": list(children)}:
            return [_from_json(child, (*path, i), where) for i, child in enumerate(children)]
        case {"dtype": str(dtype), "shape": list(shape)}:
            return _array_from_json(node, path, where, dtype, shape)
    raise damaged_record(where, path, f"{node!r:.80}")


def _array_from_json(
    node: dict[str, Any], path: Path, where: str, dtype: str, shape: list[Any]
) -> StoredArray:
    name, logical = node.get("name"), node.get("logical")
    is_fine = (
        len(shape) <= _MAX_RANK
        and all(type(dim) is int and dim >= 0 for dim in shape)
        and isinstance(name, str | None)
        and isinstance(logical, str | None)
        and type(node.get("bytes", False)) is bool
        and (name is not None or 0 in shape)
    )
    known = {member.value: member for member in DType} if is_fine else {}
    element = known.get(dtype)
    if element is None or element in (DType.UNSPECIFIED, DType.STRING, DType.FLOAT0):
        raise damaged_record(where, path, f"{node!r:.80}")
    return StoredArray(
        path=path,
        name=name,
        spec=Spec(shape=tuple(shape), dtype=element, logical=logical),
        is_bytes=node.get("bytes", False),
    )


def damaged_record(where: str, path: Path, found: str) -> InvalidBundleError:
    """Returns the error for a record that does not say what it should about one leaf."""
    return InvalidBundleError(
        f"{where}, record of {format_path(path)!r:.200}: expected a container or an array with "
        f"dtype, shape and name; found {found}; the file is damaged, save the weights again"
    )
