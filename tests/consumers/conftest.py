"""The fixtures of `pages`, where Channels is there; without it nothing here can be asked."""

from importlib.util import find_spec

if find_spec("channels") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from tests.consumers.pages import fake, gate, page, site, visit

    __all__ = ["fake", "gate", "page", "site", "visit"]
