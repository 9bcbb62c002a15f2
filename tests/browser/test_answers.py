"""Asking, and what becomes of the answer: whole, stopped, cut, taken up again."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import expect

from django_chatgpt.testing import Answer, Call, FakeOpenAI, Gate
from tests.browser.site import Site

POSTCARD = Call("send_postcard", {"recipient": "Grace", "greeting": "Wish you were here"})


def test_an_answer_is_shown_while_it_is_written(visit: Any, fake: FakeOpenAI, gate: Gate) -> None:
    reader = visit("grace").open()
    pieces = ["A **bold** word", ",\n\n```py", "thon\nx = 1\n", "```\n\nand more."]
    fake.reply("".join(pieces), chunks=pieces, stall_after=2, stall=gate)
    reader.ask("What is bold?")
    expect(reader.last.locator("strong")).to_have_text("bold")
    expect(reader.last).to_have_attribute("aria-busy", "true")
    expect(reader.page).to_have_url(re.compile(r"/ai/c/[0-9a-f-]{36}/$"))
    gate.open()
    reader.reads("and more.").done()
    expect(reader.last.locator("pre .n")).to_have_text("x")
    expect(reader.last).to_contain_text(re.compile(r"\d+ tokens · \$0\.0"))
    expect(reader.page.locator("h1")).to_have_text("What is bold?")
    expect(reader.page.locator('[aria-current="page"]')).to_have_text("What is bold?")
    before = reader.last.inner_html()
    reader.page.reload()
    reader.reads("and more.")
    # What is read later is what was seen while it came.
    assert reader.last.inner_html() == before


def test_costs_are_for_those_who_may_see_them(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit("ada").open()
    fake.reply("Seven.")
    reader.ask("How many?").reads("tokens").done()
    assert "$" not in reader.last.inner_text()


def test_stopping_keeps_what_there_is(visit: Any, fake: FakeOpenAI, gate: Gate) -> None:
    reader = visit().open()
    fake.reply("One two three four", stall_after=2, stall=gate)
    reader.ask("Count").reads("One two")
    reader.button("Stop").click()
    reader.reads("Stopped").reads("One two").done()
    expect(reader.question).to_be_focused()
    fake.reply("Five")
    reader.ask("Go on").reads("Five").done()
    fake.reply("One two three four", stall_after=2, stall=gate)
    reader.ask("Again").reads("One two")
    reader.page.keyboard.press("Escape")
    reader.reads("Stopped").done()


def test_asking_again(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    fake.script("First try", "Second try", "Third try")
    reader.ask("Try").reads("First try").done()
    reader.last.get_by_role("button", name="Ask again").click()
    reader.reads("Second try").done()
    reader.page.locator(".dc-user").first.hover()
    reader.page.locator(".dc-user").first.get_by_role("button", name="Ask again in other words").click()
    expect(reader.question).to_have_value("Try")
    expect(reader.part("editing")).to_be_visible()
    reader.ask("Try harder").reads("Third try").done()
    expect(reader.page.locator(".dc-said")).to_have_text(["Try", "Try", "Try harder"])
    fake.assert_asked(contains="Try harder", times=1)


def test_a_reload_in_the_middle(visit: Any, fake: FakeOpenAI, gate: Gate) -> None:
    reader = visit().open()
    fake.reply("Once upon a time there was an end.", stall_after=3, stall=gate)
    reader.ask("Tell a story").reads("Once upon a")
    reader.page.reload()
    reader.reads("Once upon a")
    expect(reader.button("Stop")).to_be_visible()
    gate.open()
    reader.reads("there was an end.").done()
    fake.assert_asked(contains="Tell a story", times=1)


def test_looking_elsewhere_and_back(visit: Any, fake: FakeOpenAI, gate: Gate) -> None:
    reader = visit().open()
    fake.reply("Once upon a time there was an end.", stall_after=3, stall=gate)
    reader.ask("Tell another story").reads("Once upon a")
    reader.button("New chat").click()
    expect(reader.page.locator(".dc-line")).to_have_count(0)
    reader.page.go_back()
    reader.reads("Once upon a")
    gate.open()
    reader.reads("there was an end.").done()


def test_a_reload_before_anything_is_known(visit: Any, fake: FakeOpenAI, site: Site) -> None:
    """The question is asked again with its key: it is answered once."""
    reader = visit().open()
    fake.reply("Here.")
    held: list[Any] = []
    reader.page.route("**/ai/chat/*", lambda route: held.append(route))
    reader.ask("Are you there?")
    expect(reader.page.locator(".dc-said")).to_have_count(1)
    reader.page.wait_for_timeout(50)
    reader.page.unroute("**/ai/chat/*")
    reader.page.reload()
    reader.reads("Here.").done()
    fake.assert_asked(contains="Are you there?", times=1)


def test_the_server_is_gone_and_comes_back(visit: Any, fake: FakeOpenAI, gate: Gate, site: Site) -> None:
    reader = visit().open()
    fake.reply("Once upon a time there was an end.", stall_after=3, stall=gate)
    reader.ask("Tell a third story").reads("Once upon a")
    site.kill()
    reader.reads("The connection was lost.").reads("Once upon a")
    site.start()
    # The process that asked the model is dead: the turn ends, and what there was is kept.
    reader.reads("The answer was interrupted.").reads("Once upon a").done()
    fake.reply("And they lived.")
    reader.button("Ask again").last.click()
    reader.reads("And they lived.").done()


def test_a_question_waits_for_the_server(visit: Any, fake: FakeOpenAI, site: Site) -> None:
    reader = visit().open()
    expect(reader.question).to_be_focused()
    site.kill()
    fake.reply("I am back.")
    reader.ask("Anybody?").reads("The connection was lost before")
    site.start()
    reader.reads("I am back.").done()
    fake.assert_asked(contains="Anybody?", times=1)


def test_calls_are_shown(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    fake.script(
        Answer(
            "Let me look.", calls=[Call("get_weather", {"city": "Paris"}), Call("get_weather", {"city": "X"})]
        ),
        "Sunny.",
    )
    reader.ask("Weather?").reads("Sunny.").done()
    expect(reader.last.locator(".dc-call")).to_have_count(2)
    states = reader.last.locator(".dc-call").evaluate_all("all => all.map(each => each.dataset.state)")
    assert states == ["completed", "failed"]
    reader.page.reload()
    expect(reader.last.locator('.dc-call[data-state="failed"]')).to_contain_text("failed")
    expect(reader.last.locator('.dc-call[data-state="completed"]')).to_contain_text("was called")
    reader.last.locator("summary").first.click()
    expect(reader.last.locator(".dc-call").first).to_contain_text('"celsius": 21')


def test_a_call_is_approved(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    fake.script(Answer("One moment.", calls=[POSTCARD]), "It is on its way.")
    reader.ask("Send a card").reads("Wish you were here")
    reader.page.reload()
    reader.reads("Wish you were here").button("Approve").click()
    reader.reads("It is on its way.").done()
    expect(reader.last.locator(".dc-call")).to_contain_text("was called")


def test_a_call_is_denied(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    fake.script(Answer(calls=[POSTCARD]), "Then not.")
    reader.ask("Send a card").reads("Wish you were here").button("Deny").click()
    reader.reads("Then not.").done()
    expect(reader.last.locator(".dc-call")).to_contain_text("was denied")
    reader.page.reload()
    reader.reads("Then not.")
    expect(reader.last.locator(".dc-call")).to_contain_text("was denied")


def test_a_call_that_waits_is_stopped(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    fake.script(Answer(calls=[POSTCARD]))
    reader.ask("Send a card").reads("Wish you were here").button("Stop").click()
    reader.reads("Stopped").done()
    expect(reader.button("Approve")).to_have_count(0)


def test_without_a_network_the_answer_goes_on(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    fake.script("First.", "Back again.")
    reader.ask("Hello?").reads("First.").done()
    reader.context.set_offline(True)
    reader.ask("And now?").reads("You are offline.")
    reader.context.set_offline(False)
    reader.reads("Back again.").done()
    fake.assert_asked(contains="And now?", times=1)
