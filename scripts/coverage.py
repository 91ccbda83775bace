"""What the tests reach: reads gcovr's JSON summary, prints lines and branches by folder, judges libs and domain files.

    coverage.py summary.json MINIMUM-PERCENT

Domain files are those of a service that decide something: not its main(), its transport (*_rpc.c), settings (*_conf.c) or
stores, which are the outside of it.
"""

import json
import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field

OUTSIDE = re.compile(r"(/main|_rpc|_conf|_store|_store_[a-z]+|_metrics)\.[ch]$")


@dataclass
class Sum:
    lines: int = 0
    lines_covered: int = 0
    branches: int = 0
    branches_covered: int = 0
    files: list = field(default_factory=list)

    def add(self, f: dict) -> None:
        self.lines += f["line_total"]
        self.lines_covered += f["line_covered"]
        self.branches += f["branch_total"]
        self.branches_covered += f["branch_covered"]
        self.files.append(f)

    def line_percent(self) -> float:
        return 100 * self.lines_covered / self.lines if self.lines else 100.0

    def row(self, name: str) -> str:
        branch_percent = 100 * self.branches_covered / self.branches if self.branches else 100.0
        return (
            f"{name:<28} {self.line_percent():5.1f} % of {self.lines:6} lines"
            f"   {branch_percent:5.1f} % of {self.branches:6} branches"
        )


def folder_of(name: str) -> str:
    return "/".join(name.split("/")[:2])


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as f:
        files = json.load(f)["files"]
    minimum = float(sys.argv[2])
    folders, libs, domain = defaultdict(Sum), Sum(), Sum()
    for f in files:
        name = f["filename"]
        folders[folder_of(name)].add(f)
        if name.startswith("libs/"):
            libs.add(f)
        elif not OUTSIDE.search(name):
            domain.add(f)
    for name in sorted(folders):
        print(folders[name].row(name))
    print(libs.row("all of libs"))
    print(domain.row("domain files of services"))

    judged = sorted(libs.files + domain.files, key=lambda f: f["line_total"] - f["line_covered"], reverse=True)
    below = [f for f in judged if f["line_total"] and 100 * f["line_covered"] / f["line_total"] < minimum]
    if below:
        print(f"\nbelow {minimum:.0f} % of their lines, most lines missing first:")
    for f in below[:25]:
        print(f"  {f['filename']:<48} {100 * f['line_covered'] / f['line_total']:5.1f} %  {f['line_total'] - f['line_covered']} missing")
    low = [name for name, s in (("libs", libs), ("domain files", domain)) if s.line_percent() < minimum]
    for name in low:
        print(f"coverage: {name} are below {minimum:.0f} % of lines", file=sys.stderr)
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
