"""docs/stability.md promises ranges of versions; they are those that the package declares."""

from __future__ import annotations

import pathlib
import re
import tomllib

from orbax_model_lite.core import layout

REPOSITORY = pathlib.Path(__file__).parents[2]
TEXT = (REPOSITORY / "docs" / "stability.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(lines: list[str]) -> dict[str, str]:
    """Returns the range of versions by package."""
    return dict(re.fullmatch(r"([\w-]+)(.*)", line).groups() for line in lines)


def test_the_supported_versions_are_those_that_the_package_declares():
    rows = re.findall(r"^\| (?:`([\w-]+)`|(Python)) \| `([^`]+)` \|$", TEXT, re.MULTILINE)
    extras = PROJECT["optional-dependencies"]
    declared = requirements(PROJECT["dependencies"] + extras["jax"] + extras["tf"])
    assert {package or python: versions for package, python, versions in rows} == {
        "Python": PROJECT["requires-python"],
        **declared,
    }


def test_the_versions_of_the_format_are_those_of_the_code():
    assert f"version stays `{layout.FORMAT_VERSION}`" in TEXT
    assert f"now all `{layout.SUPPLEMENTAL_VERSION}`" in TEXT
