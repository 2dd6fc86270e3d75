from __future__ import annotations

import logging
from collections import Counter
from types import SimpleNamespace

import pytest

from tasques.repository.nodes import Nodes


def some_nodes(count):
    return Nodes([SimpleNamespace(base_url=f"http://node-{number}") for number in range(count)])


@pytest.fixture
def nodes():
    return some_nodes(3)


def choices(nodes, times, now=0.0):
    return Counter(nodes._nodes.index(nodes.choose(now)) for _ in range(times))


def fail(nodes, number, now=0.0):
    nodes._nodes[number].failed(now, "broken off")


def test_requests_are_spread_over_all_nodes(nodes):
    assert choices(nodes, 30) == {0: 10, 1: 10, 2: 10}


def test_a_node_with_much_to_do_gets_nothing_more(nodes):
    nodes._nodes[1].under_way = 1

    assert choices(nodes, 30) == {0: 15, 2: 15}


def test_a_node_that_failed_is_left_alone_for_a_while(nodes):
    fail(nodes, 1, now=100)

    assert 1 not in choices(nodes, 30, now=100.9)
    assert 1 in choices(nodes, 30, now=101)


def test_a_node_that_failed_is_tried_by_one_request_only(nodes):
    fail(nodes, 1)
    for node in nodes._nodes:
        node.under_way = 1

    assert 1 not in choices(nodes, 30, now=60)


def test_pauses_of_a_node_that_fails_grow_to_half_a_minute(nodes):
    now, pauses = 0.0, []
    for _ in range(8):
        fail(nodes, 1, now)
        pauses.append(nodes._nodes[1].try_at - now)
        now = nodes._nodes[1].try_at

    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_requests_that_fail_together_count_once(nodes):
    for _ in range(20):
        fail(nodes, 1, now=0.5)

    assert nodes._nodes[1].try_at == 1.5


def test_a_node_that_answers_again_is_like_the_others(nodes):
    fail(nodes, 1)
    nodes._nodes[1].succeeded()

    assert choices(nodes, 30) == {0: 10, 1: 10, 2: 10}
    fail(nodes, 1, now=0.1)
    assert 1 not in choices(nodes, 30, now=0.2)


def test_when_all_fail_each_is_tried(nodes):
    for number in range(3):
        fail(nodes, number)

    assert not nodes.is_any_alive
    assert choices(nodes, 30) == {0: 10, 1: 10, 2: 10}


def test_what_was_tried_for_a_request_is_not_tried_again(nodes):
    first = nodes.choose(0)
    second = nodes.choose(0, tried=[first])
    third = nodes.choose(0, tried=[first, second])

    assert {first, second, third} == set(nodes._nodes)


def test_a_single_node_never_has_to_wait():
    nodes = some_nodes(1)
    fail(nodes, 0)
    nodes._nodes[0].under_way = 5

    assert nodes.choose(0) is nodes._nodes[0]


def test_each_change_is_logged_once(nodes, caplog):
    caplog.set_level(logging.INFO)
    for now in range(50):
        fail(nodes, 1, now)
    for _ in range(5):
        nodes._nodes[1].succeeded()

    assert [(record.getMessage(), record.node) for record in caplog.records] == [
        ("Elasticsearch does not answer", "http://node-1"),
        ("Elasticsearch answers again", "http://node-1"),
    ]
