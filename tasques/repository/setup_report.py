"""What a set-up tells about itself."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

log = logging.getLogger(__name__)


@dataclass(slots=True)
class SetupReport:
    """What a set-up found and did: one line for each thing; warnings are sentences."""

    created: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    upgraded: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def is_changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.created or self.repaired or self.upgraded)

    def warn(self, warning: str) -> None:
        """Keep a warning, and log it."""
        log.warning(warning)
        self.warnings.append(warning)
