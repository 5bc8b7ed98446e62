"""``python -m drivetrain.cli`` is the command `drivetrain`."""

import sys

from drivetrain.cli import main

sys.exit(main())
