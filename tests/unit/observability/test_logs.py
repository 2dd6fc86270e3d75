from __future__ import annotations

import io
import json
import logging
import sys
import warnings

import pytest

from tasques.observability.logs import LEVELS, configure

log = logging.getLogger("tasques.api.access")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def restored_logging():
    root = logging.getLogger()
    level = root.level
    yield
    for handler in [each for each in root.handlers if each.get_name() == "tasques"]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    logging.getLogger("uvicorn.access").disabled = False
    for name in ("aiohttp", "asyncio", "elastic_transport", "elasticsearch", "urllib3"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def log_failure(reason: object) -> None:
    error = ValueError(reason)
    log.error("failed", exc_info=error, extra={"reason": "r"}, stack_info=True)


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


@pytest.fixture
def text():
    stream = io.StringIO()
    configure("info", "text", None, stream)
    return stream


@pytest.fixture
def ecs():
    stream = io.StringIO()
    configure("info", "json", None, stream)
    return stream


def test_a_line_of_text_has_time_level_logger_message_and_fields(text):
    log.warning("slow %s", "request", extra={"route": "/tasques/{queue}", "status": 200, "x": None})

    (line,) = lines(text)
    time, rest = line.split(" ", 1)
    assert time.endswith("Z")
    assert rest == "WARN  api.access slow request route=/tasques/{queue} status=200"


def test_values_with_blanks_or_quotes_are_quoted(text):
    log.info("m", extra={"a": "b c", "d": 'e"f', "g": "h=i", "j": ""})

    assert text.getvalue().rstrip().endswith(r'm a="b c" d="e\"f" g="h=i" j=""')


@pytest.mark.parametrize(
    "sign", ["\n", "\r", "\x1b[2J", "\x85", "\u2028", "\u202e", "\x00", "\x9b", "\x0b", "\ud800"]
)
def test_no_value_can_forge_a_line_of_text(text, sign):
    forged = f"a{sign}2026-01-01T00:00:00.000Z INFO  api.access forged"

    log.info(forged, extra={"id": forged, f"k{sign}": [forged]})
    log.info("%s", forged)

    assert len(lines(text)) == 2
    assert sign not in text.getvalue().replace("\n", "", 2)


def test_a_traceback_can_not_forge_a_line_of_text(text):
    log_failure("x\n2026-01-01T00:00:00.000Z INFO  api.access forged\x1b[2J")

    first, *rest = lines(text)
    assert first.endswith("ERROR api.access failed reason=r")
    assert "  | ValueError: x" in rest
    assert all(line.startswith("  | ") for line in rest)
    assert "\x1b" not in text.getvalue()


def test_a_line_of_json_follows_the_elastic_common_schema(ecs):
    log.info(
        "a\nb", extra={"http.request.method": "GET", "trace.id": "t", "status": 200, "o": object}
    )

    (line,) = lines(ecs)
    record = json.loads(line)
    assert record["message"] == "a\nb"
    assert record["log.level"] == "info"
    assert record["log.logger"] == "tasques.api.access"
    assert record["http.request.method"] == "GET"
    assert record["trace.id"] == "t"
    assert record["status"] == 200
    assert record["o"] == str(object)
    assert record["service.name"] == "tasques"
    assert "ecs.version" in record


def test_an_exception_is_one_line_of_json(ecs):
    log_failure("x\ny")

    (line,) = lines(ecs)
    assert json.loads(line)["error"]["message"] == "x\ny"
    assert "test_logs.py" in json.loads(line)["error"]["stack_trace"]


SECRETS = [
    {"Authorization": "Basic c2VjcmV0OnNlY3JldA=="},
    [(b"authorization", b"Bearer c2VjcmV0OnNlY3JldA")],
    "Authorization: ApiKey c2VjcmV0OnNlY3JldA==",
    '{"proxy-authorization": "c2VjcmV0OnNlY3JldA"}',
    "cookie: session=c2VjcmV0OnNlY3JldA",
    "failed: http://elastic:c2VjcmV0OnNlY3JldA@es:9200/_bulk",
    "failed: https://e:a/b@c2VjcmV0OnNlY3JldA@es:9200",
]


@pytest.mark.parametrize("format_", ["text", "json"])
@pytest.mark.parametrize("value", SECRETS, ids=str)
def test_no_header_value_and_no_credentials_get_into_the_log(format_, value):
    stream = io.StringIO()
    configure("info", format_, None, stream)

    log.info("value: %s", value)
    log.info("m", extra={"value": value})
    log_failure(value)

    assert "********" in stream.getvalue()
    assert "c2VjcmV0OnNlY3JldA" not in stream.getvalue()
    if format_ == "json":
        assert all(json.loads(line) for line in lines(stream))


def test_harmless_addresses_are_left_alone(text):
    log.info("serving on http://localhost:8080/docs", extra={"elasticsearch": "http://es:9200"})

    assert "http://localhost:8080/docs elasticsearch=http://es:9200" in text.getvalue()


@pytest.mark.parametrize(
    ("stream", "is_text"), [(Terminal(), True), (io.StringIO(), False)], ids=["terminal", "pipe"]
)
def test_text_is_for_terminals_and_json_for_the_rest(stream, is_text):
    configure("info", "auto", None, stream)

    log.info("m")

    assert stream.getvalue().startswith("{") is not is_text


def test_standard_error_is_the_usual_place(capsys):
    configure()

    log.info("m")

    assert '"message":"m"' in capsys.readouterr().err


def test_a_file_is_created_and_appended_to(tmp_path):
    path = tmp_path / "logs" / "server.log"
    for _ in range(2):
        configure("info", "auto", path, Terminal())
        log.info("é\ud800")

    assert [json.loads(line)["log.level"] for line in path.read_text().splitlines()] == ["info"] * 2


def test_a_file_in_text_form_takes_any_value(tmp_path):
    path = tmp_path / "server.log"
    configure("info", "text", path)

    log.info("é\ud800")

    assert path.read_text(encoding="utf-8").endswith(" é\\ud800\n")


def test_a_file_that_can_not_be_written_is_an_error(tmp_path):
    with pytest.raises(OSError, match="directory"):
        configure("info", "auto", tmp_path)


@pytest.mark.parametrize("level", LEVELS)
def test_only_what_is_of_the_level_or_above_is_logged(level):
    stream = io.StringIO()
    configure(level, "text", None, stream)

    for name, number in LEVELS.items():
        log.log(number, "logged %s", name)

    names = list(LEVELS)
    assert [line.split()[-1] for line in lines(stream)] == names[names.index(level) :]


def test_the_last_configuration_counts():
    first, second = io.StringIO(), io.StringIO()
    configure("info", "text", None, first)
    configure("info", "text", None, second)

    log.info("m")

    assert len(lines(first)) == 0
    assert len(lines(second)) == 1


@pytest.mark.parametrize("level", ["trace", "error"])
def test_chatty_libraries_are_heard_from_warning_on(level):
    stream = io.StringIO()
    configure(level, "text", None, stream)

    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("elastic_transport.transport").log(number, "m")
    logging.getLogger("uvicorn.access").error("GET /?token=SECRET")

    levels = [line.split()[1] for line in lines(stream)]
    assert levels == (["WARN", "ERROR"] if level == "trace" else ["ERROR"])


def test_warnings_of_python_are_logged(text):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        configure("info", "text", None, text)
        warnings.warn("be careful", stacklevel=1)

    assert len(lines(text)) == 1
    assert "py.warnings" in text.getvalue()
    assert "be careful" in text.getvalue()


def test_a_field_that_can_not_be_json_is_shown_as_text(ecs, capsys):
    log.info("m", extra={"value": {1, 2}, "error": sys})

    assert json.loads(ecs.getvalue())["value"] == "{1, 2}"
    assert capsys.readouterr().err == ""
