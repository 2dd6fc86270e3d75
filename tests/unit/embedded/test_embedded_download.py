from __future__ import annotations

import hashlib
import socket
import sys

import pytest

from tasques.embedded.download import fetch
from tasques.embedded.errors import (
    ChecksumError,
    ClosedPathError,
    FetchError,
    MissingExtraError,
    NoNetworkError,
    NoRoomError,
)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "server.zip"


@pytest.fixture
def get(repository, target, progress):
    """Fetch what the repository has, without pauses between the attempts."""
    digest = hashlib.sha512(repository.content).hexdigest()

    def fetch_it(url=repository.url, attempts=4):
        fetch(f"{url}/a.zip", target, digest, progress, pauses=(0.0,) * (attempts - 1))

    return fetch_it


def part_of(target):
    return target.with_name(f"{target.name}.part")


def beginning_of(asked):
    return int(asked.removeprefix("bytes=").removesuffix("-"))


def test_a_file_is_fetched_and_its_progress_told(repository, target, get, progress):
    get()

    assert target.read_bytes() == repository.content
    assert progress.steps[-1] == (len(repository.content), len(repository.content))
    assert not part_of(target).exists()


def test_half_a_file_is_continued(repository, target, get, progress):
    part_of(target).write_bytes(repository.content[:300_000])

    get()

    assert target.read_bytes() == repository.content
    assert repository.ranges == ["bytes=300000-"]
    assert progress.steps[0][0] > 300_000
    assert progress.steps[-1] == (1_000_000, 1_000_000)


def test_a_download_that_breaks_off_is_continued_where_it_broke(repository, target, get, progress):
    repository.plan = ["cut", "cut"]

    get()

    assert target.read_bytes() == repository.content
    first, second, third = repository.ranges
    assert first is None
    assert 400_000 < beginning_of(second) <= 500_000
    assert 700_000 < beginning_of(third) <= 750_000
    assert len(progress.phases) == 2
    assert all(text.startswith("trying again") for text in progress.phases)


def test_a_whole_file_that_was_not_yet_moved_is_taken(repository, target, get):
    part_of(target).write_bytes(repository.content)

    get()

    assert target.read_bytes() == repository.content
    assert repository.ranges == ["bytes=1000000-"]


def test_a_file_that_is_too_long_is_fetched_anew(repository, target, get):
    part_of(target).write_bytes(repository.content + b"more")

    get()

    assert target.read_bytes() == repository.content
    assert repository.ranges == ["bytes=1000004-", None]


def test_a_damaged_half_is_fetched_anew(repository, target, get):
    part_of(target).write_bytes(b"x" * 300_000)

    get()

    assert target.read_bytes() == repository.content
    assert repository.ranges == ["bytes=300000-", None]


def test_a_server_without_ranges_sends_the_whole(repository, target, get):
    part_of(target).write_bytes(repository.content[:300_000])
    repository.plan = ["whole"]

    get()

    assert target.read_bytes() == repository.content


def test_another_range_than_the_asked_one_is_not_appended(repository, target, get):
    part_of(target).write_bytes(repository.content[:300_000])
    repository.plan = ["shifted"]

    get()

    assert target.read_bytes() == repository.content
    assert repository.ranges == ["bytes=300000-", "bytes=300000-"]


def test_other_content_is_refused_after_a_second_look(repository, target, get):
    repository.plan = ["else", "else", "serve"]

    with pytest.raises(ChecksumError, match="SHA-512"):
        get()

    assert not target.exists()
    assert not part_of(target).exists()
    assert len(repository.ranges) == 2


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_failing_repository_is_asked_again(repository, target, get, status):
    repository.plan = [status, status]

    get()

    assert target.read_bytes() == repository.content
    assert len(repository.ranges) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 407])
def test_a_refusing_repository_is_not_asked_again(repository, get, status):
    repository.plan = [status]

    with pytest.raises(FetchError, match=f"answered {status}.*TASQUES_MAVEN_REPOSITORY"):
        get()

    assert len(repository.ranges) == 1


def test_a_repository_that_keeps_breaking_off_is_given_up(repository, target, get):
    repository.plan = ["cut"] * 3

    with pytest.raises(NoNetworkError, match="cannot fetch from 127"):
        get(attempts=3)

    assert not target.exists()
    kept = part_of(target).read_bytes()
    assert len(kept) > 800_000
    assert repository.content.startswith(kept)


def test_an_unreachable_repository_is_reported_with_the_reason(repository, get):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"

        with pytest.raises(NoNetworkError, match=r"Connection refused.*TASQUES_MAVEN_REPOSITORY"):
            get(url)


def test_a_password_in_the_address_is_not_shown(repository, get):
    repository.plan = [403]

    with pytest.raises(FetchError) as caught:
        get(repository.url.replace("//", "//user:hunter2@"))

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["no-address", "ftp://127.0.0.1/x", "http://"])
def test_an_address_that_is_none_is_an_error_that_names_the_variable(get, url):
    with pytest.raises(FetchError, match="TASQUES_MAVEN_REPOSITORY"):
        get(url)


def test_a_download_that_the_disk_has_no_room_for_is_not_begun(repository, target, get):
    repository.plan = ["endless"]

    with pytest.raises(NoRoomError, match="TASQUES_CACHE"):
        get()

    assert not part_of(target).exists()


def test_a_file_that_cannot_be_written_is_an_error_with_a_remedy(repository, target, get):
    part_of(target).mkdir()  # nobody can write there, not even root

    with pytest.raises(ClosedPathError, match="TASQUES_CACHE"):
        get()


def test_without_requests_the_extra_is_named(monkeypatch, get):
    monkeypatch.setitem(sys.modules, "requests", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'tasques\[embedded\]'"):
        get()
