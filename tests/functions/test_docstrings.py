from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_chatgpt.functions.docstrings import described


def google(city: str, unit: str) -> None:
    """Tell the weather of a city.

    It is asked of the nearest station,
    once an hour.

    Args:
        city: Name of the city,
            with its country: "Paris, France".
        unit (str, optional): The unit.

    Returns:
        A sentence.

    Raises:
        ValueError: There is no such city.
    """


def numpy(city: str, unit: str) -> None:
    """Tell the weather of a city.

    It is asked of the nearest station,
    once an hour.

    Parameters
    ----------
    city : str
        Name of the city,
        with its country: "Paris, France".
    unit : str, optional
        The unit.

    Returns
    -------
    str
        A sentence.
    """


def sphinx(city: str, unit: str) -> None:
    """Tell the weather of a city.

    It is asked of the nearest station,
    once an hour.

    :param city: Name of the city,
        with its country: "Paris, France".
    :param str unit: The unit.
    :returns: A sentence.
    :raises ValueError: There is no such city.
    """


@pytest.mark.parametrize("function", [google, numpy, sphinx])
def test_the_styles(function: Callable[..., Any]) -> None:
    read = described(function)
    assert read.text == ("Tell the weather of a city.\n\nIt is asked of the nearest station,\nonce an hour.")
    assert read.parameters == {
        "city": 'Name of the city, with its country: "Paris, France".',
        "unit": "The unit.",
    }


def test_two_parameters_of_one_entry() -> None:
    def function(low: int, high: int) -> None:
        """Count.

        Parameters
        ----------
        low, high : int
            A bound.
        """

    assert described(function).parameters == {"low": "A bound.", "high": "A bound."}


def test_none() -> None:
    def function() -> None: ...

    assert described(function).text == ""
    assert described(function).parameters == {}


@pytest.mark.parametrize(
    "text", ["One line: with a colon", "Text\n\n:param", "Text\n\nArgs:", "Text\n\n    : :", ":"]
)
def test_what_no_style_knows_is_text_or_left_out_and_never_an_error(text: str) -> None:
    def function() -> None: ...

    function.__doc__ = text
    assert isinstance(described(function).text, str)


def test_an_object_that_can_be_called_is_described_by_its_class() -> None:
    class Weather:
        """Tell the weather."""

        def __call__(self) -> None: ...

    assert described(Weather()).text == "Tell the weather."
