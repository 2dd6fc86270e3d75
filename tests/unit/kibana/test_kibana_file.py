from __future__ import annotations

from pathlib import Path

import orjson

from tasques.kibana.contents import saved_objects
from tasques.kibana.saved_objects import ndjson

FILE = Path(__file__).parents[3] / "kibana" / "tasques.ndjson"


def test_the_file_is_what_the_source_says():
    """Otherwise: make kibana."""
    assert FILE.read_bytes() == ndjson(saved_objects())


def test_nothing_is_there_twice_and_no_reference_leads_nowhere():
    objects = [orjson.loads(line) for line in FILE.read_bytes().splitlines()]
    names = [(each["type"], each["id"]) for each in objects]

    assert len(set(names)) == len(names)
    for each in objects:
        for reference in each["references"]:
            assert (reference["type"], reference["id"]) in names


def test_the_settings_of_kibana_are_left_alone():
    assert {each["type"] for each in saved_objects()} == {"index-pattern", "search", "dashboard"}


def test_indices_ids_and_titles_have_the_prefix():
    """So that two installations can share a Kibana."""
    ours, theirs = saved_objects(), saved_objects("shop")

    views = [each for each in theirs if each["type"] == "index-pattern"]
    assert [view["attributes"]["title"] for view in views] == [
        "shop-tasks",
        "shop-archive",
        "shop-tasks,shop-archive",
        "shop-recurring",
    ]
    assert {each["id"] for each in ours}.isdisjoint(each["id"] for each in theirs)
    named = [reference["id"] for each in theirs for reference in each["references"]]
    assert {name.split("-")[0] for name in named} == {"shop"}
    assert b"tasques-" not in ndjson(theirs)
    titles = [each["attributes"].get("name", each["attributes"]["title"]) for each in theirs]
    assert all(title.startswith("Tasques (shop)") for title in titles)
