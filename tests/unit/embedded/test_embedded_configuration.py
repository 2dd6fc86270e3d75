from __future__ import annotations

import pytest
import yaml

from tasques.embedded import Cluster
from tasques.embedded.configuration import elasticsearch_yml, jvm_options, node_settings
from tasques.embedded.errors import EmbeddedError, InvalidOptionError


def test_settings_are_written_as_yaml_and_none_leaves_one_out():
    settings = {"a.b": 'x: "y" #', "c": [1, 2], "d": False, "e": None, "path.é": "ü"}

    written = yaml.safe_load(elasticsearch_yml(settings))

    assert written == {"a.b": 'x: "y" #', "c": [1, 2], "d": False, "path.é": "ü"}


def test_a_node_never_makes_an_index_by_itself_and_listens_on_loopback_only(tmp_path):
    settings = node_settings("n", tmp_path, tmp_path / "snapshots")

    assert settings["action.auto_create_index"] is False
    assert settings["network.host"] == "127.0.0.1"


def test_the_heap_is_of_one_size():
    options = jvm_options("256m").splitlines()

    assert "-Xms256m" in options
    assert "-Xmx256m" in options
    assert "-Djava.io.tmpdir=${ES_TMPDIR}" in options


@pytest.mark.parametrize("heap", ["", "512", "0m", "512mb", "-1g", "1g\n-Dx=y", "1 g"])
def test_a_heap_that_is_no_size_is_an_error_before_anything_starts(heap):
    with pytest.raises(InvalidOptionError, match="heap"):
        Cluster(heap=heap)


def test_a_cluster_without_nodes_is_an_error():
    with pytest.raises(InvalidOptionError, match="one node or more, not 0"):
        Cluster(0)


def test_a_cluster_that_was_not_started_has_no_addresses_and_can_be_stopped():
    cluster = Cluster()

    cluster.stop()

    assert cluster.urls == []
    assert not cluster.running
    with pytest.raises(EmbeddedError, match="not started"):
        _ = cluster.base
