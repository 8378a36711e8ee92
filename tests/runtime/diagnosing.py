"""What the tests of a diagnosis share."""

from __future__ import annotations

from pathlib import Path

from orbax_model_lite.runtime.diagnosis import Check, diagnose


def checks(path: Path, **options) -> dict[str, Check]:
    """Returns the checks of a bundle by name."""
    return {check.name: check for check in diagnose(path, **options).checks}
