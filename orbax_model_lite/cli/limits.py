"""What the options of trust and isolation come to, in the runtime's terms."""

from __future__ import annotations

import argparse

from orbax_model_lite.runtime.isolation import Isolation
from orbax_model_lite.runtime.trust import Trust


def trust_of(options: argparse.Namespace) -> Trust:
    """Returns what `arguments.add_trust` was given."""
    return Trust(custom_calls=options.trust_custom_call, tf_ops=options.trust_tf_op)


def isolation_of(options: argparse.Namespace) -> Isolation:
    """Returns what `arguments.add_limits` was given: 4 GiB, 120 s and half of the cores if not."""
    return Isolation(
        memory_bytes=int((options.memory_gib or 4) * 2**30),
        timeout_s=options.timeout_s or 120,
        cpus=options.cpus,
    )
