"""`python -m client.cli` is `privyseal`."""

from __future__ import annotations

import sys

from client.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
