"""What is written into a node's configuration directory."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tasques.embedded.errors import InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Settings = dict[str, object]

# The console is the only appender: the starter puts it into one file for each node.
LOG4J2 = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] [%node_name]%marker %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""

# For machines that start often: the quick compiler, the small collector, memory when it is used.
_JVM_OPTIONS = """\
-Xms{heap}
-Xmx{heap}
-XX:+UseSerialGC
-XX:TieredStopAtLevel=1
-XX:-UsePerfData
-XX:-AlwaysPreTouch
-XX:+ExitOnOutOfMemoryError
-Djava.io.tmpdir=${{ES_TMPDIR}}
"""
CLI_JAVA_OPTS = "-XX:TieredStopAtLevel=1 -XX:-UsePerfData"


def jvm_options(heap: str) -> str:
    """The text of `jvm.options`, instead of the distribution's.

    The latter asks for a module that trimmed Javas lack.

    Raises:
        InvalidOptionError: `heap` is no size.
    """
    if re.fullmatch(r"[1-9]\d*[kKmMgG]", heap) is None:
        raise InvalidOptionError(f"heap {heap!r} is no size such as 512m or 1g")
    return _JVM_OPTIONS.format(heap=heap)


def elasticsearch_yml(settings: Mapping[str, object]) -> str:
    """The text of `elasticsearch.yml`; a setting whose value is `None` is left out."""
    lines = [f"{k}: {json.dumps(v)}\n" for k, v in settings.items() if v is not None]
    return "".join(["# Written anew at each start.\n", *lines])


def node_settings(name: str, base: Path, snapshots: Path) -> Settings:
    """Settings of every node, whose files are in `base`."""
    return {
        "cluster.name": "tasques",
        "node.name": name,
        "path.data": str(base / "data"),
        "path.logs": str(base / "logs"),
        "path.repo": [str(snapshots)],
        "network.host": "127.0.0.1",
        "transport.port": 0,
        "node.portsfile": True,
        "node.store.allow_mmap": False,  # vm.max_map_count may be low, and is not ours to set
        "cluster.routing.allocation.disk.threshold_enabled": False,  # a full laptop may go on
        "action.auto_create_index": False,  # a missing alias must not become an index
        "discovery.type": "single-node",
        "xpack.security.enabled": False,
    }


def multi_node_settings(names: list[str]) -> Settings:
    """Settings with which nodes find one another by a file of addresses."""
    return {
        "discovery.type": "multi-node",
        "discovery.seed_providers": "file",
        "discovery.seed_hosts": [],
        # The files with the ports are written after this wait, and the others need them.
        "discovery.initial_state_timeout": "0s",
        "cluster.initial_master_nodes": names,
    }


SECURE_SETTINGS: Settings = {
    "xpack.security.enabled": True,
    "xpack.security.http.ssl.enabled": True,
    "xpack.security.http.ssl.key": "http.key",
    "xpack.security.http.ssl.certificate": "http.crt",
}
