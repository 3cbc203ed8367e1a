"""The public face stays as it is, however the house behind it is laid out.

`public_face.txt` lists every public name with its signature. A change of it is a change for users: it belongs
into the changelog, and into the list, which `python tests/test_public_face.py` writes anew.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections import ChainMap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.checkout import DOCS

import rxddbstream

LIST = Path(__file__).with_name("public_face.txt")
CONF = DOCS / "conf.py"
NOT_MADE = ast.literal_eval(re.search(r"^NOT_MADE = (.*)$", CONF.read_text(), re.MULTILINE)[1])  # type: ignore[index]
"""Classes whose constructors are nobody's business."""

PUBLIC = {
    "rxddbstream": None,
    "rxddbstream.operators": None,
    "rxddbstream.testing": None,
    "rxddbstream.errors": None,
    "rxddbstream.demo": ("DemoTable", "demo_table"),
    "rxddbstream.telemetry": ("instrument",),
}
"""Public modules, and the public names of those that have no `__all__` and others beside them."""


def public_face() -> Iterator[str]:
    """A line for each public name, and for each public member of a class: how it is called."""
    for module_name, names in PUBLIC.items():
        module = importlib.import_module(module_name)
        for name in sorted(names or _public_names(module)):
            yield from _lines(f"{module_name}.{name}", getattr(module, name))


def _public_names(module: ModuleType) -> list[str]:
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [name for name, value in vars(module).items() if inspect.isclass(value) and name[0] != "_"]


def _lines(name: str, value: Any) -> Iterator[str]:
    if not inspect.isclass(value):
        yield f"{name}{_signature(value)}"
        return
    yield f"class {name}{'' if value.__name__ in NOT_MADE else _signature(value)}"
    ours = [vars(base) for base in reversed(value.__mro__) if base.__module__.startswith("rxddbstream")]
    for member_name, member in sorted(ChainMap(*reversed(ours)).items()):
        if not member_name.startswith("_"):
            yield f"  .{member_name}{_signature(member)}"


def _signature(value: Any) -> str:
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    try:
        signature = str(inspect.signature(value)) if callable(value) else ""
    except ValueError:  # of an exception, which takes what its base in C takes
        signature = ""
    # A default that is a function shows where it lies, and a named tuple how its annotations are kept.
    return re.sub(r" at 0x[0-9a-f]+|ForwardRef\(('.*?')\)", r"\1", signature)


def test_public_names_and_signatures_are_those_of_the_list() -> None:
    assert list(public_face()) == LIST.read_text().splitlines()


def test_type_checkers_find_each_name_where_it_is_imported_from() -> None:
    stub = ast.parse(Path(rxddbstream.__file__).with_suffix(".pyi").read_text())
    imports = {
        f"{node.module}.{name.name}": name.name
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    home = {f"rxddbstream.{module}.{name}": name for name, module in rxddbstream._HOME.items()}
    assert imports == home | {"rxddbstream.testing": "testing"}
    [public] = [node.value for node in stub.body if isinstance(node, ast.Assign)]
    assert ast.literal_eval(public) == rxddbstream.__all__


def test_nobody_inside_imports_the_face() -> None:
    package = Path(rxddbstream.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert "rxddbstream" not in {name.name for name in node.names}, path
            elif isinstance(node, ast.ImportFrom) and node.module == "rxddbstream":
                assert not {name.name for name in node.names} & set(rxddbstream.__all__), path


PACKAGES = [
    "rxddbstream",
    *(module.name for module in pkgutil.walk_packages(rxddbstream.__path__, "rxddbstream.") if module.ispkg),
]


@pytest.mark.parametrize("package_name", PACKAGES)
def test_no_module_bears_the_name_of_a_public_function_beside_it(package_name: str) -> None:
    # Importing it would put the module in the function's place: `rxd.run` would be `rxddbstream/run.py`.
    package = importlib.import_module(package_name)
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    names = set(getattr(package, "__all__", ()))
    assert not modules & names


if __name__ == "__main__":
    LIST.write_text("".join(f"{line}\n" for line in public_face()))
