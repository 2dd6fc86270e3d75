from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tasques.settings import BindAddress, ServerSettings, SettingsError, load
from tasques.settings.structure import fields, section_of, variable_of


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "tasques.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def from_environment(**variables: str) -> ServerSettings:
    environ = {f"TASQUES_SERVER_{name}": value for name, value in variables.items()}
    return load(None, environ, search=()).settings


def test_neither_file_nor_environment_is_needed():
    loaded = load(None, {"PATH": "/bin"}, search=())

    assert loaded.settings == ServerSettings()
    assert loaded.source is None
    assert loaded.settings.bind_address == BindAddress("localhost", 8080)


@pytest.mark.parametrize(
    "text", ["", "tasques:", "tasques: {server: }", "tasques: {server: {logging: }}"]
)
def test_a_file_may_say_nothing(write, text):
    assert load(write(text), {}).settings == ServerSettings()


def test_a_file_changes_only_what_it_says(write):
    path = write("tasques: {server: {tasks: {defaults: {retry_times: 3, block_for: 1m}}}}")

    with pytest.raises(SettingsError, match="max_block_for"):
        load(path, {})
    path = write("tasques: {server: {tasks: {defaults: {retry_times: 3, block_for: 100ms}}}}")
    defaults = load(path, {}).settings.tasks.defaults

    assert defaults.retry_times == 3
    assert defaults.block_for == timedelta(milliseconds=100)
    assert defaults.claim_amount == 1


def test_the_first_place_with_a_file_wins(tmp_path):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for folder, workers in ((second, 2), (third, 3)):
        folder.mkdir()
        text = f"tasques: {{server: {{workers: {workers}}}}}"
        (folder / "tasques.yaml").write_text(text)

    loaded = load(None, {}, search=(first, second, third))

    assert loaded.settings.workers == 2
    assert loaded.source == second / "tasques.yaml"


def test_a_file_asked_for_must_be_there(tmp_path):
    with pytest.raises(SettingsError, match=r"gone\.yaml: can not be read: No such file"):
        load(tmp_path / "gone.yaml", {})


def test_a_file_that_was_found_must_be_readable(tmp_path):
    (tmp_path / "tasques.yaml").mkdir()

    with pytest.raises(SettingsError, match=r"tasques\.yaml: can not be read: Is a directory"):
        load(None, {}, search=(tmp_path,))


def test_the_environment_wins_over_the_file(write):
    path = write("tasques: {server: {workers: 2, max_body_size: 1MiB}}")

    settings = load(path, {"TASQUES_SERVER_WORKERS": "4"}).settings

    assert settings.workers == 4
    assert settings.max_body_size == 1024 * 1024


def test_the_environment_sets_keys_of_blocks_that_are_not_in_the_file():
    settings = from_environment(
        BIND_ADDRESS="[::1]:0",
        ELASTICSEARCH_ADDRESSES="http://a:1 , https://b:2/",
        ELASTICSEARCH_USER_NAME="elastic",
        ELASTICSEARCH_USER_PASSWORD="secret",
        ELASTICSEARCH_WRITE_MAX_PENDING_BYTES="128 MiB",
        LIFECYCLE_SETUP_ARCHIVED_TASKS_ROLLOVER_MAX_DOCS="5",
        LOGGING_LEVEL="WARNING",
        AUTH_BASIC_AUTH="[{name: a, password: 0123}, {name: b, password: no}]",
    )

    assert settings.bind_address == BindAddress("::1", 0)
    assert settings.elasticsearch.addresses == ("http://a:1", "https://b:2")
    assert settings.elasticsearch.user.name == "elastic"
    assert settings.elasticsearch.write.max_pending_bytes == 128 * 1024 * 1024
    assert settings.lifecycle_setup.archived_tasks.rollover.max_docs == 5
    assert settings.logging.level == "warn"
    passwords = [user.password.get_secret_value() for user in settings.auth.basic_auth]
    assert passwords == ["0123", "no"]


def test_no_two_keys_share_a_variable():
    variables = [variable_of(path) for path, _ in fields()]

    assert len(variables) == len(set(variables))


@pytest.mark.parametrize("path", [p for p, field in fields() if not section_of(field)], ids=str)
def test_every_key_has_a_variable_that_is_read(path):
    with pytest.raises(SettingsError) as caught:
        load(None, {variable_of(path): "\udcff\t?"}, search=())

    assert {problem.variable for problem in caught.value.problems if problem.variable} == {
        variable_of(path)
    }


def test_an_object_in_the_environment_is_yaml():
    settings = from_environment(
        LIFECYCLE_SETUP_ARCHIVED_TASKS_CUSTOM_POLICY="{name: mine, policy: {phases: {}}}"
    )

    assert settings.lifecycle_setup.archived_tasks.custom_policy.policy == {"phases": {}}


def test_a_policy_is_passed_on_as_it_is(write):
    path = write(
        "tasques: {server: {lifecycle_setup: {archived_tasks: {custom_policy: {name: mine, policy: "
        "{Phases: {hot.x: {delete: {}, n: 1, t: yes, f: 1.5, s: '1', l: [{a: null}]}}}}}}}}"
    )

    policy = load(path, {}).settings.lifecycle_setup.archived_tasks.custom_policy.policy

    expected = {"delete": {}, "n": 1, "t": True, "f": 1.5, "s": "1", "l": [{"a": None}]}
    assert policy == {"Phases": {"hot.x": expected}}


AUTH_FILE = (
    "tasques: {server: {auth: {basic_auth: [{name: a, password: b}]}, logging: {level: error}}}"
)


@pytest.mark.parametrize("nothing", ["", "null", "~"])
def test_a_variable_named_like_a_block_takes_the_block_away(write, nothing):
    environ = {"TASQUES_SERVER_AUTH": nothing, "TASQUES_SERVER_LOGGING": nothing}

    settings = load(write(AUTH_FILE), environ).settings

    assert settings.auth is None
    assert settings.logging == ServerSettings().logging


def test_keys_below_a_block_that_was_taken_away_still_count(write):
    path = write("tasques: {server: {elasticsearch: {user: {name: a, password: b}}}}")
    environ = {
        "TASQUES_SERVER_ELASTICSEARCH_USER": "null",
        "TASQUES_SERVER_ELASTICSEARCH_USER_NAME": "c",
    }

    with pytest.raises(SettingsError, match=r"elasticsearch\.user\.password: is required"):
        load(path, environ)
    environ["TASQUES_SERVER_ELASTICSEARCH_USER_PASSWORD"] = "d"
    user = load(path, environ).settings.elasticsearch.user

    assert (user.name, user.password.get_secret_value()) == ("c", "d")


@pytest.mark.parametrize(
    "variables",
    [
        {"PORT": "tcp://10.0.0.1:8080", "SERVICE_HOST": "10.0.0.1", "SERVICE_PORT": "8080"},
        {"PORT_8080_TCP": "tcp://x:1", "PORT_8080_TCP_ADDR": "x", "SERVICE_PORT_HTTP": "1"},
        {"WORKERS_SERVICE_HOST": "x", "LOGGING_PORT": "tcp://x:1", "LOGGING_PORT_1_TCP_PROTO": "x"},
        {"WORKER_ID": "7", "COLOUR": "red"},
    ],
)
def test_variables_of_others_are_left_alone(variables):
    assert from_environment(**variables) == ServerSettings()


def test_a_file_of_the_original_starts(write):
    path = write("""
tasques:
  server:
    logging: {json: true, level: panic}
    kibana: {address: http://localhost:9200, user: {name: k, password: p}}
    apm: {address: http://localhost:8200, secret_token: x}
    tasks:
      queues: {recently_touched_queues_tracker_max_size: 1000, refresh_if_last_touched_over: 30s}
      defaults: {block_for_retry_min_wait: 100ms, block_for_retry_max_retries: 20}
    recurring:
      timed_out_tasks_reaper: {run_interval: 15s, scroll_size: 300, scroll_ttl: 1m}
      recurring_tasks:
        {sync_run_interval: 5s, enforce_sync_run_interval: 1m, scroll_size: 500, scroll_ttl: 1m}
""")

    loaded = load(path, {"TASQUES_SERVER_TASKS_QUEUES_REFRESH_IF_LAST_TOUCHED_UNDER": "2s"})

    assert loaded.settings.logging.format == "json"
    assert loaded.settings.logging.level == "fatal"
    assert loaded.settings.kibana.address == "http://localhost:9200"
    assert loaded.settings.apm.address == "http://localhost:8200"
    assert loaded.settings.recurring.recurring_tasks.sync_run_interval == timedelta(seconds=5)
    named = [warning.split()[0].removeprefix("tasques.server.") for warning in loaded.warnings]
    assert named == [
        "tasks.queues",
        "tasks.defaults.block_for_retry_min_wait",
        "tasks.defaults.block_for_retry_max_retries",
        "recurring.timed_out_tasks_reaper.scroll_size",
        "recurring.timed_out_tasks_reaper.scroll_ttl",
        "recurring.recurring_tasks.enforce_sync_run_interval",
        "recurring.recurring_tasks.scroll_size",
        "recurring.recurring_tasks.scroll_ttl",
        "TASQUES_SERVER_TASKS_QUEUES_REFRESH_IF_LAST_TOUCHED_UNDER",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("TRUE", "json"), ("yes", "json"), ("1", "json"), ("Off", "text"), ("0", "text")],
)
def test_booleans_are_the_same_words_in_file_and_environment(write, value, expected):
    path = write(f"tasques: {{server: {{logging: {{json: {value}, access: {value}}}}}}}")
    variables = {"LOGGING_JSON": value, "LOGGING_ACCESS": value}

    in_file = load(path, {}).settings.logging
    in_environment = from_environment(**variables).logging

    assert in_file == in_environment
    assert in_file.format == expected
    assert in_file.access is (expected == "json")


def test_the_older_form_of_the_log_format_wins_from_the_environment_too(write):
    path = write("tasques: {server: {logging: {format: text}}}")

    assert load(path, {"TASQUES_SERVER_LOGGING_JSON": "true"}).settings.logging.format == "json"
