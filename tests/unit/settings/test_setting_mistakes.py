from __future__ import annotations

import pytest

from tasques.settings import ServerSettings, SettingsError, load
from tasques.settings.relations import RELATIONS


@pytest.fixture
def mistakes(tmp_path):
    def mistakes(text: str = "", **variables: str) -> list[str]:
        path = tmp_path / "tasques.yaml"
        path.write_text(text)
        environ = {f"TASQUES_SERVER_{name}": value for name, value in variables.items()}
        with pytest.raises(SettingsError) as caught:
            load(path, environ)
        assert str(path) in str(caught.value)
        assert all(f"\n  {problem}" in str(caught.value) for problem in caught.value.problems)
        return [str(problem) for problem in caught.value.problems]

    return mistakes


@pytest.fixture
def mistake(mistakes):
    def mistake(text: str = "", **variables: str) -> str:
        (only,) = mistakes(text, **variables)
        return only

    return mistake


def test_all_mistakes_are_told_at_once(mistakes):
    told = mistakes(
        """
tasques:
  server:
    shutdown_timeout: 9
    taks: {}
    logging: {json: maybe}
    tasks: {defaults: {retry_times: many, claim_amonut: 3}}
    recurring: {leader_lock: {run_interval: 3s}}
    elasticsearch: {addresses: [localhost], user: {name: x}, index_prefix: Upper}
""",
        WORKERS="0",
        TASKS_DEFAULT_RETRY_TIMES="3",
    )

    assert [line.split(": ")[0] for line in told] == [
        "tasques.server.logging.json",
        "tasques.server.shutdown_timeout",
        "tasques.server.workers (TASQUES_SERVER_WORKERS)",
        "tasques.server.elasticsearch.addresses[0]",
        "tasques.server.elasticsearch.user.password",
        "tasques.server.elasticsearch.index_prefix",
        "tasques.server.tasks.defaults.retry_times",
        "tasques.server.tasks.defaults.claim_amonut",
        "tasques.server.taks",
        "tasques.server.recurring.leader_lock.leader_lock_lease",
        "TASQUES_SERVER_TASKS_DEFAULT_RETRY_TIMES",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("taks: {}", "taks: is no setting; all settings are below tasques.server"),
        ("tasque: {}", "tasque: is no setting; did you mean tasques?"),
        ("tasques: {serve: {}}", "tasques.serve: is no setting; did you mean server?"),
        ("tasques: 3", "tasques: must be a block of keys"),
        ("[]", "the file: must be a block of keys"),
        (
            "tasques: {server: {taks: {}}}",
            "tasques.server.taks: is no setting; did you mean tasks?",
        ),
        (
            "tasques: {server: {tasks: {retry_times: 3}}}",
            "is no setting; did you mean tasques.server.tasks.defaults.retry_times?",
        ),
        (
            "tasques: {server: {auth: {basic_auth: [{name: a, password: b, rolle: c}]}}}",
            "tasques.server.auth.basic_auth[0].rolle: is no setting",
        ),
        ("tasques: {server: {logging: 3}}", "tasques.server.logging: must be a block of keys"),
        ("tasques: {server: {elasticsearch: {addresses: {}}}}", "addresses: must be a list"),
        ("tasques: {server: {bind_address: [::1]:8080}}", "is no valid YAML (line 1, column"),
        ("tasques: {server: {workers: 1, workers: 2}}", "has a key twice (line 1, column 32)"),
        ("tasques: {server: {[a]: 2}}", "has a key (line 1, column 20) that is no text"),
        ("tasques: *x", "found undefined alias ...; quote texts that hold signs of YAML"),
        ("tasques: \0", "is no valid YAML: it holds characters or values that YAML lacks"),
        ("tasques: {server: {auth: {}}}", "tasques.server.auth.basic_auth: is required"),
        ("tasques: {server: {auth: {basic_auth: []}}}", "must have at least one item"),
        (
            "tasques: {server: {auth: {basic_auth: [&u {name: a, password: b}, *u]}}}",
            "tasques.server.auth.basic_auth: must not have a name twice",
        ),
    ],
)
def test_a_mistake_in_the_file_is_named(mistake, text, told):
    assert told in mistake(text)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SHUTDOWN_TIMEOUT", "9", "is not a duration"),
        ("SHUTDOWN_TIMEOUT", "-1s", "must be between 0s and 1h"),
        ("WORKERS", "two", "two is no whole number"),
        ("WORKERS", "1.5", "is no whole number"),
        ("WORKERS", "", "is no whole number"),
        ("MAX_BODY_SIZE", "5 parsecs", "is no size"),
        ("MAX_BODY_SIZE", "1", "must be between 1KiB and 90MiB"),
        ("LOGGING_LEVEL", "loud", "must be 'trace', 'debug', 'info', 'warn', 'error' or 'fatal'"),
        ("LOGGING_FORMAT", "xml", "must be 'auto', 'text' or 'json'"),
        ("LOGGING_ACCESS", "maybe", "maybe is none of true"),
        ("LOGGING_JSON", "maybe", "maybe is none of true"),
        ("BIND_ADDRESS", "8080", "has no port"),
        ("ELASTICSEARCH_INDEX_PREFIX", "-x", "lower-case letters"),
        ("ELASTICSEARCH_INDEX_PREFIX", "..", "lower-case letters"),
        ("ELASTICSEARCH_INDEX_PREFIX", "a*", "lower-case letters"),
        ("ELASTICSEARCH_INDEX_PREFIX", "a" * 65, "lower-case letters"),
        ("ELASTICSEARCH_INDEX_PREFIX", "", "must not be empty"),
        ("ELASTICSEARCH_WRITE_MAX_IN_FLIGHT", "1", "must be between 2 and 64"),
        ("TASKS_DEFAULTS_CLAIM_AMOUNT", "1001", "must be between 1 and 1000"),
        ("TASKS_DEFAULTS_RETRY_TIMES", "2147483648", "must be between 0 and 2147483647"),
        ("TASKS_CLAIMS_SEARCH_SIZE", "10001", "must be between 1 and 10000"),
        ("LIFECYCLE_SETUP_ARCHIVED_TASKS_ROLLOVER_MAX_AGE", "1w", "a time of Elasticsearch"),
        ("LIFECYCLE_SETUP_ARCHIVED_TASKS_ROLLOVER_MAX_PRIMARY_SHARD_SIZE", "5", "a size of"),
        ("KIBANA_ADDRESS", "localhost:5601", "must begin with http://"),
        ("KIBANA_ADDRESS", "http://a:s3cret@kibana", "give them in kibana.user"),
        ("KIBANA_SPACE", "My space", "the id of a space"),
        ("KIBANA_SPACE", "../x", "the id of a space"),
        ("KIBANA_START_TIMEOUT", "5", "a number needs its unit"),
        ("AUTH", "maybe", "must be a block of keys"),
        ("AUTH_BASIC_AUTH", "", "must be a list"),
        ("AUTH_BASIC_AUTH", "[{name: 'a:b', password: c}]", "without colon"),
        ("LIFECYCLE_SETUP_ARCHIVED_TASKS_CUSTOM_POLICY", "{name: _x, policy: {}}", "not begin"),
        ("LIFECYCLE_SETUP_ARCHIVED_TASKS_CUSTOM_POLICY", "{name: x, policy: []}", "a block"),
    ],
)
def test_a_mistake_in_the_environment_names_key_and_variable(mistake, name, value, told):
    text = mistake(**{name: value})

    assert text.startswith("tasques.server.")
    assert f"(TASQUES_SERVER_{name}): " in text
    assert told in text


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TASKS_DEFAULT_RETRY_TIMES", "TASKS_DEFAULTS_RETRY_TIMES"),
        ("BIND_ADRESS", "BIND_ADDRESS"),
        ("WROKERS", "WORKERS"),
        ("ELASTICSEARCH_PASSWORD", "ELASTICSEARCH_USER_PASSWORD"),
        ("ELASTICSEARCH_USER_PASSWORDFILE", "ELASTICSEARCH_USER_PASSWORD_FILE"),
    ],
)
def test_a_misspelt_variable_is_a_mistake(mistake, name, meant):
    assert mistake(**{name: "x"}) == (
        f"TASQUES_SERVER_{name}: is no setting; did you mean TASQUES_SERVER_{meant}?"
    )


BREAKING = {
    "recurring.leader_lock.leader_lock_lease": {"RECURRING_LEADER_LOCK_RUN_INTERVAL": "2500ms"},
    "elasticsearch.request_timeout": {"ELASTICSEARCH_REQUEST_TIMEOUT": "6s"},
    "tasks.defaults.block_for": {"TASKS_CLAIMS_MAX_BLOCK_FOR": "2s"},
    "elasticsearch.write.max_batch_operations": {"ELASTICSEARCH_WRITE_MAX_BATCH_OPERATIONS": "9999"}
    | {"ELASTICSEARCH_WRITE_MAX_PENDING_OPERATIONS": "9998"},
    "elasticsearch.write.max_batch_bytes": {
        "ELASTICSEARCH_WRITE_MAX_PENDING_BYTES": "4MiB",
        "MAX_BODY_SIZE": "1MiB",
    },
    "max_body_size": {"MAX_BODY_SIZE": "80MiB"},
    "elasticsearch.api_key": {
        "ELASTICSEARCH_API_KEY": "k",
        "ELASTICSEARCH_USER_NAME": "a",
        "ELASTICSEARCH_USER_PASSWORD": "b",
    },
    "kibana.api_key": {
        "KIBANA_API_KEY": "k",
        "KIBANA_USER_NAME": "a",
        "KIBANA_USER_PASSWORD": "b",
    },
}


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.keys[0])
def test_settings_must_fit_together(mistake, relation):
    told = mistake(**BREAKING[relation.keys[0]])

    assert told.startswith(f"tasques.server.{relation.keys[0]}")
    assert told.endswith(relation.rule)


def test_the_defaults_fit_together():
    assert all(relation.holds(ServerSettings()) for relation in RELATIONS)


def test_the_older_form_of_the_log_format_excludes_the_newer(mistake):
    told = mistake("tasques: {server: {logging: {json: true, format: text}}}")

    assert told.startswith("tasques.server.logging.json: is the older form of format")
