"""The program `enginefarm`. It answers Ctrl-C also while Python still imports the commands."""

from __future__ import annotations

import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    try:
        from flows.cli.main import main as run_command  # noqa: PLC0415 (takes a second)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted (exit code 130)\n")
        sys.exit(_INTERRUPTED)
    run_command()


if __name__ == "__main__":
    main()
