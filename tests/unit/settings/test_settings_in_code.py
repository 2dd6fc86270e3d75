from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from tasques.settings import BindAddress, ServerSettings, masked


def test_settings_can_be_made_in_code():
    settings = ServerSettings.model_validate(
        {
            "bind_address": BindAddress("::1", 0),
            "shutdown_timeout": timedelta(seconds=1),
            "workers": 2,
            "max_body_size": 1500,
            "logging": {"access": False, "file": "server.log"},
            "auth": {"basic_auth": [{"name": "a", "password": SecretStr("b")}]},
        }
    )

    shown = masked(settings)["tasques"]["server"]
    assert settings.logging.file == Path("server.log")
    assert shown["bind_address"] == "[::1]:0"
    assert shown["shutdown_timeout"] == "1s"
    assert shown["max_body_size"] == "1500"
    assert shown["workers"] == 2
    assert shown["logging"]["access"] is False


def test_settings_can_not_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        ServerSettings().workers = 2


@pytest.mark.parametrize("value", [True, 1.5, None])
def test_a_number_must_be_whole(value):
    with pytest.raises(ValidationError):
        ServerSettings.model_validate({"workers": value})


def test_an_invalid_value_is_not_in_the_error_of_the_model():
    with pytest.raises(ValidationError) as caught:
        ServerSettings.model_validate({"elasticsearch": {"user": {"name": "a", "pass": "s3cret"}}})

    assert "s3cret" not in str(caught.value)
