"""What of this folder is for Linux alone: it prepares Wine, or builds what is installed there."""

import sys

collect_ignore = ["test_lane.py", "test_installer.py"] if sys.platform == "win32" else []
