"""The least that anything with protocol buffers imports."""

import google.protobuf  # noqa: F401
