"""Whatever the model writes, nothing of it runs, loads or disguises; and how events are read."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import expect

from django_chatgpt import __version__
from django_chatgpt.testing import Answer, Call, FakeOpenAI
from tests.services.test_markdown import XSS

WATCH = """() => {
  window.harm = [];
  for (const name of ["alert", "confirm", "prompt", "open"]) window[name] = () => window.harm.push(name);
  document.addEventListener("securitypolicyviolation", (event) => window.harm.push(event.violatedDirective));
}"""
#: Elements that no answer may bring, and attributes that none may have.
LOOK = """() => {
  const bad = document.querySelectorAll(
    ".dc-lines :is(script, img, iframe, style, form, input, base, object, embed, math, [name])," +
    ".dc-lines .dc-text :is(svg, [onerror], [onload], [onclick], [onmouseover]):not(.dc-code-bar *)"
  );
  const links = [...document.querySelectorAll(".dc-text a")].filter((a) => !/^(https?|mailto):/.test(a.href));
  return [...window.harm, ...[...bad, ...links].map((each) => each.outerHTML)];
}"""


def test_nothing_of_it_runs(visit: Any, fake: FakeOpenAI) -> None:
    """All of the corpus, in every split: each text comes a character at a time, and each piece is shown."""
    reader = visit().open()
    reader.page.evaluate(WATCH)
    text = "\n\n".join(XSS)
    fake.reply(text + "\n\nThe end of it.", chunks=[*text, "\n\nThe end of it."], delay=0)
    reader.ask("<img src=x onerror=alert(1)>").reads("The end of it.").done()
    assert reader.page.evaluate(LOOK) == []
    arguments = {"city": "<img src=x onerror=alert(1)>"}
    fake.script(
        Answer(calls=[Call("<script>alert(1)</script>", arguments), Call("get_weather", arguments)]), "Done."
    )
    reader.ask("</div><script>alert(1)</script>").reads("Done.").done()
    assert reader.page.evaluate(LOOK) == []
    reader.page.reload()
    reader.page.evaluate(WATCH)
    reader.reads("Done.")
    assert reader.page.evaluate(LOOK) == []
    reader.page.locator('[data-part="edit"]').first.click(force=True)
    expect(reader.question).to_have_value("<img src=x onerror=alert(1)>")


def test_every_split_in_the_page_itself(visit: Any, fake: FakeOpenAI) -> None:
    """What the server makes of each beginning of each text, put where answers are put."""
    from django_chatgpt.services.markdown import render

    reader = visit().open()
    reader.page.evaluate(WATCH)
    rendered = sorted({render(text[:at]) for text in XSS for at in range(len(text) + 1)})
    reader.page.evaluate(
        """(rendered) => {
          const box = document.createElement("div");
          box.className = "dc-text";
          document.querySelector(".dc-lines").append(box);
          for (const html of rendered) {
            const template = document.createElement("template");
            template.innerHTML = html;
            box.append(template.content);
          }
        }""",
        rendered,
    )
    assert reader.page.evaluate(LOOK) == []


EVENTS = 'id: 1\ndata: {"a":"é"}\n\n: keep-alive\n\nid: 2\r\ndata: {"b":\r\ndata: 2}\r\n\r\ndata: {"c":3}\r\r'
READ = """async ([module, text]) => {
  const { readEvents } = await import(module);
  const bytes = new TextEncoder().encode(text);
  const found = [];
  for (let at = 0; at <= bytes.length; at++) {
    const body = new ReadableStream({ start(stream) {
      for (const piece of [bytes.slice(0, at), bytes.slice(at)]) if (piece.length) stream.enqueue(piece);
      stream.close();
    } });
    const events = [];
    for await (const event of readEvents(body)) events.push(event);
    found.push(JSON.stringify(events));
  }
  return [...new Set(found)];
}"""


def test_events_are_read_however_they_are_cut(visit: Any, fake: FakeOpenAI) -> None:
    reader = visit().open()
    module = f"/static/django_chatgpt/js-{__version__}/stream.js"
    found = reader.page.evaluate(READ, [module, EVENTS])
    assert found == ['[[1,{"a":"é"}],[2,{"b":2}],[null,{"c":3}]]']
