"""Fixtures that start a real Elasticsearch."""

from __future__ import annotations

import os

import pytest

from tasques.embedded import Cluster

__all__ = ["elasticsearch_url", "secure_cluster", "three_nodes"]

# Given as settings, these make a cluster notice a paused node in seconds instead of half a
# minute. Nodes that are killed are noticed at once without them. A loaded machine needs patience.
NOTICE_A_HANG: dict[str, object] = {
    "cluster.fault_detection.follower_check.timeout": "1s",
    "cluster.fault_detection.leader_check.timeout": "1s",
    "cluster.publish.timeout": "2s",
    "cluster.follower_lag.timeout": "3s",
}


@pytest.fixture(scope="session")
def elasticsearch_url():
    """One server for the whole run; TASQUES_TEST_ELASTICSEARCH names one of your own."""
    if url := os.environ.get("TASQUES_TEST_ELASTICSEARCH"):
        yield url
        return
    with Cluster() as cluster:
        yield cluster.urls[0]


@pytest.fixture(scope="module")
def secure_cluster():
    """One node with TLS and a password."""
    with Cluster(secure=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def three_nodes():
    """Three nodes; a test that stops one restarts it."""
    with Cluster(3, heap="256m") as cluster:
        yield cluster
