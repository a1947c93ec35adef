"""Channels in the store: a pointer that is replaced by compare-and-swap, and its history.

A move is written to the history first, on condition that nobody has its number, and then becomes the pointer.
So the history decides: a pointer that was lost, or whose writer died between the two writes, is made from it.
Consumers read channels, too: Python 3.10, boto3 alone.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from tasks.domain.backoff import Backoff
from tasks.domain.candidate import Candidate
from tasks.domain.channel import (
    ROOT,
    Channel,
    ChannelError,
    Move,
    channel_from_document,
    channel_key,
    history_root,
    is_channel_name,
    move_document,
    move_from_document,
    move_key,
)
from tasks.domain.digest import canonical_json
from tasks.domain.errors import ChannelMoved, NotStored, RecordInvalid, RequestInvalid, StoreUnreachable
from tasks.store.candidates import Place
from tasks.store.listing import pages
from tasks.store.s3 import is_missing, is_missing_bucket, is_refused_write, s3_errors
from tasks.store.transfer import put_if_absent, read_beginning, read_small

_LARGEST_CHANNEL, _LARGEST_MOVE = 16 << 20, 1 << 20
_ROUNDS = 12
_BACKOFF = Backoff(first=0.05, longest=1.0, jitter=1.0)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """A channel's document in the store; `channel` is None if it cannot be read, `etag` if there is none."""

    etag: str | None
    channel: Channel | None


def check_names(*names: str) -> None:
    """Check that models or channels can be called so.

    Raises:
        RequestInvalid: one of `names` is not a name.
    """
    for name in names:
        if not is_channel_name(name):
            raise RequestInvalid(
                wanted="the name of a model or channel: letters, digits, '.', '_' and '-'",
                found=repr(name),
                fix="write MODEL@CHANNEL, such as resnet@production",
            )


def find_channel(place: Place, model: str, name: str) -> Channel | None:
    """Return a channel as it stands; None if it was never set. One read, if its document is there.

    If the document is lost or damaged, the channel comes from its history, without an index.

    Raises:
        RequestInvalid: these are no names of a model and a channel.
        RecordInvalid: neither the document nor the last move can be read.
        FarmError: as `s3_errors`.
    """
    check_names(model, name)
    standing = _standing(place, model, name)
    if standing.channel is not None:
        return standing.channel
    move = last_move(place, model, name)
    return None if move is None else Channel(model=model, name=name, move=move)


def channel_at(place: Place, model: str, name: str) -> Channel:
    """Return a channel as it stands, like `find_channel`.

    Raises:
        NotStored: it was never set.
        FarmError: as `find_channel`.
    """
    channel = find_channel(place, model, name)
    if channel is None:
        others = ", ".join(other for of, other in channel_names(place, model) if of == model)
        raise NotStored(
            wanted=f"the channel {name} of {model} in {place.url}",
            found=f"the channels {others}" if others else f"no channel of {model}",
            fix=f"`enginefarm channel set {model}@{name} VERSION` makes it point to a release",
        )
    return channel


def channel_names(place: Place, model: str | None = None) -> list[tuple[str, str]]:
    """Return model and name of each channel, sorted: also of those whose document is lost.

    Raises:
        FarmError: as `s3_errors`.
    """
    root = place.address("").key
    below = f"{ROOT}{model}/" if model else ROOT
    keys = (
        listed.key.removeprefix(root + ROOT).split("/")
        for page in pages(place.client, place.bucket, f"{root}{below}")
        for listed in page
    )
    named = {(key[0], key[1].removesuffix(".json")) for key in keys if len(key) > 1}
    return sorted(names for names in named if all(map(is_channel_name, names)))


def history(place: Place, model: str, name: str) -> list[Move]:
    """Return every move of a channel, in order. A move that cannot be read is left out, with a warning.

    Raises:
        FarmError: as `s3_errors`.
    """
    moves = []
    for number in _numbers(place, model, name):
        try:
            moves.append(_move(place, model, name, number))
        except RecordInvalid as error:
            _LOG.warning("left out a move: %s", error)
    return moves


def last_move(place: Place, model: str, name: str) -> Move | None:
    """Return the last move of a channel; None if it was never set.

    Raises:
        RecordInvalid: it cannot be read.
        FarmError: as `s3_errors`.
    """
    numbers = _numbers(place, model, name)
    return _move(place, model, name, numbers[-1]) if numbers else None


def _numbers(place: Place, model: str, name: str) -> list[int]:
    root = place.address(history_root(model, name)).key
    listing = pages(place.client, place.bucket, root)
    names = (listed.key.removeprefix(root).removesuffix(".json") for page in listing for listed in page)
    return sorted(int(digits) for digits in names if digits.isascii() and digits.isdigit())


def _move(place: Place, model: str, name: str, number: int) -> Move:
    address = place.address(move_key(model, name, number))
    data = read_small(place.client, address, most=_LARGEST_MOVE, refusal=RecordInvalid)
    try:
        move = move_from_document(json.loads(data or b""), model=model, name=name)
        if move.number != number:
            raise ChannelError(f"move {move.number}")
    except (ValueError, RecursionError) as error:
        _refuse_newer(error, address.url)
        raise RecordInvalid(
            wanted=f"move {number} of {model}@{name} in {address.url}",
            found=str(error),
            fix="restore the object from a backup or from the bucket's versions, and find out who changed it",
        ) from error
    return move


def _refuse_newer(error: Exception, url: str) -> None:
    """Raise RecordInvalid if a newer version of enginefarm wrote the document at `url`."""
    if isinstance(error, ChannelError) and error.newer:
        invalid = RecordInvalid(
            wanted=f"{url} with a schema that this version reads",
            found=str(error),
            fix="update enginefarm on this host: a newer version wrote this",
        )
        invalid.newer = True
        raise invalid from error


def _standing(place: Place, model: str, name: str) -> _Standing:
    address = place.address(channel_key(model, name))
    with s3_errors(f"to read {address.url}"):
        try:
            answer = place.client.get_object(Bucket=address.bucket, Key=address.key)
            body = read_beginning(answer["Body"], _LARGEST_CHANNEL)
        except ClientError as error:
            if is_missing(error) and not is_missing_bucket(error):
                return _Standing(etag=None, channel=None)
            raise
    etag = answer["ETag"].strip('"')  # radosgw requires the ETag without quotes
    try:
        channel = channel_from_document(json.loads(body), model=model, name=name)
    except (ValueError, RecursionError) as error:
        _refuse_newer(error, address.url)
        _LOG.warning("%s cannot be read, its history decides: %s", address.url, error)
        return _Standing(etag=etag, channel=None)
    return _Standing(etag=etag, channel=channel)


def _swap(place: Place, channel: Channel, over: _Standing) -> bool:
    """Write the document of `channel` if that of `over` is still there; return whether it was written."""
    address = place.address(channel.key)
    condition: dict[str, Any] = {"IfNoneMatch": "*"} if over.etag is None else {"IfMatch": over.etag}
    body = canonical_json(channel.to_document())
    with s3_errors(f"to write {address.url}"):
        try:
            place.client.put_object(
                Bucket=address.bucket, Key=address.key, Body=body, ContentType="application/json", **condition
            )
        except ClientError as error:
            if not is_refused_write(error):
                raise
            return False
    return True


Sign = Callable[[Channel], Channel]


def move_channel(
    place: Place, channel: Channel, *, over: Channel | None, sign: Sign = lambda channel: channel
) -> Channel:
    """Make `channel`, whose move has the number after that of `over`, the one that consumers see.

    Args:
        place: the store.
        channel: the channel as it shall be, with its index.
        over: the channel as it was when the move was decided; None if it was never set.
        sign: returns the channel with its signature.

    Raises:
        ChannelMoved: somebody else moved it meanwhile; nothing was changed by this call.
        StoreUnreachable: others rewrote the document during each attempt; the move is in the history.
        FarmError: as `s3_errors`.
    """
    model, name, move = channel.model, channel.name, channel.move
    if move.number != 1 + (0 if over is None else over.move.number):
        raise ValueError("a move has the number after the last")
    body = json.dumps(move_document(model, name, move), indent=1).encode() + b"\n"
    written = put_if_absent(place.client, place.address(move_key(model, name, move.number)), body)
    # The response to our own write may have been lost: its retry is refused then.
    if not written and _move(place, model, name, move.number) != move:
        raise _moved(place, channel, rebuild_pointer(place, model, name))
    signed = sign(channel)
    return _replaced(
        place, model, name, lambda now: now if now and now.move.number >= move.number else signed
    )


def rebuild_pointer(place: Place, model: str, name: str) -> Channel | None:
    """Let the pointer be the last move of the history, if it is not; return the channel.

    A writer may have died between its two writes, or the document may be lost. The index is lost with it.
    """
    move = last_move(place, model, name)
    if move is None:
        return None
    behind = Channel(model=model, name=name, move=move)
    return _replaced(
        place, model, name, lambda now: now if now and now.move.number >= move.number else behind
    )


def update_engines(
    place: Place, model: str, name: str, engines: Callable[[Channel], Iterable[Candidate]]
) -> Channel | None:
    """Give a channel the index that `engines` returns for it; return the channel, None if it was never set.

    Raises:
        StoreUnreachable: others rewrote the document during each attempt: the index stays as it is.
        FarmError: as `s3_errors`, and of `engines`.
    """
    if rebuild_pointer(place, model, name) is None:
        return None
    return _replaced(place, model, name, lambda now: None if now is None else now.with_engines(engines(now)))


def _replaced(
    place: Place, model: str, name: str, change: Callable[[Channel | None], Channel | None]
) -> Channel:
    """Replace a channel's document by what `change` makes of it, by compare-and-swap; return the result."""
    for pause in islice(_BACKOFF, _ROUNDS):
        standing = _standing(place, model, name)
        wanted = change(standing.channel)
        if wanted is None:  # lost meanwhile
            wanted = rebuild_pointer(place, model, name)
        if wanted is not None and (wanted == standing.channel or _swap(place, wanted, standing)):
            return wanted
        time.sleep(pause)
    raise StoreUnreachable(
        wanted=f"to rewrite {place.address(channel_key(model, name)).url}",
        found=f"that others rewrote it during each of {_ROUNDS} attempts",
        fix=f"`enginefarm channel refresh {model}@{name}` writes it again",
    )


def _moved(place: Place, channel: Channel, now: Channel | None) -> ChannelMoved:
    move = None if now is None else now.move
    return ChannelMoved(
        wanted=f"to make move {channel.move.number} of {channel.model}@{channel.name} in {place.url}",
        found="that it was made already"
        + ("" if move is None else f": now {move.release.version}, by {move.by} at {move.at}"),
        fix=f"look at `enginefarm channel history {channel.model}@{channel.name}`, and decide again",
    )


def next_move(over: Channel | None, move: Move) -> Move:
    """Return `move` with the number and the former version that follow `over`."""
    former = None if over is None else over.move.release.version
    return replace(move, number=1 + (0 if over is None else over.move.number), former=former)
