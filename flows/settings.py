"""Settings of one host, from the environment (`ENGINEFARM_…`)."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from agents.hardware.interpreters import interpreters_at
from tasks.children.run import Limits
from tasks.children.workspace import Workspace, workspace
from tasks.domain.errors import LocationRefused, RequestInvalid
from tasks.domain.release import ReleaseRef


class Settings(BaseSettings):
    """What an operator may set on a host."""

    model_config = SettingsConfigDict(env_prefix="ENGINEFARM_")

    store: str | None = Field(
        default=None, description="URL of the engine store; default: the bucket of the release"
    )
    toolchains: str = Field(
        default="",
        description="Python interpreters with a TensorRT, in addition to the farm's own: paths of "
        "interpreters, of environments or of folders of environments, separated by ':'",
    )
    work_dir: Path | None = Field(
        default=None, description="Folder for temporary files; default: the system's"
    )
    child_memory_mib: int = Field(default=8192, ge=512, description="Memory limit of a child process, MiB")
    child_disk_mib: int = Field(default=65536, ge=512, description="Limit of the files of a run, MiB")
    child_seconds: float = Field(default=1800, gt=0, description="Time limit of a child process, seconds")
    require_sandbox: bool = Field(
        default=False,
        description="Refuse to load models on a host whose kernel cannot close network and files to them",
    )
    gpu_sandbox: bool = Field(
        default=True,
        description="Close files, sockets and other processes also to children that use a GPU, if the driver "
        "works for them then",
    )
    plugins: Path | None = Field(
        default=None, description="Folder with the plugin libraries that builds may load; default: none"
    )
    parallel_builds: int = Field(
        default_factory=lambda: max(1, (os.cpu_count() or 1) // 2),
        ge=1,
        description="Builds at a time on this host",
    )
    allowed: str = Field(
        default="",
        description="Places in S3 (s3://BUCKET or s3://BUCKET/PREFIX) that releases and stores may be in, "
        "separated by spaces; default: every place",
    )
    releases: str = Field(
        default="",
        description="Places in S3 (s3://BUCKET or s3://BUCKET/PREFIX) whose releases `reconcile` checks, "
        "separated by spaces",
    )
    silent_seconds: float = Field(
        default=300,
        ge=40,
        description="How long a run may be without a heartbeat before its host counts as dead, seconds",
    )
    agent_wait_seconds: float = Field(
        default=3600,
        gt=0,
        description="How long a release waits for an agent of a pool without agents, seconds",
    )
    s3_patience_seconds: float = Field(
        default=1800,
        ge=0,
        description="How long a run of the farm retries while S3 is down, seconds; the command line does not",
    )
    trust: Path | None = Field(
        default=None,
        description="File of trusted keys; engines, channels, conversions, timing caches must then be signed",
    )
    signing_key: str = Field(
        default="",
        description="Key that signs engines and conversions, on CPU hosts only: a PEM file, or awskms:///KEY",
    )
    plain_http: str = Field(
        default="",
        description="Hosts whose Prefect server may be reached without TLS, separated by spaces",
    )

    @property
    def limits(self) -> Limits:
        """The limits of each child process."""
        return Limits(
            memory_mib=self.child_memory_mib,
            seconds=self.child_seconds,
            disk_mib=self.child_disk_mib,
            require_sandbox=self.require_sandbox,
            gpu_sandbox=self.gpu_sandbox,
        )

    def workspace(self) -> AbstractContextManager[Workspace]:
        """Return a workspace for one run; its folder is removed afterwards. Raises DiskFull."""
        return workspace(self.work_dir, self.limits)

    @property
    def interpreters(self) -> tuple[str, ...]:
        """The interpreters of the toolchains."""
        return interpreters_at(path for path in self.toolchains.split(os.pathsep) if path)

    def store_for(self, release: ReleaseRef) -> str:
        """Return the URL of the store for the engines of `release`.

        Raises:
            LocationRefused: the release or its store is in a place that is not allowed.
        """
        store = self.store or f"s3://{release.bucket}"
        self.check_allowed(release.url)
        self.check_allowed(store)
        return store

    def check_allowed(self, url: str) -> None:
        """Check that a place in S3 is on the operator's list, if there is a list.

        Raises:
            LocationRefused: it is not on the list.
        """
        places = self.allowed.split()
        if places and not any(f"{url.rstrip('/')}/".startswith(f"{place.rstrip('/')}/") for place in places):
            raise LocationRefused(
                wanted=f"a place that ENGINEFARM_ALLOWED names: {', '.join(places)}",
                found=url,
                fix="put the release there, or have the operator add the place to ENGINEFARM_ALLOWED",
            )

    @field_validator("allowed", "releases")
    @classmethod
    def _are_places(cls, value: str) -> str:
        wrong = [place for place in value.split() if not _PLACE.fullmatch(place)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: a place is s3://BUCKET or s3://BUCKET/PREFIX")
        return value


_PLACE = re.compile(r"s3://[a-z0-9][a-z0-9.-]+(/[!-~]*)?")


@cache
def settings() -> Settings:
    """Return the settings of this process, read once.

    Raises:
        RequestInvalid: a variable has an invalid value.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"ENGINEFARM_{str(problem['loc'][0]).upper()}: {problem['msg']}" for problem in error.errors()
        ]
        raise RequestInvalid(
            wanted="usable ENGINEFARM_… variables",
            found="; ".join(lines),
            fix="correct or unset them; flows/README.md lists the possible values",
        ) from error
