"""TensorFlow itself, imported on first use: quietly, and leaving accelerators to JAX.

Only code that runs a stranger's bundle imports TensorFlow through here; an author who converts
functions has imported it before.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

from orbax_model_lite import _lazy

_LOG_LEVEL: Final = "TF_CPP_MIN_LOG_LEVEL"
_lock = threading.Lock()


def tensorflow(purpose: str) -> ModuleType:
    """Returns the module `tensorflow`.

    The first import says nothing below the level of errors, unless the environment asks for more.
    If nobody imported TensorFlow before, it is told to leave accelerators alone: it would reserve
    all of their memory, which JAX needs. Who wants TensorFlow on one imports it first.

    Args:
      purpose: What it is for, as the beginning of a message.

    Raises:
      MissingDependencyError: If it is not installed.
    """
    if "tensorflow" in sys.modules:
        return _lazy.load("tensorflow", purpose=purpose)
    with _lock, _quiet_environment():
        is_ours = "tensorflow" not in sys.modules
        tf = _lazy.load("tensorflow", purpose=purpose)
        if is_ours:
            tf.config.set_visible_devices(tf.config.list_physical_devices("CPU"))
            tf.constant(0)  # what the devices log, they log when the first one is used
    return tf


@contextmanager
def quiet_messages(tf: ModuleType) -> Iterator[None]:
    """Silences TensorFlow's own notices of what it saves and loads; warnings still come."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(max(level, 30))
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _quiet_environment() -> Iterator[None]:
    is_set = _LOG_LEVEL in os.environ
    os.environ.setdefault(_LOG_LEVEL, "2")
    try:
        yield
    finally:
        if not is_set:
            del os.environ[_LOG_LEVEL]
