"""What a person wants to know about a model: name, version, licence, authors, versions in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, final

from orbax_model_lite._proto import bundle_info_pb2
from orbax_model_lite.core import layout, records
from orbax_model_lite.core.data import Data
from orbax_model_lite.errors import InvalidModelError


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Facts about a model that its author gives, and the versions that wrote it.

    Attributes:
      name: Of the model.
      version: Of the model, in the author's scheme.
      description: Any length, plain text or Markdown.
      license: An SPDX expression where there is one.
      authors: Names or addresses.
      tags: For search.
      framework_versions: Package name to version, as in use when the bundle was written.
      extra: The author's own keys.
    """

    name: str = ""
    version: str = ""
    description: str = ""
    license: str = ""
    authors: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    framework_versions: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks that no free key hides one of the named ones."""
        clashing = sorted({f.name for f in fields(self)} & self.extra.keys())
        if clashing:
            raise InvalidModelError(
                f"metadata, extra: expected keys of your own; found {', '.join(clashing)}, which "
                "are fields of the metadata itself; pass them as such"
            )

    @classmethod
    def of(cls, given: Metadata | Mapping[str, Any] | None) -> Metadata:
        """Returns metadata from a plain mapping; keys that are not fields become free keys.

        Raises:
          InvalidModelError: If a value is not text (or a sequence of text for authors and tags).
        """
        if given is None:
            return cls()
        if isinstance(given, Metadata):
            return given
        known = {f.name for f in fields(cls)}
        values: dict[str, Any] = {}
        extra = dict(given.get("extra", {}))
        for key, value in given.items():
            if key == "extra":
                continue
            if key not in known:
                if key in extra:
                    raise InvalidModelError(
                        f"metadata, key {key!r}: expected it once; found it beside and inside "
                        "'extra'; drop one"
                    )
                extra[key] = _text(key, value)
            elif key in ("authors", "tags"):
                items = (value,) if isinstance(value, str) else value
                values[key] = tuple(_text(key, item) for item in items)
            elif key == "framework_versions":
                values[key] = {name: _text(key, version) for name, version in value.items()}
            else:
                values[key] = _text(key, value)
        return cls(**values, extra={key: _text(key, value) for key, value in extra.items()})

    def to_data(self) -> Data:
        """Returns the payload of the bundle's metadata supplemental."""
        proto = bundle_info_pb2.Metadata(
            name=self.name,
            version=self.version,
            description=self.description,
            license=self.license,
            authors=self.authors,
            tags=self.tags,
            framework_versions=self.framework_versions,
            extra=self.extra,
        )
        return records.to_data(proto, layout.MIME_METADATA)

    @classmethod
    def from_payload(cls, payload: bytes) -> Metadata:
        """Returns the metadata that a supplemental holds.

        Raises:
          InvalidBundleError: If the bytes do not parse.
        """
        where = f"supplemental {layout.KEY_METADATA!r}"
        proto = records.parsed(bundle_info_pb2.Metadata(), payload, where)
        named = {f.name for f in fields(cls)}
        return cls(
            name=proto.name,
            version=proto.version,
            description=proto.description,
            license=proto.license,
            authors=tuple(proto.authors),
            tags=tuple(proto.tags),
            framework_versions=dict(proto.framework_versions),
            extra={key: value for key, value in proto.extra.items() if key not in named},
        )


def _text(key: str, value: Any) -> str:
    if isinstance(value, (str, int, float, bool)):
        return str(value)
    raise InvalidModelError(
        f"metadata, key {key!r}: expected text or a number; found {type(value).__name__}; "
        "turn it into text, for example with json.dumps"
    )
