"""`python -m enginefarm`, as the command `enginefarm`."""

import sys

from tasks.consumer.cli import main

if __name__ == "__main__":
    sys.exit(main())
