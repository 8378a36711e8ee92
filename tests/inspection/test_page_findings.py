"""What the page says is wrong with a bundle, and how much it weighs."""

from __future__ import annotations

from pathlib import Path

import pytest

from orbax_model_lite import core
from orbax_model_lite.core import layout
from orbax_model_lite.core.data import Data
from orbax_model_lite.inspection.page.findings import inspected


@pytest.mark.parametrize(
    ("mime_type", "content", "severity"),
    [
        ("application/x-of-tomorrow", b"", "inconclusive"),
        (layout.MIME_SIMPLE_ORCHESTRATION, b"\xff", "error"),
    ],
    ids=["unknown", "damaged"],
)
def test_pipelines_that_cannot_be_read_are_one_finding(
    tmp_path: Path, mime_type: str, content: bytes, severity: str
) -> None:
    record = Data(content=content, mime_type=mime_type)
    supplementals = {layout.KEY_ORCHESTRATION: record}
    core.save({}, tmp_path / "m", core.SaveOptions(supplemental_info=supplementals))
    findings = inspected(core.read(tmp_path / "m")).findings
    assert [(f.severity, f.where) for f in findings] == [(severity, "orchestration")]
