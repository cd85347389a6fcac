"""Commands that have moved: each still works for one release, and says where it is now."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence

from schemas.errors import SettingsError


def experiments(argv: Sequence[str]) -> int:
    """Run what is now `python -m experiments`; return its exit code.

    :raises SettingsError: in an installation, which does not hold the experiments.
    """
    if importlib.util.find_spec("experiments") is None:
        raise SettingsError(
            "the experiments are part of pubner's source tree, not of an installation; "
            "there, run: python -m experiments"
        )
    module = importlib.import_module("experiments.settings")
    run: Callable[[Sequence[str]], int] = module.run
    code = run(argv)
    if not {"-h", "--help"} & set(argv):
        sys.stderr.write(
            "pubner: `pubner experiments` is now `python -m experiments`; the old name goes with "
            "the next release\n"
        )
    return code
