"""``python -m experiments [names] [--fast] [--out DIR] [--list]``."""

import sys

from experiments.runner import cli

if __name__ == "__main__":
    sys.exit(cli())
