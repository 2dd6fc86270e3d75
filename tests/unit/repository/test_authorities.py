from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme

from tasques.repository.authorities import FollowedAuthorities


@pytest.fixture
async def serve():
    """Servers that say nothing, each with a certificate of an authority for a name."""
    servers = []

    async def start(authority, name="127.0.0.1"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        server = await asyncio.start_server(
            lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
        )
        servers.append(server)
        return server.sockets[0].getsockname()[1]

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


@pytest.fixture
def old():
    return trustme.CA()


@pytest.fixture
def new():
    return trustme.CA()


@pytest.fixture
def file(tmp_path, old):
    old.cert_pem.write_to_path(tmp_path / "ca.crt")
    return tmp_path / "ca.crt"


async def is_trusted(context, port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except ssl.SSLCertVerificationError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_the_authorities_of_a_file_are_those_that_are_in_it_now(serve, file, old, new):
    """One that was replaced is not trusted any longer, its successor is."""
    before, after = await serve(old), await serve(new)
    context = FollowedAuthorities(file)
    assert [await is_trusted(context, port) for port in (before, after)] == [True, False]

    new.cert_pem.write_to_path(file)

    assert [await is_trusted(context, port) for port in (before, after)] == [False, True]


async def test_both_authorities_are_trusted_while_both_are_in_the_file(serve, file, old, new):
    """As it is while an authority is renewed."""
    context = FollowedAuthorities(file)

    new.cert_pem.write_to_path(file, append=True)

    assert await is_trusted(context, await serve(old))
    assert await is_trusted(context, await serve(new))


async def test_a_link_that_points_elsewhere_is_followed(serve, tmp_path, file, new):
    """As Kubernetes replaces the files of a secret."""
    link = tmp_path / "link.crt"
    link.symlink_to(file)
    context = FollowedAuthorities(link)
    new.cert_pem.write_to_path(tmp_path / "new.crt")

    (tmp_path / "next").symlink_to(tmp_path / "new.crt")
    (tmp_path / "next").replace(link)

    assert await is_trusted(context, await serve(new))


@pytest.mark.parametrize("text", [None, "", "half of a certi"])
async def test_a_file_that_holds_nothing_for_a_moment_changes_nothing(
    serve, file, old, new, text, caplog
):
    """Until it is there again, the authorities from before stay trusted, and a log line tells."""
    context = FollowedAuthorities(file)
    if text is None:
        file.unlink()
    else:
        file.write_text(text)

    assert await is_trusted(context, await serve(old))
    assert str(file) in str(caplog.records[-1].__dict__)

    new.cert_pem.write_to_path(file)
    assert await is_trusted(context, await serve(new))


async def test_a_certificate_for_another_address_is_refused(serve, file, old):
    """Also of a server that is known by its number."""
    assert not await is_trusted(FollowedAuthorities(file), await serve(old, "127.0.0.2"))
