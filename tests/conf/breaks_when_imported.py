"""A module of a site that fails while it is imported."""

1 / 0  # noqa: B018
