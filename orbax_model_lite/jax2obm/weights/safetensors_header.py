"""The header of a SafeTensors file: which arrays it holds, and where; no array is touched.

Imports neither NumPy nor a framework, so that a bundle's weights are listed at once. Headers are
checked as strictly as the format's own library checks them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.tree import Tree, flatten_with_path, format_path
from orbax_model_lite.errors import InvalidBundleError
from orbax_model_lite.jax2obm.weights import stored
from orbax_model_lite.jax2obm.weights.stored import StoredArray

METADATA: Final = "__metadata__"
"""The key of the header that names no array."""

MAX_HEADER_BYTES: Final = 100_000_000
_MAX_RANK: Final = 64

CODES: Final[Mapping[DType, str]] = {
    DType.BOOL: "BOOL",
    DType.INT8: "I8",
    DType.INT16: "I16",
    DType.INT32: "I32",
    DType.INT64: "I64",
    DType.UINT8: "U8",
    DType.UINT16: "U16",
    DType.UINT32: "U32",
    DType.UINT64: "U64",
    DType.FLOAT8_E4M3FN: "F8_E4M3",
    DType.FLOAT8_E4M3FNUZ: "F8_E4M3FNUZ",
    DType.FLOAT8_E5M2: "F8_E5M2",
    DType.FLOAT8_E5M2FNUZ: "F8_E5M2FNUZ",
    DType.FLOAT8_E8M0FNU: "F8_E8M0",
    DType.FLOAT16: "F16",
    DType.BFLOAT16: "BF16",
    DType.FLOAT32: "F32",
    DType.FLOAT64: "F64",
    DType.COMPLEX64: "C64",
}
_DTYPES: Final = {code: dtype for dtype, code in CODES.items()}
# Types with several elements to a byte; their arrays are measured, not read.
_PACKED_BITS: Final = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}

ReadBytes: TypeAlias = Callable[[int, int], bytes]
"""Returns the bytes of a file from a first position to an end."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the header says of one array.

    Attributes:
      code: The format's name of the element type.
      shape: Sizes from major to minor.
      begin: First byte, counted from the start of the file.
      end: Where its bytes end, counted so too.
    """

    code: str
    shape: tuple[int, ...]
    begin: int
    end: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A checked header.

    Attributes:
      entries: By name of an array.
      tree: With a StoredArray for every leaf; a flat dict in somebody else's file.
    """

    entries: Mapping[str, Entry]
    tree: Tree


def read_header(read: ReadBytes, size_bytes: int, where: str) -> Header:
    """Returns the header of a complete file.

    Args:
      read: Gives bytes of the file.
      size_bytes: Of the whole file.
      where: The file, as the beginning of a message.

    Raises:
      InvalidBundleError: If it is not a complete SafeTensors file.
    """
    if size_bytes < 8:
        raise damaged(where, "at least 8 bytes", f"{size_bytes}")
    length = int.from_bytes(read(0, 8), "little")
    most = min(MAX_HEADER_BYTES, size_bytes - 8)
    if length > most:
        raise damaged(where, f"a header of at most {most} bytes", f"{length}")
    try:
        header = json.loads(read(8, 8 + length), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as e:
        raise damaged(where, "a JSON header", f"{e}") from e
    if not isinstance(header, dict):
        raise damaged(where, "a JSON object as header", f"{header!r:.80}")
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise damaged(where, f"text values in {METADATA!r}", f"{metadata!r:.80}")
    start = 8 + length
    entries = {name: _checked_entry(name, v, start, where) for name, v in header.items()}
    _require_no_gaps(entries, start, size_bytes, where)
    record = metadata.get(stored.RECORD_KEY)
    if record is None:
        return Header(entries=entries, tree=dict(_flat_arrays(entries)))
    return Header(entries=entries, tree=_recorded_tree(record, entries, where))


def damaged(where: str, expected: str, found: str) -> InvalidBundleError:
    """Returns the error for a file that is not what its header says."""
    return InvalidBundleError(
        f"{where}: expected {expected}; found {found}; "
        "the file is damaged or was not saved completely, copy or save it again"
    )


def _require_no_gaps(entries: Mapping[str, Entry], start: int, size_bytes: int, where: str) -> None:
    end = start
    for name, entry in sorted(entries.items(), key=lambda e: (e[1].begin, e[1].end)):
        if entry.begin != end:
            kind = "overlaps" if entry.begin < end else "a gap"
            raise damaged(where, "arrays one behind the other", f"{kind} before {name!r:.80}")
        end = entry.end
    if end != size_bytes:
        raise damaged(where, f"{end} bytes", f"{size_bytes}")


def _checked_entry(name: str, value: Any, start: int, where: str) -> Entry:
    match value:
        case {"dtype": str(code), "shape": list(shape), "data_offsets": [begin, end]}:
            sizes = [*shape, begin, end]
            if all(type(n) is int and 0 <= n < 1 << 63 for n in sizes) and begin <= end:
                bits = _element_bits(name, code, where) * math.prod(shape)
                if bits == 8 * (end - begin) and len(shape) <= _MAX_RANK:
                    return Entry(
                        code=code, shape=tuple(shape), begin=start + begin, end=start + end
                    )
    raise damaged(
        where, f"dtype, shape and matching data_offsets for {name!r:.80}", f"{value!r:.200}"
    )


def _element_bits(name: str, code: str, where: str) -> int:
    if code in _PACKED_BITS:
        return _PACKED_BITS[code]
    if code not in _DTYPES:
        raise damaged(where, f"a known element type for {name!r:.80}", f"{code!r:.80}")
    return _DTYPES[code].size_bits


def _flat_arrays(entries: Mapping[str, Entry]) -> Iterator[tuple[str, StoredArray]]:
    for name, entry in entries.items():
        if entry.code in _PACKED_BITS:
            problem = f"elements of type {entry.code}, several to a byte"
            yield name, StoredArray(path=(name,), name=name, problem=problem)
            continue
        spec = Spec(shape=entry.shape, dtype=_DTYPES[entry.code])
        yield name, StoredArray(path=(name,), name=name, spec=spec)


def _recorded_tree(record: str, entries: Mapping[str, Entry], where: str) -> Tree:
    try:
        parsed = json.loads(record)
    except (ValueError, RecursionError) as e:
        raise damaged(where, "a JSON record of the weights", f"{e}") from e
    tree = stored.from_record(parsed, where)
    left = dict(entries)
    for path, array in flatten_with_path(tree):
        entry = left.pop(array.name or "", None)
        known = None if entry is None else (entry.shape, _DTYPES.get(entry.code))
        if known != (array.stored_shape, array.stored_dtype):
            wanted = Spec(shape=array.stored_shape, dtype=array.stored_dtype)
            raise damaged(where, f"{wanted} for {format_path(path)!r:.80} as recorded", f"{known}")
    if left:
        raise damaged(where, "the arrays of the record", f"besides them {sorted(left)!r:.200}")
    return tree


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found
