"""What is said about an extra that is not installed."""

import sys
from importlib.metadata import metadata

import pytest

from django_chatgpt.conf import missing_extra, require_extra
from django_chatgpt.exceptions import NotConfiguredError


def test_the_sentence_names_the_extra_and_the_command() -> None:
    assert missing_extra("celery") == (
        "This needs the extra [celery], which is not installed: pip install 'django-chatgpt[celery]'."
    )
    assert "celery" in (metadata("django-chatgpt").get_all("Provides-Extra") or [])


def test_an_installed_module_is_returned() -> None:
    assert require_extra("json.decoder", "celery") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", ["no_such_package", "no_such_package.part"])
def test_an_absent_package(module: str) -> None:
    with pytest.raises(NotConfiguredError) as caught:
        require_extra(module, "celery")
    assert caught.value.message == missing_extra("celery")


def test_a_package_that_is_there_but_broken_is_not_called_absent() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"json\.no_such_part"):
        require_extra("json.no_such_part", "celery")
