"""How heavy a report is, and how long a reader waits for its first figure, against drawing all figures at once.

    make benchmark-report-page      (a minute; needs Chromium and runs/demo/report.html, as `make demo` writes it)

In each round the page is opened anew at each size. First figure: what the page's main thread has computed when it
stands (processor time, not wall: it hardly depends on what else the machine does; a reader with a free core waits about
as long). All at once: the same, and then every figure drawn in one go, as for print. The ratio is taken within the
round, and the median of the rounds is given.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

RESULT = Path(__file__).with_suffix(".json")
SIZES = ((1440, 900), (390, 844))
ALL = "dispatchEvent(new Event('beforeprint'))"


def measure(browser: Browser, report: Path, size: tuple[int, int]) -> dict[str, float]:
    """One load at one size; milliseconds of the main thread."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    inside = page.context.new_cdp_session(page)
    inside.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        metrics = {item["name"]: item["value"] for item in inside.send("Performance.getMetrics")["metrics"]}
        return 1000 * float(metrics["TaskDuration"])

    page.goto(report.resolve().as_uri(), wait_until="commit")
    page.wait_for_selector(".chart .main-svg", state="attached")
    first = spent()
    screens = page.evaluate("document.getElementById('appendix').getBoundingClientRect().top + scrollY") / size[1]
    figures = page.evaluate("document.querySelectorAll('.chart').length")
    before = spent()
    page.evaluate(ALL)
    whole = first + spent() - before
    page.close()
    return {"first_ms": first, "all_ms": whole, "ratio": whole / first, "screens": screens, "figures": figures}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", nargs="?", type=Path, default=Path("runs/demo/report.html"))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    rounds: list[dict[str, dict[str, float]]] = []
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        version = browser.version
        rounds += [
            {str(size[0]): measure(browser, options.report, size) for size in SIZES} for _ in range(options.rounds)
        ]
        browser.close()
    found: dict[str, Any] = {
        "report_bytes": options.report.stat().st_size,
        "chromium": version,
        "machine": platform.machine(),
        "rounds": options.rounds,
        "widths": {
            width: {key: statistics.median(one[width][key] for one in rounds) for key in rounds[0][width]}
            for width in rounds[0]
        },
    }
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{found['report_bytes']:,} bytes")
    for width, numbers in found["widths"].items():
        print(
            f"{width} pixels: first figure {numbers['first_ms']:.0f} ms, all {numbers['figures']:.0f} at once "
            f"{numbers['all_ms']:.0f} ms ({numbers['ratio']:.1f}×); appendix after {numbers['screens']:.1f} screens"
        )


if __name__ == "__main__":
    main()
