from __future__ import annotations

from random import Random

import orjson
import pytest

from tasques.observability.trace_limit import TraceLimit
from tasques.observability.tracer import Sampling, Tracer
from tests.fakes import FakeClock


class Ticking(FakeClock):
    """A clock that nobody sleeps by."""

    def tick(self, seconds):
        self._elapsed += seconds


def shares(limit, clock, *, per_second, seconds, wanted=1.0):
    """The shares of traces that begin at an even pace."""
    found = []
    for _ in range(per_second * seconds):
        clock.tick(1 / per_second)
        found.append(limit.share_for_next(wanted))
    return found


def test_all_traces_are_sent_up_to_the_limit():
    clock = Ticking()
    limit = TraceLimit(100, clock.monotonic)

    assert set(shares(limit, clock, per_second=90, seconds=5)) == {1.0}


def test_beyond_the_limit_a_share_is_sent_that_keeps_it():
    clock = Ticking()
    limit = TraceLimit(100, clock.monotonic)

    first = shares(limit, clock, per_second=1000, seconds=1)
    later = shares(limit, clock, per_second=1000, seconds=5)

    assert 100 < sum(first) < 400, "in the first second nobody knows yet"
    assert sum(later) / 5 == pytest.approx(100, rel=0.05)


def test_when_there_are_few_again_all_are_sent():
    clock = Ticking()
    limit = TraceLimit(100, clock.monotonic)
    shares(limit, clock, per_second=1000, seconds=3)

    assert set(shares(limit, clock, per_second=10, seconds=5)[20:]) == {1.0}


def test_a_smaller_share_that_is_wanted_stays():
    clock = Ticking()
    limit = TraceLimit(100, clock.monotonic)

    assert set(shares(limit, clock, per_second=500, seconds=3, wanted=0.1)) == {0.1}
    assert limit.share_for_next(0.0) == 0.0


def test_no_limit_sends_all():
    clock = Ticking()

    assert set(shares(TraceLimit(0, clock.monotonic), clock, per_second=5000, seconds=2)) == {1.0}


def tracing(sent, clock, *, max_per_second):
    """A tracer whose events are put into `sent`."""
    return Tracer(
        sent.append,
        sampling=Sampling,
        max_per_second=max_per_second,
        clock=clock,
        random=Random(1),
    )


def test_what_is_sent_tells_for_how_many_it_stands():
    clock = Ticking()
    sent = []
    tracer = tracing(sent, clock, max_per_second=100)

    for _ in range(20_000):
        clock.tick(0.0005)
        tracer.end(tracer.begin("request", is_limited=True), "GET /", "HTTP 2xx", "success")

    rates = [orjson.loads(event)["transaction"]["sample_rate"] for event in sent]
    assert len(rates) < 2_000
    assert sum(1 / rate for rate in rates) == pytest.approx(20_000, rel=0.15)
    assert all(0 < rate <= 1 and round(rate, 4) == rate for rate in rates)


def test_a_trace_that_goes_on_here_is_sent_if_it_was_begun_so():
    sent = []
    tracer = tracing(sent, Ticking(), max_per_second=1)
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-0"

    for sampled in "1010101010":
        transaction = tracer.begin("request", parent + sampled, is_limited=True)
        tracer.end(transaction, "GET /", "HTTP 2xx", "success")

    assert len(sent) == 5


def test_what_is_not_limited_is_always_sent_and_takes_nothing_from_the_rest():
    clock = Ticking()
    sent = []
    tracer = tracing(sent, clock, max_per_second=100)

    for _ in range(10_000):
        clock.tick(0.001)
        tracer.end(tracer.begin("request", is_limited=True), "GET /", "HTTP 2xx", "success")
        for _ in range(2):
            tracer.end(tracer.begin("background"), "reaper", "success", "success")

    events = [orjson.loads(event)["transaction"] for event in sent]
    background = [event for event in events if event["type"] == "background"]
    assert len(background) == 20_000
    assert {event["sample_rate"] for event in background} == {1.0}
    assert len(events) - len(background) == pytest.approx(1_000, rel=0.3)
