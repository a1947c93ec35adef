"""`enginefarm bundle`, `unbundle` and `oci export` of the client."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.consumer.cli_common import add_common, print_document, say
from tasks.consumer.client import Client
from tasks.consumer.transfers import bundled, exported, select, unbundled, unbundled_lines
from tasks.domain.host_options import DEFAULT_CHANNEL

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_transfers(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add the commands."""
    words = "Write engines with all that checks them to one file, for hosts without a network."
    command = commands.add_parser("bundle", help=words, description=words)
    command.set_defaults(run=_bundle)
    _add_selection(command)
    command.add_argument("-o", "--output", type=Path, metavar="FILE", required=True, help="the new file")
    words = "Check a bundle, and put its engines into the cache of this host."
    command = commands.add_parser("unbundle", help=words, description=words)
    command.set_defaults(run=_unbundle)
    command.add_argument("bundle", type=Path, metavar="FILE", help="what `enginefarm bundle` wrote")
    command.add_argument("--store", metavar="URL", help="refuse bundles of others (ENGINEFARM_STORE)")
    add_common(command)
    words = "Engines as images of containers."
    group = commands.add_parser("oci", help=words, description=words).add_subparsers(required=True)
    words = "Write engines as an OCI image layout: an image for each, an index, signatures as referrers."
    command = group.add_parser("export", help=words, description=words)
    command.set_defaults(run=_export)
    _add_selection(command)
    command.add_argument("-o", "--output", type=Path, metavar="DIR", required=True, help="the new folder")


def _add_selection(command: ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL[@CHANNEL]", help=f"default channel: {DEFAULT_CHANNEL}")
    command.add_argument("--version", help="a release in place of a channel")
    command.add_argument("--gpu", action="append", default=[], help="only what runs on it; may be repeated")
    command.add_argument("--precision", action="append", default=[], help="only these; may be repeated")
    command.add_argument("--store", metavar="URL", help="s3://BUCKET/PREFIX (ENGINEFARM_STORE)")
    add_common(command)


def _bundle(options: Namespace) -> None:
    client = Client.from_environment(options.store, options.cache, offline=None)
    chosen = select(client, options.model, options.version, options.precision, options.gpu)
    document = bundled(client, chosen, options.output)
    if options.json:
        print_document(document)
    else:
        say(*document["engines"], f"{options.output}: {document['size']} bytes")


def _unbundle(options: Namespace) -> None:
    result, document = unbundled(options.bundle, options.cache, options.store)
    if options.json:
        print_document(document)
    else:
        say(*unbundled_lines(result))


def _export(options: Namespace) -> None:
    client = Client.from_environment(options.store, options.cache, offline=None)
    chosen = select(client, options.model, options.version, options.precision, options.gpu)
    document = exported(client, chosen, options.output)
    if options.json:
        print_document(document)
    else:
        say(*(f"{options.output}:{image['tag']} {image['digest']}" for image in document["images"]))
