from __future__ import annotations

import asyncio
from datetime import timedelta

import orjson
import pytest
from elastic_transport import AsyncTransport
from elasticsearch import AsyncElasticsearch, BadRequestError
from factories import START, a_claimed_task, a_task

from tasques.domain.errors import StoreUnavailableError
from tasques.domain.instant import parse_instant
from tasques.domain.task import JsonText, Version
from tasques.repository.documents import document_id, from_document, to_document
from tasques.repository.features import OLDEST_VERSION, probe
from tasques.repository.indices import IndexNames, IndexSettings, specs
from tasques.repository.lifecycle import LifecyclePolicy
from tasques.repository.setup import check, setup
from tasques.repository.setup_errors import SetupError
from tasques.repository.setup_steps import SetupSteps

pytestmark = pytest.mark.elasticsearch


class KilledError(Exception):
    """Stands for the end of the process."""


class Interruptible(AsyncTransport):
    """Ends everything after some requests: they were executed, their answer is lost."""

    requests_left = -1

    async def perform_request(self, *args, **options):
        response = await super().perform_request(*args, **options)
        self.requests_left -= 1
        if self.requests_left == 0:
            raise KilledError
        return response


@pytest.fixture
async def client(elasticsearch_url):
    async with AsyncElasticsearch(elasticsearch_url, transport_class=Interruptible) as client:
        yield client


@pytest.fixture
def names(prefix):
    return IndexNames(prefix)


async def remove_everything(client, prefix):
    if found := list(await client.indices.get(index=f"{prefix}*", expand_wildcards="all")):
        await client.indices.delete(index=found)
    templates = (await client.indices.get_index_template())["index_templates"]
    for template in templates:
        if template["name"].startswith(prefix):
            await client.indices.delete_index_template(name=template["name"])


OPTIONS = {"shards": 1, "replicas": 0, "refresh_interval": timedelta(seconds=1)}
ONE_SHARD = IndexSettings(**OPTIONS)


async def set_up(client, names, **changes):
    options = OPTIONS | changes
    return await setup(client, names=names, **options)


async def state_of(client, names):
    """Everything that a set-up makes, as far as it does not differ from run to run."""
    templates = await client.indices.get_index_template(name=names.tasks_alias)
    template = {
        member: value
        for member, value in templates["index_templates"][0]["index_template"].items()
        if "_date" not in member  # of the latest write; since version 9
    }
    answer = await client.indices.get(index=f"{names.prefix}*", expand_wildcards="all")
    indices = {
        name: {
            "aliases": found["aliases"],
            "mappings": found["mappings"],
            "settings": {
                setting: found["settings"]["index"].get(setting)
                for setting in ("number_of_shards", "number_of_replicas", "refresh_interval")
            },
        }
        for name, found in answer.body.items()
    }
    text = orjson.dumps([template, indices]).decode()
    return orjson.loads(text.replace(names.prefix, "PREFIX"))


async def stored_index(client, names):
    return (await client.indices.get(index=names.tasks_index))[names.tasks_index]


# ------------------------------------------------------------------------------ the good case


async def test_a_set_up_makes_everything_and_a_second_one_nothing(client, names):
    """Setting up twice is the same as once, and the report tells what was done."""
    assert len((await check(client, names)).problems) == 2 * len(specs(names))

    first = await set_up(client, names)
    state = await state_of(client, names)
    second = await set_up(client, names)

    assert first.created == [
        line
        for spec in specs(names)
        for line in (
            f"index template {spec.alias}",
            f"index {spec.index}",
            f"alias {spec.alias} of {spec.index}",
        )
    ]
    assert not first.repaired
    assert not first.upgraded
    assert not second.is_changed
    assert not second.warnings
    assert len(second.unchanged) == 4 * len(specs(names))
    assert await state_of(client, names) == state
    assert (await check(client, names)).problems == []


async def test_what_the_settings_say_is_in_the_index_and_the_template(client, names):
    """Shards, replicas and an explicit refresh interval are those of the settings."""
    await set_up(client, names, shards=2, replicas=3, refresh_interval=timedelta(milliseconds=1500))

    wanted = {
        "number_of_shards": "2",
        "number_of_replicas": "3",
        "refresh_interval": "1500ms",
    }
    template = await client.indices.get_index_template(name=names.tasks_alias)
    stored = template["index_templates"][0]["index_template"]
    assert stored["template"]["settings"]["index"] == wanted
    assert stored["_meta"] == {"managed_by": "tasques", "version": stored["version"]}
    assert wanted.items() <= (await stored_index(client, names))["settings"]["index"].items()


async def test_the_template_makes_the_same_index(client, names):
    """An index that comes back in another way than by a set-up is like one made by it."""
    await set_up(client, names, shards=2)
    made = (await stored_index(client, names))["mappings"]
    await client.indices.delete(index=names.tasks_index)

    await client.indices.create(index=names.tasks_index)

    again = await stored_index(client, names)
    assert again["mappings"] == made
    assert again["settings"]["index"]["number_of_shards"] == "2"


async def test_a_prefix_may_begin_with_another_prefix(client, names):
    """Two installations in one cluster do not get in each other's way."""
    inner = IndexNames(names.tasks_index)

    await set_up(client, names)
    await set_up(client, inner)

    assert (await check(client, names)).problems == []
    assert (await check(client, inner)).problems == []


async def test_two_set_ups_at_once_both_end_well(client, names):
    """Servers that are started together may all set up."""
    reports = await asyncio.gather(*(set_up(client, names) for _ in range(5)))

    assert (await check(client, names)).problems == []
    created = [line for report in reports for line in report.created]
    assert created.count(f"index {names.tasks_index}") == 1
    assert not (await set_up(client, names)).is_changed


# ------------------------------------------------------------------------------ documents


@pytest.mark.parametrize(
    "run_at",
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "1969-12-31T23:59:59.999999Z",
        "2026-03-01T12:00:00.123456+05:30",
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59.999999-12:00",
    ],
)
async def test_any_year_can_be_stored_and_searched(client, names, run_at):
    """Dates from the year 1 to 9999 are taken, and compared as instants."""
    await set_up(client, names)
    instant = parse_instant(run_at)
    await store(client, names, a_task(run_at=instant))

    upto = {"range": {"due_at": {"lte": run_at}}}
    before = {"range": {"due_at": {"lt": run_at}}}
    assert (await client.count(index=names.tasks_alias, query=upto))["count"] == 1
    assert (await client.count(index=names.tasks_alias, query=before))["count"] == 0


async def test_what_clients_say_never_becomes_a_field(client, names):
    """Texts that would be 2,000 fields, a type clash or an immense term change no mapping."""
    await set_up(client, names)
    mapping = (await stored_index(client, names))["mappings"]
    many = {f"key-{number}": number for number in range(2000)}
    texts = [orjson.dumps(value).decode() for value in (many, {"a": 1}, {"a": {"b": "x" * 70_000}})]

    for number, text in enumerate(map(JsonText, texts)):
        claimed = a_claimed_task(id=f"task-{number}", args=text, context=text)
        reported = claimed.report(worker_id="worker-1", at=START, data=text)
        await store(client, names, reported)
        done = reported.complete(worker_id="worker-1", at=START, success=text)
        await store(client, names, done)
        failed = reported.fail(worker_id="worker-1", at=START, failure=text, retry_at=START)
        await store(client, names, failed)
        stored = await client.get(index=names.tasks_alias, id=document_id("mail", claimed.id))
        assert stored["_source"]["last_claimed"]["result"]["failure"] == text

    assert (await stored_index(client, names))["mappings"] == mapping


async def test_the_longest_names_are_found_in_full(client, names):
    """Kinds and workers of 512 bytes can be filtered by."""
    await set_up(client, names)
    task = a_task(kind="k" * 512, id="i" * 360, queue="q" * 128)
    claimed = task.claim(worker_id="é" * 256, at=START, claim_id="claim-1")
    await store(client, names, claimed)

    for field, value in {
        "kind": task.kind,
        "id": task.id,
        "queue": task.queue,
        "last_claimed.worker_id": "é" * 256,
    }.items():
        found = await client.count(index=names.tasks_alias, query={"term": {field: value}})
        assert found["count"] == 1, field


async def test_failures_are_found_by_words_of_their_message(client, names):
    """Operators can search for what went wrong."""
    await set_up(client, names)
    failure = JsonText('{"message":"Connection refused by smtp.example.com"}')
    failed = a_claimed_task().fail(worker_id="worker-1", at=START, failure=failure, retry_at=START)
    await store(client, names, failed)

    found = await client.count(
        index=names.tasks_alias, query={"match": {"failure_message": "refused connection"}}
    )

    assert found["count"] == 1


async def test_an_unknown_member_is_refused(client, names):
    """Nothing gets into the mapping by accident."""
    await set_up(client, names)

    with pytest.raises(BadRequestError, match="strict_dynamic_mapping_exception"):
        await client.index(index=names.tasks_alias, document={"colour": "red"})


async def store(client, names, task):
    await client.index(
        index=names.tasks_alias,
        id=document_id(task.queue, task.id),
        document=orjson.loads(to_document(task, "write-1")),
        refresh=True,
        require_alias=True,
    )


# ------------------------------------------------------------------------------ repairs


async def nothing(client, names):
    """A cluster that never saw us."""


async def older(client, names):
    """What a version before the first one might have left."""
    await prepare(client, specs(names)[0])
    mark = {"managed_by": "tasques", "version": 0}
    await client.indices.put_index_template(
        name=names.tasks_alias, index_patterns=[names.tasks_index], priority=500, meta=mark
    )
    await client.indices.delete(index=names.tasks_index)
    await client.indices.create(
        index=names.tasks_index,
        mappings={"_meta": mark, "properties": {"id": {"type": "keyword"}}},
        aliases={names.tasks_alias: {}},
        settings={"number_of_replicas": 1},
    )


async def alias_elsewhere(client, names):
    """An alias on an index that is not ours, and is empty."""
    await client.indices.create(
        index=f"{names.prefix}-other", aliases={names.tasks_alias: {"is_write_index": True}}
    )


async def index_without_alias(client, names):
    """The state between two steps."""
    await prepare(client, specs(names)[0])
    await client.indices.delete_alias(index=names.tasks_index, name=names.tasks_alias)


@pytest.mark.parametrize("begin", [nothing, older, alias_elsewhere, index_without_alias])
async def test_a_set_up_that_was_killed_anywhere_is_completed_by_the_next(client, names, begin):
    """Whatever the last request was, running again ends in the same good state."""
    # Aliases are prepared one after the other and alike, so one of them shows it.
    spec = specs(names)[0]
    await begin(client, names)
    await prepare(client, spec)
    good = without_the_other(await state_of(client, names))
    requests = 0
    is_interrupted = True
    while is_interrupted:
        await remove_everything(client, names.prefix)
        await begin(client, names)
        requests += 1
        is_interrupted = await ends_after(requests, client, spec)
        await prepare(client, spec)

        assert without_the_other(await state_of(client, names)) == good, requests
    assert requests > 3


async def prepare(client, spec):
    await SetupSteps(client, ONE_SHARD).prepare(spec)


async def ends_after(requests, client, spec):
    client.transport.requests_left = requests
    try:
        await prepare(client, spec)
    except KilledError:
        return True
    finally:
        client.transport.requests_left = -1
    return False


def without_the_other(state):
    template, indices = state
    return template, {name: it for name, it in indices.items() if name != "PREFIX-other"}


async def test_a_set_up_that_was_killed_between_two_aliases_goes_on_with_the_second(client, names):
    """What is complete stays, what is missing is made."""
    await prepare(client, specs(names)[0])

    await set_up(client, names)

    assert (await check(client, names)).problems == []


async def test_an_index_without_its_alias_gets_it_back(client, names):
    """A half-done set-up is completed, and called a repair."""
    await set_up(client, names)
    await index_without_alias(client, names)
    assert (await check(client, names)).problems == [f"The alias {names.tasks_alias} is missing."]

    report = await set_up(client, names)

    assert report.repaired == [f"alias {names.tasks_alias} of {names.tasks_index}"]
    assert not report.created
    assert (await check(client, names)).problems == []


@pytest.mark.parametrize("options", [{"is_write_index": False}, {"filter": {"term": {"id": "a"}}}])
async def test_an_alias_that_hides_or_refuses_something_is_made_plain(client, names, options):
    """An alias without a write index, or with a filter, is put right."""
    await set_up(client, names)
    await client.indices.put_alias(index=names.tasks_index, name=names.tasks_alias, **options)
    assert "not a plain write alias" in (await check(client, names)).problems[0]

    report = await set_up(client, names)

    assert report.repaired == [f"alias {names.tasks_alias} of {names.tasks_index}"]
    assert (await check(client, names)).problems == []


async def test_an_alias_on_an_empty_foreign_index_is_moved(client, names):
    """The alias ends on our index alone; the other index is not deleted."""
    await alias_elsewhere(client, names)
    await set_up(client, names)

    assert (await check(client, names)).problems == []
    assert await client.indices.exists(index=f"{names.prefix}-other")
    aliases = await client.indices.get_alias(name=names.tasks_alias)
    assert list(aliases) == [names.tasks_index]


async def test_an_alias_on_two_indices_is_taken_from_the_foreign_one(client, names):
    """Reads by id are refused by an alias of two indices, so one has to go."""
    await set_up(client, names)
    await client.indices.create(index=f"{names.prefix}-other", aliases={names.tasks_alias: {}})
    assert "instead of" in (await check(client, names)).problems[0]

    await set_up(client, names)

    assert list(await client.indices.get_alias(name=names.tasks_alias)) == [names.tasks_index]


async def test_documents_never_disappear_from_sight_silently(client, names):
    """The alias is not taken from an index that holds something; the message says what to do."""
    await alias_elsewhere(client, names)
    await client.index(index=names.tasks_alias, document={"a": 1})

    with pytest.raises(SetupError, match=r"holds 1\. Move them"):
        await set_up(client, names)

    assert list(await client.indices.get_alias(name=names.tasks_alias)) == [f"{names.prefix}-other"]
    assert not await client.indices.exists(index=names.tasks_index)


async def test_an_index_with_the_name_of_the_alias_is_kept_and_explained(client, names):
    """What an automatic index creation left is for an operator to move: it may hold tasks."""
    await client.indices.create(index=names.tasks_alias)
    await client.index(index=names.tasks_alias, id="1", document={"a": 1})
    expected = f"an index named {names.tasks_alias}, but"

    with pytest.raises(SetupError, match=expected):
        await set_up(client, names)

    assert any(expected in problem for problem in (await check(client, names)).problems)
    assert await client.exists(index=names.tasks_alias, id="1")


async def test_a_closed_index_is_named(client, names):
    """Somebody closed it, so somebody has to open it."""
    await set_up(client, names)
    await client.indices.close(index=names.tasks_index)

    assert (await check(client, names)).problems == [f"The index {names.tasks_index} is closed."]
    with pytest.raises(SetupError, match=f"POST /{names.tasks_index}/_open"):
        await set_up(client, names)


async def test_tasks_that_were_moved_to_a_copy_stay_there(client, names):
    """An operator who copies the index (to get more shards) and moves the alias is followed."""
    await set_up(client, names)
    made = await stored_index(client, names)
    copy = f"{names.prefix}-tasks-more-shards"
    await client.indices.create(
        index=copy,
        mappings=made["mappings"],
        settings={"number_of_shards": 2, "refresh_interval": "5s"},
    )
    await client.indices.update_aliases(
        actions=[
            {"remove": {"index": names.tasks_index, "alias": names.tasks_alias}},
            {"add": {"index": copy, "alias": names.tasks_alias, "is_write_index": True}},
        ]
    )
    await client.indices.delete(index=names.tasks_index)

    await set_up(client, names, shards=2)

    assert list(await client.indices.get_alias(name=names.tasks_alias)) == [copy]
    assert not await client.indices.exists(index=names.tasks_index)
    assert (await check(client, names)).problems == []
    settings = (await client.indices.get(index=copy))[copy]["settings"]["index"]
    assert settings["refresh_interval"] == "1000ms"


# ------------------------------------------------------------------------------ the archive


def archive_of(names):
    return next(spec for spec in specs(names) if spec.rolls_over)


async def aliases_of_archive(client, names):
    answer = await client.indices.get_alias(name=names.archive_alias)
    return {
        name.removeprefix(f"{names.archive_alias}-"): index["aliases"][names.archive_alias]
        for name, index in answer.body.items()
    }


async def rolled_over_twice(client, names):
    """An archive of three indices, of which the newest has lost the alias."""
    await prepare(client, archive_of(names))
    for _ in range(2):
        await client.indices.rollover(alias=names.archive_alias)
    await client.indices.update_aliases(
        actions=[
            {"remove": {"index": f"{names.archive_alias}-000003", "alias": names.archive_alias}},
            {
                "add": {
                    "index": f"{names.archive_alias}-000002",
                    "alias": names.archive_alias,
                    "is_write_index": True,
                }
            },
        ]
    )


@pytest.mark.parametrize("begin", [nothing, rolled_over_twice])
async def test_a_set_up_of_the_archive_that_was_killed_anywhere_is_completed(client, names, begin):
    """Killed between template, index and alias, the next one ends in the good state."""
    spec = archive_of(names)
    written = {"nothing": "000001", "rolled_over_twice": "000003"}[begin.__name__]
    requests = 0
    is_interrupted = True
    while is_interrupted:
        await remove_everything(client, names.prefix)
        await begin(client, names)
        requests += 1
        is_interrupted = await ends_after(requests, client, spec)
        await prepare(client, spec)

        aliases = await aliases_of_archive(client, names)
        assert [name for name, it in aliases.items() if it["is_write_index"]] == [written]
        assert len(aliases) == int(written)
    assert requests > 3


async def test_an_archive_without_its_alias_gets_it_back_on_every_index(client, names):
    """Old archived tasks are found again, new ones go to the newest index."""
    await set_up(client, names)
    await client.indices.rollover(alias=names.archive_alias)
    await client.indices.delete_alias(index="*", name=names.archive_alias)
    assert (await check(client, names)).problems == [f"The alias {names.archive_alias} is missing."]

    report = await set_up(client, names)

    assert report.repaired == [f"alias {names.archive_alias} of {names.archive_alias}-000002"]
    assert await aliases_of_archive(client, names) == {
        "000001": {"is_write_index": False},
        "000002": {"is_write_index": True},
    }
    assert (await check(client, names)).problems == []


async def test_a_roll_over_that_was_half_done_is_completed(client, names):
    """An index that is there without the alias would make every later roll-over fail."""
    await set_up(client, names)
    await client.indices.create(index=f"{names.archive_alias}-000002")
    (problem,) = (await check(client, names)).problems
    assert "000001 instead of" in problem

    report = await set_up(client, names)

    assert report.repaired == [f"alias {names.archive_alias} of {names.archive_alias}-000002"]
    answer = await client.indices.rollover(alias=names.archive_alias)
    assert answer["new_index"] == f"{names.archive_alias}-000003"
    assert not (await set_up(client, names)).is_changed


async def test_an_archive_that_is_written_nowhere_is_repaired(client, names):
    """Of two indices neither of which is for writing, the newest becomes it."""
    await set_up(client, names)
    await client.indices.rollover(alias=names.archive_alias)
    for number in ("000001", "000002"):
        await client.indices.put_alias(
            index=f"{names.archive_alias}-{number}", name=names.archive_alias, is_write_index=False
        )
    assert "not a plain write alias" in (await check(client, names)).problems[0]

    await set_up(client, names)

    assert (await aliases_of_archive(client, names))["000002"] == {"is_write_index": True}
    assert (await check(client, names)).problems == []


async def test_a_new_index_of_the_archive_is_like_the_first(client, names):
    """A roll-over makes by the template what the set-up makes in full."""
    await set_up(client, names)
    answer = await client.indices.rollover(alias=names.archive_alias)

    found = await client.indices.get(index=f"{names.archive_alias}-*", flat_settings=True)

    first, second = found[answer["old_index"]], found[answer["new_index"]]
    assert second["mappings"] == first["mappings"]
    for setting in ("number_of_shards", "number_of_replicas", "refresh_interval"):
        assert second["settings"][f"index.{setting}"] == first["settings"][f"index.{setting}"]


async def test_a_prefix_may_be_the_name_of_an_archive(client, names):
    """The pattern of one installation's archive takes nothing that is another's."""
    inner = IndexNames(names.archive_alias)
    for each in (names, inner, names):
        await set_up(client, each)

    for each in (names, inner):
        assert (await check(client, each)).problems == []
        assert not (await set_up(client, each)).is_changed
        answer = await client.indices.rollover(alias=each.archive_alias)
        made = await client.indices.get_mapping(index=answer["new_index"])
        meta = made[answer["new_index"]]["mappings"]["_meta"]
        assert meta == archive_of(each).meta


async def test_without_lifecycle_management_a_policy_is_not_needed(client, names):
    """Where Elasticsearch has none, a set-up with a policy makes the same as one without."""
    policy = LifecyclePolicy("anything", {"phases": {}})

    await set_up(client, names, archive_policy=policy)

    assert not (await set_up(client, names)).is_changed


# ------------------------------------------------------------------------------ versions


async def test_an_older_template_and_mapping_are_upgraded_in_place(client, names):
    """New fields are added, documents stay, and other marks in the mapping are kept."""
    await set_up(client, names)
    await older(client, names)
    await client.index(index=names.tasks_index, id="1", document={"id": "1"})
    await client.indices.put_mapping(
        index=names.tasks_index, meta={"managed_by": "tasques", "version": 0, "team": "mail"}
    )
    problems = (await check(client, names)).problems
    assert f"The index template {names.tasks_alias} is of an older version." in problems
    assert f"The mapping of {names.tasks_index} is of an older version." in problems

    report = await set_up(client, names)

    assert report.upgraded == [
        f"index template {names.tasks_alias}",
        f"mapping of {names.tasks_index}",
        f"settings of {names.tasks_index}: number_of_replicas = 0, refresh_interval = 1000ms",
    ]
    assert (await check(client, names)).problems == []
    assert await client.exists(index=names.tasks_alias, id="1")
    mappings = (await stored_index(client, names))["mappings"]
    assert mappings["_meta"]["team"] == "mail"
    assert mappings["dynamic"] == "strict"
    await store(client, names, a_claimed_task())


async def test_the_second_version_of_tasks_is_upgraded_and_its_tasks_go_on(client, names):
    """Tasks from before waiting and run times were noted can be finished, and then have them."""
    await set_up(client, names)
    spec = specs(names)[0]
    whole = spec.mapping["properties"]
    claim = whole["last_claimed"]["properties"]
    del claim["wait_ms"], claim["run_ms"], claim["result"]["properties"]["reason"]
    await client.indices.delete(index=names.tasks_index)
    await client.indices.create(
        index=names.tasks_index,
        mappings={"dynamic": "strict", "_meta": spec.meta | {"version": 2}, "properties": whole},
        aliases={names.tasks_alias: {}},
    )
    task = a_claimed_task()
    before = orjson.loads(to_document(task, "w"))
    del before["last_claimed"]["wait_ms"]
    at = document_id(task.queue, task.id)
    await client.index(index=names.tasks_alias, id=at, document=before)

    report = await set_up(client, names)

    assert f"mapping of {names.tasks_index}" in report.upgraded
    read = from_document(
        (await client.get(index=names.tasks_alias, id=at))["_source"], Version(0, 1), at
    )
    failure = JsonText('{"message":"no disk"}')
    failed = read.fail(worker_id="worker-1", at=START, failure=failure, retry_at=START)
    await store(client, names, failed)
    await client.indices.refresh(index=names.tasks_alias)
    query = {"term": {"last_claimed.result.reason": "no disk"}}
    assert (await client.count(index=names.tasks_alias, query=query))["count"] == 1


async def test_the_third_version_of_tasks_is_upgraded_in_the_archive_too(client, names):
    """Tasks carry their trace from then on; those from before go on without one."""
    await set_up(client, names)
    for spec in specs(names):
        if "traceparent" in (whole := spec.mapping["properties"]):
            del whole["traceparent"]
            aliases = (await client.indices.get_alias(index=spec.index))[spec.index]["aliases"]
            meta = spec.meta | {"version": 3}
            await client.indices.delete(index=spec.index)
            await client.indices.create(
                index=spec.index,
                mappings={"dynamic": "strict", "_meta": meta, "properties": whole},
                aliases=aliases,
            )
    old = a_task(id="old")
    await store(client, names, old)

    report = await set_up(client, names)

    assert f"mapping of {names.tasks_index}" in report.upgraded
    assert f"mapping of {names.archive_index}" in report.upgraded
    traced = a_task(traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    await store(client, names, traced)
    await client.index(
        index=names.archive_alias, document=orjson.loads(to_document(traced, "w")), refresh=True
    )
    at = document_id(old.queue, old.id)
    found = (await client.get(index=names.tasks_alias, id=at))["_source"]
    assert from_document(found, Version(0, 1), at).traceparent is None


async def test_what_a_newer_version_made_is_left_alone(client, names):
    """An old server that is set up during a roll-out does not undo the new one's work."""
    await set_up(client, names)
    spec = specs(names)[0]
    mark = {"managed_by": "tasques", "version": spec.version + 1}
    await client.indices.put_index_template(
        name=names.tasks_alias,
        index_patterns=[names.tasks_index],
        priority=500,
        version=spec.version + 1,
        meta=mark,
        template={"mappings": {"properties": {"colour": {"type": "keyword"}}}},
    )
    await client.indices.put_mapping(
        index=names.tasks_index, meta=mark, properties={"colour": {"type": "keyword"}}
    )
    state = await state_of(client, names)

    report = await set_up(client, names)

    assert not report.is_changed
    assert sum("(newer: version" in line for line in report.unchanged) == 2
    assert await state_of(client, names) == state
    assert (await check(client, names)).problems == []


async def test_a_field_that_somebody_removed_the_mapping_of_comes_back(client, names):
    """A mapping of this version that lacks something is repaired."""
    await set_up(client, names)
    made = (await stored_index(client, names))["mappings"]
    await client.indices.delete(index=names.tasks_index)
    lacking = {name: it for name, it in made["properties"].items() if name != "due_at"}
    del lacking["last_claimed"]["properties"]["claim_id"]
    await client.indices.create(
        index=names.tasks_index,
        mappings={"_meta": made["_meta"], "dynamic": "true", "properties": lacking},
        aliases={names.tasks_alias: {"is_write_index": True}},
    )

    report = await set_up(client, names)

    assert f"mapping of {names.tasks_index}" in report.repaired
    assert (await stored_index(client, names))["mappings"] == (
        orjson.loads(orjson.dumps(specs(names)[0].mapping))
    )


async def test_a_field_of_another_type_stops_the_set_up(client, names):
    """What cannot be changed in place is explained, and nothing is touched."""
    await client.indices.create(
        index=names.tasks_index, mappings={"properties": {"kind": {"type": "text"}}}
    )

    with pytest.raises(SetupError, match="kind is of type text and must be keyword"):
        await set_up(client, names)


# ------------------------------------------------------------------------------ settings


async def test_settings_that_can_change_are_changed(client, names):
    """Replicas and refresh interval follow the configuration, in the template too."""
    await set_up(client, names)

    report = await set_up(client, names, replicas=1, refresh_interval=timedelta(seconds=5))

    values = "number_of_replicas = 1, refresh_interval = 5000ms"
    assert report.upgraded == [
        line
        for spec in specs(names)
        for line in (f"index template {spec.alias}", f"settings of {spec.index}: {values}")
    ]
    again = await set_up(client, names, replicas=1, refresh_interval=timedelta(seconds=5))
    assert not again.is_changed


async def test_shards_can_not_change_and_a_warning_says_so(client, names):
    """The number of shards is fixed when an index is made; the next index gets the new one."""
    await set_up(client, names)

    report = await set_up(client, names, shards=3)

    free = [spec for spec in specs(names) if spec.shards is None]
    assert names.tasks_alias in [spec.alias for spec in free]
    for spec, warning in zip(free, report.warnings, strict=True):
        assert f"shards of {spec.index} is 1" in warning
    assert report.upgraded == [f"index template {spec.alias}" for spec in free]


async def test_a_template_of_the_same_rank_is_an_error_that_names_it(client, names):
    """Elasticsearch refuses ours then, and its reason is passed on."""
    rival = f"{names.prefix}-rival"
    await client.indices.put_index_template(
        name=rival, index_patterns=[f"{names.prefix}-*"], priority=specs(names)[0].priority
    )

    with pytest.raises(SetupError, match=f"write the index template.*{rival}"):
        await set_up(client, names)


# ------------------------------------------------------------------------------ the cluster


async def test_a_probe_tells_the_version_and_whether_there_is_a_lifecycle(client):
    """The embedded distribution has no lifecycle management, and that is no error."""
    features = await probe(client)

    assert features.version >= OLDEST_VERSION
    plugins = (await client.nodes.info(filter_path="nodes.*.modules.name")).body["nodes"].values()
    modules = {module["name"] for node in plugins for module in node["modules"]}
    assert features.has_lifecycle == ("x-pack-ilm" in modules)


async def test_an_elasticsearch_that_is_too_old_is_refused(client, monkeypatch):
    """The version is judged before anything is made."""
    names = IndexNames("test-never-made")
    monkeypatch.setattr("tasques.repository.features.OLDEST_VERSION", (99, 0, 0))

    with pytest.raises(SetupError, match=r"Tasques needs 99\.0\.0 or newer"):
        await set_up(client, names)

    assert not await client.indices.exists(index=names.tasks_index)


async def test_no_elasticsearch_is_an_outage_and_not_a_mistake(unused_tcp_port):
    """Whoever waits for a server that is still starting can tell it from a wrong set-up."""
    names = IndexNames("tasques")
    async with AsyncElasticsearch(f"http://127.0.0.1:{unused_tcp_port}") as nobody:
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            await set_up(nobody, names)
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            await check(nobody, names)
