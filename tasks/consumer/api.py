"""The functions for programs: `resolve`, `fetch` and `open`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.consumer.probe import probe
from tasks.domain.errors import RequestInvalid
from tasks.domain.host import Host, Wanted
from tasks.domain.host_options import named_wanted
from tasks.domain.resolution import Resolution

if TYPE_CHECKING:
    from tasks.consumer.client import Client
    from tasks.tensorrt.runner import Engine

__all__ = ["fetch", "open", "probe", "release", "resolve"]

PathText = str | os.PathLike[str]


def resolve(  # noqa: PLR0913 (each is an option)
    model: str,
    *,
    channel: str | None = None,
    version: str | None = None,
    precision: str | Iterable[str] = (),
    host: Host | None = None,
    store: str | None = None,
    cache: PathText | None = None,
    offline: bool | None = None,
) -> Resolution:
    """Return the engine of `model` for a host, with the reasons; or why there is none, engine by engine.

    Args:
        model: name of the model; `resnet@production` names the channel as well.
        channel: the channel to follow; default: `production`.
        version: the release, in place of a channel.
        precision: the precision, or several in the order of preference; default: any.
        host: what the engine shall run on; default: what `probe` finds here.
        store: URL of the store; default: ENGINEFARM_STORE.
        cache: folder of the cache; default: ENGINEFARM_CACHE, or `~/.cache/enginefarm`.
        offline: use the cache only; default: whether ENGINEFARM_OFFLINE is set.

    Raises:
        NotStored: there is no such channel.
        FarmError: S3 does not answer or refuses, the host cannot be probed, or an argument is wrong.
    """
    client = _client(store, cache, offline=offline)
    return client.resolve(_wanted(model, channel, version, precision), host or probe())


def fetch(  # noqa: PLR0913 (each is an option)
    model: str,
    *,
    channel: str | None = None,
    version: str | None = None,
    precision: str | Iterable[str] = (),
    host: Host | None = None,
    store: str | None = None,
    cache: PathText | None = None,
    offline: bool | None = None,
    wait: float | None = None,
) -> Path:
    """Return the path of a plan that runs on the host; its record is beside it.

    Size and digest are checked before the path exists. The cache keeps the plan for this process; after
    `release`, or when the process ends, it may be removed to make room. The arguments are those of `resolve`,
    and `wait`: if no engine fits, ask the farm to build it, and wait for so many seconds.

    Raises:
        NoEngineFits: no engine runs on the host; the error says why, engine by engine.
        DigestMismatch: stored bytes are not those that were stored.
        DiskFull: there is no space for the plan.
        FarmError: as `resolve`.
    """
    client = _client(store, cache, offline=offline)
    asked, runs_on = _wanted(model, channel, version, precision), host or probe()
    if wait is None:
        return client.fetch(asked, runs_on)[0]
    from tasks.consumer.waiting import fetch_waiting  # noqa: PLC0415 (as in `_client`)

    return fetch_waiting(client, asked, runs_on, wait)[0]


def open(  # noqa: A001, PLR0913 (`enginefarm.open`; each is an option)
    model: str,
    *,
    channel: str | None = None,
    version: str | None = None,
    precision: str | Iterable[str] = (),
    host: Host | None = None,
    store: str | None = None,
    cache: PathText | None = None,
    offline: bool | None = None,
    gpu_index: int = 0,
    plugins: PathText | None = None,
) -> Engine:
    """Fetch the engine and open it on a GPU: `with enginefarm.open("resnet") as engine`.

    Needs NumPy, pycuda and the host's TensorRT. The digest is checked again before TensorRT gets the plan.
    The arguments are those of `resolve`, and two more: `gpu_index`, the index of the GPU among the visible
    ones, and `plugins`, the folder with libraries of plugins (default: ENGINEFARM_PLUGINS).

    Raises:
        FarmError: as `fetch` and `Engine.open`.
    """
    runs_on = host or probe()
    client = _client(store, cache, offline=offline)
    path, choice = client.fetch(_wanted(model, channel, version, precision), runs_on)
    from tasks.tensorrt.runner import Engine  # noqa: PLC0415 (it needs NumPy, and only here)

    return Engine.open(
        path,
        sha256=choice.candidate.plan.sha256,
        gpu=gpu_index,
        plugins=plugins,
        allow_host_code=runs_on.host_code,
    )


def release(plan: PathText) -> None:
    """Let go of a plan that `fetch` returned, so that the cache may remove it to make room."""
    from tasks.consumer.cache import release_plan  # noqa: PLC0415 (as in `_client`)

    release_plan(Path(plan))


def _wanted(model: str, channel: str | None, version: str | None, precision: str | Iterable[str]) -> Wanted:
    """Return what is asked for.

    Raises:
        RequestInvalid: both a channel and a version are given, or a precision is none.
    """
    if channel is not None and "@" in model:
        raise RequestInvalid(
            wanted="a channel, once", found=f"{model} and {channel}", fix="give MODEL@CHANNEL or channel="
        )
    name = model if channel is None else f"{model}@{channel}"
    return named_wanted(name, version, [precision] if isinstance(precision, str) else precision)


def _client(store: str | None, cache: PathText | None, *, offline: bool | None) -> Client:
    # Importing boto3 takes longer than all the rest, and programs import what they may never call.
    from tasks.consumer.client import Client  # noqa: PLC0415

    return Client.from_environment(store, None if cache is None else Path(cache), offline=offline)
