"""Seconds and processor seconds of each stage against the number of cells, with the exponent that fits.

    python3 bench/scale_table.py 10000=STUDY 30000=STUDY ...

The exponent is the slope of log(processor seconds) over log(cells), by least squares over the studies in
which the stage took at least 0.2 s: 1 = linear, 2 = quadratic. `last` is the slope between the two largest."""
import json
import math
import sys


def slope(points):
    if len(points) < 2:
        return None
    x = [math.log(n) for n, _ in points]
    y = [math.log(t) for _, t in points]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y)) / sum((a - mx) ** 2 for a in x)


def main():
    studies = []
    for argument in sys.argv[1:]:
        n, folder = argument.split("=", 1)
        with open(f"{folder}/study.json") as file:
            studies.append((int(n), json.load(file)["stages"]))
    studies.sort()
    print("| stage | " + " | ".join(f"{n:,}" for n, _ in studies) + " | exponent | last |")
    print("|---|" + "---|" * (len(studies) + 2))
    totals = [0.0] * len(studies)
    for stage in studies[-1][1]:
        cells, points = [], []
        for i, (n, stages) in enumerate(studies):
            record = stages.get(stage, {})
            seconds, cpu = record.get("seconds"), record.get("cpu_seconds")
            cells.append("-" if seconds is None else f"{cpu:.1f} ({seconds:.1f})")
            totals[i] += cpu or 0
            if cpu and cpu >= 0.2:
                points.append((n, cpu))
        fits = [slope(points), slope(points[-2:])]
        print(f"| {stage} | " + " | ".join(cells) + " | " +
              " | ".join("-" if f is None else f"{f:.2f}" for f in fits) + " |")
    print("| all | " + " | ".join(f"{t:.0f}" for t in totals) + " | " +
          f"{slope([(n, t) for (n, _), t in zip(studies, totals)]):.2f} | |")


main()
