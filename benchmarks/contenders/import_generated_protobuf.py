"""The least that can parse a manifest: the package's generated code, and what that imports."""

from orbax_model_lite._proto import manifest_pb2  # noqa: F401
