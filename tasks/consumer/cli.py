"""`enginefarm resolve`, `fetch`, `cache`, `pins` and bundles on hosts that have the client only."""

from __future__ import annotations

import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from tasks.consumer.cli_common import add_common, print_document, say
from tasks.consumer.cli_transfer import add_transfers
from tasks.consumer.client import Client, cache_at
from tasks.consumer.offline import cached
from tasks.consumer.pins import Pin
from tasks.consumer.probe import probe
from tasks.consumer.room import contents, remove_all
from tasks.consumer.waiting import fetch_waiting
from tasks.domain.attestation import RECORD_FILE
from tasks.domain.errors import FarmError, Interrupted, NoEngineFits
from tasks.domain.host import Host
from tasks.domain.host_options import DEFAULT_CHANNEL, named_wanted
from tasks.domain.resolution import Choice, Resolution

COMMANDS = ("resolve", "fetch", "cache", "pins", "bundle", "unbundle", "oci")
"""Those of the client; others are the farm's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: that of the error, or 0."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] not in (*COMMANDS, "-h", "--help") and (farm := _farm()) is not None:
        return farm()
    options = _parser().parse_args(words)
    try:
        options.run(options)
    except NoEngineFits as error:
        return _fail(error, as_json=options.json and options.run is not _resolve)  # it has printed it
    except FarmError as error:
        return _fail(error, as_json=options.json)
    except KeyboardInterrupt:
        stopped = Interrupted(wanted=f"enginefarm {options.command}", found="Ctrl-C", fix="run it again")
        return _fail(stopped, as_json=options.json)
    return 0


def _farm() -> Callable[[], int] | None:
    """Return the command of the whole farm if it is installed beside the client: both have the same name."""
    try:
        scripts = distribution("enginefarm").entry_points.select(group="console_scripts", name="enginefarm")
    except PackageNotFoundError:
        return None
    return next((script.load() for script in scripts), None)


def _fail(error: FarmError, *, as_json: bool) -> int:
    if as_json:
        print_document({"error": error.to_document()})
    print(f"{error.class_name}: {error}", file=sys.stderr)  # noqa: T201
    return error.exit_code


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="enginefarm", description="Gets the TensorRT engine that runs on this host.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run, words in (
        ("resolve", _resolve, "Say which engine runs on this host, or why none does."),
        ("fetch", _fetch, "Download it into the cache, and print its path."),
    ):
        command = commands.add_parser(name, help=words, description=words)
        command.set_defaults(run=run)
        _add_engine(command)
        _add_host(command)
        if name == "fetch":
            _add_fetch(command)
    words = "List what the cache has; with --clear, remove what is neither pinned nor in use."
    command = commands.add_parser("cache", help=words, description=words)
    command.set_defaults(run=_cache)
    command.add_argument("--clear", action="store_true", help="remove what is neither pinned nor in use")
    add_common(command)
    words = "List the pins of the cache; with --remove, remove one."
    command = commands.add_parser("pins", help=words, description=words)
    command.set_defaults(run=_pins)
    command.add_argument("--remove", metavar="NAME", help="remove this pin")
    add_common(command)
    add_transfers(commands)
    return parser


def _add_fetch(command: ArgumentParser) -> None:
    command.add_argument(
        "--wait", type=float, metavar="SECONDS", help="if none fits, ask the farm for it, and wait"
    )
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="also write plan and record there")
    command.add_argument("--pin", metavar="NAME", help="keep it in the cache until the pin is removed")


def _add_engine(command: ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL[@CHANNEL]", help=f"default channel: {DEFAULT_CHANNEL}")
    command.add_argument("--version", help="a release in place of a channel")
    command.add_argument(
        "--precision", action="append", default=[], help="may be repeated, the preferred first"
    )
    command.add_argument("--store", metavar="URL", help="s3://BUCKET/PREFIX (ENGINEFARM_STORE)")
    command.add_argument(
        "--offline", action="store_true", default=None, help="use the cache only (ENGINEFARM_OFFLINE)"
    )
    add_common(command)


def _add_host(command: ArgumentParser) -> None:
    command.add_argument("--gpu", help="such as l4, or 'NVIDIA L4'. Default: this host's")
    command.add_argument("--compute", help="compute capability of a GPU that is not known by name")
    command.add_argument("--tensorrt", metavar="VERSION", help="four numbers. Default: what is installed")
    command.add_argument("--flavour", choices=("tensorrt", "tensorrt_rtx"), help="default: what is installed")
    command.add_argument(
        "--triton", metavar="IMAGE", help="such as 26.07-trtllm: its TensorRT runs the engine"
    )
    command.add_argument("--driver", metavar="VERSION", help="of NVIDIA's driver. Default: this host's")
    command.add_argument(
        "--allow-host-code", action="store_true", help="take engines with native code: trust who can write"
    )


def _host(options: Namespace) -> Host:
    return probe(
        gpu=options.gpu,
        compute=options.compute,
        tensorrt=options.tensorrt,
        flavour=options.flavour,
        triton=options.triton,
        driver=options.driver,
        allow_host_code=options.allow_host_code,
    )


def _client(options: Namespace) -> Client:
    return Client.from_environment(options.store, options.cache, offline=options.offline)


def _resolve(options: Namespace) -> None:
    asked = named_wanted(options.model, options.version, options.precision)
    resolution = _client(options).resolve(asked, _host(options))
    if options.json:
        refused = {} if resolution.choice else {"error": resolution.refusal().to_document()}
        print_document({**resolution.to_document(), **refused})
        resolution.chosen()
    else:
        say(*_lines(resolution))


def _lines(resolution: Resolution) -> list[str]:
    choice = resolution.chosen()
    return [_described(choice), *(f"not {reason}" for reason in resolution.reasons)]


def _described(choice: Choice) -> str:
    engine, marks = choice.candidate, ", ".join(choice.marks)
    rules = ", ".join(choice.rules)
    cost = "" if choice.cost is None else f"; takes {choice.cost.slower} times as long as {choice.cost.than}"
    return (
        f"{engine.key}: {engine.model} {engine.version} in {engine.precision} for {engine.device} / "
        f"{engine.target.version}, by {rules}{f'; {marks}' if marks else ''}{cost}"
    )


def _fetch(options: Namespace) -> None:
    client = _client(options)
    asked, host = named_wanted(options.model, options.version, options.precision), _host(options)
    if options.wait is None:
        path, choice = client.fetch(asked, host)
    else:
        path, choice = fetch_waiting(client, asked, host, options.wait)
    engine = choice.candidate
    if options.pin:
        client.cache.pins.put(Pin(name=options.pin, plan=engine.plan.sha256, engine=engine.key))
    if options.output:
        shutil.copyfile(path.with_name(RECORD_FILE), options.output.with_name(f"{options.output.name}.json"))
        shutil.copyfile(path, options.output)
        path = options.output
    if options.json:
        document = {"rules": list(choice.rules), "marks": list(choice.marks), "engine": engine.to_document()}
        print_document({"path": str(path), **document})
    else:
        say(str(path))


def _cache(options: Namespace) -> None:
    cache = cache_at(options.cache)
    removed = remove_all(cache.folder) if options.clear else []
    names = {engine.plan.sha256: engine.key for engine in cached(cache)}
    held = [
        {
            "plan": each.slot.sha256,
            "engine": names.get(each.slot.sha256),
            "size": each.size,
            "used": each.used,
            "pinned": each.pinned,
        }
        for each in contents(cache.folder)
    ]
    if options.json:
        left = {"removed": [each.slot.sha256 for each in removed], "plans": held}
        print_document({"folder": str(cache.folder), "most": cache.most_bytes, **left})
        return
    total = sum(each.size for each in contents(cache.folder))
    say(f"{cache.folder}: {total} of {cache.most_bytes} bytes, {len(removed)} plans removed")
    say(
        *(
            f"{each['size']} {each['engine'] or each['plan']}{' (pinned)' * bool(each['pinned'])}"
            for each in held
        )
    )


def _pins(options: Namespace) -> None:
    pins = cache_at(options.cache).pins
    if options.remove:
        pins.remove(options.remove)
    if options.json:
        print_document([{"name": pin.name, "plan": pin.plan, "engine": pin.engine} for pin in pins])
    else:
        say(*(f"{pin.name} {pin.engine}" for pin in pins))
