"""Element types: sizes are NumPy's, and describing a bundle does not wait for NumPy."""

from __future__ import annotations

import pytest

from orbax_model_lite.core.dtype import DType

PACKED = {"int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "float4_e2m1fn": 4}
WITHOUT_SIZE = {DType.UNSPECIFIED, DType.STRING, DType.FLOAT0}


@pytest.mark.parametrize("dtype", sorted(set(DType) - WITHOUT_SIZE, key=lambda d: d.value))
def test_a_type_has_the_bits_of_its_array_elements_unless_it_is_packed(dtype):
    assert dtype.size_bits == PACKED.get(dtype.value, 8 * dtype.numpy.itemsize)


@pytest.mark.parametrize("dtype", sorted(WITHOUT_SIZE, key=lambda d: d.value))
def test_what_holds_no_numbers_has_no_size(dtype):
    assert dtype.size_bits == 0


def test_reading_a_bundle_does_not_import_numpy(fresh_python, tmp_path):
    code = """
        import sys
        from orbax_model_lite import core
        core.save({"nothing": core.TupleValue(elements=())}, sys.argv[1])
        core.read(sys.argv[1])
        print("numpy" in sys.modules)
    """
    assert fresh_python(code, tmp_path / "m.obm").strip() == "False"
