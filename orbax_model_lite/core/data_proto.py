"""Payloads <-> `UnstructuredData`. Only the record: no file is opened here."""

from __future__ import annotations

from collections.abc import Sequence

from orbax_model_lite._proto import manifest_pb2
from orbax_model_lite.core.data import Data, FileRange
from orbax_model_lite.errors import InvalidBundleError


def data_from_proto(
    proto: manifest_pb2.UnstructuredData, where: str, frequent_paths: Sequence[str] = ()
) -> Data:
    """Returns the payload that a record describes.

    Args:
      proto: The record.
      where: Beginning of a message, for example "function 'f'".
      frequent_paths: The manifest's table of paths.

    Raises:
      InvalidBundleError: If it points past the end of that table.
    """
    case = proto.WhichOneof("data")
    if case == "file_system_location":
        content = _range_from_proto(proto.file_system_location, where, frequent_paths)
    else:
        content = getattr(proto, case) if case else None
    return Data(
        content=content,
        mime_type=proto.mime_type if proto.HasField("mime_type") else None,
        version=proto.version if proto.HasField("version") else None,
    )


def data_to_proto(data: Data, frequent_paths: Sequence[str] = ()) -> manifest_pb2.UnstructuredData:
    """Returns the record of a payload whose place is settled.

    Args:
      data: The payload; `content` is in memory, or says where in the bundle it lies.
      frequent_paths: The manifest's table of paths; a range that came from it refers to it again.
    """
    proto = manifest_pb2.UnstructuredData(mime_type=data.mime_type, version=data.version)
    match data.content:
        case FileRange() as place:
            proto.file_system_location.CopyFrom(_range_to_proto(place, frequent_paths))
        case str() as text:
            proto.inlined_string = text
        case None:
            pass
        case content:
            proto.inlined_bytes = bytes(content)
    return proto


def empty_payload(proto: manifest_pb2.UnstructuredData) -> None:
    """Takes a payload that is inside a record out of it; that it was inside stays recorded."""
    match proto.WhichOneof("data"):
        case "inlined_bytes":
            proto.inlined_bytes = b""
        case "inlined_string":
            proto.inlined_string = ""


def _range_from_proto(
    proto: manifest_pb2.FileSystemLocation, where: str, frequent_paths: Sequence[str]
) -> FileRange:
    path, index = proto.string_path, None
    if proto.WhichOneof("path") == "frequent_path_idx":
        index = proto.frequent_path_idx
        if not 0 <= index < len(frequent_paths):
            raise InvalidBundleError(
                f"{where}: expected an index into the {len(frequent_paths)} frequent paths of the "
                f"manifest; found {index}; the manifest is damaged, save it again"
            )
        path = frequent_paths[index]
    return FileRange(
        path=path,
        offset=proto.offset_in_byte if proto.HasField("offset_in_byte") else None,
        size=proto.size_in_byte if proto.HasField("size_in_byte") else None,
        frequent_index=index,
    )


def _range_to_proto(
    place: FileRange, frequent_paths: Sequence[str]
) -> manifest_pb2.FileSystemLocation:
    proto = manifest_pb2.FileSystemLocation(offset_in_byte=place.offset, size_in_byte=place.size)
    index = place.frequent_index
    if index is not None and list(frequent_paths[index : index + 1]) == [place.path]:
        proto.frequent_path_idx = index
    elif place.path:
        proto.string_path = place.path
    return proto
