"""`python -m raycollab` is the command line."""

import sys

from raycollab.cli import main

sys.exit(main())
