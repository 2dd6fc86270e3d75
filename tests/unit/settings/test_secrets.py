from __future__ import annotations

import pytest

from tasques.settings import SettingsError, load, masked

PASSWORD = "TASQUES_SERVER_ELASTICSEARCH_USER_PASSWORD"
USER = {"TASQUES_SERVER_ELASTICSEARCH_USER_NAME": "elastic"}
ODD = ["!AI!3B", "no", "0123", "1e5", "null", "~", "{a: 1}", "*x", "a,b", " p ", "p#w", "é", "\n"]


def password(environ: dict[str, str]) -> str:
    user = load(None, USER | environ, search=()).settings.elasticsearch.user
    return user.password.get_secret_value()


@pytest.mark.parametrize("secret", ODD)
def test_a_password_in_the_environment_is_taken_as_it_is(secret):
    assert password({PASSWORD: secret}) == secret


@pytest.mark.parametrize("secret", ["no", "0123", "1e5", "1_000", "2020-01-01", "0x1F", "'~'"])
def test_a_password_in_the_file_is_the_text_that_stands_there(tmp_path, secret):
    path = tmp_path / "tasques.yaml"
    path.write_text(
        f"tasques: {{server: {{elasticsearch: {{user: {{name: 7, password: {secret}}}}}}}}}"
    )

    user = load(path, {}).settings.elasticsearch.user

    assert user.password.get_secret_value() == secret.strip("'")
    assert user.name == "7"


@pytest.mark.parametrize(
    ("content", "expected"), [("s\n", "s"), ("s\r\n", "s"), (" s\n\n", " s\n")]
)
def test_a_secret_may_be_in_a_file(tmp_path, content, expected):
    secret = tmp_path / "secret"
    secret.write_bytes(content.encode())

    assert password({f"{PASSWORD}_FILE": str(secret)}) == expected


def test_the_users_of_the_api_may_be_in_a_file(tmp_path):
    secret = tmp_path / "users"
    secret.write_text("- {name: a, password: b}\n- {name: c, password: d}\n")

    environ = {"TASQUES_SERVER_AUTH_BASIC_AUTH_FILE": str(secret)}
    users = load(None, environ, search=()).settings.auth.basic_auth

    assert [user.name for user in users] == ["a", "c"]


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_secret_file_that_can_not_be_read_is_named_by_its_variable(tmp_path, content):
    secret = tmp_path / "secret"
    if content:
        secret.write_bytes(content)

    with pytest.raises(SettingsError, match=rf"password \({PASSWORD}_FILE\): the file can not"):
        password({f"{PASSWORD}_FILE": str(secret)})


def test_a_secret_is_given_only_once(tmp_path):
    with pytest.raises(SettingsError, match="are both set"):
        password({PASSWORD: "a", f"{PASSWORD}_FILE": str(tmp_path)})


def test_a_password_that_is_no_utf_8_is_refused():
    with pytest.raises(SettingsError, match="is not valid UTF-8"):
        password({PASSWORD: "\udcff"})


@pytest.mark.parametrize("secret", ["", "two\nlines", "blank in it", "é"])
def test_an_api_key_must_fit_in_a_header(secret):
    environ = {"TASQUES_SERVER_ELASTICSEARCH_API_KEY": secret}
    if not secret:
        assert load(None, environ, search=()).settings.elasticsearch.api_key is None
        return
    with pytest.raises(SettingsError, match=r"api_key \(TASQUES_SERVER_ELASTICSEARCH_API_KEY\)"):
        load(None, environ, search=())


def test_an_api_key_and_a_user_exclude_each_other():
    with pytest.raises(SettingsError, match=r"api_key .*together with elasticsearch\.user"):
        password({PASSWORD: "p", "TASQUES_SERVER_ELASTICSEARCH_API_KEY": "k"})


def test_shown_settings_hold_no_secret():
    environ = {
        PASSWORD: "s3cret",
        "TASQUES_SERVER_AUTH_BASIC_AUTH": "[{name: a, password: s3cret}]",
        "TASQUES_SERVER_KIBANA_API_KEY": "s3cret",
    }
    settings = load(None, USER | environ, search=()).settings

    shown = masked(settings)["tasques"]["server"]

    assert shown["elasticsearch"]["user"] == {"name": "elastic", "password": "********"}
    assert shown["auth"]["basic_auth"] == [{"name": "a", "password": "********"}]
    assert "s3cret" not in f"{shown} {settings!r} {settings}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH_BASIC_AUTH", "[{name: a, password: *s3cret}]"),
        ("AUTH_BASIC_AUTH", "[{name: a, password: !s3cret}]"),
        ("AUTH_BASIC_AUTH", "[{name: a, passwort: s3cret}]"),
        ("AUTH_BASIC_AUTH", "[{name: a, password: {s3cret: s3cret}}]"),
        ("AUTH_BASIC_AUTH", "a:s3cret"),
        ("AUTH_BASIC_AUTH", "[{name: a, password: 's3cret}]"),
        ("AUTH", "{basic_auth: 's3cret"),
        ("ELASTICSEARCH_API_KEY", "s3cret é"),
        ("KIBANA_API_KEY", "s3cret é"),
        ("KIBANA_ADDRESS", "http://k:s3cret@host"),
        ("KIBANA_ADDRESS", "http://k:s3cret#@host"),
        ("ELASTICSEARCH_USER", "s3cret"),
        ("ELASTICSEARCH_USER_PASWORD", "s3cret"),
    ],
)
def test_no_mistake_shows_a_secret(name, value):
    with pytest.raises(SettingsError) as caught:
        load(None, {f"TASQUES_SERVER_{name}": value}, search=())

    assert "s3cret" not in str(caught.value)
    assert f"TASQUES_SERVER_{name}" in str(caught.value)
