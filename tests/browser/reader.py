"""Somebody who reads and writes on the chat page."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import BrowserContext, Locator, expect

#: What a browser itself says of an answer that is no success; the page says it in its own words.
expect.set_options(timeout=20_000)

EXPECTED = re.compile(r"Failed to load resource|net::ERR_")


class Reader:
    """A window of a browser. `problems`: what its console complained of."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.page = context.new_page()
        self.problems: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.problems.append(dialog.message), dialog.dismiss()))

    def _hear(self, message: Any) -> None:
        of_the_page = "/static/" in message.location["url"] or not EXPECTED.search(message.text)
        if message.type in ("error", "warning") and of_the_page:
            self.problems.append(message.text)

    def open(self, path: str = "/ai/") -> Reader:
        self.page.goto(path)
        return self

    def part(self, name: str) -> Locator:
        return self.page.locator(f'[data-part="{name}"]:visible')

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    @property
    def question(self) -> Locator:
        return self.page.get_by_label("Your question", exact=True)

    @property
    def last(self) -> Locator:
        """The last answer."""
        return self.page.locator(".dc-assistant").last

    def ask(self, text: str) -> Reader:
        self.question.fill(text)
        self.question.press("Enter")
        return self

    def reads(self, text: str) -> Reader:
        """Wait until the last answer has this text."""
        expect(self.last).to_contain_text(text)
        return self

    def done(self) -> Reader:
        """Wait until nothing is being answered."""
        expect(self.page.locator(".dc-assistant[aria-busy]")).to_have_count(0)
        expect(self.page.locator('[data-part="send"]')).to_be_visible()
        return self
