"""Pages that say nothing, in every form that an answer may have: for work on what shows them."""

PROSE = """Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut
labore et dolore magna aliqua. Ut enim ad minim veniam, **quis nostrud** exercitation *ullamco laboris*
nisi ut aliquip ex ea commodo consequat: see `duis_aute()` and [the documentation](https://example.org/irure).

Duis aute irure dolor in reprehenderit in voluptate velit esse cillum dolore eu fugiat nulla pariatur."""

CODE = '''## Sed ut perspiciatis

Unde omnis iste natus error:

```python
def accusantium(doloremque: int) -> str:
    """Laudantium, totam rem aperiam."""
    return "\\n".join(f"{number}: eaque ipsa" for number in range(doloremque))
```

Nemo enim ipsam voluptatem, quia voluptas sit.'''

LISTS = """### Neque porro quisquam

1. qui dolorem ipsum
2. quia dolor sit amet
   - consectetur
   - adipisci velit
3. sed quia non numquam

> Eius modi tempora incidunt ut labore et dolore magnam aliquam quaerat voluptatem.

- [ ] ut enim
- [x] ad minima veniam"""

TABLE = """| quis | nostrum | exercitationem |
| --- | ---: | :-: |
| ullam | 1.50 | corporis |
| suscipit | 22.75 | laboriosam |

Nisi ut aliquid ex ea commodi consequatur? مرحبا بالعالم · 你好 世界 · 👩‍🚀 · <b>not markup</b>"""

LONG_LINE = f"Quis autem vel eum iure reprehenderit: https://example.org/{'voluptate/' * 20} " + "velit" * 40

PAGES = (PROSE, CODE, LISTS, TABLE, LONG_LINE)


def page(number: int) -> str:
    """One of the pages, each in its turn."""
    return PAGES[number % len(PAGES)]
