"""The package works with nothing but what it requires, and says which extra to install for the rest."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.strictness import EXTRAS, SHAPE

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(module for modules in EXTRAS.values() for module in modules)

#: Run in a process of its own, in which no module of an extra can be imported.
WITHOUT_EXTRAS = f"""
import importlib, pathlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {MODULES!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import django
django.setup()
from django.apps import apps
from django.core.management import call_command
from django.urls import get_resolver
import django_chatgpt

root = pathlib.Path(django_chatgpt.__file__).parent
for path in sorted(root.rglob("*.py")):
    parts = path.relative_to(root.parent).with_suffix("").parts
    name = ".".join(parts).removesuffix(".__init__")
    if name.startswith("django_chatgpt.admin") and not apps.is_installed("django.contrib.admin"):
        continue
    try:
        importlib.import_module(name)
    except Exception as error:
        print(f"{{name}}: {{type(error).__name__}}: {{error}}")
assert get_resolver().reverse_dict is not None
call_command("check")
assert not [name for name in sys.modules if name.partition(".")[0] in {MODULES!r}]
"""

#: What Windows does not have.
NO_FORK = "import os; del os.register_at_fork, os.fork"

#: Modules that are of no use without their extra, and the sentence they must fail with.
NEEDS_EXTRA = {
    "django_chatgpt.consumers": "channels",
    "django_chatgpt.routing": "channels",
    "django_chatgpt.telemetry.observers": "otel",
}


@pytest.mark.shape
@pytest.mark.parametrize("module", MODULES)
def test_the_environment_has_the_shape_its_name_says(module: str) -> None:
    # One that is imported may have put something without a spec into its place.
    there = module in sys.modules or importlib.util.find_spec(module) is not None
    assert there is (SHAPE == "all")


@pytest.mark.parametrize(
    ("settings", "system"),
    [("sqlite", ""), ("bare", ""), ("sqlite", NO_FORK)],
    ids=["sqlite", "bare", "no-fork"],
)
def test_every_module_imports_without_any_extra(settings: str, system: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", system + WITHOUT_EXTRAS],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": f"tests.settings.{settings}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    failures = dict(
        line.split(": ", 1) for line in result.stdout.splitlines() if line.startswith("django_chatgpt.")
    )
    for module, said in failures.items():
        extra = next(
            (extra for room, extra in NEEDS_EXTRA.items() if f"{module}.".startswith(f"{room}.")), None
        )
        assert f"django-chatgpt[{extra}]" in said, f"{module}: {said}"
