"""The WebSocket interface: `AIStreamingConsumer` and `AIMonitoringConsumer`. They need [channels]."""

from django_chatgpt.conf.extras import require_extra

require_extra("channels", "channels")

from django_chatgpt.consumers.chat import AIStreamingConsumer  # noqa: E402
from django_chatgpt.consumers.monitoring import AIMonitoringConsumer  # noqa: E402

__all__ = ["AIMonitoringConsumer", "AIStreamingConsumer"]
