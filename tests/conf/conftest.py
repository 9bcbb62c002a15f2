import pytest

KEY_VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID")


@pytest.fixture(autouse=True)
def _silent_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine's environment says about OpenAI, these tests don't hear it."""
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
