"""What goes wrong is said kindly, with what to do."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import expect

from django_chatgpt.testing import Failure, FakeOpenAI, Gate
from tests.browser.site import Site


def test_a_limit_counts_down(visit: Any, fake: FakeOpenAI, site: Site) -> None:
    site.configure(OPENAI_RATE_LIMITS={"user": "1/m"})
    reader = visit("grace").open()
    fake.script("One", "Two")
    reader.ask("First").reads("One").done()
    reader.ask("Second").reads("many questions in a short time").done()
    expect(reader.last).to_contain_text(re.compile(r"You can ask again in \d:\d\d\."))
    again = reader.last.locator(".dc-action")
    expect(again).to_be_disabled()
    site.configure(OPENAI_RATE_LIMITS={})
    # Who does not wait for the button asks anew.
    again.evaluate("button => { button.disabled = false }")
    again.click()
    reader.reads("Two").done()
    expect(reader.page.locator(".dc-said")).to_have_text(["First", "Second"])


def test_a_conversation_that_is_busy_elsewhere(visit: Any, fake: FakeOpenAI, gate: Gate) -> None:
    reader = visit().open()
    fake.reply("Hello.")
    reader.ask("Hi").reads("Hello.").done()
    other = visit().open(reader.page.url)
    other.reads("Hello.")
    fake.reply("One two three", stall_after=2, stall=gate)
    reader.ask("Count").reads("One two")
    other.ask("And me?").reads("still being answered").button("Show that answer").click()
    other.reads("One two")
    gate.open()
    other.reads("three").done()
    reader.reads("three").done()


def test_the_model_can_not_be_reached(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    fake.script(Failure(503), "Now.")
    reader.ask("Hello?").reads("be reached just now").done()
    reader.last.locator(".dc-action").click()
    reader.reads("Now.").done()


def test_who_is_logged_out_keeps_the_question(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    expect(reader.question).to_be_focused()
    reader.context.clear_cookies(name="sessionid")
    reader.ask("Still here?").reads("You are logged out.").done()
    link = reader.page.get_by_role("link", name="Log in again")
    expect(link).to_have_attribute("href", "/login/?next=%2Fai%2F")
    expect(reader.question).to_have_value("Still here?")
    fake.assert_nothing_asked()


def test_a_token_that_is_too_old(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    expect(reader.question).to_be_focused()
    reader.context.clear_cookies(name="csrftoken")
    reader.ask("Still here?").reads("This page is too old.")
    expect(reader.button("Reload the page")).to_be_visible()


def test_a_conversation_that_is_gone(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    fake.reply("Hello.")
    reader.ask("Gone soon").reads("Hello.").done()
    other = visit().open(reader.page.url).reads("Hello.")
    place = reader.page.url.replace("/c/", "/conversations/")
    token = reader.page.locator("[name=csrfmiddlewaretoken]").input_value()
    reader.page.evaluate(
        "([url, token]) => fetch(url, {method: 'DELETE', headers: {'X-CSRFToken': token}})", [place, token]
    )
    other.ask("Are you there?").reads("not there any more")


def test_a_draft_is_kept(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    reader.question.fill("Half a thought")
    reader.page.reload()
    expect(reader.question).to_have_value("Half a thought")
    fake.reply("Whole.")
    reader.question.press("Enter")
    reader.reads("Whole.").done()
    reader.page.reload()
    reader.reads("Whole.")
    expect(reader.question).to_have_value("")


def test_nothing_is_left_in_the_tab_for_whoever_logs_in_next(visit: Any, fake: FakeOpenAI) -> None:
    reader, next_one = visit("ada").open(), visit("grace")
    reader.question.fill("Half a thought")
    asked = {"text": "Asked by ada", "conversation": None, "key": "ada-1"}
    reader.page.evaluate("(asked) => sessionStorage.setItem('dc-asking', JSON.stringify(asked))", asked)
    reader.page.evaluate("() => sessionStorage.setItem('of-the-site', 'stays')")
    reader.context.clear_cookies()
    reader.context.add_cookies(next_one.context.cookies())
    reader.page.reload()
    expect(reader.question).to_be_focused()
    expect(reader.question).to_have_value("")
    expect(reader.page.locator(".dc-user")).to_have_count(0)
    assert sorted(reader.page.evaluate("() => Object.keys(sessionStorage)")) == ["dc-reader", "of-the-site"]
    fake.assert_nothing_asked()
