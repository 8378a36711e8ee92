"""docs/format.md is what others write readers from, so its tables must agree with the code."""

from __future__ import annotations

import importlib
import pathlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from google.protobuf import descriptor_pb2

from orbax_model_lite._proto import dtype_pb2, manifest_pb2
from orbax_model_lite.core import layout, legacy, version_file
from orbax_model_lite.core.dtype import DType

REPOSITORY = pathlib.Path(__file__).parents[2]
TEXT = (REPOSITORY / "docs" / "format.md").read_text(encoding="utf-8")

FIELD_COLUMNS = ("message", "number", "field", "type", "meaning")
SCHEMA = re.compile(r"protos/orbax_model_lite/_proto/(\w+)\.proto")
# Every schema whose messages are part of a bundle and are not somebody else's in full.
TABULATED = {
    "manifest",
    "type",
    "jax_supplemental",
    "simple_orchestration",
    "orchestration",
    "bundle_info",
    "integrity",
    "tf_handle",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table of the page; cells of code lose their backticks."""

    heading: str
    schema: str | None
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def cells(line: str) -> tuple[str, ...]:
    """Returns the cells of a table's line."""
    return tuple(re.sub(r"^`(.*)`$", r"\1", cell.strip()) for cell in line.strip("|").split("|"))


def tables(text: str) -> Iterator[Table]:
    """Yields the tables with the last heading and the last named schema before each."""
    heading, schema, block = "", None, []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            block.append(line.rstrip())
            continue
        if block:
            columns, rule, *rows = map(cells, block)
            assert set("".join(rule)) <= set("-"), f"no head in the table under {heading!r}"
            assert {len(row) for row in rows} == {len(columns)}, f"ragged table under {heading!r}"
            yield Table(heading=heading, schema=schema, columns=columns, rows=tuple(rows))
            block = []
        if line.startswith("#"):
            heading, schema = line.lstrip("# "), None
        elif found := SCHEMA.search(line):
            schema = found[1]


TABLES = tuple(tables(TEXT))


def table(*columns: str) -> Table:
    """Returns the one table with these columns."""
    (found,) = (found for found in TABLES if found.columns == columns)
    return found


def constants(prefix: str = "", suffix: str = "") -> dict[str, str]:
    """Returns the text constants of core/layout.py by name."""
    return {
        name: value
        for name, value in vars(layout).items()
        if name.isupper()
        and isinstance(value, str)
        and not name.startswith("_")
        and name.startswith(prefix)
        and name.endswith(suffix)
    }


def declared(schema: str) -> descriptor_pb2.FileDescriptorProto:
    """Returns a schema as its generated code describes it."""
    module = importlib.import_module(f"orbax_model_lite._proto.{schema}_pb2")
    found = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(found)
    return found


def type_text(
    field: descriptor_pb2.FieldDescriptorProto,
    entries: Mapping[str, descriptor_pb2.DescriptorProto],
) -> str:
    """Returns a field's type as the schema spells it, without packages."""
    if field.type_name in entries:
        key, value = entries[field.type_name].field
        return f"map<{type_text(key, entries)}, {type_text(value, entries)}>"
    scalar = descriptor_pb2.FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    name = field.type_name.rpartition(".")[2] or scalar
    if field.label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {name}"
    return f"optional {name}" if field.proto3_optional else name


def declared_fields(schema: str) -> set[tuple[str, ...]]:
    """Returns (message, number, field, type) of a schema; a message without fields has no more."""
    found: set[tuple[str, ...]] = set()

    def walk(message: descriptor_pb2.DescriptorProto, name: str, full_name: str) -> None:
        entries = {
            f"{full_name}.{nested.name}": nested
            for nested in message.nested_type
            if nested.options.map_entry
        }
        if not message.field:
            found.add((name, "", "", ""))
        for field in message.field:
            found.add((name, str(field.number), field.name, type_text(field, entries)))
        for nested in message.nested_type:
            if not nested.options.map_entry:
                walk(nested, f"{name}.{nested.name}", f"{full_name}.{nested.name}")

    file = declared(schema)
    for message in file.message_type:
        walk(message, message.name, f".{file.package}.{message.name}")
    return found


def test_the_schemas_of_a_bundle_are_all_tabulated():
    assert {t.schema for t in TABLES if t.columns == FIELD_COLUMNS} == TABULATED


@pytest.mark.parametrize("schema", sorted(TABULATED))
def test_a_table_has_every_message_and_field_of_its_schema_with_number_and_type(schema):
    (found,) = (t for t in TABLES if t.schema == schema and t.columns == FIELD_COLUMNS)
    rows = [row[:4] for row in found.rows]
    assert sorted(rows) == sorted(set(rows))
    assert set(rows) == declared_fields(schema)


def test_the_fields_of_one_oneof_are_marked_so():
    for found in TABLES:
        if found.columns != FIELD_COLUMNS or found.schema is None:
            continue
        marked = {row[:2] for row in found.rows if row[4].startswith("oneof ")}
        assert marked == set(oneof_members(found.schema))


def oneof_members(schema: str) -> Iterator[tuple[str, str]]:
    """Yields (message, number) of the fields that exclude others."""
    stack = [(message.name, message) for message in declared(schema).message_type]
    while stack:
        name, message = stack.pop()
        stack += [(f"{name}.{nested.name}", nested) for nested in message.nested_type]
        for field in message.field:
            if field.HasField("oneof_index") and not field.proto3_optional:
                yield name, str(field.number)


@pytest.mark.parametrize("name", ["Visibility", "LoaderType"])
def test_numbers_of_enums_beside_a_field_are_those_of_the_schema(name):
    (meaning,) = (
        row[4]
        for t in TABLES
        if t.schema == "manifest" and t.columns == FIELD_COLUMNS
        for row in t.rows
        if row[3] == name
    )
    for value in manifest_pb2.DESCRIPTOR.enum_types_by_name[name].values:
        assert f"{value.name} = {value.number}" in meaning


def test_the_element_types_are_those_of_the_schema_and_of_the_code():
    rows = table("number", "name", "type").rows
    assert {(int(number), name) for number, name, _ in rows} == {
        (number, name) for name, number in dtype_pb2.DType.items()
    }
    assert {int(number): name for number, _, name in rows} == {
        number: DType.from_wire(number).value for number in dtype_pb2.DType.values()
    }


def test_the_element_types_without_a_number_are_those_of_the_code():
    found = {name for (name,) in table("type").rows}
    assert found == {t.value for t in DType if not t.wire and t is not DType.UNSPECIFIED}


def test_every_file_name_of_the_code_is_in_the_table_of_files_and_the_other_way_round():
    known = constants(suffix="_FILE") | constants(suffix="_FOLDER")
    assert {name for name, _ in table("name", "what it is").rows} == set(known.values())


def test_the_names_of_function_files_are_those_that_the_code_makes():
    rows = {name for name, _ in table("file", "what it is").rows}
    assert rows == {
        layout.with_extension("<stem>", layout.SHLO_EXTENSION),
        layout.with_extension("<stem>", "<extension>"),
        layout.supplemental_file("<stem>", "<key>", "<extension>"),
    }
    assert f"`{layout.concrete_stem('p', 0)[:-1]}<i>`" in TEXT
    assert layout.PROTO_EXTENSION == "pb"


def test_every_key_of_the_code_is_in_the_table_of_keys_and_the_other_way_round():
    rows = table("key", "belongs to", "payload").rows
    assert {key for key, _, _ in rows} == set(constants(prefix="KEY_").values())


def test_every_mime_type_of_the_code_is_in_the_table_and_the_other_way_round():
    rows = table("MIME type", "before 2025-09-04", "version", "what").rows
    assert {mime for mime, *_ in rows} == set(constants(prefix="MIME_").values())


def test_every_old_mime_type_is_beside_the_one_it_is_read_as():
    rows = table("MIME type", "before 2025-09-04", "version", "what").rows
    found = {old: mime for mime, old, *_ in rows if old}
    assert {old: layout.canonical_mime_type(old) for old in found} == found
    assert set(layout._OLD_SPELLINGS) <= set(found)


def test_the_versions_beside_mime_types_are_those_of_the_code():
    rows = table("MIME type", "before 2025-09-04", "version", "what").rows
    versions = {mime: version for mime, _, version, _ in rows}
    assert versions[layout.MIME_MANIFEST] == layout.FORMAT_VERSION
    assert versions[layout.MIME_STABLEHLO] == layout.STABLEHLO_VERSION
    assert versions[layout.MIME_SAVED_MODEL] == layout.SAVED_MODEL_VERSION
    ours = {v for mime, v in versions.items() if "orbax_model_lite" in mime}
    assert ours == {layout.SUPPLEMENTAL_VERSION}


def test_the_marker_on_the_page_is_the_one_that_is_written():
    indented = "".join(f"    {line}\n" for line in marker_lines())
    assert indented in TEXT


def marker_lines() -> list[str]:
    """Returns the lines of the marker that `save` writes."""
    return version_file.to_bytes().decode().splitlines()


def test_the_layouts_of_the_history_are_those_that_readers_recognise():
    rows = table("layout", "marker", "how it is told").rows
    known = [legacy.CURRENT, legacy.FIRST_MARKED, legacy.MAPPED, legacy.OLDEST]
    assert [name for name, *_ in rows] == known


@pytest.mark.frameworks
def test_the_element_types_of_safetensors_are_those_that_are_written():
    from orbax_model_lite.jax2obm.weights import safetensors_header

    found = dict(table("element type", "code").rows)
    assert found == {dtype.value: code for dtype, code in safetensors_header.CODES.items()}


@pytest.mark.frameworks
def test_the_element_types_that_orbax_lacks_are_named():
    from orbax_model_lite.jax2obm.checkpoint.folder import NATIVE

    lacking = [t for t in DType if t not in NATIVE]
    names = [t.value for t in lacking if t.value not in {"unspecified", "string", "float0"}]
    assert f"all element types but `{names[0]}`, `{names[1]}` and `{names[2]}`" in TEXT


def headings(text: str) -> set[str]:
    """Returns the anchors that a renderer makes from headings."""
    found = (line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_every_link_within_the_page_leads_to_a_heading():
    linked = set(re.findall(r"\]\(#([^)]+)\)", TEXT))
    assert linked <= headings(TEXT)


def test_every_file_of_the_repository_that_the_page_names_exists():
    named = set(re.findall(r"`((?:protos|docs|orbax_model_lite)/[\w/.]+)`", TEXT))
    assert {path for path in named if not (REPOSITORY / path).exists()} == set()
