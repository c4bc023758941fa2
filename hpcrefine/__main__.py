"""``python -m hpcrefine``: what ``hpcrefine run`` starts on every rank."""

import sys

from hpcrefine.cli import main

sys.exit(main())
