"""`python -m align3r` is the same as `align3r`."""

import sys

from align3r.cli.main import main

sys.exit(main())
