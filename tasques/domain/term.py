"""How long a leader may trust itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Term:
    """One write of the lease, as the process that made it saw it.

    Others begin to wait for the lease to run out when they see that write, so after it was sent.
    Trust counts from the sending and ends a margin earlier than the lease: a slow answer, or
    clocks that do not run equally fast, can only make this process step down too early.

    Attributes:
        sent_at: when the write was sent, in seconds on this host's clock since boot.
        lease: seconds for which the others leave the lead to this process.
        margin: seconds that are given away for safety.
    """

    sent_at: float
    lease: float
    margin: float

    @property
    def trusted_until(self) -> float:
        """When trust ends, on the clock of `sent_at`."""
        return self.sent_at + self.lease - self.margin

    def is_trusted(self, at: float) -> bool:
        """Whether this process may act as the leader, `at` being on the clock of `sent_at`."""
        return at < self.trusted_until
