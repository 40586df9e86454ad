"""What all three agents do: the model's script, the tools and where the spans go.

    turn 1: look up the weather and the news, at once
    turn 2: book a room; that fails, and the failure goes back to the model
    turn 3: book it again; that works
    turn 4: the answer
"""

import os

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from scripted_model import call, turn

SCRIPT = [
    turn(call("weather", city="Lisbon"), call("news", city="Lisbon"), usage=(100, 20, 0, 8)),
    turn(call("book_room", city="Lisbon"), usage=(160, 15, 100, 0)),
    turn(call("book_room", city="Lisbon"), usage=(200, 15, 160, 0)),
    turn(text="Room 12 is booked. Sunny; the tram is on strike.", usage=(240, 30, 200, 12), delay_ms=80),
]

WEATHER_SECONDS = 0.25
NEWS_SECONDS = 0.05
BOOKING_SECONDS = 0.02

_bookings = 0


class NoRoom(Exception):
    pass


def try_to_book():
    """Fails the first time."""
    global _bookings
    _bookings += 1
    if _bookings == 1:
        raise NoRoom("the booking desk did not answer")
    return "room 12"


def resource():
    return Resource({"service.name": "travel-desk", "service.version": "1.0.0"})


def exporter():
    """To a Collector at OTEL_EXPORTER_OTLP_ENDPOINT, or at its usual port on this machine."""
    base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    return OTLPSpanExporter(endpoint=f"{base}/v1/traces")


def tracer_provider():
    provider = TracerProvider(resource=resource())
    provider.add_span_processor(BatchSpanProcessor(exporter()))
    return provider
