"""Checks of programs from answers alone: what their advice says."""

from __future__ import annotations

import shlex

from orbax_model_lite.runtime.diagnosis.asking import Judged
from orbax_model_lite.runtime.diagnosis.needs import Needs
from orbax_model_lite.runtime.diagnosis.programs import Calls, program_checks
from tests.runtime.test_diagnosis_memory import jax_on, program


def test_a_line_for_the_shell_quotes_the_names_that_a_stranger_chose():
    needs = Needs(
        programs=(program("f"),),
        tensorflow=(),
        partly_tensorflow=(),
        unknown_kinds={},
        weights={},
        written_with={},
    )
    hostile = "x; touch $(pwd)/it"
    judged = Judged(custom_calls={hostile: 1}, refused="expected none; found one; trust it")
    calls = Calls(recorded={}, trusted=frozenset())
    checks = program_checks(needs, jax_on("cpu"), {"function 'f'": judged}, calls, None)
    (check,) = [check for check in checks if check.name == "custom calls"]
    line = check.advice.partition("obm doctor ")[2]
    assert shlex.split(line) == ["--trust-custom-call", hostile]
