from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import orjson
import pytest
from render import fill, pictures
from sample_data import sample

from tasques.kibana.contents import saved_objects
from tasques.repository.indices import IndexNames

pytestmark = pytest.mark.elasticsearch


async def test_a_picture_shows_every_panel_with_what_elasticsearch_has(elasticsearch, prefix):
    now = datetime.now(UTC)
    documents = sample(now, tasks=60)
    objects = saved_objects(prefix)
    await fill(elasticsearch, IndexNames(prefix), documents)

    drawn = {name: picture async for name, picture in pictures(elasticsearch, objects, now)}

    dashboards = {each["id"]: each for each in objects if each["type"] == "dashboard"}
    assert drawn.keys() == dashboards.keys()
    for name, picture in drawn.items():
        texts = [element.text for element in ET.fromstring(picture).iter()]
        for panel in orjson.loads(dashboards[name]["attributes"]["panelsJSON"]):
            assert panel["title"] in texts
    overview = [e.text for e in ET.fromstring(drawn[f"{prefix}-overview"]).iter()]
    assert overview[overview.index("Total") + 1] == str(len(documents["tasks"]))
    assert {"mails", "newsletter", "nightly-report"} <= set(overview)
