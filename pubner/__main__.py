"""`python -m pubner`: the same command as `pubner`."""

import sys

from pubner.cli import main

sys.exit(main())
