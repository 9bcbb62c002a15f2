"""What the pages register stays on the pages."""

from collections.abc import Iterator

import pytest

from django_chatgpt.functions import function_registry


@pytest.fixture(autouse=True)
def functions_of_the_page() -> Iterator[None]:
    """Take away again what the snippets have registered."""
    before = {schema["name"] for schema in function_registry.get_all_schemas()}
    yield
    for schema in function_registry.get_all_schemas():
        if schema["name"] not in before:
            function_registry.unregister(schema["name"])
