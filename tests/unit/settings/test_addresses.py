from __future__ import annotations

import pytest

from tasques.settings import BindAddress, SettingsError, load, masked
from tasques.settings.addresses import normalise_address

VARIABLE = "TASQUES_SERVER_ELASTICSEARCH_ADDRESSES"


def elasticsearch(addresses, **environ):
    return load(None, {VARIABLE: addresses, **environ}, search=()).settings.elasticsearch


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://localhost:9200", "http://localhost:9200"),
        ("http://localhost:9200/", "http://localhost:9200"),
        ("HTTPS://es.example.org", "https://es.example.org:443"),
        ("http://127.0.0.1", "http://127.0.0.1:80"),
        ("http://h:1/es/", "http://h:1/es"),
        ("http://h:1/a%20b/c", "http://h:1/a%20b/c"),
        ("http://[::1]:9200", "http://[::1]:9200"),
        ("http://tasques-es_http:9200", "http://tasques-es_http:9200"),
    ],
)
def test_an_address_is_normalised(text, expected):
    assert normalise_address(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("localhost:9200", "must begin with http"),
        ("ftp://localhost", "must begin with http"),
        ("http://", "has no host"),
        ("http://:9200", "has no host"),
        ("http://h:0", "port 0"),
        ("http://h:99999", "above 65535"),
        ("http://h:x", "is no host and port"),
        ("http://::1:9200", "in brackets"),
        ("http://[::g]:9200", "no valid IPv6"),
        ("http://h h:1", "no valid host name"),
        ("http://h:1/?x=1", "neither a query"),
        ("http://h:1/#x", "neither a query"),
        ("http://user:secret@h:1", "holds credentials"),
    ],
)
def test_what_is_no_address_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        normalise_address(text)


def test_percent_encoded_credentials_become_the_user():
    settings = elasticsearch(
        "http://elastic:p%40s%23s@h:1/es, http://elastic:p%40s%23s@i:1, http://j"
    )

    assert settings.addresses == ("http://h:1/es", "http://i:1", "http://j:80")
    assert settings.user.name == "elastic"
    assert settings.user.password.get_secret_value() == "p@s#s"


def test_a_colon_in_a_password_is_part_of_it():
    assert elasticsearch("http://a:b:c@h:1").user.password.get_secret_value() == "b:c"


@pytest.mark.parametrize("raw", ["p#s3c", "p[s3c", "p@s3c", "p/s3c", "p?s3c", "p%s3c", "p s3c"])
def test_raw_credentials_are_one_clear_mistake(raw):
    with pytest.raises(SettingsError) as caught:
        elasticsearch(f"http://elastic:{raw}@127.0.0.1:9200")

    (problem,) = caught.value.problems
    assert str(problem).startswith(f"tasques.server.elasticsearch.addresses[0] ({VARIABLE}): ")
    assert "elasticsearch.user.password" in problem.reason
    assert "s3c" not in str(caught.value)


@pytest.mark.parametrize(
    "addresses",
    [
        "http://a:s3cret@h:1,http://b:s3cret@h:1",
        "http://a@h:1",
        "http://a:@h:1",
        "http://:s3cret@h:1",
        "http://a:s3%FFcret@h:1",
        "http://a:s3cret,x@h:1",
    ],
)
def test_doubtful_credentials_are_refused(addresses):
    with pytest.raises(SettingsError, match=r"addresses\[0\]") as caught:
        elasticsearch(addresses)

    assert "s3cret" not in str(caught.value)


def test_credentials_in_an_address_exclude_a_user():
    user = {
        "TASQUES_SERVER_ELASTICSEARCH_USER_NAME": "a",
        "TASQUES_SERVER_ELASTICSEARCH_USER_PASSWORD": "b",
    }
    with pytest.raises(SettingsError, match=r"addresses\[0\].*elasticsearch\.user only"):
        elasticsearch("http://c:d@h:1", **user)


@pytest.mark.parametrize("credentials", ["a:s3cret", "a:s3#cret", "s3cret"])
@pytest.mark.parametrize(
    ("section", "instead"), [("kibana", "kibana.user"), ("apm", "apm.secret_token")]
)
def test_the_settings_to_use_instead_are_those_of_the_same_section(credentials, section, instead):
    variable = f"TASQUES_SERVER_{section.upper()}_ADDRESS"
    with pytest.raises(SettingsError) as caught:
        load(None, {variable: f"http://{credentials}@h:1"}, search=())

    (problem,) = caught.value.problems
    assert str(problem).startswith(f"tasques.server.{section}.address ({variable}): ")
    assert "holds credentials" in problem.reason
    assert instead in problem.reason
    assert "elasticsearch" not in problem.reason
    assert "cret" not in problem.reason.replace("secret_token", "")


def test_credentials_from_an_address_are_masked():
    shown = masked(load(None, {VARIABLE: "http://a:s3cret@h:1"}, search=()).settings)

    assert "s3cret" not in str(shown)
    assert shown["tasques"]["server"]["elasticsearch"]["addresses"] == ["http://h:1"]


@pytest.mark.parametrize("addresses", ["", ",", " , "])
def test_there_must_be_an_address(addresses):
    with pytest.raises(SettingsError, match="at least one"):
        elasticsearch(addresses)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost:8080", "localhost", 8080),
        ("[::1]:8080", "::1", 8080),
        ("0.0.0.0:0", "0.0.0.0", 0),
        (":8080", "0.0.0.0", 8080),
    ],
)
def test_a_bind_address_has_host_and_port(text, host, port):
    assert BindAddress.parse(text) == BindAddress(host, port)


@pytest.mark.parametrize("text", ["localhost", "8080", "::1:8080", "[::1]", "h:70000", "tcp://h:1"])
def test_what_is_no_bind_address_is_refused(text):
    with pytest.raises(ValueError, match=r"host|port|IPv6"):
        BindAddress.parse(text)


@pytest.mark.parametrize("text", ["localhost:8080", "[::1]:8080"])
def test_a_bind_address_is_written_as_it_is_read(text):
    assert str(BindAddress.parse(text)) == text
