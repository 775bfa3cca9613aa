"""Real RGB-D sequences: `python benchmarks/sequences.py --data ../shared/data`.

Every option that is not listed here goes to `align3r reconstruct`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from measure import reconstruct_and_score, report

from align3r.datasets.truth_files import read_rgbd

SEQUENCES = ("rgbd_static_a", "rgbd_dynamic_composite")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", nargs="+", default=list(SEQUENCES), metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"))
    args, extra = parser.parse_known_args()
    missing = [name for name in args.only if not (args.data / name / "rgb.txt").is_file()]
    if missing:
        parser.error(f"no rgb.txt of {', '.join(missing)} under {args.data}")
    rows = []
    for name in args.only:
        folder = args.data / name
        row = reconstruct_and_score(
            folder / "rgb.txt", args.out / name, read_rgbd(folder), extra=extra
        )
        rows.append({"name": name, **row})
    return report(rows, args.out / "sequences.json", first="sequence")


if __name__ == "__main__":
    sys.exit(main())
