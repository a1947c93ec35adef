"""A bundle: one tar with engines and what is needed to check them, for hosts without a network.

bundle.json                                 what is in it: names, digests and sizes
channel.json                                the channel's document, if a channel was bundled
keys.json                                   the keys that its maker trusts: for people alone
plans/SHA256, records/SHA256.json           the engines
signatures/SHA256/KEY.sig.json              signature of the record, or of the channel's pointer
signatures/SHA256/KEY.provenance.json       signed provenance of the engine
sums.sha256                                 the digests again, for `sha256sum -c`

The members are in the order of their names. Runs on consumers: Python 3.10, the standard library alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.domain.candidate import Candidate, CandidateError, candidate_of_record
from tasks.domain.channel import Channel, ChannelError, channel_from_document, is_channel_name
from tasks.domain.digest import BlobRef, blob_ref, canonical_json
from tasks.domain.plain_tar import BLOCK, tar_ending, tar_padding

SCHEMA = "enginefarm/bundle/1"
MANIFEST, CHANNEL, KEYS, SUMS = "bundle.json", "channel.json", "keys.json", "sums.sha256"
LARGEST_DOCUMENT = 16 << 20
_NAME = re.compile(
    r"channel\.json|keys\.json|plans/[0-9a-f]{64}|records/[0-9a-f]{64}\.json"
    r"|signatures/[0-9a-f]{64}/[0-9a-f]{64}\.(?:sig|provenance)\.json"
)
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


class BundleError(ValueError):
    """A document is not part of a bundle, or the parts contradict each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a bundle contains.

    Attributes:
        store: URL of the store that it was made from.
        model: name of the model.
        version: the release, if no channel was bundled.
        channel: name of the channel; None if a release was bundled.
        members: digest and size of each member, by its name, but for the manifest and the sums.
    """

    store: str
    model: str
    version: str | None
    channel: str | None
    members: Mapping[str, BlobRef]

    @property
    def manifest(self) -> bytes:
        """The bytes of its manifest."""
        members = {
            name: {"sha256": ref.sha256, "size": ref.size} for name, ref in sorted(self.members.items())
        }
        return canonical_json(
            {
                "schema": SCHEMA,
                "store": self.store,
                "model": self.model,
                "version": self.version,
                "channel": self.channel,
                "members": members,
            }
        )

    def places(self) -> Iterator[tuple[str, int, BlobRef]]:
        """Yield name, place in the tar and digest of every member, in order."""
        manifest = blob_ref(self.manifest)
        inner = [(MANIFEST, manifest), *sorted(self.members.items())]
        place = BLOCK
        for name, ref in [*inner, (SUMS, blob_ref(sums(dict(inner))))]:
            yield name, place, ref
            place += ref.size + len(tar_padding(ref.size)) + BLOCK

    @property
    def size(self) -> int:
        """The size of the whole tar."""
        _, place, ref = list(self.places())[-1]
        end = place + ref.size + len(tar_padding(ref.size))
        return end + len(tar_ending(end))


def sums(members: Mapping[str, BlobRef]) -> bytes:
    """Return what `sha256sum -c` reads."""
    return "".join(f"{ref.sha256}  {name}\n" for name, ref in sorted(members.items())).encode()


def plan_name(sha256: str) -> str:
    """Return the member with a plan."""
    return f"plans/{sha256}"


def record_name(sha256: str) -> str:
    """Return the member with a record."""
    return f"records/{sha256}.json"


def signature_name(signed: str, key_id: str) -> str:
    """Return the member with the signature of the bytes with the SHA-256 `signed`."""
    return f"signatures/{signed}/{key_id}.sig.json"


def provenance_name(signed: str, key_id: str) -> str:
    """Return the member with the provenance that goes with a signature."""
    return f"signatures/{signed}/{key_id}.provenance.json"


def contents_from_json(data: bytes) -> Contents:
    """Parse a manifest.

    Raises:
        BundleError: it is none.
    """
    try:
        document: Any = json.loads(data)
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r} instead of {SCHEMA!r}")
        contents = Contents(
            store=_text(document["store"]),
            model=_text(document["model"]),
            version=None if document["version"] is None else _text(document["version"]),
            channel=None if document["channel"] is None else _text(document["channel"]),
            members={name: _ref(name, stated) for name, stated in document["members"].items()},
        )
        _check(contents)
    except _UNREADABLE as error:
        raise BundleError(f"{MANIFEST}: {type(error).__name__}: {error}") from error
    if contents.manifest != data:
        raise BundleError(f"{MANIFEST} in another form than the one that this version writes")
    return contents


def _ref(name: str, stated: Mapping[str, Any]) -> BlobRef:
    size = stated["size"]
    if not _NAME.fullmatch(name):
        raise ValueError(f"a member {name!r}")
    if type(size) is not int or (size > LARGEST_DOCUMENT and not name.startswith("plans/")):
        raise ValueError(f"{size!r} bytes in {name}")
    ref = BlobRef(sha256=_text(stated["sha256"]), size=size)
    if name not in (plan_name(ref.sha256), record_name(ref.sha256)) and name.startswith(("plans", "records")):
        raise ValueError(f"{name} with the digest {ref.sha256}")
    return ref


def _check(contents: Contents) -> None:
    if (contents.channel is None) == (contents.version is None):
        raise ValueError("not exactly one of a channel and a version")
    if (contents.channel is None) == (CHANNEL in contents.members):
        raise ValueError(f"the channel {contents.channel} and {CHANNEL} do not go together")
    if not all(map(is_channel_name, (contents.model, contents.channel or contents.version or ""))):
        raise ValueError(f"the names {contents.model!r} and {contents.channel or contents.version!r}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The parts of a bundle that say what it is; the plans are still in the tar.

    Attributes:
        contents: what is in it.
        channel: the channel; None if a release was bundled.
        engines: the engines, each with the bytes of its record.
        documents: every small member, by its name.
    """

    contents: Contents
    channel: Channel | None
    engines: tuple[tuple[Candidate, bytes], ...]
    documents: Mapping[str, bytes]

    def signatures(self, signed: str) -> Iterator[tuple[str, bytes]]:
        """Yield the id of a key and its signature of the bytes with the SHA-256 `signed`, unchecked."""
        below = f"signatures/{signed}/"
        for name, data in self.documents.items():
            if name.startswith(below) and name.endswith(".sig.json"):
                yield name[len(below) :].partition(".")[0], data


def opened(contents: Contents, documents: Mapping[str, bytes]) -> Opened:
    """Return what a bundle is, after checking that its parts belong together.

    Args:
        contents: what is in it.
        documents: every member but the plans, by its name; their digests were checked.

    Raises:
        BundleError: something is missing, is too much, or says something else.
    """
    channel = None if contents.channel is None else _channel(contents, documents[CHANNEL])
    engines = tuple(
        (_engine(contents, channel, name, data), data)
        for name, data in documents.items()
        if name.startswith("records/")
    )
    _check_members(contents, channel, [engine for engine, _ in engines])
    return Opened(contents=contents, channel=channel, engines=engines, documents=documents)


def _channel(contents: Contents, data: bytes) -> Channel:
    try:
        return channel_from_document(json.loads(data), model=contents.model, name=contents.channel or "")
    except (ChannelError, *_UNREADABLE) as error:
        raise BundleError(f"{CHANNEL}: {error}") from error


def _engine(contents: Contents, channel: Channel | None, name: str, data: bytes) -> Candidate:
    try:
        engine = candidate_of_record(data)
    except CandidateError as error:
        raise BundleError(f"{name}: {error}") from error
    if channel is None:
        belongs = (engine.model, engine.version) == (contents.model, contents.version)
    else:
        belongs = channel.move.has(engine)
    if not belongs:
        raise BundleError(f"{name}, the record of {engine.key}, which is not part of what was bundled")
    return engine


def _check_members(contents: Contents, channel: Channel | None, engines: list[Candidate]) -> None:
    plans = {plan_name(engine.plan.sha256): engine.plan for engine in engines}
    listed = {name: ref for name, ref in contents.members.items() if name.startswith("plans/")}
    if not engines or plans != listed:
        differing = sorted({**plans, **listed}.keys() - (plans.keys() & listed.keys()))
        raise BundleError(f"plans that are not those of the records: {', '.join(differing[:3]) or 'none'}")
    signed = {engine.record.sha256 for engine in engines}
    signed |= set() if channel is None else {blob_ref(channel.pointer_bytes).sha256}
    for name in contents.members:
        root, _, rest = name.partition("/")
        if root == "signatures" and rest.partition("/")[0] not in signed:
            raise BundleError(f"{name}, the signature of something that is not there")
        if name.endswith(".provenance.json") and signature_name(*_signer(rest)) not in contents.members:
            raise BundleError(f"{name} without its signature")


def _signer(rest: str) -> tuple[str, str]:
    signed, _, file = rest.partition("/")
    return signed, file.partition(".")[0]


def members_of(documents: Mapping[str, bytes], plans: Mapping[str, BlobRef]) -> dict[str, BlobRef]:
    """Return the members of a bundle with these documents and plans."""
    return {**{name: blob_ref(data) for name, data in documents.items()}, **plans}
