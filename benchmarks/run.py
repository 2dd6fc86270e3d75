"""Run the load scenarios against a fresh server and print the medians: `make bench`.

    python benchmarks/run.py [--repeat 3] [--only NAME ...] [--out benchmarks/results/DATE.jsonl]

It starts an Elasticsearch of its own (1 GB heap, one node, the full compiler, unlike the one of
`tasques dev`) and the servers that a scenario wants, warms the JVM up until it compiles nothing
more to speak of, and runs every scenario `--repeat` times, interleaved. Each run is one line of
JSON in the results. Go is needed to build the load generator.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tasques.embedded import Cluster

HERE = Path(__file__).parent
LOADGEN = HERE / "loadgen" / "loadgen"
FULL_COMPILER = "-XX:TieredStopAtLevel=4 -XX:-UseSerialGC -XX:+UseG1GC"
FIRST_PORT = 18180
WARM = 0.05  # of a core, for compiling
MOST_WARM_UPS = 10
RAW_INDICES = ".tasques_queue-lg"


@dataclass(frozen=True)
class Scenario:
    """One line of the table.

    `show` names what is printed, as paths into the generator's answer.
    """

    name: str
    arguments: str
    show: tuple[str, ...] = ("throughput_per_s",)
    servers: int = 1
    apm: bool = False
    settings: dict[str, str] = field(default_factory=dict)


def latency(operation: str, *quantiles: str) -> tuple[str, ...]:
    return tuple(f"ops.{operation}.{quantile}_ms" for quantile in quantiles)


def alone(name: str, arguments: str) -> Scenario:
    """The yardstick: Elasticsearch without a server, so that machines can be compared."""
    return Scenario(f"Elasticsearch alone, {name}", arguments, servers=0)


WITH_CPU = ("throughput_per_s", "server_us_per_request")
CLAIM_WAIT = latency("e2e_create_to_claim", "p50", "p99")
SCENARIOS = (
    alone("create C=1", "raw-create -n 6000 -c 1"),
    alone("create C=8", "raw-create -n 20000 -c 8"),
    alone("create C=32", "raw-create -n 24000 -c 32"),
    alone("get and index C=8", "raw-update -n 6000 -c 8"),
    alone("requests of 100 creates C=2", "raw-bulk -n 100000 -size 100 -c 2"),
    Scenario("enqueue C=1", "enqueue -n 5000 -c 1", latency("create", "p50", "p99")),
    Scenario("enqueue C=8", "enqueue -n 20000 -c 8"),
    Scenario("enqueue C=32", "enqueue -n 40000 -c 32", WITH_CPU),
    Scenario("enqueue C=32 with Elastic APM", "enqueue -n 40000 -c 32", WITH_CPU, apm=True),
    Scenario(
        "enqueue C=32 with Elastic APM for all",
        "enqueue -n 40000 -c 32",
        WITH_CPU,
        apm=True,
        settings={"APM_MAX_TRACES_PER_SECOND": "0"},
    ),
    Scenario("batch enqueue 100", "enqueue -n 200000 -c 4 -batch 100"),
    Scenario("get C=8", "get -n 20000 -c 8"),
    Scenario("report-in W=8", "report-in -w 8 -duration 6s"),
    Scenario("drain W=32 amount 1", "drain -n 15000 -w 32 -batch 100"),
    Scenario("drain W=8 amount 1", "drain -n 10000 -w 8 -batch 100"),
    Scenario(
        "drain W=8 amount 10 batch results",
        "drain -n 40000 -w 8 -amount 10 -batch 100 -batch-results",
    ),
    Scenario("mixed W=8 40/s", "mixed -w 8 -rate 40 -duration 15s -warm 2s", CLAIM_WAIT),
    Scenario("mixed W=8 400/s", "mixed -w 8 -rate 400 -duration 15s -warm 2s", CLAIM_WAIT),
    Scenario(
        "mixed 40/s on two servers",
        "mixed -w 8 -rate 40 -duration 15s -warm 2s -url2 {url2}",
        CLAIM_WAIT,
        servers=2,
    ),
    Scenario("idle W=100", "idle -w 100 -block-for 3s -duration 20s", ("es_requests_per_s",)),
    Scenario(
        "claim amount 10, 1 M due",
        "claim-due -n 1000000 -c 4 -batch 500 -w 1 -amount 10 -claims 500 -timeout 300s",
        latency("claim", "p50", "p99", "max"),
    ),
    Scenario(
        "the same, 400,000 of a higher priority later",
        "claim-due -n 1000000 -later 400000 -c 4 -batch 500 -w 1 -amount 10 -claims 500 "
        "-timeout 300s",
        latency("claim", "p50", "p99", "max"),
    ),
    Scenario(
        "report-in W=8 beside batches of 1,000",
        "ack -w 8 -duration 8s -producers 4 -batch 1000",
        latency("reports", "p50", "p99"),
    ),
    *(
        Scenario(
            f"drain W=32 on {count} processes",
            "drain -n 15000 -w 32 -batch 100",
            ("throughput_per_s", "conflicts_per_claim"),
            settings={"WORKERS": str(count)},
        )
        for count in (1, 2, 4, 8)
    ),
)


# ------------------------------------------------------------------ servers


@contextmanager
def server(es: str, prefix: str, port: int, settings: dict[str, str]) -> Iterator[int]:
    """A `tasques server` as a user starts it; yields its process id."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TASQUES_SERVER")
    }
    for name, value in {
        "ELASTICSEARCH_ADDRESSES": es,
        "ELASTICSEARCH_INDEX_PREFIX": prefix,
        "ELASTICSEARCH_REPLICAS": "0",
        "BIND_ADDRESS": f"127.0.0.1:{port}",
        **settings,
    }.items():
        environment[f"TASQUES_SERVER_{name}"] = value
    command = [str(Path(sys.executable).with_name("tasques"))]
    subprocess.run([*command, "setup"], env=environment, check=True, capture_output=True)
    # Read by nobody, but written: the access log is part of what is measured.
    with Path(os.devnull).open("w") as log:
        process = subprocess.Popen([*command, "server"], env=environment, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/health/ready")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def wait_for(url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + 60
    while True:
        try:
            opener.open(url, timeout=2).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def ask(url: str) -> dict:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return json.load(answer)


def delete(es: str, prefix: str) -> None:
    indices = ask(f"{es}/{prefix}*?expand_wildcards=all")
    for index in indices:
        send("DELETE", f"{es}/{index}")


def send(method: str, url: str, content: dict | None = None) -> None:
    body = None if content is None else json.dumps(content).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, body, headers, method=method)
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()


def let_the_generator_make_indices(es: str) -> None:
    """One shard, no replica, and the fields that claims need, for what is measured without us."""
    send("PUT", f"{es}/_cluster/settings", {"persistent": {"action.auto_create_index": "true"}})
    kinds = {"long": "priority retry_times attempted", "date": "run_at last_enqueued_at"}
    kinds |= {"keyword": "id queue kind state"}
    fields = {name: {"type": kind} for kind, names in kinds.items() for name in names.split()}
    settings = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "1s"}
    template = {"settings": settings, "mappings": {"dynamic": False, "properties": fields}}
    body = {"index_patterns": [f"{RAW_INDICES}*"], "priority": 500, "template": template}
    send("PUT", f"{es}/_index_template/benchmark", body)


# ------------------------------------------------------------------ running


def elasticsearch_requests(es: str) -> int:
    """How many HTTP requests the node has answered so far."""
    stats = ask(f"{es}/_nodes/_local/stats/http")
    (node,) = stats["nodes"].values()
    return sum(route["requests"]["count"] for route in node["http"].get("routes", {}).values())


def warm_up(es: str, es_pid: int) -> None:
    """Have Elasticsearch work until its JVM has compiled what it needs: it takes minutes.

    The compiler takes half of Elasticsearch's time at first, and half of the machine's.
    """
    for _ in range(MOST_WARM_UPS):
        compiled = compiler_seconds(es_pid)
        begun = time.monotonic()
        run(Scenario("warm-up", "enqueue -n 50000 -c 32"), es, es_pid, 0)
        run(Scenario("warm-up", "drain -n 15000 -w 32 -batch 100"), es, es_pid, 0)
        share = (compiler_seconds(es_pid) - compiled) / (time.monotonic() - begun)
        print(f"warm-up: compiling took {share:.2f} of a core", flush=True)
        if share < WARM:
            return


def compiler_seconds(pid: int) -> float:
    """The CPU time that the optimising compiler of a JVM has used so far."""
    ticks = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # it has ended
            name, _, rest = (thread / "stat").read_text().rpartition(")")
            if "C2 Comp" in name:
                ticks += sum(map(int, rest.split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def conflicts(es: str, prefix: str) -> int:
    stats = ask(f"{es}/{prefix}-tasks/_stats/indexing")
    return stats["_all"]["primaries"]["indexing"].get("index_failed_due_to_version_conflict", 0)


def run(scenario: Scenario, es: str, es_pid: int, number: int) -> dict:
    prefix = f"bench{number}"
    with ExitStack() as stack:
        pids, urls = [], []
        settings = scenario.settings
        sinks = []
        if scenario.apm:
            address, sink = stack.enter_context(apm_server())
            settings = settings | {"APM_ADDRESS": address}
            sinks = [f"apm={sink}"]
        for offset in range(scenario.servers):
            port = FIRST_PORT + offset
            pids.append(stack.enter_context(server(es, prefix, port, settings)))
            urls.append(f"http://127.0.0.1:{port}")
        targets = ["-url", urls[0]] if urls else ["-es", es]
        arguments = [*scenario.arguments.format(url2="".join(urls[-1:])).split(), *targets]
        watch = ",".join(
            [*(f"server{i}={pid}" for i, pid in enumerate(pids)), f"es={es_pid}", *sinks]
        )
        requests_before = elasticsearch_requests(es)
        conflicts_before = conflicts(es, prefix) if urls else 0
        answer = generate([*arguments, "-watch", watch])
        answer["es_requests_per_s"] = (elasticsearch_requests(es) - requests_before) / max(
            answer["wall_s"], 0.001
        )
        if urls:
            requests = sum(each["ok"] for each in answer["ops"].values())
            cpu = sum(each["cpu_s"] for name, each in answer["proc"].items() if "server" in name)
            answer["server_us_per_request"] = cpu / max(requests, 1) * 1_000_000
            claims = max(answer.get("handouts", 0), 1)
            answer["conflicts_per_claim"] = (conflicts(es, prefix) - conflicts_before) / claims
    delete(es, prefix)
    delete(es, RAW_INDICES)
    return {"name": scenario.name, **answer}


@contextmanager
def apm_server() -> Iterator[tuple[str, int]]:
    """Something to send events of Elastic APM to; yields its address and process id."""
    process = subprocess.Popen([LOADGEN, "sink"], stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip(), process.pid
    finally:
        process.terminate()
        process.wait()


def generate(arguments: list[str]) -> dict:
    done = subprocess.run([LOADGEN, *arguments], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def value(answer: dict, path: str) -> float | None:
    found = answer
    for part in path.split("."):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    return found


def other_load(answer: dict) -> float:
    """Cores that anything else on the machine used; a run with much of it is worth little."""
    machine = answer["machine"]
    return machine["other_cpu_s"] / machine["window_s"]


def table(results: dict[str, list[dict]], scenarios: list[Scenario]) -> str:
    lines = ["| scenario | figure | median | runs | other load |", "|---|---|---|---|---|"]
    for scenario in scenarios:
        answers = results[scenario.name]
        for path in scenario.show:
            figures = [figure for each in answers if (figure := value(each, path)) is not None]
            if figures:
                runs = ", ".join(f"{figure:,.4g}" for figure in figures)
                load = statistics.median(map(other_load, answers))
                lines.append(
                    f"| {scenario.name} | {path} | {statistics.median(figures):,.4g} | {runs} "
                    f"| {load:.2f} |"
                )
        wrong = [each for each in answers if each.get("duplicates") or each.get("lost")]
        if wrong:
            lines.append(f"| {scenario.name} | DUPLICATES OR LOSSES | {len(wrong)} | | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=HERE / "results" / "latest.jsonl")
    options = parser.parse_args()
    subprocess.run(["go", "build", "-o", "loadgen", "."], cwd=HERE / "loadgen", check=True)
    scenarios = [
        scenario
        for scenario in SCENARIOS
        if not options.only or any(text in scenario.name for text in options.only)
    ]
    results: dict[str, list[dict]] = {scenario.name: [] for scenario in scenarios}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with Cluster(heap="1g", java_options=FULL_COMPILER) as cluster, options.out.open("w") as out:
        es, pid = cluster.urls[0], cluster.nodes[0].server_pid()
        let_the_generator_make_indices(es)
        warm_up(es, pid)
        for number in range(options.repeat):
            for scenario in scenarios:
                answer = run(scenario, es, pid, number + 1)
                results[scenario.name].append(answer)
                out.write(json.dumps(answer) + "\n")
                out.flush()
                print(scenario.name, [value(answer, path) for path in scenario.show], flush=True)
    print(table(results, scenarios))


if __name__ == "__main__":
    main()
