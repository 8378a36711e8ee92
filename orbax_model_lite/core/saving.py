"""Objects -> the files of a bundle, in a folder that its caller may have begun.

Everything is checked and decided in memory; only then are the files written, in this order:
supplementals, what belongs to functions, `manifest.pb`, `integrity.pb`, and the version marker,
whose presence means that the save finished. The caller's files are read for their digests and
flushed, and never touched otherwise. To make a whole bundle appear in one step, save into `staged`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, final

from orbax_model_lite.core import (
    digests,
    integrity,
    journal,
    layout,
    manifest,
    storage,
    version_file,
)
from orbax_model_lite.core.data import Data, GlobalSupplemental
from orbax_model_lite.core.derivatives import with_vjps_as_objects
from orbax_model_lite.core.device import Device
from orbax_model_lite.core.digests import FileDigest, Progress
from orbax_model_lite.core.file_names import RESERVED, FileNames
from orbax_model_lite.core.function import (
    OpaqueFunction,
    PolymorphicFunction,
    ShloFunction,
    Visibility,
)
from orbax_model_lite.core.limits import ReadLimits
from orbax_model_lite.core.placement import Placement, present_names
from orbax_model_lite.core.references import is_function, object_problems
from orbax_model_lite.core.value import ExternalValue, Object
from orbax_model_lite.errors import (
    BundleExistsError,
    InvalidModelError,
    UnsupportedError,
    unknown_name,
)

if TYPE_CHECKING:
    from orbax_model_lite.core.bundle import Bundle


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SaveOptions:
    """How to save, and what to save besides the objects.

    Attributes:
      version: Of the layout to write; only 2 exists.
      supplemental_info: Records about the bundle as a whole, by key.
      visibility: By name of a function; others keep their own.
      device_assignment_by_coords: Devices in the flat order of the mesh.
      save_shlo_to_file: Whether StableHLO modules become files or are kept in the manifest.
      frequent_paths: The manifest's table of paths, for ranges that came from one.
      digests: Sizes and SHA-256 of files of the folder, by relative path, that their writer
        computed already; they are not read again.
      origin: What the manifest that is being replaced had beyond this version's knowledge; see
        `keeping`.
    """

    version: int = 2
    supplemental_info: Mapping[str, GlobalSupplemental | Data] = field(default_factory=dict)
    visibility: Mapping[str, Visibility] = field(default_factory=dict)
    device_assignment_by_coords: tuple[Device, ...] | None = None
    save_shlo_to_file: bool = True
    frequent_paths: tuple[str, ...] = ()
    digests: Mapping[str, FileDigest] = field(default_factory=dict)
    origin: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        """Checks the version."""
        if self.version != 2:
            raise UnsupportedError(
                f"save options: expected version 2; found {self.version!r}; "
                "this is the only layout that is written"
            )

    @classmethod
    def keeping(cls, bundle: Bundle) -> SaveOptions:
        """Returns options with everything of a bundle that is not in its objects.

        With the bundle's objects, changed or not, and a copy of its other files in the target, a
        save with them loses nothing, not even what this version does not know.
        """
        return cls(
            supplemental_info=bundle.supplementals,
            device_assignment_by_coords=bundle.device_assignment,
            frequent_paths=bundle.frequent_paths,
            origin=bundle.origin,
        )


def save(
    objects: Mapping[str, Object],
    path: str | os.PathLike[str],
    options: SaveOptions | None = None,
    *,
    progress: Progress | None = None,
) -> None:
    """Saves objects as a bundle, in place.

    The same objects, options and files of the caller give the same bytes in every folder. After a
    kill the folder has no version marker and the save may be repeated; what the killed one left is
    removed then. When the save raises, its own files are gone again.

    Args:
      objects: By name; any names will do. Files that they refer to are in the folder already;
        absolute paths inside it become relative.
      path: The folder; it is made if need be. It may hold the caller's files.
      options: See `SaveOptions`.
      progress: Called with (bytes done, total) while the caller's files are read.

    Raises:
      InvalidModelError: If objects contradict each other, refer to what is not there or lies
        outside the folder, or cannot be represented; every such place is named.
      BundleExistsError: If the folder is a bundle already, or somebody is saving into it.
      StorageError: If the file system refuses a step.
    """
    options = options or SaveOptions()
    root = Path(path)
    linked = with_vjps_as_objects(objects)
    chosen = {name: _with_visibility(name, linked[name], options) for name in sorted(linked)}
    with storage.storage_errors("saving to", root):
        made = storage.make_folders(root)
        try:
            with journal.opened(root) as log:
                log.write_files(_decide_files(chosen, root, options, progress))
        except BaseException:
            storage.remove_if_empty(made)
            raise


def _author_problems(objects: Mapping[str, Object], options: SaveOptions) -> list[str]:
    """Returns what is wrong with objects and options by themselves."""
    problems = [f"{where}: {problem}" for where, problem in object_problems(objects)]
    for name in sorted(options.visibility):
        if name not in objects:
            problems.append(f"visibility: {unknown_name('function', name, objects)}")
        elif not is_function(objects[name]):
            problems.append(
                f"visibility of {name!r}: expected a function; found "
                f"{type(objects[name]).__name__}; leave it out"
            )
    return problems


def _with_visibility(name: str, found: Object, options: SaveOptions) -> Object:
    visibility = options.visibility.get(name)
    if visibility is None:
        return found
    if isinstance(found, PolymorphicFunction):
        variants = tuple([replace(f, visibility=visibility) for f in found.functions])
        return replace(found, functions=variants)
    if isinstance(found, ShloFunction | OpaqueFunction):
        return replace(found, visibility=visibility)
    return found


def _decide_files(
    objects: Mapping[str, Object], root: Path, options: SaveOptions, progress: Progress | None
) -> dict[str, bytes]:
    """Returns the files to write, in order; nothing is written here."""
    present = digests.list_files(root)
    _require_unused(root)
    names = FileNames(present_names(root, present))
    placement = Placement(root, names, modules_in_files=options.save_shlo_to_file)
    problems = _author_problems(objects, options)
    record = _manifest(objects, options, placement)
    problems += [*placement.problems, *placement.missing(), *_digest_problems(root, options)]
    _refuse(root, problems)
    files = placement.files | {layout.MANIFEST_FILE: record}
    listed = digests.digest_folder(root, known=options.digests, flush=True, progress=progress)
    listed |= {path: FileDigest.of(content) for path, content in files.items()}
    files[layout.INTEGRITY_FILE] = integrity.to_bytes(listed)
    files[layout.VERSION_FILE] = version_file.to_bytes()
    return files


def _manifest(objects: Mapping[str, Object], options: SaveOptions, placement: Placement) -> bytes:
    """Returns the manifest, after placing everything; problems are added to the placement's."""
    info = options.supplemental_info
    supplementals = {key: placement.place_global(key, info[key]) for key in sorted(info)}
    settled = {name: _settled(name, found, placement) for name, found in objects.items()}
    try:
        proto = manifest.to_proto(
            settled,
            supplementals,
            device_assignment=options.device_assignment_by_coords,
            frequent_paths=options.frequent_paths,
            origin=options.origin,
            place=placement.place,
        )
    except InvalidModelError as e:
        placement.problems.append(str(e))
        return b""
    except UnicodeEncodeError as e:
        placement.problems.append(
            f"text {e.object[:40]!r}: expected names and text that UTF-8 can hold; found an "
            "unpaired surrogate; correct it"
        )
        return b""
    size, limit = proto.ByteSize(), ReadLimits().manifest_bytes
    if size > limit:
        placement.problems.append(
            f"manifest: expected at most {limit} bytes, which is what readers take; found {size}; "
            "give large supplementals an extension or save_as, so that they become files"
        )
        return b""
    return manifest.to_bytes(proto)


def _settled(name: str, found: Object, placement: Placement) -> Object:
    if isinstance(found, ExternalValue):
        return replace(found, data=placement.refer(found.data, f"value {name!r}"))
    return found


def _require_unused(root: Path) -> None:
    """Checks that the caller has no files of the format's own names, in any case."""
    fixed = {name.casefold(): name for name in RESERVED}
    kept = {layout.JOURNAL_FILE, layout.UNFINISHED_FILE}
    for path in sorted(root.iterdir()):
        name = fixed.get(path.name.casefold())
        if name is not None and path.name not in kept:
            raise BundleExistsError(
                f"target {os.fspath(root)!r}: expected no {name!r}, which the save is to write; "
                f"found {path.name!r}, perhaps of a bundle in an older layout; "
                "choose another target or remove it yourself"
            )


def _digest_problems(root: Path, options: SaveOptions) -> list[str]:
    problems: list[str] = []
    for path, digest in sorted(options.digests.items()):
        file = root / path
        size = file.stat().st_size if file.is_file() else None
        if size != digest.size_bytes:
            problems.append(
                f"digest of {path!r}: expected a file of {digest.size_bytes} bytes; "
                f"found {'nothing' if size is None else size}; compute it after writing the file"
            )
    return problems


def _refuse(root: Path, problems: list[str]) -> None:
    """Raises one error for all problems, if there are any."""
    if len(problems) == 1:
        raise InvalidModelError(problems[0])
    if problems:
        listed = "\n  ".join(problems)
        raise InvalidModelError(
            f"bundle {os.fspath(root)!r}: {len(problems)} problems; correct them all\n  {listed}"
        )
