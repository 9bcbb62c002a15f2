"""The page around the conversation: the list, keys, widths, languages, colours, helpers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from django_chatgpt.testing import Answer, Call, FakeOpenAI

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
PICTURES = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
RICH = """Yes. A **streamed** answer is three things:

1. a [generator](https://docs.djangoproject.com/)
2. a response that takes it

```python
def stream(request):
    # one piece at a time
    return StreamingHttpResponse(piece for piece in ["a", "b"])
```

| server | streams |
|---|---|
| uvicorn | yes |

> It belongs to the server.
"""


def picture(page: Page, name: str) -> None:
    """Keep a picture for the documentation, if they are wanted: DJANGO_CHATGPT_SCREENSHOTS=1."""
    if os.environ.get("DJANGO_CHATGPT_SCREENSHOTS"):
        PICTURES.mkdir(exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png")


def serious(page: Page) -> list[str]:
    """What axe-core finds that keeps people out."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def test_the_list(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    fake.script("It is a fruit.", "It is a tree.")
    reader.ask("What is a quince?").reads("fruit").done()
    reader.button("New chat").click()
    expect(reader.question).to_be_focused()
    reader.ask("What is a larch?").reads("tree").done()
    page = reader.page
    search = page.get_by_label("Search your conversations")
    search.fill("QUINCE")
    expect(page.locator(".dc-row a")).to_have_text(["What is a quince?"])
    search.fill("It is a fr")
    expect(page.locator(".dc-row a")).to_have_text(["What is a quince?"])
    page.locator(".dc-row a").click()
    reader.reads("fruit")
    expect(page.locator("h1")).to_have_text("What is a quince?")
    page.locator(".dc-row").hover()
    page.get_by_role("button", name="Rename “What is a quince?”").click()
    field = page.get_by_label("Title")
    expect(field).to_be_focused()
    field.fill("Quinces <b>")
    field.press("Enter")
    expect(page.locator("h1")).to_have_text("Quinces <b>")
    search.fill("quinces")
    expect(page.locator(".dc-row a")).to_have_text(["Quinces <b>"])
    page.locator(".dc-row").hover()
    page.get_by_role("button", name="Delete “Quinces <b>”").click()
    reader.button("Cancel").click()
    expect(page.locator(".dc-row")).to_have_count(1)
    page.get_by_role("button", name="Delete “Quinces <b>”").click()
    reader.button("Delete").click()
    expect(reader.part("none")).to_have_text("Nothing found.")
    expect(page.locator("h1")).to_have_text("New chat")
    expect(page.locator(".dc-line")).to_have_count(0)


BEGIN = """async ([count, token]) => {
  for (let number = 1; number <= count; number++) {
    await fetch("/ai/conversations/", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": token },
      body: JSON.stringify({ title: `Number ${number} of many` }),
    });
  }
}"""


def test_a_long_list_comes_as_it_is_looked_at(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    page = reader.page
    token = page.locator("[name=csrfmiddlewaretoken]").input_value()
    page.evaluate(BEGIN, [35, token])
    page.get_by_label("Search your conversations").fill("of many")
    expect(page.locator(".dc-row a").first).to_have_text("Number 35 of many")
    page.locator(".dc-row").nth(29).scroll_into_view_if_needed()
    expect(page.locator(".dc-row")).to_have_count(35)
    expect(reader.part("more")).to_have_count(0)


def test_copying(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit(permissions=["clipboard-read", "clipboard-write"]).open()
    fake.reply("Some **code**:\n\n```python\nx = 1\n```")
    reader.ask("Code?").reads("x = 1").done()
    read = "navigator.clipboard.readText()"
    reader.last.get_by_role("button", name="Copy the answer").click()
    expect(reader.page.locator('[data-part="status"]')).to_contain_text("Copied")
    assert reader.page.evaluate(read) == "Some **code**:\n\n```python\nx = 1\n```"
    reader.last.locator(".dc-code-bar button").click()
    expect(reader.last.locator(".dc-code-bar .dc-copied")).to_be_visible()
    assert reader.page.evaluate(read) == "x = 1\n"


def test_sources_are_links(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    given = [
        {"number": 2, "index": "help", "title": "Opening <b>hours</b>", "url": "/help/1/"},
        {"number": None, "index": "help", "title": "No page", "url": ""},
    ]

    def with_sources(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"sources": given})

    reader.page.route("**/ai/turns/*/", with_sources)
    fake.reply("From ten to six [2].")
    reader.ask("When are you open?").reads("No page").done()
    links = reader.last.locator(".dc-sources a")
    expect(links).to_have_text(["Opening <b>hours</b>"])
    expect(links).to_have_attribute("href", "/help/1/")
    assert serious(reader.page) == []


def test_by_keyboard_alone(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    keys = reader.page.keyboard
    expect(reader.question).to_be_focused()
    fake.script(Answer(calls=[Call("send_postcard", {"recipient": "Ivo", "greeting": "Hello"})]), "Sent.")
    keys.type("One")
    keys.press("Shift+Enter")
    keys.type("two")
    keys.press("Enter")
    expect(reader.page.locator(".dc-said").last).to_have_text("One\ntwo")
    expect(reader.button("Approve")).to_be_visible()
    for _ in range(12):
        keys.press("Shift+Tab")
        if reader.page.evaluate("document.activeElement.dataset.part") == "approve":
            break
    keys.press("Enter")
    reader.reads("Sent.").done()
    expect(reader.question).to_be_focused()
    keys.press("Alt+n")
    expect(reader.page.locator(".dc-line")).to_have_count(0)
    keys.press("Alt+s")
    expect(reader.page.get_by_label("Search your conversations")).to_be_focused()


def test_a_screen_reader_is_told_of_whole_blocks(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    fake.reply("The first paragraph.\n\nThe second one.\n\n```python\nx = 1\n```\n", delay=0.02)
    reader.ask("Speak").reads("x = 1").done()
    said = reader.page.locator('[data-part="status"]')
    expect(said).to_contain_text("The answer is complete.")
    lines = [line.strip() for line in said.locator("span").all_inner_texts()]
    assert lines == [
        "Answering…",
        "The first paragraph.",
        "The second one.",
        "Code, number of lines: 1.",
        "The answer is complete.",
    ]


def test_on_a_phone(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit(**PHONE).open()
    fake.reply(RICH)
    reader.ask("How do I stream?").reads("belongs to the server").done()
    page = reader.page
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    picture(page, "phone")
    assert serious(page) == []
    reader.button("Show the list of conversations").click()
    expect(reader.button("Close the list")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".dc-side")).to_be_hidden()
    expect(reader.button("Show the list of conversations")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out(visit: Any, fake: FakeOpenAI, scheme: str) -> None:
    reader = visit("grace", color_scheme=scheme).open()
    page = reader.page
    assert serious(page) == []
    fake.script(
        RICH,
        Answer("Let me ask.", calls=[Call("send_postcard", {"recipient": "Ivo", "greeting": "Hello"})]),
    )
    reader.ask("How do I stream an answer?").reads("belongs to the server").done()
    picture(page, f"page-{scheme}")
    assert serious(page) == []
    reader.ask("Send Ivo a postcard").reads("Let me ask.")
    expect(reader.button("Approve")).to_be_visible()
    if scheme == "light":
        picture(page, "approval")
    page.locator(".dc-call summary").click()
    assert serious(page) == []
    reader.button("Stop").click()
    reader.reads("Stopped").done()
    page.locator(".dc-row").first.hover()
    page.locator('.dc-row [data-part="delete"]').first.click()
    assert serious(page) == []


def test_from_right_to_left(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit(locale="ar").open()
    page = reader.page
    fake.reply("שלום עולם\n\nHello world")
    reader.ask("مرحبا").reads("Hello world").done()
    assert page.evaluate("document.documentElement.dir") == "rtl"
    side, main = page.locator(".dc-side").bounding_box(), page.locator(".dc-main").bounding_box()
    assert side["x"] > main["x"]
    directions = page.locator(".dc-text p").evaluate_all(
        "all => all.map(each => getComputedStyle(each).direction)"
    )
    assert directions == ["rtl", "ltr"]


def test_in_german(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit(locale="de-DE").open()
    fake.reply("Ja.")
    expect(reader.page.get_by_text("Was möchten Sie wissen?")).to_be_visible()
    reader.page.get_by_label("Ihre Frage", exact=True).fill("Hallo?")
    reader.page.keyboard.press("Enter")
    reader.reads("Ja.").reads("Token").done()


def test_the_widget(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open("/")
    page = reader.page
    fake.reply("For **four weeks**.")
    reader.button("Ask the library").click()
    expect(reader.question).to_be_focused()
    reader.ask("How long may I keep a book?").reads("four weeks").done()
    picture(page, "widget")
    assert reader.problems == []
    assert serious(page) == []
    # What looks for faults in a shadow tree tries styles in it that the policy forbids.
    reader.problems.clear()
    page.keyboard.press("Escape")
    expect(reader.question).to_be_hidden()
    expect(reader.button("Ask the library")).to_be_focused()
    reader.button("Ask the library").click()
    reader.open("/help/1/").reads("four weeks")
    page.get_by_label("Open in a page of its own").click()
    reader.reads("four weeks")
    expect(page.locator("h1")).to_have_text("How long may I keep a book?")


def test_the_widget_and_its_page_leave_each_other_alone(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open("/hostile/")
    page = reader.page
    reader.button("Chat").click()
    style = "each => { const s = getComputedStyle(each); return [s.color, s.borderTopWidth, s.fontSize] }"
    assert page.get_by_text("Host text").evaluate(style) == ["rgb(255, 0, 0)", "9px", "40px"]
    colour, border, _ = reader.question.evaluate(style)
    assert (colour != "rgb(255, 0, 0)", border) == (True, "0px")
    assert (
        reader.question.evaluate("each => each.currentCSSZoom * parseFloat(getComputedStyle(each).fontSize)")
        >= 16
    )
