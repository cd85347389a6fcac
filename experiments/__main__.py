"""`python -m experiments`: runs the training experiments, and writes data and page."""

import sys
from collections.abc import Sequence

from experiments.settings import run
from schemas.errors import PubnerError


def main(argv: Sequence[str]) -> int:
    """Run the experiments by the options in `argv`; return the exit code."""
    try:
        return run(argv)
    except PubnerError as error:
        sys.stderr.write(f"experiments: {error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
