"""`saved_model_cli show --dir FOLDER --all`, with its output thrown away."""

import os
import sys
from pathlib import Path

from tensorflow.python.tools.saved_model_cli import main

sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open until the exit
sys.argv[1:] = ["show", "--dir", sys.argv[1], "--all"]
main()
