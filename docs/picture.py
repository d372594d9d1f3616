"""The pictures of a report that README and documentation show: a real report in a real browser.

python docs/picture.py [runs/demo/report.html]      writes docs/report.png and docs/curve.png; needs Chromium
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

DRAWN = ".chart .main-svg"  # the page's policy forbids waiting for an expression
LARGEST = 300_000  # bytes


def main(report: Path, folder: Path) -> None:
    """Take the report's first screen and its first figure."""
    first, curve = folder / "report.png", folder / "curve.png"
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        page.wait_for_selector(DRAWN, state="attached")
        page.wait_for_timeout(1000)
        page.screenshot(path=first)
        page.locator(".chart").first.scroll_into_view_if_needed()
        page.wait_for_timeout(1000)
        page.locator(".chart").first.screenshot(path=curve)
        browser.close()
    for picture in (first, curve):
        if (size := picture.stat().st_size) > LARGEST:
            raise SystemExit(f"{picture}: {size:,} bytes, more than {LARGEST:,}")


if __name__ == "__main__":
    main(Path((sys.argv[1:] or ["runs/demo/report.html"])[0]), Path(__file__).parent)
