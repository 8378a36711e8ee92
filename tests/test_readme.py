"""The README's Python blocks run, in order, in one fresh process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


def shell_blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.frameworks
def test_every_python_block_runs(fresh_python, tmp_path):
    code = f"import os; os.chdir({str(tmp_path)!r})\n" + "\n".join(blocks())
    fresh_python(code)


@pytest.mark.frameworks
def test_the_output_shown_for_the_first_block_is_what_comes_out(fresh_python, tmp_path):
    code = f"import os; os.chdir({str(tmp_path)!r})\n" + blocks()[0]
    shown = re.findall(r"# (\{.*\}|\(.*\).*)$", blocks()[0], re.MULTILINE)
    assert shown
    printed = fresh_python(code + "\nprint(model(np.ones((5, 4), np.float32)))")
    assert printed.strip() == shown[0]


@pytest.mark.frameworks
def test_the_signature_shown_is_what_is_printed(fresh_python, tmp_path):
    code = f"import os; os.chdir({str(tmp_path)!r})\n" + "\n".join(blocks()[:2])
    (shown,) = re.findall(r"^# (\(.*)$", blocks()[1], re.MULTILINE)
    assert shown in fresh_python(code)


def test_every_make_target_that_is_named_exists():
    makefile = README.with_name("Makefile").read_text()
    targets = re.findall(
        r"^make (?:PYTHON=\S+ )?(\w[\w-]*)", "\n".join(shell_blocks()), re.MULTILINE
    )
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_linked_file_exists():
    prose = re.sub(r"^```.*?^```", "", README.read_text(), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^)#]+)\)", prose)
    assert links
    for link in links:
        assert link.startswith("https://") or (README.parent / link).exists(), link
