"""The settings, as a tree of frozen sections with their defaults and bounds.

The tree is the one of the file below `tasques.server`; `config.example.yaml` says what each
setting is for.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tasques.settings.addresses import BindAddress
from tasques.settings.values import (
    BLANK_IS_UNSET,
    COMMA_LIST,
    YAML_OBJECT,
    Address,
    ApmAddress,
    ByteUnit,
    Duration,
    File,
    Flag,
    HeaderSecret,
    IndexPrefix,
    Integer,
    JsonObject,
    KibanaAddress,
    Level,
    Listen,
    LogFormat,
    Secret,
    Size,
    SpaceId,
    Text,
    TimeUnit,
    UserName,
    between,
    lasting,
    matching,
    sized,
)

MIB = 1024 * 1024


class Section(BaseModel):
    """A block of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class LoggingSettings(Section):
    """What is logged, where, and how."""

    level: Level = "info"
    format: LogFormat = "auto"
    file: Annotated[File | None, BLANK_IS_UNSET] = None
    access: Flag = True
    slow_request: Annotated[Duration, lasting("0s", "1h")] = timedelta(seconds=1)
    slow_elasticsearch: Annotated[Duration, lasting("0s", "1h")] = timedelta(seconds=1)
    slow_chore: Annotated[Duration, lasting("0s", "24h")] = timedelta(seconds=30)


class UserSettings(Section):
    """A user and the password."""

    name: UserName
    password: Secret


class WriteSettings(Section):
    """Bounds of the bulk writer."""

    max_in_flight: Annotated[Integer, between(2, 64)] = 3
    max_batch_operations: Annotated[Integer, between(1, 10_000)] = 500
    max_batch_bytes: Annotated[Size, sized("64KiB", "90MiB")] = 5 * MIB
    deadline: Annotated[Duration, lasting("100ms", "10m")] = timedelta(seconds=8)
    max_pending_operations: Annotated[Integer, between(1, 10_000_000)] = 20_000
    max_pending_bytes: Annotated[Size, sized("64KiB", "64GiB")] = 64 * MIB


class ElasticsearchSettings(Section):
    """Where Elasticsearch is, and how Tasques uses it."""

    addresses: Annotated[tuple[Address, ...], COMMA_LIST, Field(min_length=1)] = (
        "http://localhost:9200",
    )
    user: UserSettings | None = None
    api_key: Annotated[HeaderSecret | None, BLANK_IS_UNSET] = None
    ca_file: Annotated[File | None, BLANK_IS_UNSET] = None
    verify_certificates: Flag = True
    request_timeout: Annotated[Duration, lasting("100ms", "10m")] = timedelta(seconds=5)
    index_prefix: IndexPrefix = "tasques"
    shards: Annotated[Integer, between(1, 1024)] = 1
    replicas: Annotated[Integer, between(0, 100)] = 1
    refresh_interval: Annotated[Duration, lasting("100ms", "10m")] = timedelta(seconds=1)
    write: WriteSettings = WriteSettings()


class KibanaSettings(Section):
    """Where set-up imports the dashboards; without an address nowhere."""

    address: Annotated[KibanaAddress | None, BLANK_IS_UNSET] = None
    space: SpaceId = "default"
    user: UserSettings | None = None
    api_key: Annotated[HeaderSecret | None, BLANK_IS_UNSET] = None
    ca_file: Annotated[File | None, BLANK_IS_UNSET] = None
    verify_certificates: Flag = True
    start_timeout: Annotated[Duration, lasting("0s", "1h")] = timedelta(minutes=3)


def _distinct(users: tuple[UserSettings, ...]) -> tuple[UserSettings, ...]:
    if len({user.name for user in users}) < len(users):
        raise ValueError("must not have a name twice")
    return users


class AuthSettings(Section):
    """Who may use the API."""

    basic_auth: Annotated[
        tuple[UserSettings, ...], YAML_OBJECT, Field(min_length=1), AfterValidator(_distinct)
    ]


class TaskDefaults(Section):
    """What a request that does not say otherwise gets."""

    block_for: Annotated[Duration, lasting("0s", "10m")] = timedelta(seconds=3)
    worker_processing_timeout: Annotated[Duration, lasting("1ms", "87600h")] = timedelta(minutes=30)
    claim_amount: Annotated[Integer, between(1, 1000)] = 1
    retry_times: Annotated[Integer, between(0, 2**31 - 1)] = 25
    version_conflict_retry_times: Annotated[Integer, between(0, 100_000)] = 500


class ClaimSettings(Section):
    """How claims wait and search."""

    max_block_for: Annotated[Duration, lasting("0s", "10m")] = timedelta(seconds=25)
    max_parked: Annotated[Integer, between(1, 1_000_000)] = 10_000
    refresh_min_interval: Annotated[Duration, lasting("10ms", "1m")] = timedelta(milliseconds=200)
    poll_interval: Annotated[Duration, lasting("10ms", "1m")] = timedelta(milliseconds=500)
    search_size: Annotated[Integer, between(1, 10_000)] = 2000


class TaskSettings(Section):
    """Tasks and their claims."""

    defaults: TaskDefaults = TaskDefaults()
    claims: ClaimSettings = ClaimSettings()


class LeaderLockSettings(Section):
    """The lease of the leader among several servers."""

    run_interval: Annotated[Duration, lasting("10ms", "1h")] = timedelta(seconds=1)
    leader_lock_lease: Annotated[Duration, lasting("100ms", "24h")] = timedelta(seconds=5)
    max_clock_offset: Annotated[Duration, lasting("1s", "24h")] = timedelta(seconds=10)


class ReaperSettings(Section):
    """The chore that ends claims whose time is over."""

    run_interval: Annotated[Duration, lasting("10ms", "24h")] = timedelta(seconds=15)


class ArchiverSettings(Section):
    """The chore that moves finished tasks to the archive."""

    run_interval: Annotated[Duration, lasting("10ms", "24h")] = timedelta(minutes=1)
    archive_older_than: Annotated[Duration, lasting("0s", "87600h")] = timedelta(hours=24)


class RecurringTasksSettings(Section):
    """The chore that enqueues tasks on schedules; how often it looks for changes by others."""

    sync_run_interval: Annotated[Duration, lasting("10ms", "1h")] = timedelta(seconds=1)


class RecurringSettings(Section):
    """What the server does again and again."""

    leader_lock: LeaderLockSettings = LeaderLockSettings()
    timed_out_tasks_reaper: ReaperSettings = ReaperSettings()
    tasks_archiver: ArchiverSettings = ArchiverSettings()
    recurring_tasks: RecurringTasksSettings = RecurringTasksSettings()


class LifecyclePolicy(Section):
    """A lifecycle policy of one's own; `policy` goes to Elasticsearch as it is."""

    name: Annotated[
        Text, matching(r"[^_\s,][^\s,]{0,254}", "without blanks and commas, and not begin with '_'")
    ]
    policy: JsonObject


class RolloverSettings(Section):
    """When the archive goes on in a new index."""

    max_age: TimeUnit = "1d"
    max_primary_shard_size: ByteUnit = "50gb"
    max_docs: Annotated[Annotated[Integer, between(1, 2**31)] | None, BLANK_IS_UNSET] = None


class ArchivedTasksLifecycle(Section):
    """The lifecycle of the archive's indices."""

    enabled: Flag = True
    custom_policy: LifecyclePolicy | None = None
    rollover: RolloverSettings = RolloverSettings()


class LifecycleSettings(Section):
    """What set-up installs for index lifecycles."""

    archived_tasks: ArchivedTasksLifecycle = ArchivedTasksLifecycle()


class ApmSettings(Section):
    """Elastic APM; without an address nothing is sent. `ELASTIC_APM_*` variables win."""

    address: Annotated[ApmAddress | None, BLANK_IS_UNSET] = None
    secret_token: Annotated[HeaderSecret | None, BLANK_IS_UNSET] = None
    max_traces_per_second: Annotated[Integer, between(0, 1_000_000)] = 300


class MetricsSettings(Section):
    """Figures for Prometheus, and who may read them."""

    enabled: Flag = True
    public: Flag = False
    max_queues: Annotated[Integer, between(0, 5_000)] = 100
    queue_interval: Annotated[Duration, lasting("1s", "1h")] = timedelta(seconds=10)


class ServerSettings(Section):
    """All settings of a server."""

    bind_address: Listen = BindAddress("localhost", 8080)
    drain_delay: Annotated[Duration, lasting("0s", "1h")] = timedelta(0)
    shutdown_timeout: Annotated[Duration, lasting("0s", "1h")] = timedelta(seconds=5)
    max_body_size: Annotated[Size, sized("1KiB", "90MiB")] = 5 * MIB
    workers: Annotated[Integer, between(1, 256)] = 1
    logging: LoggingSettings = LoggingSettings()
    apm: ApmSettings = ApmSettings()
    metrics: MetricsSettings = MetricsSettings()
    elasticsearch: ElasticsearchSettings = ElasticsearchSettings()
    kibana: KibanaSettings = KibanaSettings()
    auth: AuthSettings | None = None
    tasks: TaskSettings = TaskSettings()
    recurring: RecurringSettings = RecurringSettings()
    lifecycle_setup: LifecycleSettings = LifecycleSettings()
