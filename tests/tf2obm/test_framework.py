"""TensorFlow is imported when it is needed, and nothing of the caller's is changed by that."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.frameworks

ROOM = "orbax_model_lite.tf2obm"


def test_importing_the_room_imports_no_framework(fresh_python):
    code = """
        import sys
        from orbax_model_lite import tf2obm
        assert sorted(tf2obm.__all__) == tf2obm.__all__ == dir(tf2obm)
        print(*{"tensorflow", "jax", "keras"} & sys.modules.keys())
    """
    assert fresh_python(code).strip() == ""


def test_every_public_name_is_there():
    from orbax_model_lite import tf2obm

    for name in tf2obm.__all__:
        assert getattr(tf2obm, name).__doc__
    with pytest.raises(AttributeError, match="convert_functions"):
        _ = tf2obm.convert_functions


def test_without_tensorflow_the_error_says_what_to_install(fresh_python):
    code = """
        import sys
        sys.modules["tensorflow"] = None
        from orbax_model_lite import tf2obm
        from orbax_model_lite.errors import MissingDependencyError
        from orbax_model_lite.tf2obm.framework import tensorflow
        for use in (lambda: tf2obm.convert_function, lambda: tensorflow("running a function")):
            try:
                use()
            except MissingDependencyError as e:
                print(e)
    """
    for line, purpose in zip(
        fresh_python(code).splitlines(),
        [f"{ROOM}.convert_function", "running a function"],
        strict=True,
    ):
        advice = 'pip install "orbax-model-lite[tf]"'
        assert line == f"{purpose} needs tensorflow, which is not installed; {advice}"


def test_the_environment_is_as_before(fresh_python):
    code = """
        import os
        os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
        before = dict(os.environ)
        from orbax_model_lite.tf2obm.framework import tensorflow
        tf = tensorflow("testing")
        names = [name for name in {*before, *os.environ} if name.startswith("TF_CPP")]
        print([name for name in names if before.get(name) != os.environ.get(name)])
        print({device.device_type for device in tf.config.get_visible_devices()})
    """
    assert fresh_python(code).splitlines() == ["[]", "{'CPU'}"]


def test_a_tensorflow_that_the_caller_imported_is_left_alone(monkeypatch):
    import tensorflow as tf

    from orbax_model_lite.tf2obm import framework

    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *_: pytest.fail("was called"))
    assert framework.tensorflow("testing") is tf


def test_messages_are_silenced_for_a_while_only():
    import tensorflow as tf

    from orbax_model_lite.tf2obm.framework import quiet_messages

    before = tf.get_logger().level
    with quiet_messages(tf):
        assert tf.get_logger().level >= 30
    assert tf.get_logger().level == before
