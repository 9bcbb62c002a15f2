"""Spans and metrics for OpenTelemetry, of what the signals tell; of no use without the extra [otel]."""
