"""Settings, wrong usage, and what the commands say about them."""

from __future__ import annotations

import subprocess
from importlib.metadata import version

import pytest
import trustme
import yaml
from processes import TASQUES, run, running, status_of

SECRETS = {
    "TASQUES_SERVER_AUTH_BASIC_AUTH": "[{name: worker, password: S3CRET}]",
    "TASQUES_SERVER_ELASTICSEARCH_USER_NAME": "tasques",
    "TASQUES_SERVER_ELASTICSEARCH_USER_PASSWORD": "S3CRET",
}
SERVICE_LINKS = {
    "TASQUES_PORT": "tcp://10.0.0.1:8080",
    "TASQUES_SERVER_PORT": "tcp://10.0.0.1:8080",
    "TASQUES_SERVER_SERVICE_HOST": "10.0.0.1",
    "TASQUES_SERVER_PORT_8080_TCP_ADDR": "10.0.0.1",
}


def test_the_settings_are_shown_without_secrets(tmp_path):
    """What is shown can be used as a file, once the secrets are filled in."""
    (tmp_path / "tasques.yaml").write_text(
        "tasques: {server: {tasks: {defaults: {retry_times: 7}}}}"
    )
    environment = SECRETS | {"TASQUES_SERVER_BIND_ADDRESS": ":9090"}

    shown = run("config", "show", folder=tmp_path, environment=environment)

    settings = yaml.safe_load(shown.stdout)["tasques"]["server"]
    assert settings["tasks"]["defaults"]["retry_times"] == 7
    assert settings["bind_address"] == "0.0.0.0:9090"
    assert settings["auth"] == {"basic_auth": [{"name": "worker", "password": "********"}]}
    assert settings["elasticsearch"]["user"] == {"name": "tasques", "password": "********"}
    assert "S3CRET" not in shown.stdout + shown.stderr


def test_good_settings_are_called_good(tmp_path):
    """Without a file, too, and with what Kubernetes puts into the environment."""
    checked = run("config", "check", folder=tmp_path, environment=SERVICE_LINKS)

    assert "good" in checked.stdout
    assert checked.stderr == ""


@pytest.mark.parametrize("command", [("config", "check"), ("server",), ("setup",), ("dev",)])
def test_all_mistakes_are_told_before_anything_is_done(tmp_path, command):
    """Each with its key, and with what was probably meant; never with a secret."""
    mistakes = """
      tasques:
        server:
          taks: {}
          shutdown_timeout: 9
          auth: {basic_auth: [{name: worker, password: S3CRET, pasword: S3CRET}]}
    """
    (tmp_path / "mine.yaml").write_text(mistakes)
    environment = {"TASQUES_SERVER_TASKS_DEFAULT_RETRY_TIMES": "3"}
    arguments = (*command, "--config", "mine.yaml")

    told = run(*arguments, folder=tmp_path, environment=environment, code=1).stderr

    assert "tasques.server.taks: is no setting; did you mean tasks?" in told
    assert "tasques.server.shutdown_timeout" in told
    assert "pasword" in told
    assert "did you mean TASQUES_SERVER_TASKS_DEFAULTS_RETRY_TIMES?" in told
    assert "mine.yaml" in told
    assert "S3CRET" not in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("serve",),
        ("server", "--port", "1"),
        ("dev", "--port", "eighty"),
        ("dev", "--port", "65536"),
        ("dev", "--ephemeral", "--data", "somewhere"),
    ],
)
def test_wrong_usage_is_told_from_failure(tmp_path, arguments):
    """Exit code 2, and help instead of a traceback."""
    done = subprocess.run(
        [TASQUES, *arguments], cwd=tmp_path, capture_output=True, check=False, text=True
    )

    assert done.returncode == 2
    assert "Usage: tasques" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_is_told(tmp_path):
    """As the package has it."""
    assert run("version", folder=tmp_path).stdout == version("tasques") + "\n"


def test_an_address_that_is_not_ours_is_an_error(tmp_path):
    """The message names what was to be listened on."""
    settings = {"bind_address": "192.0.2.1:80"}

    assert "192.0.2.1:80" in run("server", folder=tmp_path, settings=settings, code=1).stderr


@pytest.fixture
def secured(secure_cluster):
    """What is needed to reach a secured Elasticsearch, but for the credentials."""
    return {
        "bind_address": "127.0.0.1:0",
        "elasticsearch.addresses": secure_cluster.urls[0],
        "elasticsearch.ca_file": secure_cluster.ca_file,
        "elasticsearch.replicas": 0,
    }


USER = {"elasticsearch.user.name": "elastic", "elasticsearch.user.password": "S3CRET"}


@pytest.mark.elasticsearch
@pytest.mark.parametrize(
    ("command", "credentials"),
    [
        ("setup", USER),
        ("server", USER),
        ("setup", {}),
        ("setup", {"elasticsearch.api_key": "S3CRET"}),
    ],
)
def test_credentials_that_are_wrong_are_an_error(secured, tmp_path, command, credentials):
    """Said in words, without showing them, and without waiting for them to become right."""
    told = run(command, folder=tmp_path, settings=secured | credentials, code=1)

    assert "Elasticsearch does not accept the credentials" in told.stderr
    assert "S3CRET" not in told.stdout + told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.elasticsearch
@pytest.mark.parametrize(
    ("command", "file", "problem"),
    [
        ("setup", "stranger.pem", "CERTIFICATE_VERIFY_FAILED"),
        ("setup", "none.pem", "none.pem"),
        ("setup", ".", "directory"),
        ("server", "none.pem", "none.pem"),
    ],
)
def test_certificates_that_are_wrong_are_an_error(secured, tmp_path, command, file, problem):
    """A missing file, one that is none, and a server that nobody vouches for are told apart."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "stranger.pem")
    settings = secured | USER | {"elasticsearch.ca_file": tmp_path / file}

    told = run(command, folder=tmp_path, settings=settings, code=1)

    assert problem in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.elasticsearch
def test_a_server_works_with_a_secured_elasticsearch(secure_cluster, secured, tmp_path):
    """With its CA, and the password from a file, past a proxy that is not for loopback."""
    password = tmp_path / "password"
    password.write_text(f"{secure_cluster.password}\n")
    settings = secured | {
        "elasticsearch.user.name": "elastic",
        "elasticsearch.user.password.file": password,
    }
    dead = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), dead)
    run("setup", folder=tmp_path, settings=settings, environment=proxies)
    with running("server", folder=tmp_path, settings=settings, environment=proxies) as server:
        assert status_of(f"{server.wait_until_ready()}/docs") == 200
    assert secure_cluster.password not in server.output
