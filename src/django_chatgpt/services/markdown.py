"""Markdown as HTML that is safe to show, whole or while it is being written.

render   a text
Blocks   a text that grows: which of its blocks have changed

A model may write anything, so nothing of it is trusted: HTML in it is text, what comes out of the renderer
goes through an allow-list, links lead to pages and mail only, and an image, which would tell its server that
it was looked at, is a link. Reference definitions (`[name]: address`) are shown as they are written: one at
the end of an answer would change what is far above it.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping, Sequence
from functools import cache
from typing import Any, Final

import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES
from pygments.util import ClassNotFound

#: Characters of code that are coloured at most; what is longer stays plain.
MOST_COLOURED: Final = 8000
#: Languages that are coloured, by their first names in Pygments. Of others it has patterns that some texts of
#: a few lines keep busy for hours, and a pattern that is at work stops the whole process.
COLOURED: Final = frozenset(
    {
        *("bash", "batch", "c", "cpp", "csharp", "css", "diff", "docker", "go", "html", "http", "ini"),
        *("java", "javascript", "json", "jsx", "kotlin", "less", "make", "mysql", "php", "postgresql"),
        *(
            "powershell",
            "python",
            "ruby",
            "rust",
            "scss",
            "sql",
            "swift",
            "toml",
            "tsx",
            "typescript",
            "xml",
            "yaml",
        ),
    }
)
#: Levels that a heading is lowered by: what is around an answer has headings of its own.
LOWERED: Final = 2

_LANGUAGE: Final = re.compile(r"[A-Za-z0-9_+#.-]{1,30}")
#: What nobody writes, and what patterns go over again from each of its characters.
_TANGLED: Final = re.compile(r"\s{100}|[^\n]{500}|\b(?:[\w.\[\]<>]+\s+){40}")
_WITH_DIRECTION: Final = {
    "paragraph_open",
    "heading_open",
    "bullet_list_open",
    "ordered_list_open",
    "blockquote_open",
    "table_open",
}
_CELLS: Final = {"th", "td"}
_TAGS: Final = {
    *("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "hr", "br"),
    *("table", "thead", "tbody", "tr", "th", "td", "div"),
    *("a", "em", "strong", "s", "code", "pre", "span"),
}
_ATTRIBUTES: Final = {
    "*": {"dir"},
    "a": {"href", "title"},
    "ol": {"start"},
    "pre": {"tabindex", "data-language"},
    "div": {"tabindex"},
}
_CLASSES: Final = {
    "div": {"table"},
    "th": {"left", "center", "right"},
    "td": {"left", "center", "right"},
    "span": {name for name in STANDARD_TYPES.values() if name},
}


def render(text: str) -> str:
    """A whole text as safe HTML: its blocks, one after the other."""
    return "\n".join(Blocks().feed(text)[1])


class Blocks:
    """The blocks of a text that grows.

    A block that something follows is closed: it never changes again, and is not looked at again. Only the
    open end is read anew, so what a piece costs depends on the block that it is part of, not on the answer.
    However a text is cut, the blocks of its pieces are in the end those of the whole.
    """

    def __init__(self) -> None:
        self.blocks: list[str] = []
        self._closed = 0
        self._open = ""
        self._return = ""

    def feed(self, text: str) -> tuple[int, list[str]]:
        """Take more text; from which block on they are now other ones, and which. Each is safe HTML."""
        text = self._return + text
        # Half of a line break says nothing yet.
        self._return = "\r" if text.endswith("\r") else ""
        self._open += text.removesuffix(self._return).replace("\r\n", "\n").replace("\r", "\n")
        source = self._open + ("\n" if self._return else "")
        found = _parse(source)
        first, fresh = self._closed, [html for _, html in found]
        self.blocks[first:] = fresh
        # Where a table begins is told by two lines: a block is closed by two whole lines after it.
        lines = source.count("\n")
        closing = [number for number, (start, _) in enumerate(found) if number and start + 2 <= lines]
        if closing:
            self._closed += closing[-1]
            self._open = _from_line(self._open, found[closing[-1]][0])
        return first, fresh

    @property
    def unsettled(self) -> int:
        """Characters that will be read again."""
        return len(self._open)


def _from_line(text: str, number: int) -> str:
    position = 0
    for _ in range(number):
        position = text.index("\n", position) + 1
    return text[position:]


def _parse(text: str) -> list[tuple[int, str]]:
    """The blocks of a text: the line that each begins at, and its HTML."""
    markdown = _markdown()
    env: MutableMapping[str, Any] = {}
    tokens = markdown.parse(text, env)
    blocks: list[tuple[int, str]] = []
    begin = 0
    for end, token in enumerate(tokens, 1):
        if token.level == 0 and token.nesting <= 0:
            first = tokens[begin]
            assert first.map is not None
            html = markdown.renderer.render(tokens[begin:end], markdown.options, env)
            blocks.append((first.map[0], _cleaner().clean(html).strip()))
            begin = end
    return blocks


@cache
def _cleaner() -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        allowed_classes=_CLASSES,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


@cache
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "linkify": True}, renderer_cls=_Renderer)
    markdown.enable(["table", "strikethrough", "linkify"]).disable("reference")
    assert markdown.linkify is not None
    # "main.py" is a file, although there are addresses that end so.
    markdown.linkify.set({"fuzzy_link": False, "fuzzy_email": False, "fuzzy_ip": False})
    return markdown


class _Renderer(RendererHTML):
    """The renderer's own HTML, but for code, images, tables, and which way each block is read."""

    def renderToken(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: MutableMapping[str, Any]
    ) -> str:
        token = tokens[idx]
        if token.tag in _CELLS:
            align = str(token.attrs.pop("style", "")).removeprefix("text-align:")
            if align:
                token.attrs["class"] = align
            if token.nesting == 1:
                token.attrs["dir"] = "auto"
        elif token.type in _WITH_DIRECTION:
            token.attrs["dir"] = "auto"
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + LOWERED)}"
        return super().renderToken(tokens, idx, options, env)

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return '<div class="table" tabindex="0">' + self.renderToken(tokens, idx, options, env)

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return self.renderToken(tokens, idx, options, env) + "</div>"

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        token = tokens[idx]
        address = str(token.attrs.get("src", ""))
        text = self.renderInlineAsText(token.children or [], options, env) or address
        return f'<a href="{escapeHtml(address)}">{escapeHtml(text)}</a>'

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        info = tokens[idx].info.split()
        return _code(tokens[idx].content, info[0] if info else "")

    def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return _code(tokens[idx].content, "")


def _code(text: str, language: str) -> str:
    """A block of code; coloured, where its language is known."""
    named = _LANGUAGE.fullmatch(language)
    label = f' data-language="{escapeHtml(language)}"' if named else ""
    short = len(text) <= MOST_COLOURED and _TANGLED.search(text) is None
    inner = _coloured(text, language) if named and short else escapeHtml(text)
    return f'<pre dir="ltr" tabindex="0"{label}><code>{inner}</code></pre>'


def _coloured(text: str, language: str) -> str:
    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return escapeHtml(text)
    if lexer.aliases[0] not in COLOURED:
        return escapeHtml(text)
    html: str = highlight(text, lexer, _formatter())
    return html


@cache
def _formatter() -> HtmlFormatter[str]:
    return HtmlFormatter(nowrap=True)
