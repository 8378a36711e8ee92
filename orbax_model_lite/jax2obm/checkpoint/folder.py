"""The folder of an Orbax checkpoint as far as plain files tell: where it is, which arrays it names.

Imports neither Orbax nor JAX, so that names can be listed without them. A stranger may have written
the folder: nothing in it may lead out of it. The arrays themselves are the matter of `reading`.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

from orbax_model_lite.core.dtype import DType
from orbax_model_lite.core.spec import Spec
from orbax_model_lite.core.storage import storage_error
from orbax_model_lite.core.tree import Path as TreePath
from orbax_model_lite.core.tree import Tree, flatten_with_path
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.jax2obm.checkpoint.tree import damaged, nested_tree
from orbax_model_lite.jax2obm.weights import stored

METADATA_FILE: Final = "_METADATA"
CHECKPOINT_METADATA_FILE: Final = "_CHECKPOINT_METADATA"
ARRAY_KEY: Final = "checkpoint"
"""What Orbax names the only array of a checkpoint that is a single array."""

NATIVE: Final = frozenset(
    set(DType)
    - {DType.UNSPECIFIED, DType.STRING, DType.FLOAT0}
    - {DType.UINT2, DType.UINT4, DType.FLOAT8_E4M3}
)
"""Element types that Orbax stores; found by trying every one of them."""

_ITEMS: Final = ("default", "params", "state", "pytree")
_STEP: Final = re.compile(r"(?:.*[_-])?(\d+)")
# What JAX calls a generator, and the tag of the type of its keys.
_GENERATORS: Final = {"threefry2x32": "fry", "rbg": "rbg", "unsafe_rbg": "urbg"}
_UNFINISHED: Final = ".orbax-checkpoint-tmp"
_MAX_METADATA_BYTES: Final = 512 << 20


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFolder:
    """A checkpoint's own account of itself.

    Attributes:
      path: The folder, absolute, with all links followed.
      tree: Its containers, with a StoredArray for every leaf.
      is_ours: Whether the tree comes from our record, with all shapes and element types.
      is_ocdbt: Whether all arrays share one key-value store; otherwise each is a folder.
      is_zarr3: Whether arrays are in version 3 of the Zarr format instead of version 2.
      has_all_chunks: Whether a chunk that is missing is damage; otherwise it is all zeros.
      key_types: "key<fry>" and the like, by name of an array that holds the words of PRNG keys.
    """

    path: Path
    tree: Tree
    is_ours: bool
    is_ocdbt: bool
    is_zarr3: bool
    has_all_chunks: bool
    key_types: Mapping[str, str]


def locate(
    path: str | os.PathLike[str], *, step: int | None = None, item: str | None = None
) -> Path:
    """Returns the folder that holds the arrays of a checkpoint.

    Args:
      path: That folder itself, the folder of a step with its items, or the root folder of a
        CheckpointManager with its steps.
      step: Which step to take; None takes the latest one.
      item: Which item to take; None takes the only one, or the one that is called "default",
        "params", "state" or "pytree".

    Raises:
      InvalidBundleError: If there is no checkpoint, no such step or item, more than one item that
        could be meant, or if a link leads out of the folder.
    """
    found = _located(Path(path), step, item)
    if not found.resolve().is_relative_to(Path(path).resolve()):
        raise InvalidBundleError(
            f"checkpoint {os.fspath(path)!r}: expected steps and items of its own; found that "
            f"{found.name!r} is a link to {str(found.resolve())!r}; refusing to read it"
        )
    return found


def _located(folder: Path, step: int | None, item: str | None) -> Path:
    if (folder / METADATA_FILE).exists():
        if step is not None or item is not None:
            raise InvalidBundleError(
                f"checkpoint {str(folder)!r}: expected steps or items; found a single checkpoint; "
                "leave out step and item"
            )
        return folder
    if not folder.is_dir():
        raise InvalidBundleError(
            f"checkpoint {str(folder)!r}: expected a folder that Orbax saved; found "
            f"{'a file' if folder.exists() else 'nothing'}; check the path or save it again"
        )
    items = _items(folder)
    if step is None and not all(map(_STEP.fullmatch, items)):
        return _choose_item(folder, items, item)
    steps = {number: child for number, child in _steps(folder) if _items(child)}
    if not steps or (step is not None and step not in steps):
        wanted = "steps" if step is None else f"step {step}"
        children = sorted(child.name for child in folder.iterdir())
        there = ", ".join(map(str, sorted(steps))) or ", ".join(children[:8])
        raise InvalidBundleError(
            f"checkpoint {str(folder)!r}: expected {METADATA_FILE!r}, items or {wanted}; found "
            f"{there or 'an empty folder'}; check the path, or save the checkpoint again"
        )
    chosen = steps[max(steps) if step is None else step]
    return _choose_item(chosen, _items(chosen), item)


def _steps(folder: Path) -> Iterator[tuple[int, Path]]:
    for child in folder.iterdir():
        match = _STEP.fullmatch(child.name)
        if match is not None and child.is_dir() and _UNFINISHED not in child.name:
            yield int(match[1]), child


def _items(folder: Path) -> list[str]:
    if (folder / METADATA_FILE).exists():
        return [""]
    return sorted(
        child.name
        for child in folder.iterdir()
        if (child / METADATA_FILE).exists() and _UNFINISHED not in child.name
    )


def _choose_item(folder: Path, items: list[str], item: str | None) -> Path:
    usual = [name for name in _ITEMS if name in items]
    if item is not None and item in items:
        return folder / item
    if item is None and len(items) == 1:
        return folder / items[0]
    if item is None and len(usual) == 1:
        return folder / usual[0]
    wanted = "an item that is clearly meant" if item is None else f"an item {item!r}"
    raise InvalidBundleError(
        f"checkpoint {str(folder)!r}: expected {wanted}; found {', '.join(items)}; "
        "pass one of them as item, or its folder"
    )


def read_folder(path: Path) -> CheckpointFolder:
    """Returns what a checkpoint's metadata says; opens no array.

    Args:
      path: What `locate` returned.

    Raises:
      InvalidBundleError: If metadata is damaged, or something leads out of the folder.
      UnsupportedError: If the layout is one of before 2023, without metadata.
      StorageError: If the file system refuses.
    """
    where = f"checkpoint {str(path)!r}"
    root = require_contained(path)
    metadata = _read_json(root / METADATA_FILE, where)
    entries = metadata.get("tree_metadata") if isinstance(metadata, dict) else None
    if not isinstance(entries, dict):
        raise damaged(where, f"{METADATA_FILE!r} without an entry 'tree_metadata'")
    custom = metadata.get("custom_metadata")
    record = custom.get(stored.RECORD_KEY) if isinstance(custom, dict) else None
    if record is not None:
        tree = stored.from_record(record, where)
    else:
        tree = nested_tree(list(entries.values()), where)
        if _is_single_array(root, tree, is_ocdbt=metadata.get("use_ocdbt") is not False):
            tree = replace(tree[ARRAY_KEY], path=())
    is_ocdbt = metadata.get("use_ocdbt")
    folder = CheckpointFolder(
        path=root,
        tree=tree,
        is_ours=record is not None,
        is_ocdbt=(root / "manifest.ocdbt").exists() if is_ocdbt is None else bool(is_ocdbt),
        is_zarr3=bool(metadata.get("use_zarr3")),
        has_all_chunks=bool(metadata.get("store_array_data_equal_to_fill_value")),
        key_types={} if record is not None else _key_types(root, where),
    )
    if not folder.is_ocdbt:
        for _, array in flatten_with_path(tree):
            _require_inside(array, where)
    return folder


def require_contained(path: Path) -> Path:
    """Returns the folder with links followed, when everything in it lies in it.

    Raises:
      InvalidBundleError: If a link leads out of the folder, or something is neither a regular file
        nor a folder.
    """
    root = path.resolve()
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            entry = Path(folder, name)
            mode = entry.lstat().st_mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                continue
            if not stat.S_ISLNK(mode):
                kind = "a device, socket or pipe"
            elif entry.resolve().is_relative_to(root):
                continue
            else:
                kind = f"a link to {str(entry.readlink())!r}, outside of it"
            raise InvalidBundleError(
                f"checkpoint {str(path)!r}: expected only files of its own; found that "
                f"{str(entry.relative_to(root))!r} is {kind}; refusing to read it"
            )
    return root


def _require_inside(array: stored.StoredArray, where: str) -> None:
    """Checks a name that becomes a folder's path."""
    parts = (array.name or "x").split("/")
    if "" in parts or "." in parts or ".." in parts or "\\" in parts[0] or "\0" in parts[-1]:
        raise InvalidBundleError(
            f"{where}: expected arrays in folders of its own; found {array.name!r}, which is "
            "none; refusing to read it"
        )


def _read_json(path: Path, where: str) -> Any:
    try:
        if path.stat().st_size > _MAX_METADATA_BYTES:
            raise damaged(where, f"more than {_MAX_METADATA_BYTES} bytes in {path.name!r}")
        return json.loads(path.read_bytes())
    except FileNotFoundError as e:
        raise UnsupportedError(
            f"{where}: expected a file {path.name!r}, as Orbax writes it since 2023; found none; "
            "load the checkpoint with Orbax and save it again"
        ) from e
    except (ValueError, RecursionError) as e:
        raise damaged(where, f"{path.name!r} that is not JSON ({e})") from e
    except (IsADirectoryError, NotADirectoryError) as e:
        raise damaged(where, f"{path.name!r} that is no file ({e.strerror})") from e
    except OSError as e:  # which says nothing of the checkpoint
        raise storage_error("reading", path, e) from e


def _is_single_array(root: Path, tree: Tree, *, is_ocdbt: bool) -> bool:
    """Whether Orbax's handler for one array wrote it, and not the one for trees."""
    if is_ocdbt or not isinstance(tree, dict) or list(tree) != [ARRAY_KEY]:
        return False
    if not isinstance(tree[ARRAY_KEY], stored.StoredArray):
        return False
    for folder, item in ((root, None), (root.parent, root.name)):
        file = folder / CHECKPOINT_METADATA_FILE
        metadata = _read_json(file, f"checkpoint {str(root)!r}") if file.is_file() else None
        handler = metadata.get("item_handlers") if isinstance(metadata, dict) else None
        if isinstance(handler, dict) and item is not None:
            handler = handler.get(item)
        if isinstance(handler, str):
            return handler.endswith(".ArrayCheckpointHandler")
    return True


def _key_types(root: Path, where: str) -> dict[str, str]:
    """Returns the type of keys for every array that Orbax stored as typed PRNG keys."""
    folder = root / "array_metadatas"
    found: dict[str, str] = {}
    for file in sorted(folder.glob("process_*")) if folder.is_dir() else ():
        try:
            for entry in _read_json(file, where)["array_metadatas"]:
                array = entry["array_metadata"]
                generator = (array.get("ext_metadata") or {}).get("random_key_impl")
                if generator is not None:
                    tag = _GENERATORS.get(generator, generator)
                    found[str(array["param_name"])] = f"key<{tag}>"
        except (KeyError, TypeError, AttributeError) as e:
            raise damaged(where, f"{file.name!r} without metadata of arrays") from e
    return found


def names(folder: CheckpointFolder) -> dict[TreePath, Spec | None]:
    """Returns the leaves by key path, with their specs where the metadata gives them."""
    return {path: array.spec for path, array in flatten_with_path(folder.tree)}


def reason(error: Exception) -> str:
    """Returns what a library says, without the description of its own state behind it."""
    return str(error).partition(" [")[0].replace("\n", " ")[:300]
