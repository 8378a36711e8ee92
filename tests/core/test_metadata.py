"""Facts about a model: from a plain mapping, to bytes and back."""

from __future__ import annotations

import pytest

from orbax_model_lite.core.metadata import Metadata
from orbax_model_lite.errors import InvalidBundleError, InvalidModelError


def test_keys_that_are_not_fields_become_free_keys():
    metadata = Metadata.of({"name": "digits", "authors": "Ada", "accuracy": 0.5})
    assert metadata.authors == ("Ada",)
    assert metadata.extra == {"accuracy": "0.5"}


def test_metadata_comes_back_equal():
    metadata = Metadata.of(
        {
            "name": "n",
            "version": "1.2",
            "description": "d",
            "license": "Apache-2.0",
            "authors": ["a", "b"],
            "tags": ["t"],
            "framework_versions": {"jax": "0.10.2"},
            "extra": {"k": "v"},
        }
    )
    assert Metadata.from_payload(metadata.to_data().content) == metadata


def test_a_free_key_that_hides_a_field_is_refused():
    with pytest.raises(InvalidModelError, match="license"):
        Metadata.of({"extra": {"license": "MIT"}})


def test_a_free_key_given_twice_is_refused():
    with pytest.raises(InvalidModelError, match="beside and inside"):
        Metadata.of({"k": "1", "extra": {"k": "2"}})


def test_a_value_that_is_not_text_is_refused():
    with pytest.raises(InvalidModelError, match=r"json\.dumps"):
        Metadata.of({"k": {"nested": 1}})


def test_bytes_that_do_not_parse_are_an_invalid_bundle():
    with pytest.raises(InvalidBundleError, match="obm_lite_metadata"):
        Metadata.from_payload(b"\xff\xff")
