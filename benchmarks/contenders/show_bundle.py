"""`obm show BUNDLE`, with its output thrown away."""

import os
import sys
from pathlib import Path

from orbax_model_lite.cli.command import run

sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open until the exit
sys.argv.insert(1, "show")
run()
