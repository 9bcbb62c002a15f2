"""The addresses of the WebSocket interface, for a site's `URLRouter`. They need the extra [channels]."""

from __future__ import annotations

from django.urls import path

from django_chatgpt.consumers import AIMonitoringConsumer, AIStreamingConsumer

websocket_urlpatterns = [
    path("ws/ai/chat/", AIStreamingConsumer.as_asgi(), name="ai_chat"),
    path("ws/ai/monitoring/", AIMonitoringConsumer.as_asgi(), name="ai_monitoring"),
]
