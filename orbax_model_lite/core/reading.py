"""Reading a bundle: marker, digests, manifest. No framework is imported and nothing is run.

Weights, modules and SavedModels stay where they are; `Bundle.read_bytes` gets them.
"""

from __future__ import annotations

import os
import pathlib

from google.protobuf.message import DecodeError

from orbax_model_lite._proto import manifest_pb2
from orbax_model_lite.core import (
    files,
    integrity,
    layout,
    legacy,
    manifest,
    paths,
    upgrade,
    version_file,
)
from orbax_model_lite.core.bundle import Bundle
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.core.limits import ReadLimits
from orbax_model_lite.errors import InvalidBundleError, ObmError


def read(path: str | os.PathLike[str], *, limits: ReadLimits | None = None) -> Bundle:
    """Returns the description of a bundle, of today's layout or any older one.

    Reading runs no code from the bundle.

    Args:
      path: The bundle's folder.
      limits: How large a manifest may be; None takes the defaults.

    Raises:
      InvalidBundleError: If it is no bundle, its save did not finish, or it is damaged.
      UnsupportedError: If it is of a version that this reader does not know.
      StorageError: If the file system refuses.

    Example:
      >>> from orbax_model_lite import core
      >>> core.save({"nothing": core.TupleValue(elements=())}, "m.obm")
      >>> core.read("m.obm").objects
      {'nothing': TupleValue(elements=())}
    """
    return _read(path, limits or ReadLimits(), manifest.raise_it)


def read_with_problems(
    path: str | os.PathLike[str], *, limits: ReadLimits | None = None
) -> tuple[Bundle | None, list[ObmError]]:
    """Returns what can be read of a bundle, and an error for each entry that cannot.

    Args:
      path: The bundle's folder.
      limits: See `read`.

    Returns:
      The bundle without the damaged entries, or None when there is no manifest to read; and what
      `read` would have raised, all of it.
    """
    problems: list[ObmError] = []
    try:
        return _read(path, limits or ReadLimits(), problems.append), problems
    except ObmError as e:
        return None, [*problems, e]


def _read(path: str | os.PathLike[str], limits: ReadLimits, on_error: manifest.OnError) -> Bundle:
    root = pathlib.Path(path)
    bundle = f"bundle {os.fspath(root)!r}"
    _require_folder(root, bundle)
    marker = _marker(root, bundle)
    manifest_path = layout.MANIFEST_FILE if marker is None else marker.manifest_file_path
    if marker is None:
        _require_no_unfinished_save(root, bundle)
    digests = integrity.load_integrity(root)
    place = FileRange(path=manifest_path)
    where = f"{bundle}, manifest"
    raw = files.read_range(root, digests or {}, place, where, max_bytes=limits.manifest_bytes)
    name, raw = _todays(raw, root, bundle, has_marker=marker is not None)

    def read_payload(data: Data, where: str) -> bytes:
        where = f"{bundle}, {where}"
        return files.read_payload(root, digests or {}, data, where, max_bytes=limits.payload_bytes)

    contents = manifest.from_proto(
        _parsed(raw, where), read_payload, limits=limits, on_error=on_error
    )
    return Bundle(
        path=root,
        objects=contents.objects,
        supplementals=contents.supplementals,
        device_assignment=contents.device_assignment,
        layout=name,
        frequent_paths=contents.frequent_paths,
        digests=digests,
        origin=contents.origin,
    )


def _require_folder(root: pathlib.Path, bundle: str) -> None:
    try:
        if not root.exists():
            # An overwrite that was killed between its two renames left the old bundle beside it.
            # Imported only then: what saving takes is no matter of a bundle that is there.
            from orbax_model_lite.core import staging

            staging.recover(root)
        is_there, is_folder = root.exists(), root.is_dir()
        if is_folder:
            next(root.iterdir(), None)
    except OSError as e:
        raise paths.refused(e, bundle) from e
    if not is_folder:
        found = "a file" if is_there else "nothing"
        raise InvalidBundleError(f"{bundle}: expected a folder; found {found}; check the path")


def _marker(root: pathlib.Path, bundle: str) -> version_file.VersionFile | None:
    if not _is_there(root, layout.VERSION_FILE):
        return None
    where = f"{bundle}, marker"
    content = paths.read_file(root, layout.VERSION_FILE, where, version_file.MAX_BYTES)
    info = version_file.from_bytes(content, f"{bundle}, {layout.VERSION_FILE!r}")
    version_file.require_supported(info, bundle)
    return info


def _require_no_unfinished_save(root: pathlib.Path, bundle: str) -> None:
    """Checks that a folder without today's marker can be of a layout that had none."""
    # Bundles with a record of digests always end with the marker.
    begun = any(_is_there(root, name) for name in (layout.INTEGRITY_FILE, layout.JOURNAL_FILE))
    if begun or not _is_there(root, layout.MANIFEST_FILE):
        raise _unfinished(root, bundle)


def _todays(raw: bytes, root: pathlib.Path, bundle: str, *, has_marker: bool) -> tuple[str, bytes]:
    """Returns the name of a manifest's layout, and the manifest in today's."""
    where = f"{bundle}, manifest"
    has_old_marker = not has_marker and _is_there(root, layout.LEGACY_VERSION_FILE)
    if has_old_marker:
        content = paths.read_file(
            root, layout.LEGACY_VERSION_FILE, f"{bundle}, marker", version_file.MAX_BYTES
        )
        version_file.require_version(content.decode("utf-8", "replace").strip(), bundle)
    name = legacy.recognise(raw, where, has_marker=has_marker, has_old_marker=has_old_marker)
    if name is None:
        raise _unfinished(root, bundle)
    if name == legacy.CURRENT:
        return name, raw
    return name, upgrade.upgraded(raw, where, absent_is_public=name == legacy.OLDEST)


def _parsed(raw: bytes, where: str) -> manifest_pb2.Manifest:
    try:
        return manifest_pb2.Manifest.FromString(raw)
    except DecodeError as e:
        raise InvalidBundleError(
            f"{where}: expected a manifest of the format; found {len(raw)} bytes that do not parse "
            "as one; the bundle is damaged, copy or save it again"
        ) from e


def _is_there(root: pathlib.Path, name: str) -> bool:
    return os.path.lexists(root / name)


def _unfinished(root: pathlib.Path, bundle: str) -> InvalidBundleError:
    marker = layout.VERSION_FILE
    if _is_there(root, layout.MANIFEST_FILE):
        return InvalidBundleError(
            f"{bundle}: no {marker!r}, so the save did not finish; save it again"
        )
    return InvalidBundleError(
        f"{bundle}: no {marker!r} and no {layout.MANIFEST_FILE!r}, so it is no bundle or its save "
        "did not finish; check the path or save it again"
    )
