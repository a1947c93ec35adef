"""`enginefarm bundle`, `unbundle` and `oci export`: engines that leave the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.addresses import store_at
from flows.cli.options import Json, StoreUrl, Version
from flows.cli.output import print_json, say
from flows.cli.resolve import Name
from tasks.consumer.client import Client
from tasks.consumer.transfers import bundled, exported, select, unbundled, unbundled_lines

Gpus = Annotated[
    list[str] | None,
    typer.Option("--gpu", metavar="GPU", help="Only engines that run on this GPU, as l4. May be repeated."),
]
OnlyPrecisions = Annotated[
    list[str] | None, typer.Option("--precision", help="Only these precisions. May be repeated.")
]
CacheFolder = Annotated[
    Path | None,
    typer.Option("--cache", metavar="DIR", help="Folder of the cache. Default: $ENGINEFARM_CACHE."),
]

oci = typer.Typer(no_args_is_help=True, help="Write engines as images of containers.")


def bundle(  # noqa: PLR0913 (each is an option)
    name: Name,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The new file.")],
    gpu: Gpus = None,
    precision: OnlyPrecisions = None,
    version: Version = None,
    store: StoreUrl = None,
    cache: CacheFolder = None,
    as_json: Json = False,
) -> None:
    """Write engines with all that checks them to one file, for hosts without a network."""
    client = Client.from_environment(store_at(store).url, cache, offline=None)
    document = bundled(client, select(client, name, version, precision or (), gpu or ()), output)
    if as_json:
        print_json(document)
        return
    for key in document["engines"]:
        say(key)
    say(f"{output}: {document['size']} bytes")


def unbundle(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What `enginefarm bundle` wrote.")],
    *,
    store: StoreUrl = None,
    cache: CacheFolder = None,
    as_json: Json = False,
) -> None:
    """Check a bundle, and put its engines into the cache of this host. Needs no network.

    A bundle of another store than --store, if one is named, is refused.
    """
    result, document = unbundled(path, cache, store)
    if as_json:
        print_json(document)
        return
    for line in unbundled_lines(result):
        say(line)


@oci.command(epilog="Example: enginefarm oci export resnet@production -o layout")
def export(  # noqa: PLR0913 (each is an option)
    name: Name,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The new folder.")],
    gpu: Gpus = None,
    precision: OnlyPrecisions = None,
    version: Version = None,
    store: StoreUrl = None,
    cache: CacheFolder = None,
    as_json: Json = False,
) -> None:
    """Write engines as an OCI image layout: an image for each, an index, and signatures as referrers."""
    client = Client.from_environment(store_at(store).url, cache, offline=None)
    document = exported(client, select(client, name, version, precision or (), gpu or ()), output)
    if as_json:
        print_json(document)
        return
    for image in document["images"]:
        say(f"{output}:{image['tag']} {image['digest']}")
