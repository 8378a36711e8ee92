"""Recorded calls, listed: what was called, with which arrays, and what it gave; nothing is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from orbax_model_lite.core import layout
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.core.examples import read_example, read_examples_record
from orbax_model_lite.core.tree import Tree, flatten_with_path, format_path

_MOST_VALUES = 4


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayDescription:
    """One recorded array: its key path, type, sizes and first values."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begins: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleDescription:
    """One recorded call.

    Attributes:
      path: Relative to the bundle.
      target: Name of the pipeline or function that was called.
      is_pipeline: Which of the two it is.
      platform: Where the outputs were computed; "" where it is not recorded.
      inputs: Of the call.
      outputs: What the original gave.
    """

    path: str
    target: str
    is_pipeline: bool
    platform: str
    inputs: tuple[ArrayDescription, ...]
    outputs: tuple[ArrayDescription, ...]


def list_examples(bundle: Bundle) -> list[ExampleDescription]:
    """Returns the recorded calls of a bundle; none where it has none.

    Raises:
      InvalidBundleError: If a record or an example file is damaged.
      StorageError: If the file system refuses.
    """
    data = bundle.supplementals.get(layout.KEY_EXAMPLES)
    if data is None:
        return []
    found = []
    for record in read_examples_record(bundle.read_bytes(data)):
        payload = bundle.read_bytes(Data(content=FileRange(path=record.path)))
        example = read_example(payload, record)
        found.append(
            ExampleDescription(
                path=record.path,
                target=example.target,
                is_pipeline=example.is_pipeline,
                platform=record.platform,
                inputs=_arrays(example.args) + _arrays(dict(example.kwargs)),
                outputs=_arrays(example.outputs),
            )
        )
    return found


def _arrays(tree: Tree) -> tuple[ArrayDescription, ...]:
    return tuple(describe_array(format_path(path), leaf) for path, leaf in flatten_with_path(tree))


def describe_array(name: str, array: Any) -> ArrayDescription:
    """Returns what is said of an array of NumPy, strings among them, in a line."""
    return ArrayDescription(
        name=name,
        dtype="string" if array.dtype.kind in "OSU" else array.dtype.name,
        shape=tuple(array.shape),
        begins=_begins(array),
    )


def _begins(array: Any) -> str:
    values = array.reshape(-1)[:_MOST_VALUES].tolist()
    more = ", ..." if array.size > _MOST_VALUES else ""
    return ", ".join(map(_value_text, values)) + more


def _value_text(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{value[:24]!r}"
    return f"{value:.4g}" if isinstance(value, float | complex) else str(value)[:24]
