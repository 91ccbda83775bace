"""./dev bench: the relay beside a plain nginx proxy, in the same run. docs/performance.md says what is measured and how."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from options import SPEED, TOP, arguments

sys.path.insert(0, str(TOP / "tests"))

from lab import Lab  # noqa: E402
from measure import Bench, Journal, Plan  # noqa: E402
from smoke import run_smoke  # noqa: E402
from soak import run_soak  # noqa: E402
from stages import run_stages  # noqa: E402
from tables import print_table  # noqa: E402
from tests_of_speed import TESTS  # noqa: E402
from training import run_training  # noqa: E402


assert set(SPEED) == set(TESTS), "what can be asked for is what there is"


def run_test(bench: Bench, name: str) -> bool:
    """What the others have measured is shown all the same."""
    try:
        TESTS[name](bench)
    except RuntimeError as e:
        print(f"bench: {name} failed: {e}", file=sys.stderr)
        return False
    return True


def main() -> int:
    options = arguments()
    if options.table:
        print_table([json.loads(line) for line in options.table.read_text().splitlines()])
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave nothing running
    names = options.names or SPEED
    journal = Journal(TOP / "bench" / "results" / f"{time.strftime('%Y%m%d-%H%M%S')}.jsonl")
    plan = Plan(options.rounds, options.seconds, accept_busy=options.accept_busy)
    ok = True
    with tempfile.TemporaryDirectory(prefix="apirelay-bench-") as folder, Lab(Path(folder), options.build, options.nginx) as lab:
        bench = Bench(lab, plan, journal)
        if options.smoke:
            return 0 if run_smoke(bench) else 1
        for name in names:
            print(f"bench: {name}", file=sys.stderr, flush=True)
            if name == "soak":
                ok = run_soak(bench, options.soak_seconds) and ok
            elif name == "stages":
                run_stages(lab)
            elif name == "training":
                run_training(lab)
            else:
                ok = run_test(bench, name) and ok
    print_table(journal.rows)
    if journal.rows:
        print(f"\nmeasurements: {journal.path.relative_to(TOP)}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
