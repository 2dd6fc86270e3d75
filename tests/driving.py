"""Drives the calls of clients without a network: answers come from a script, time from a clock."""

from __future__ import annotations

import json
from random import Random

from tasques.client.errors import NoAnswerError
from tasques.client.exchange import Answer, Exchange, Pause, resume

LOST = NoAnswerError("ReadTimeout", may_have_arrived=True)
UNSENT = NoAnswerError("ConnectError", may_have_arrived=False)


def answer(status, said=None, retry_after=None):
    """An answer with a JSON body."""
    return Answer(status, json.dumps(said).encode(), retry_after)


def refusal(status, code, retry_after=None):
    """An answer that says no, as a Tasques server does."""
    return answer(status, {"message": f"{code}.", "code": code}, retry_after)


class Driver:
    """Carries calls out; remembers what was asked and how long was waited."""

    def __init__(self, *script, timeout=30.0):
        self.now = 0.0
        self.requests = []
        self.pauses = []
        self._script = list(script)
        self.exchange = Exchange(
            timeout=timeout, try_timeout=10.0, monotonic=lambda: self.now, random=Random(1)
        )

    def run(self, call):
        """What a call returns, or raises, when the script is played to it."""
        outcome = None
        try:
            while True:
                outcome = self._carry_out(resume(call, outcome))
        except StopIteration as end:
            assert not self._script, "there is more in the script"
            return end.value

    @property
    def bodies(self):
        """What was sent."""
        return [json.loads(request.body) for request in self.requests if request.body]

    def _carry_out(self, wanted):
        if isinstance(wanted, Pause):
            self.pauses.append(wanted.seconds)
            self.now += wanted.seconds
            return None
        self.requests.append(wanted)
        said = self._script.pop(0)
        if callable(said):
            said = said(wanted)
        if isinstance(said, NoAnswerError):
            self.now += wanted.timeout if said.may_have_arrived else 0.0
        return said
