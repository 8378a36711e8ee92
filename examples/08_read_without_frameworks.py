"""What is in a bundle, and is it whole? Neither JAX nor TensorFlow is needed to tell."""

import subprocess
import sys
import tempfile
from pathlib import Path

import orbax_model_lite as obm
from orbax_model_lite.core import ExternalValue, ShloFunction

folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())

# Another example writes the bundle, in a process of its own.
author = Path(__file__).parent / "05_several_pipelines.py"
subprocess.run([sys.executable, author, folder], check=True, stdout=subprocess.DEVNULL)

bundle = obm.read(folder / "two.obm")
print(f"{bundle.path.name}, layout of {bundle.layout}, content {bundle.content_hash[:12]}")
for name, found in bundle.objects.items():
    if isinstance(found, ShloFunction):
        size = len(bundle.read_bytes(found.module))
        print(f"  {name}: {found.signature}, {size:,} bytes for {', '.join(found.platforms)}")
    if isinstance(found, ExternalValue):
        print(f"  {name}: {found.data.mime_type} in {found.data.file.path}")
for key, data in bundle.supplementals.items():
    print(f"  supplemental {key}: {data.mime_type}")

print("whole:", obm.verify(folder / "two.obm").ok)
print("frameworks imported:", [name for name in ("jax", "tensorflow") if name in sys.modules])
