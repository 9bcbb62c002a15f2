"""Markdown: safe whatever it says, and the same however it comes."""

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_chatgpt.services.markdown import COLOURED, MOST_COLOURED, Blocks, render

ANSWER = """# Title

Text with `code`, *stress*, **more**, ~~less~~ and [a link](https://example.org "there").

| a | b |
|:-:|--:|
| 1 | 2 |

- one
  - two

3. three

> quoted

```python
def f(x): return "<b>"
```

Bare: https://example.org/a_b and main.py
***
End"""

#: Pieces out of which a text is made that has the most borders of blocks.
WORDS = ("a", "b ", "http://x.y", "[a]: b\n", "&amp;", "\u05d0", "\U0001f600", "\\")
SPACES = (" ", "    ", "\t", "\n", "\n\n", "\r", "\r\n")
SIGNS = (
    "|",
    "|-",
    "|-|",
    "-",
    "- ",
    "--",
    "---",
    "===",
    "#",
    "# ",
    ">",
    "> ",
    "```",
    "```py\n",
    "~~~",
    "1. ",
    ":",
)
MARKS = st.sampled_from([*WORDS, *SPACES, *SIGNS, "`", "*", "**", "_", "[", "](", ")", "!", "<", "/>"])
TAGS = "p h3 h4 h5 h6 ul ol li blockquote hr br table thead tbody tr th td div a em strong s code pre span"
ATTRIBUTES = "href title rel target class dir tabindex start data-language"
REL = 'target="_blank" rel="noopener noreferrer nofollow"'


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(MARKS, max_size=12).map("".join), max_size=10))
def test_however_a_text_is_cut_it_becomes_the_same(pieces: list[str]) -> None:
    blocks, shown = Blocks(), []
    for piece in pieces:
        first, fresh = blocks.feed(piece)
        shown[first:] = fresh
    assert shown == blocks.blocks
    assert "\n".join(shown) == render("".join(pieces))


@pytest.mark.parametrize("at", range(len(ANSWER)))
def test_an_answer_cut_anywhere(at: int) -> None:
    blocks = Blocks()
    blocks.feed(ANSWER[:at])
    blocks.feed(ANSWER[at:])
    assert "\n".join(blocks.blocks) == render(ANSWER)


def test_closed_blocks_are_not_looked_at_again() -> None:
    blocks = Blocks()
    for _ in range(50):
        for piece in ("Some words ", "and more.\n\n", "- a\n- b\n\n", "```\ncode\n```\n\n"):
            blocks.feed(piece)
            assert blocks.unsettled < 80
    assert len(blocks.blocks) == 150


def test_what_is_written() -> None:
    html = render(ANSWER)
    for part in (
        '<h3 dir="auto">Title</h3>',
        "<code>code</code>, <em>stress</em>, <strong>more</strong>, <s>less</s>",
        f'<a href="https://example.org" title="there" {REL}>a link</a>',
        '<th class="center" dir="auto">a</th>',
        '<td class="right" dir="auto">2</td>',
        '<ol start="3" dir="auto">',
        '<blockquote dir="auto">',
        '<pre dir="ltr" tabindex="0" data-language="python">',
        '<span class="k">def</span>',
        ">https://example.org/a_b</a> and main.py",
    ):
        assert part in html, part


def test_an_image_is_a_link() -> None:
    html = render("![a *cat*](https://example.org/cat.png) ![](https://example.org/x)")
    assert "<img" not in html
    assert f'<a href="https://example.org/cat.png" {REL}>a cat</a>' in html
    assert ">https://example.org/x</a>" in html


def test_a_definition_is_shown_as_it_is_written() -> None:
    assert "<a" not in render("[a][b]\n\n[b]: /c")


@pytest.mark.parametrize("language", ["", "nonsense", 'x"onclick=1', "<b>", "python"])
def test_code_stays_code(language: str) -> None:
    text = re.sub(r"<[^>]*>", "", render(f"```{language}\na < b && c\n```"))
    assert text.strip() == "a &lt; b &amp;&amp; c"


def test_long_code_stays_plain() -> None:
    html = render("```python\n" + "x = 1\n" * MOST_COLOURED + "```")
    assert "<span" not in html


@pytest.mark.parametrize(
    "code",
    [
        "```autohotkey\n" + "\n" * 90 + "x\n```",  # not one of those that are coloured
        "```java\n" + "\n" * 150 + "int x = 1;\n```",
        "```typescript\n" + "a." * 400 + "\n```",
        "```csharp\n" + "a\n" * 50 + "```",
    ],
)
def test_code_that_would_take_a_lexer_forever_stays_plain(code: str) -> None:
    assert "<span" not in render(code)


@pytest.mark.parametrize("language", sorted(COLOURED))
def test_no_language_takes_long(language: str) -> None:
    """As long and as bad as is let through; seconds here, where it would be minutes."""
    began = time.process_time()
    for bad in ("\n" * 98 + "a;", "a " * 38 + ";", "a.", "a b(", '"'):
        line = bad * (480 // len(bad)) + "\n"
        assert "</pre>" in render(f"```{language}\n{(line * 20)[: MOST_COLOURED - 1]}\n```")
    assert time.process_time() - began < 20


XSS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](java\tscript:alert(1))",
    "[a](&#106;avascript:alert(1))",
    "[a](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[a](vbscript:msgbox(1))",
    "<javascript:alert(1)>",
    "![a](javascript:alert(1))",
    '![a"onerror="alert(1)](https://x.y/"onerror="alert(1))',
    '[a](https://x.y/"onmouseover="alert(1))',
    "[a](https://x.y 'x\" onclick=\"alert(1)')",
    '```"><script>alert(1)</script>\ncode\n```',
    "```html\n<script>alert(1)</script>\n```",
    "`<script>alert(1)</script>`",
    "| <script>alert(1)</script> |\n|---|\n| <img src=x onerror=alert(1)> |",
    "<a href='javascript:alert(1)'>a</a>",
    "<math><mtext></mtext><style><img src=x onerror=alert(1)></style></math>",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "</div></article></template><script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "[![a](https://x.y/i.png)](javascript:alert(1))",
    "<form action=/logout/><button>x",
    "<style>*{display:none}</style>",
    "<base href=https://evil.example/>",
    "# <a name=x id=y>",
]


class Harmless(HTMLParser):
    """Fails at whatever could run, load or disguise."""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS.split()
        for name, value in attributes:
            assert name in ATTRIBUTES.split()
            if name == "href":
                assert re.match(r"(https?:|mailto:|[^:]*$)", (value or "").lower())


@pytest.mark.parametrize("text", XSS)
def test_nothing_runs(text: str) -> None:
    Harmless().feed(render(text))
    for at in range(len(text)):
        blocks = Blocks()
        blocks.feed(text[:at])
        Harmless().feed("\n".join(blocks.blocks))
        blocks.feed(text[at:])
        assert "\n".join(blocks.blocks) == render(text)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(XSS), MARKS), max_size=8).map("".join))
def test_nothing_runs_in_any_mixture(text: str) -> None:
    Harmless().feed(render(text))


def test_text_that_would_take_a_parser_forever() -> None:
    began = time.monotonic()
    for text in ("[" * 5000, "*a" * 3000, "> " * 2000, "`" * 5000, "- " * 2000, "![](" * 2000, "|" * 5000):
        render(text)
    assert time.monotonic() - began < 30
