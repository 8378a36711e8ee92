"""A weights file that is read ahead gives the same weights and the same errors."""

from __future__ import annotations

import os

import numpy as np
import pytest

import orbax_model_lite as obm
from orbax_model_lite.core import layout
from orbax_model_lite.errors import InvalidBundleError, UnsupportedError
from orbax_model_lite.jax2obm.weights import read_ahead, save_weights
from orbax_model_lite.jax2obm.weights.loading import load_from, load_weights
from orbax_model_lite.jax2obm.weights.read_ahead import ReadAhead

pytestmark = pytest.mark.frameworks

TREE = {
    "a": [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 2), np.int8)],
    "b": np.float64(7),
    "c": np.arange(5, dtype=np.int8),
}


@pytest.fixture
def path(tmp_path):
    save_weights(tmp_path / "w", TREE, format="safetensors")
    return tmp_path / "w"


def test_the_weights_are_those_of_the_file(path):
    found = load_from(ReadAhead(path, layout.MIME_SAFETENSORS).source, "weights", to="host")
    plain = load_weights(path, to="host")
    assert found["b"] == 7
    assert found["a"][1].shape == (0, 2)
    assert np.array_equal(found["a"][0], plain["a"][0])
    assert np.array_equal(found["c"], plain["c"])


def test_arrays_on_devices_outlive_a_change_of_the_file(path):
    found = load_from(ReadAhead(path, layout.MIME_SAFETENSORS).source, "weights")
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert np.array_equal(found["a"][0], TREE["a"][0])


def test_the_file_in_memory_is_read_and_not_the_one_that_replaced_it(path):
    ahead = ReadAhead(path, layout.MIME_SAFETENSORS)
    assert ahead._thread is not None
    ahead._thread.join()
    path.unlink()
    assert load_from(ahead.source, "weights", to="host")["b"] == 7


def test_a_file_that_is_too_large_is_read_array_by_array(path, monkeypatch):
    monkeypatch.setattr(read_ahead, "_MOST_BYTES", 16)
    assert load_from(ReadAhead(path, None).source, "weights", to="host")["b"] == 7


def test_what_was_dropped_is_read_again(path):
    ahead = ReadAhead(path, None)
    ahead.drop()
    assert load_from(ahead.source, "weights", to="host")["b"] == 7


def test_a_checkpoint_is_read_as_ever(tmp_path):
    save_weights(tmp_path / "w", TREE, format="orbax")
    found = load_from(ReadAhead(tmp_path / "w", layout.MIME_ORBAX_CHECKPOINT).source, "weights")
    assert np.array_equal(found["a"][0], TREE["a"][0])


@pytest.mark.parametrize("content", [b"", b"1234567", b"\x00" * 9, b"\xff" * 64])
def test_a_damaged_file_gives_the_error_that_it_gives_otherwise(tmp_path, content):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(InvalidBundleError) as plain:
        load_weights(tmp_path / "w", layout.MIME_SAFETENSORS)
    with pytest.raises(InvalidBundleError) as found:
        load_from(ReadAhead(tmp_path / "w", layout.MIME_SAFETENSORS).source, "weights")
    assert str(found.value) == str(plain.value)


@pytest.mark.parametrize("mime_type", [layout.MIME_SAFETENSORS, layout.MIME_ORBAX_CHECKPOINT])
def test_weights_that_are_not_there_are_found_missing_when_they_are_asked_for(tmp_path, mime_type):
    ahead = ReadAhead(tmp_path / "w", mime_type)
    with pytest.raises(InvalidBundleError):
        ahead.source()


def test_an_unknown_kind_of_weights_is_refused_when_they_are_asked_for(path):
    ahead = ReadAhead(path, "application/x-unknown")
    with pytest.raises(UnsupportedError):
        ahead.source()


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "w")
    with pytest.raises(InvalidBundleError):
        ReadAhead(tmp_path / "w", layout.MIME_SAFETENSORS).source()


class TestModels:
    """Models whose weights are read while their function is being bound."""

    @pytest.fixture
    def bundle(self, tmp_path):
        params = {"w": np.arange(4, dtype=np.float32)}
        obm.pack(
            tmp_path / "m",
            lambda p, x: p["w"] * x,
            params,
            "4",
            platforms=["cpu"],
            weights_format="safetensors",
        )
        return tmp_path / "m"

    @pytest.mark.parametrize("options", [{}, {"weights": "host"}, {"dtype": "float32"}])
    def test_give_what_the_original_gave(self, bundle, options):
        with obm.load(bundle, **options) as model:
            assert np.asarray(model(np.ones(4, np.float32))).tolist() == [0, 1, 2, 3]

    def test_say_what_is_wrong_with_a_damaged_file(self, bundle):
        (bundle / "weights.safetensors").write_bytes(b"damaged")
        model = obm.load(bundle)
        with pytest.raises(InvalidBundleError, match="at least 8 bytes"):
            model(np.ones(4, np.float32))

    def test_keep_nothing_of_a_file_whose_function_could_not_be_bound(self, bundle, monkeypatch):
        model = obm.load(bundle)

        def refuse(name):
            raise InvalidBundleError(name)

        monkeypatch.setattr(model.functions, "_bind", refuse)
        with pytest.raises(InvalidBundleError):
            model(np.ones(4, np.float32))
        assert not model._weights._ahead
