"""Keys and texts kept out of the logs of the libraries underneath.

At DEBUG they quote what a server sends in its headers and status line, and a server may echo a key. At INFO
they quote the address that was called, in which there may be a password. The first releases of the SDK 3 also
write down the whole body of every request.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

HIDDEN: Final = "[hidden]"
MAX_KEYS: Final = 1024

# Where the SDK notes the body of a request.
_BODIES: Final = frozenset({"content", "json_data", "extra_json"})

_LOGGERS: Final = (
    "aiohttp.client",
    "httpcore2.connection",
    "httpcore2.http11",
    "httpcore2.http2",
    "httpcore2.proxy",
    "httpcore2.socks",
    "httpx2",
    "openai",
    "openai._base_client",
    "openai._legacy_response",
    "openai._response",
)


class _KeyFilter(logging.Filter):
    """Replaces keys and bodies in what is about to be logged; lets every record pass."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, None] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, Mapping) and not _BODIES.isdisjoint(record.args):
            record.args = {name: HIDDEN if name in _BODIES else value for name, value in record.args.items()}
        message = record.getMessage()
        if (masked := self._masked(message)) != message:
            record.msg, record.args = masked, ()
        if record.exc_info:
            trace = _formatter.formatException(record.exc_info)
            if (masked := self._masked(trace)) != trace:
                record.exc_info, record.exc_text = None, masked
        return True

    def _masked(self, text: str) -> str:
        for key in list(self.keys):
            if key in text:
                text = text.replace(key, HIDDEN)
        return text


_formatter = logging.Formatter()
_filter = _KeyFilter()


def hide(key: str) -> None:
    """Keep `key` out of those logs from now on."""
    keys = _filter.keys
    if key in keys:
        return
    keys[key] = None
    while len(keys) > MAX_KEYS:
        keys.pop(next(iter(keys)), None)
    for name in _LOGGERS:
        # Adding it twice is no addition.
        logging.getLogger(name).addFilter(_filter)
