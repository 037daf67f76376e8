"""``python -m tests.stores.chaos``."""

import sys

from .run import main

sys.exit(main())
