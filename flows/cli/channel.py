"""`enginefarm channel`: what names such as `production` point to, who moved them, and why."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from flows.addresses import store_at
from flows.cli.options import WIDE_HINT, Json, Model, StoreUrl, Wide
from flows.cli.output import print_json, say, show
from flows.cli.tables import Column, FittedTable
from flows.release.promotion import lacking_for, policies, stored_release
from flows.settings import settings
from tasks.domain.candidate import Candidate
from tasks.domain.channel import Channel, ChannelRelease, Move, move_document, target_name
from tasks.domain.channel_policy import POLICIES_SCHEMA, Policy
from tasks.domain.errors import ChannelRefused, NotStored, RequestInvalid
from tasks.domain.resolution import gain, is_not_faster
from tasks.store.channel_index import channel_engines, refresh_channel
from tasks.store.channels import (
    channel_at,
    channel_names,
    check_names,
    find_channel,
    history,
    move_channel,
    next_move,
)
from tasks.store.engine_signatures import signing_channels
from tasks.store.store import Store

app = typer.Typer(no_args_is_help=True, help="Let names such as production point to releases of models.")

Name = Annotated[str, typer.Argument(metavar="MODEL@CHANNEL", help="The channel, such as resnet@production.")]
Because = Annotated[
    str,
    typer.Option(
        "--because", metavar="TEXT", help="Why. Kept in the history; it also overrides the channel's policy."
    ),
]
By = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who moves it. Default: your user and host name.")
]
MovedTargets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="DEVICE/TENSORRT",
        help="Only engines for this target, such as l4/10.16.1.11; all others stay. May be repeated.",
    ),
]


@app.command("set", epilog="Example: enginefarm channel set resnet@production 7 --store s3://my-bucket")
def set_channel(  # noqa: PLR0913 (each is an option)
    name: Name,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Name of the release.")],
    *,
    target: MovedTargets = None,
    because: Because = "",
    by: By = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Let a channel point to a release. A channel with a policy refuses releases that lack something."""
    place, (model, channel) = store_at(store), _parts(name)
    release, engines = stored_release(place, model, version)
    over, now = find_channel(place, model, channel), datetime.now(UTC)
    _check_targets(target or (), engines)
    policy = policies(place).get(channel, Policy())
    lacking = lacking_for(place, policy, release, engines, now, targets=target or ())
    if lacking and not because:
        raise _refused(name, version, lacking)
    pointer, targets = _pointed(name, over, release, target or ())
    move = Move(
        number=1,  # `_moved` counts
        release=pointer,
        targets=targets,
        at=_at(now),
        by=by or _user(),
        why=because,
        lacking=lacking,
    )
    _moved(place, Channel(model=model, name=channel, move=move), over, as_json=as_json)


@app.command(epilog="Example: enginefarm channel rollback resnet@production --because 'p99 doubled'")
def rollback(  # noqa: PLR0913 (each is an option)
    name: Name,
    *,
    to: Annotated[
        int | None,
        typer.Option("--to", metavar="NUMBER", help="The move to go back to. Default: the last but one."),
    ] = None,
    because: Because = "",
    by: By = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Let a channel point to what it pointed to before. The policy is not asked: it was there already."""
    place, (model, channel) = store_at(store), _parts(name)
    over = channel_at(place, model, channel)
    wanted = over.move.number - 1 if to is None else to
    former = {move.number: move for move in history(place, model, channel)}.get(wanted)
    if former is None or wanted == over.move.number:
        raise NotStored(
            wanted=f"move {wanted} of {name}, before move {over.move.number}",
            found="no such move",
            fix=f"`enginefarm channel history {name}` shows them",
        )
    move = Move(
        number=1, release=former.release, targets=former.targets, at=_at(datetime.now(UTC)), by=by or _user(),
        why=because or f"back to move {wanted}",
    )  # fmt: skip
    _moved(place, Channel(model=model, name=channel, move=move), over, as_json=as_json)


@app.command("show", epilog="Example: enginefarm channel show production --at 2026-11-01T12:00Z")
def show_channel(
    name: Annotated[
        str,
        typer.Argument(metavar="[MODEL@]CHANNEL", help="The channel of a model, or of every model."),
    ],
    *,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="As it was then, ISO 8601; UTC if no zone is given."),
    ] = None,
    store: StoreUrl = None,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Show what a channel points to now, or pointed to at some time."""
    place, moment = store_at(store), None if at is None else _time(at)
    channels = [_as_of(place, model, channel, moment) for model, channel in _named(place, name)]
    standing = [channel for channel in channels if channel is not None]
    if not standing:
        raise NotStored(
            wanted=f"the channel {name} in {place.url}" + (f" at {at}" if at else ""),
            found="no such channel" + (" at that time" if at else ""),
            fix="`enginefarm channel list` shows all channels, and `channel history` their moves",
        )
    if as_json:
        print_json([channel.to_document() for channel in standing])
        return
    for channel in standing:
        _show(channel, wide=wide)


@app.command("history", epilog="Example: enginefarm channel history resnet@production")
def show_history(name: Name, *, store: StoreUrl = None, wide: Wide = False, as_json: Json = False) -> None:
    """List every move of a channel: when, who, from where to where, and why."""
    place, (model, channel) = store_at(store), _parts(name)
    moves = history(place, model, channel)
    if as_json:
        print_json([move_document(model, channel, move) for move in moves])
        return
    show(
        FittedTable(
            title=f"Moves of {name}: {len(moves)}",
            columns=_MOVES,
            rows=[_move_row(move) for move in moves],
            wide=wide,
            hint=WIDE_HINT,
        )
    )


@app.command("list", epilog="Example: enginefarm channel list --model resnet")
def list_channels(
    *, model: Model = None, store: StoreUrl = None, wide: Wide = False, as_json: Json = False
) -> None:
    """List all channels."""
    place = store_at(store)
    channels = [
        channel
        for of, name in channel_names(place, model)
        if (channel := find_channel(place, of, name)) is not None
    ]
    if as_json:
        print_json([{**channel.to_document(), "engines": len(channel.engines)} for channel in channels])
        return
    title = f"Channels in {place.url}: {len(channels)}"
    rows = [(f"{each.model}@{each.name}", *_move_row(each.move)) for each in channels]
    columns = (Column(name="channel", shrinks=True), *_MOVES)
    show(FittedTable(title=title, columns=columns, rows=rows, wide=wide, hint=WIDE_HINT))


@app.command(epilog="Example: enginefarm channel refresh resnet@production")
def refresh(name: Name, *, store: StoreUrl = None, as_json: Json = False) -> None:
    """Make a channel's document again: its pointer from the history, its index from the engines' records."""
    place, (model, channel) = store_at(store), _parts(name)
    standing = refresh_channel(place, model, channel)
    if standing is None:
        standing = channel_at(place, model, channel)  # which says that there is none
    if as_json:
        print_json(standing.to_document())
        return
    say(f"{name} points to {standing.move.release.version}: {len(standing.engines)} engines in its index.")


@app.command("policies")
def show_policies(*, store: StoreUrl = None) -> None:
    """Print what channels demand of releases, as JSON. `channels/policies.json` in the store replaces it."""
    standing = {name: policy.to_document() for name, policy in policies(store_at(store)).items()}
    print_json({"schema": POLICIES_SCHEMA, "channels": standing}, indent=2)


def _parts(name: str) -> tuple[str, str]:
    model, _, channel = name.partition("@")
    check_names(model, channel)
    return model, channel


def _named(place: Store, name: str) -> list[tuple[str, str]]:
    if "@" in name:
        return [_parts(name)]
    return [(model, channel) for model, channel in channel_names(place) if channel == name]


def _as_of(place: Store, model: str, name: str, moment: datetime | None) -> Channel | None:
    """Return a channel as it was at `moment`, without an index; as it is now if that is None."""
    if moment is None:
        return find_channel(place, model, name)
    moves = [move for move in history(place, model, name) if _time(move.at) <= moment]
    return Channel(model=model, name=name, move=moves[-1]) if moves else None


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise RequestInvalid(
            wanted="a time such as 2026-11-01T12:00Z", found=repr(text), fix="write it in ISO 8601"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _at(now: datetime) -> str:
    return now.isoformat(timespec="microseconds")


def _user() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without a user of that number
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _refused(name: str, version: str, lacking: Iterable[str]) -> ChannelRefused:
    lines = [f"  {line}" for line in lacking]
    return ChannelRefused(
        wanted=f"what the policy of {name} demands of release {version}",
        found="\n".join([f"{len(lines)} that lack it:", *lines]),
        fix="build, verify and sign these; or give --because TEXT, which is kept in the history",
    )


def _check_targets(targets: Iterable[str], engines: Sequence[Candidate]) -> None:
    """Refuse a target without an engine: of a misspelt one, nobody would ever see the effect."""
    built = sorted({target_name(engine.target) for engine in engines})
    if missing := [target for target in targets if target not in built]:
        raise RequestInvalid(
            wanted=f"targets of this release's engines, as DEVICE/TENSORRT: {', '.join(built)}",
            found=", ".join(missing),
            fix="correct --target, or build the release for it first",
        )


def _pointed(
    name: str, over: Channel | None, release: ChannelRelease, targets: Iterable[str]
) -> tuple[ChannelRelease, dict[str, ChannelRelease]]:
    """Return what the channel points to once `release` is set, for everything or for `targets` only."""
    moved = dict.fromkeys(targets, release)
    if not moved:
        return release, {}
    if over is None:
        raise NotStored(
            wanted=f"the channel {name}, to move some of its targets",
            found="that it was never set",
            fix=f"`enginefarm channel set {name} VERSION` without --target comes first",
        )
    return over.move.release, {**over.move.targets, **moved}


def _moved(place: Store, channel: Channel, over: Channel | None, *, as_json: bool) -> None:
    place.check_conditional_writes()
    sign = signing_channels(place, settings().signing_key)
    numbered = Channel(model=channel.model, name=channel.name, move=next_move(over, channel.move))
    ready = numbered.with_engines(channel_engines(place, numbered))
    moved = move_channel(place, ready, over=over, sign=sign)
    if as_json:
        print_json(moved.to_document())
        return
    _show(moved, wide=False)
    for line in channel.move.lacking:
        say(f"Although the policy demands more: {line}.")


_MOVES = (
    Column(name="number", right=True),
    Column(name="since"),
    Column(name="by", shrinks=True),
    Column(name="from"),
    Column(name="to"),
    Column(name="targets", rank=1, shrinks=True),
    Column(name="why", rank=1, shrinks=True),
    Column(name="lacking", rank=2, right=True),
)
_ENGINES = (
    Column(name="target"),
    Column(name="precision"),
    Column(name="release"),
    Column(name="verified"),
    Column(name="ms", right=True),
    Column(name="note", rank=1),
    Column(name="key", rank=3),
)


def _move_row(move: Move) -> tuple[str, ...]:
    targets = ", ".join(f"{name}: {release.version}" for name, release in sorted(move.targets.items()))
    lacking = str(len(move.lacking)) if move.lacking else ""
    since = move.at[:19]
    return (
        str(move.number),
        since,
        move.by,
        move.former or "",
        move.release.version,
        targets,
        move.why,
        lacking,
    )


def _show(channel: Channel, *, wide: bool) -> None:
    move = channel.move
    why = f": {move.why}" if move.why else ""
    title = (
        f"{channel.model}@{channel.name} points to {move.release.version} since {move.at}, by {move.by}{why}"
    )
    show(FittedTable(title=title, columns=_ENGINES, rows=list(_rows(channel)), wide=wide, hint=WIDE_HINT))


def _rows(channel: Channel) -> Iterator[tuple[str, ...]]:
    for engine in channel.engines:
        gained: Any = gain(engine, channel.engines)
        note = f"not_faster: {gained} times FP16" if is_not_faster(gained) else ""
        ms = "" if engine.speed is None else f"{engine.speed.ms:.3f}"
        target = f"{engine.device}/{engine.target.version}"
        yield target, engine.precision.value, engine.version, engine.verdict, ms, note, engine.key
