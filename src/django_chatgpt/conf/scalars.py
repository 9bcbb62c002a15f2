"""The forms of single values: flags, texts, numbers, money, keys, addresses, patterns, classes."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from django.utils.module_loading import import_string
from pydantic import SecretStr

from django_chatgpt.conf.forms import Form, Malformed, of_wrong_type, refuse

Choice = TypeVar("Choice", bound=str)

LARGEST = 2**31 - 1  # what an integer column holds on every database
ONE_DAY = 86_400

DOTTED_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
VISIBLE_ASCII = re.compile(r"[!-~]+")


def _flag(raw: object) -> bool:
    return raw if isinstance(raw, bool) else of_wrong_type(raw)


flag = Form("bool", "True or False", _flag)


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        of_wrong_type(raw)
    if not raw:
        refuse("is empty")
    if raw != raw.strip() or not raw.isprintable():
        refuse("has white space around it or characters that do not print")
    return raw


text = Form("str", "a text that is not empty", _text)


def choice(*options: Choice) -> Form[Choice]:
    """One of `options`, exactly."""
    by_text = {str(option): option for option in options}
    *most, last = [f'"{option}"' for option in options]
    allowed = f"{', '.join(most)} or {last}"

    def read(raw: object) -> Choice:
        if not isinstance(raw, str):
            of_wrong_type(raw)
        return by_text[raw] if raw in by_text else refuse("is some other text")

    return Form(allowed, allowed, read)


def integer(low: int, high: int = LARGEST) -> Form[int]:
    """A whole number from `low` to `high`, both allowed."""

    def read(raw: object) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int):
            of_wrong_type(raw)
        if not low <= raw <= high:
            refuse(f"is {raw}" if abs(raw) <= LARGEST else "is far out of range")
        return int(raw)

    return Form("int", f"a whole number from {low} to {high}", read)


def _finite(raw: object) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        of_wrong_type(raw)
    if not abs(raw) <= LARGEST:  # so written, it refuses nan too
        refuse("is not finite or far out of range")
    return float(raw)


def number(low: float, high: float) -> Form[float]:
    """A number from `low` to `high`, both allowed."""

    def read(raw: object) -> float:
        value = _finite(raw)
        return value if low <= value <= high else refuse(f"is {value:g}")

    return Form("float", f"a number from {low:g} to {high:g}", read)


def _duration(raw: object) -> float:
    value = _finite(raw)
    return value if 0 < value <= ONE_DAY else refuse(f"is {value:g}")


duration = Form("float", f"a number of seconds above 0, at most {ONE_DAY}", _duration)


def _money(raw: object) -> Decimal:
    if isinstance(raw, float):
        refuse("is a float, which can't hold cents exactly")
    if isinstance(raw, bool) or not isinstance(raw, int | str | Decimal):
        of_wrong_type(raw)
    try:
        amount = Decimal(raw)
    except InvalidOperation:
        refuse("is a text that is no number")
    if not amount.is_finite() or not 0 <= amount < 10**9:
        refuse("is negative, not finite or far out of range")
    return amount


money = Form("Decimal", 'an amount in USD from 0 to below a billion, as a string such as "0.10"', _money)


def _header_value(raw: object) -> str:
    if not isinstance(raw, str):
        of_wrong_type(raw)
    if not VISIBLE_ASCII.fullmatch(raw):
        refuse("is empty" if not raw else "has white space or characters outside ASCII in it")
    return raw


header_value = Form("str", "a text of visible ASCII characters, without white space", _header_value)
secret = Form("str", header_value.allowed, lambda raw: SecretStr(header_value.read(raw)))


def _url(raw: object) -> str:
    address = _header_value(raw)
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        refuse("is no URL")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        refuse("is no http URL with a host")
    if "@" in parts.netloc:
        refuse("holds a user or password")
    if parts.query or parts.fragment:
        refuse("has a query or fragment")
    return address


url = Form("str", "an http or https URL without user, password, query and fragment", _url)


def _redis_url(raw: object) -> str:
    address = _header_value(raw)
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        refuse("is no URL")
    if parts.scheme not in ("redis", "rediss", "unix") or not (parts.hostname or parts.path):
        refuse("is no Redis URL")
    return address


redis_url = Form("str", "a redis, rediss or unix URL", _redis_url)


class Pattern(Protocol):
    """A compiled pattern of the module regex, which unlike re's can be told when to stop."""

    @property
    def pattern(self) -> str: ...

    @property
    def flags(self) -> int: ...

    def search(self, string: str, *, timeout: float, concurrent: bool) -> object: ...


FLAGS = ("ASCII", "DOTALL", "IGNORECASE", "MULTILINE", "VERBOSE")


def _pattern(raw: object) -> Pattern:
    # Imported late, since it takes a while and most sites forbid no pattern.
    import regex

    flags = 0
    if isinstance(raw, re.Pattern):
        for name in FLAGS:
            if raw.flags & getattr(re, name):
                flags |= getattr(regex, name)
        raw = raw.pattern
    if not isinstance(raw, str):
        of_wrong_type(raw)
    if not raw:
        refuse("is empty, which would forbid every text")
    try:
        compiled: Pattern = regex.compile(raw, flags)
    except (regex.error, OverflowError, RecursionError):
        refuse("does not compile")
    return compiled


pattern = Form("str", "a regular expression as re.compile takes it", _pattern)


def _imported_class(raw: object) -> type:
    if not isinstance(raw, str):
        of_wrong_type(raw)
    if not DOTTED_PATH.fullmatch(raw):
        refuse("is no dotted path")
    try:
        found = import_string(raw)
    except ImportError as error:
        raise Malformed(f"can't be imported ({error})") from error
    except Exception as error:  # whatever the site's module raises while it is imported
        raise Malformed(f"can't be imported ({type(error).__name__})") from error
    return found if isinstance(found, type) else refuse("names something that is no class")


imported_class = Form("str", 'the dotted path of a class, such as "shop.ai.Adapter"', _imported_class)
