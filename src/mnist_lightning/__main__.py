"""`python -m mnist_lightning`."""

import sys

from mnist_lightning.cli import main

if __name__ == "__main__":
    sys.exit(main())
