"""Recorded calls: the inputs of a pipeline or function and the outputs that the original gave.

One `.npz` file a recorded call, without pickle. A tree is stored leaf by leaf under its key path;
types that NumPy's format cannot hold (bfloat16, int4, float8, strings) are stored as raw bytes
with their name. Nothing is executed here: who replays them is `runtime`.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from orbax_model_lite._proto import bundle_info_pb2
from orbax_model_lite.core import layout, records
from orbax_model_lite.core.data import Data
from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.tree import Tree, flatten_with_path, unflatten
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError

MAX_EXAMPLE_BYTES: Final = 16 * 2**20
"""How much the examples of one bundle may hold unless the author asks for more."""

_MAX_UNPACKED_BYTES: Final = 2**30
_MAX_INDEX_BYTES: Final = 2**24

# What zipfile, NumPy and json raise for damaged files and for those made to do harm.
_DAMAGE: Final = (
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,  # an array's header may claim any size
    OSError,
    RuntimeError,  # a password, nesting without end, an unknown compression
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far a replay may be off: |new - old| <= absolute + relative * largest |old|."""

    relative: float = 0.0
    absolute: float = 0.0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One recorded call.

    Attributes:
      target: Name of the pipeline or function that was called.
      is_pipeline: Which of the two it is.
      args: Positional inputs, plain trees of NumPy arrays; weights are not among them.
      kwargs: Keyword inputs.
      outputs: What the original returned.
      tolerances: By dtype name; others have the reader's defaults.
    """

    target: str
    is_pipeline: bool
    args: tuple[Tree, ...]
    kwargs: Mapping[str, Tree]
    outputs: Tree
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Bytes of all arrays, strings counted by their length."""
        leaves = flatten_with_path((self.args, dict(self.kwargs), self.outputs))
        return sum(_size_bytes(np.asarray(leaf)) for _, leaf in leaves)


def example_bytes(example: Example) -> bytes:
    """Returns the `.npz` file of one recorded call; the same call gives the same bytes."""
    tree = {"args": example.args, "kwargs": dict(example.kwargs), "outputs": example.outputs}
    leaves = flatten_with_path(tree)
    types: list[str] = []
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, (_, leaf) in enumerate(leaves):
            array = np.asarray(leaf)
            array = array.astype(array.dtype.newbyteorder("="), copy=False)
            types.append(DType.from_numpy(array.dtype).value)
            for suffix, part in _storable(array).items():
                _add(archive, f"{i}{suffix}.npy", part)
        positions = iter(range(len(leaves)))
        index = {"tree": _to_json(unflatten(tree, positions)), "types": types}
        text = json.dumps(index, sort_keys=True).encode()
        _add(archive, "index.npy", np.frombuffer(text, np.uint8))
    return buffer.getvalue()


def read_example(payload: bytes, record: bundle_info_pb2.Example) -> Example:
    """Returns the recorded call that a `.npz` file holds.

    Raises:
      InvalidBundleError: If the file is damaged or asks for pickle.
    """
    try:
        _require_unpacked_size(payload)
        with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
            index = _index(archive["index"])
            leaves = [_restored(archive, i, name) for i, name in enumerate(index["types"])]
        tree = _from_json(index["tree"], leaves)
        args, kwargs, outputs = tree["args"], tree["kwargs"], tree["outputs"]
        if not isinstance(args, tuple) or not isinstance(kwargs, dict):
            raise ValueError("a tree that is not one of a call")
    except _DAMAGE as e:
        raise InvalidBundleError(
            f"example {record.path!r}: expected an .npz file of arrays with an index; "
            f"found a damaged one ({e}); save the bundle again"
        ) from e
    is_pipeline = record.WhichOneof("target") == "pipeline_name"
    return Example(
        target=record.pipeline_name if is_pipeline else record.function_name,
        is_pipeline=is_pipeline,
        args=args,
        kwargs=kwargs,
        outputs=outputs,
        tolerances={
            name: Tolerance(relative=t.relative, absolute=t.absolute)
            for name, t in record.tolerances.items()
        },
    )


def examples_data(examples: Iterable[tuple[str, Example]], platform: str) -> Data:
    """Returns the payload of the bundle's examples supplemental.

    Args:
      examples: (path relative to the bundle, example) pairs.
      platform: Where the outputs were computed, such as "cpu".
    """
    proto = bundle_info_pb2.Examples()
    for path, example in examples:
        target = "pipeline_name" if example.is_pipeline else "function_name"
        record = proto.examples.add(path=path, platform=platform, **{target: example.target})
        for name, tolerance in example.tolerances.items():
            record.tolerances[name].relative = tolerance.relative
            record.tolerances[name].absolute = tolerance.absolute
    return records.to_data(proto, layout.MIME_EXAMPLES)


def write_examples(folder: Path, examples: Sequence[Example], platform: str) -> Data:
    """Writes recorded calls below a bundle's folder; returns the supplemental that lists them.

    Args:
      folder: Of the bundle; it has no examples yet.
      examples: At least one.
      platform: Where the outputs were computed, such as "cpu".
    """
    (folder / layout.EXAMPLES_FOLDER).mkdir()
    paths = [f"{layout.EXAMPLES_FOLDER}{i}.npz" for i in range(len(examples))]
    for path, example in zip(paths, examples, strict=True):
        (folder / path).write_bytes(example_bytes(example))
    return examples_data(zip(paths, examples, strict=True), platform)


def read_examples_record(payload: bytes) -> list[bundle_info_pb2.Example]:
    """Returns the entries of the examples supplemental.

    Raises:
      InvalidBundleError: If the bytes do not parse.
    """
    where = f"supplemental {layout.KEY_EXAMPLES!r}"
    return list(records.parsed(bundle_info_pb2.Examples(), payload, where).examples)


def require_size(examples: Iterable[Example], limit_bytes: int) -> None:
    """Checks that recorded calls do not make a bundle large by accident.

    Raises:
      InvalidModelError: If they hold more than `limit_bytes`.
    """
    total = sum(example.size_bytes for example in examples)
    if total > limit_bytes:
        raise InvalidModelError(
            f"examples: expected at most {limit_bytes} bytes; found {total}; "
            "record fewer rows, or raise max_example_bytes"
        )


def _require_unpacked_size(payload: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > _MAX_UNPACKED_BYTES:
        raise ValueError(f"{unpacked} bytes unpacked, more than {_MAX_UNPACKED_BYTES}")


def _index(stored: np.ndarray) -> Any:
    if stored.nbytes > _MAX_INDEX_BYTES:
        raise ValueError(f"an index of {stored.nbytes} bytes, more than {_MAX_INDEX_BYTES}")
    return json.loads(stored.tobytes())


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
    # A fixed date: the same arrays give the same bytes.
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, buffer.getvalue())


def _storable(array: np.ndarray) -> dict[str, np.ndarray]:
    dtype = DType.from_numpy(array.dtype)
    if dtype is DType.STRING:
        texts = [_as_bytes(text) for text in array.ravel().tolist()]
        lengths = np.array([len(text) for text in texts], np.int64).reshape(array.shape)
        return {"": np.frombuffer(b"".join(texts), np.uint8), ".lengths": lengths}
    if dtype is DType.FLOAT0:
        return {"": np.zeros(array.shape, np.bool_)}
    if array.dtype.isbuiltin != 1:
        return {"": np.asarray(array, order="C").view(f"u{array.dtype.itemsize}")}
    return {"": array}


def _restored(archive: Mapping[str, np.ndarray], i: int, name: str) -> np.ndarray:
    dtype, stored = DType(name), archive[str(i)]
    if dtype is DType.STRING:
        lengths = archive[f"{i}.lengths"]
        # Lengths that go back and forth would make more text than the file has.
        if np.any((lengths < 0) | (lengths > stored.nbytes)) or lengths.sum() != stored.nbytes:
            raise ValueError(f"strings of other lengths than the {stored.nbytes} bytes there are")
        ends = np.cumsum(lengths.ravel())
        blob = stored.tobytes()
        texts = [blob[end - size : end] for end, size in zip(ends, lengths.ravel(), strict=True)]
        restored = np.empty(lengths.size, object)
        restored[:] = texts
        return restored.reshape(lengths.shape)
    if dtype is DType.FLOAT0:
        return np.zeros(stored.shape, dtype.numpy)
    return stored if stored.dtype == dtype.numpy else stored.view(dtype.numpy)


def _as_bytes(text: Any) -> bytes:
    if isinstance(text, str):
        return text.encode()
    if isinstance(text, bytes):
        return text
    raise InvalidModelError(
        f"example: expected arrays of numbers, bytes or text; found {type(text).__name__}; "
        "convert it before it is recorded"
    )


def _size_bytes(array: np.ndarray) -> int:
    if DType.from_numpy(array.dtype) is DType.STRING:
        return sum(len(_as_bytes(text)) for text in array.ravel().tolist())
    return array.nbytes


def _to_json(node: Tree) -> Any:
    if isinstance(node, dict):
        return {"dict": {key: _to_json(child) for key, child in node.items()}}
    if isinstance(node, (tuple, list)):
        return {type(node).__name__: [_to_json(child) for child in node]}
    return node


def _from_json(node: Any, leaves: list[np.ndarray]) -> Tree:
    if isinstance(node, int):
        if not 0 <= node < len(leaves):
            raise ValueError(f"leaf {node} of {len(leaves)}")
        return leaves[node]
    if node is None:
        return None
    ((kind, below),) = node.items()
    if kind == "dict":
        return {key: _from_json(child, leaves) for key, child in below.items()}
    children = [_from_json(child, leaves) for child in below]
    return tuple(children) if kind == "tuple" else children
