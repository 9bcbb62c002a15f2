"""The pictures of the page on performance say what its tables say."""

from benchmarks.charts import PAGE, charts


def test_the_pictures_are_those_of_the_tables() -> None:
    drawn = charts(PAGE.read_text())
    assert len(drawn) == 2
    for name, picture in drawn.items():
        assert (PAGE.parent / name).read_text() == picture, "python -m benchmarks.charts"
