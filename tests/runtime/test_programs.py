"""Recorded facts about programs are computed again and compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

import orbax_model_lite as obm
from orbax_model_lite import core
from orbax_model_lite.core import layout
from orbax_model_lite.core.module_facts import ModuleFacts
from orbax_model_lite.runtime.programs import check_programs

pytestmark = pytest.mark.frameworks


@pytest.fixture
def function():
    from orbax_model_lite import jax2obm

    return jax2obm.convert(lambda x: x + 1, ("b",), platforms=["cpu"])


def test_facts_as_they_were_recorded_are_no_finding(tmp_path, function):
    core.save({"f": function}, tmp_path / "m")
    assert check_programs(obm.read(tmp_path / "m")) == []


def test_a_record_that_hides_a_custom_call_is_an_error(tmp_path, function):
    supplemental = function.supplementals[layout.KEY_MODULE_FACTS]
    facts = ModuleFacts.from_payload(supplemental.data.inline_bytes)
    forged = replace(facts, custom_calls={"none": 0}, operations={})
    supplementals = {
        **function.supplementals,
        layout.KEY_MODULE_FACTS: replace(supplemental, data=forged.to_data()),
    }
    core.save({"f": replace(function, supplementals=supplementals)}, tmp_path / "m")
    findings = check_programs(obm.read(tmp_path / "m"))
    assert [finding.severity for finding in findings] == ["error", "error"]
    assert "custom_calls" in findings[0].message
    assert "operations" in findings[1].message
    assert not obm.verify(tmp_path / "m", replay=True).ok
