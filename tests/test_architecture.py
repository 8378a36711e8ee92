"""The rules of DESIGN that hold for the package as a whole: layers, frameworks, public names."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pathlib
import pkgutil
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).parent.parent
PACKAGE = REPOSITORY / "orbax_model_lite"
FRAMEWORKS = ("jax", "jaxlib", "orbax", "tensorstore", "safetensors", "tensorflow", "torch", "flax")
NEVER_ANY_FRAMEWORK = (
    "core",
    "orchestration",
    "errors",
    "_lazy",
    "_proto",
    "runtime",
    "cli",
    "inspection",
)
ROOMS = sorted(
    path.parent.relative_to(REPOSITORY).as_posix().replace("/", ".")
    for path in PACKAGE.rglob("__init__.py")
    if "_proto" not in path.parts
)
QUIET_ROOMS = [
    room
    for room in ROOMS
    if room == "orbax_model_lite" or room.split(".")[1] in NEVER_ANY_FRAMEWORK
]


@pytest.mark.parametrize("module", QUIET_ROOMS)
def test_a_fresh_interpreter_imports_no_framework_with(module, fresh_python):
    code = """
        import importlib, sys
        importlib.import_module(sys.argv[1])
        print(*sorted({name.partition(".")[0] for name in sys.modules}))
    """
    assert not set(fresh_python(code, module).split()) & set(FRAMEWORKS)


@pytest.mark.frameworks
def test_imports_keep_to_the_layers_and_to_the_rooms_of_each_framework():
    code = "from importlinter import cli; cli.lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--no-logo"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.frameworks
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("path", "is_refused"),
    [
        ("core/x.py", True),
        ("orchestration/x.py", True),
        ("runtime/x.py", True),
        ("cli/x.py", True),
        ("errors.py", True),
        ("jax2obm/x.py", False),
        ("exporters/x.py", False),
    ],
)
def test_ruff_refuses_a_framework_with_a_reason(framework, path, is_refused):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ruff", "check", "--select=TID251", "--output-format=json"),
            *("--stdin-filename", PACKAGE / path, "-"),
        ],
        input=f"import {framework}\nprint({framework})\n",
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    messages = [finding["message"] for finding in json.loads(done.stdout)]
    assert len(messages) == is_refused
    assert all("belongs" in message for message in messages)


def imported_frameworks(path: pathlib.Path) -> set[str]:
    """Returns the frameworks that the module at `path` spells in an import statement."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names} & set(FRAMEWORKS)


@pytest.mark.parametrize("room", NEVER_ANY_FRAMEWORK)
def test_no_module_spells_a_framework_in(room):
    modules = [*(PACKAGE / room).rglob("*.py"), *PACKAGE.glob(f"{room}.py")]
    assert {path: found for path in modules if (found := imported_frameworks(path))} == {}


def public_names(room: str) -> list[str]:
    """Returns `__all__` of a room."""
    return list(importlib.import_module(room).__all__)


@pytest.mark.parametrize(
    "room",
    [
        # The top level's names come from every room, so looking at them needs every framework.
        pytest.param(room, marks=() if room in QUIET_ROOMS[1:] else pytest.mark.frameworks)
        for room in ROOMS
    ],
)
class TestPublicNames:
    """What each room's `__init__` promises."""

    def test_are_listed_in_order(self, room):
        """Constants, then classes, then functions, each by name, which is ruff's order too."""

        def place(name: str) -> tuple[bool, bool, str]:
            return (not name.isupper(), not name[0].isupper(), name)

        assert public_names(room) == sorted(public_names(room), key=place)

    def test_exist_and_have_a_docstring(self, room):
        module = importlib.import_module(room)
        objects = {name: getattr(module, name) for name in public_names(room)}
        bare = {
            name
            for name, value in objects.items()
            if (inspect.isroutine(value) or inspect.isclass(value) or inspect.ismodule(value))
            and not inspect.getdoc(value)
        }
        assert bare == set()

    def test_are_not_names_of_modules_where_they_come_on_first_use(self, room):
        """An import of such a module would put it in the place of the function."""
        package = importlib.import_module(room)
        if not hasattr(package, "__getattr__"):
            return
        names = public_names(room)
        for module in {module.name for module in pkgutil.iter_modules(package.__path__)} & {*names}:
            assert inspect.ismodule(getattr(package, module))

    def test_come_with_a_docstring_of_the_room(self, room):
        assert inspect.getdoc(importlib.import_module(room))


def test_the_top_level_exports_at_most_25_names():
    assert len(public_names("orbax_model_lite")) <= 25


def test_every_module_opens_with_its_purpose():
    modules = [path for path in PACKAGE.rglob("*.py") if not path.stem.endswith("_pb2")]
    silent = [path for path in modules if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert silent == []


def test_the_package_is_marked_as_typed():
    assert (PACKAGE / "py.typed").exists()
