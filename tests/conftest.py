"""What holds for every test, and for every process that one starts."""

from __future__ import annotations

import os

# The library that the panel is compared with brings umap-learn, which takes 15 s of every report.
os.environ["SWEEPER_UMAP"] = "0"
