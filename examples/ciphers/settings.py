"""What the page and the workers are told, by environment variables."""

from __future__ import annotations

import os
from typing import Final

TASQUES: Final = "CIPHERS_TASQUES"
ELASTICSEARCH: Final = "CIPHERS_ELASTICSEARCH"
FAILURES: Final = "CIPHERS_FAILURES"
PAUSE: Final = "CIPHERS_PAUSE"

tasques_url = os.environ.get(TASQUES, "http://localhost:8080")
elasticsearch_url = os.environ.get(ELASTICSEARCH, "http://localhost:9200")
failures = float(os.environ.get(FAILURES, "0"))
"""Which share of the attempts fails, from 0 to 1."""
pause = float(os.environ.get(PAUSE, "1"))
"""How many seconds an attempt takes at most."""
