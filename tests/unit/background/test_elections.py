"""That two servers never trust themselves at once, whatever happens on the way to the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import pytest
from elections import Election, HostClock, Rival
from fakes import FakeClock
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tasques.domain.errors import StoreUnavailableError

DURATION = 40.0

# What happens to one request: delays before it takes place and before its answer arrives, in
# seconds, and whether it is lost on the way there or the answer on the way back.
GOOD: Final = (0.0, 0.0, "answered")
DELAY = st.sampled_from([0.0, 0.02, 0.3, 1.1, 4.4, 4.6, 5.1, 12.0])
TROUBLE = st.lists(
    st.tuples(DELAY, DELAY, st.sampled_from(["answered", "lost", "answer lost"])),
    min_size=1,
    max_size=3,
)
# All goes well for a while, then there is trouble, and so on.
REQUESTS = st.lists(
    st.builds(lambda good, trouble: [GOOD] * good + trouble, st.integers(1, 20), TROUBLE),
    min_size=1,
    max_size=4,
).map(lambda episodes: [request for episode in episodes for request in episode])
# A server: what happens to its requests; how its clock goes; when it is unfit, and for how long.
CLOCK = st.tuples(st.floats(-1e6, 1e6), st.floats(0.97, 1.03))
UNFIT = st.tuples(st.floats(0, DURATION), st.floats(0, 10))
SERVER = st.tuples(REQUESTS, CLOCK, UNFIT)


class Network:
    """A way to the store on which requests meet their fates."""

    def __init__(self, clock: FakeClock, requests: list[tuple[float, float, str]]) -> None:
        self.clock = clock
        self.fates = self._forever(requests)
        self.request = next(self.fates)

    @staticmethod
    def _forever(requests: list[tuple[float, float, str]]) -> Iterator[tuple[float, float, str]]:
        while True:
            yield from requests
            yield GOOD  # else nothing may ever happen

    async def before(self) -> None:
        self.request = next(self.fates)
        delay, _, fate = self.request
        await self.clock.sleep(delay)
        if fate == "lost":
            raise StoreUnavailableError("lost")

    async def after(self) -> None:
        _, delay, fate = self.request
        await self.clock.sleep(delay)
        if fate == "answer lost":
            raise StoreUnavailableError("the answer was lost")


async def compete(servers: list[tuple[list[tuple[float, float, str]], tuple, tuple]]) -> int:
    """Let servers compete; how many terms there were."""
    election = Election()
    clock = election.clock
    unfit = []
    for number, (requests, (ahead, rate), (since, seconds)) in enumerate(servers):
        rival = Rival(f"server {number}", election.store, HostClock(clock, ahead, rate))
        network = Network(clock, requests)
        rival.lock.before, rival.lock.after = network.before, network.after
        unfit.append((since, since + seconds))
        election.rivals.append(rival.start())
    try:
        await clock.advance(0)
        while clock.monotonic() < DURATION:
            await clock.advance(clock.until_next())  # trust is gained by what happens then
            for rival, (begin, end) in zip(election.rivals, unfit, strict=True):
                rival.is_fit = not begin <= clock.monotonic() < end
            assert len(election.leaders) <= 1
        check_history(election)
        return len({lease.term for lease in election.store.written})
    finally:
        for rival in election.rivals:
            rival.running.cancel()
            rival.lock.before = rival.lock.after = lambda: asyncio.sleep(0)
        ended = asyncio.gather(
            *(rival.running for rival in election.rivals), return_exceptions=True
        )
        await clock.advance(0)
        for outcome in await ended:
            assert isinstance(outcome, asyncio.CancelledError), outcome


def check_history(election: Election) -> None:
    """Terms grow, each has one leader, and nobody writes in an old one."""
    terms = [lease.term for lease in election.store.written]
    assert terms == sorted(terms)
    leaders: dict[int, str] = {}
    for lease in election.store.written:
        assert leaders.setdefault(lease.term, lease.leader.id) == lease.leader.id


@settings(max_examples=80)
@given(st.lists(SERVER, min_size=2, max_size=3))
def test_two_servers_never_lead_at_once(servers):
    event(f"terms: {min(asyncio.run(compete(servers)), 5)}")


@pytest.mark.parametrize("delay", [4.4, 4.6, 5.1, 9.9])
@pytest.mark.parametrize("fate", ["answered", "answer lost"])
def test_a_late_answer_gives_no_trust_that_is_over_already(delay, fate):
    late = [GOOD] * 10 + [(0.0, delay, fate)]
    asyncio.run(compete([(late, (0.0, 1.0), (0.0, 0.0)) for _ in range(3)]))
