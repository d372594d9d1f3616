"""Lets this folder's tests import `decision_curves`, the curves with a known answer."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
