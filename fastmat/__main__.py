"""``python -m fastmat``: the same as the ``fastmat`` command."""

import sys

from fastmat.cli import main

if __name__ == "__main__":
    sys.exit(main())
