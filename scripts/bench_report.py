"""Puts what the parts of the benchmark found into one table, one JSON file, one picture, and docs/performance.md.

    bench_report.py environment TARGET            write TARGET/environment.json, before the parts run
    bench_report.py report TARGET [DOCUMENT]      read TARGET/parts/*.json, write report.json and report.svg, print all;
                                                  with DOCUMENT, put the tables between its two marker comments

A part is {"part", "title", "columns", "rows", "notes", "checks": [{"name", "expected", "found", "holds"}]}; every cell is a
text. Only the standard library is needed.
"""

import datetime
import glob
import json
import os
import platform
import re
import subprocess
import sys
from xml.sax.saxutils import escape

BEGIN = "<!-- figures: written by ./dev bench --write-docs -->"
END = "<!-- end of figures -->"

# What the picture shows: part, title, unit, columns (several are shown side by side).
PANELS = [
    ("b", "Frames per second: pipeline and limit, by feeds", "frames/s", ["frames/s", "limit"]),
    ("c", "Processor time per frame beside the model, by feeds", "us", ["CPU us"]),
    ("e", "Four files, frames per second", "frames/s", ["frames/s"]),
    ("e", "Four files, processor time per frame", "ms", ["CPU ms/frame"]),
    ("f", "Four files against nv-runtime, frames per second", "frames/s", ["frames/s"]),
    ("f", "Four files against nv-runtime, processor time per frame", "ms", ["CPU ms/frame"]),
    ("g", "Latency by load, p99 and its bound", "ms", ["p99 ms", "bound ms"]),
]
COLOURS = ["#2f6db3", "#c0c6cf"]


def said_by(*command):
    """The first line a program prints, or that it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "not present"
    return (done.stdout.strip().splitlines() or [""])[0]


def field_of(path, name):
    """The first value of a line 'name : value' of a file of the kernel."""
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() == name:
                    return value.strip()
    except OSError:
        pass
    return "unknown"


def environment():
    """The machine and the versions, now."""
    changed = said_by("git", "status", "--porcelain", "--untracked-files=no") not in ("", "not present")
    library = os.path.realpath(os.environ.get("ORT_DYLIB_PATH", "unknown"))
    version = re.search(r"\.so\.([\d.]+)$", library)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "processor": field_of("/proc/cpuinfo", "model name"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": field_of("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "GStreamer": said_by("gst-launch-1.0", "--version").rpartition(" ")[2],
        "ONNX Runtime": version.group(1) if version else "unknown",
        "rustc": said_by("rustc", "--version"),
        "commit": said_by("git", "rev-parse", "--short", "HEAD") + (" with changes" if changed else ""),
        "load average before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def read(target):
    """The environment and the parts, by their letters."""
    parts = []
    for path in sorted(glob.glob(os.path.join(target, "parts", "*.json"))):
        with open(path, encoding="utf-8") as file:
            parts.append(json.load(file))
    try:
        with open(os.path.join(target, "environment.json"), encoding="utf-8") as file:
            around = json.load(file)
    except OSError:
        around = {}
    return {"environment": around, "parts": parts}


def verdict(check):
    """One check as a sentence."""
    word = "holds" if check["holds"] else "DOES NOT HOLD"
    return f'{word}: {check["name"]}: expected {check["expected"]}, found {check["found"]}'


def terminal(report):
    """All tables as text, and the checks of all parts once more at the end."""
    lines = [f"{name}: {value}" for name, value in report["environment"].items()]
    for part in report["parts"]:
        table = [part["columns"], *part["rows"]]
        widths = [max(len(row[at]) for row in table if at < len(row)) for at in range(len(part["columns"]))]
        lines += ["", f'({part["part"]}) {part["title"]}']
        for row in table:
            cells = [cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in enumerate(zip(row, widths))]
            lines.append("  " + "  ".join(cells).rstrip())
        lines += [f"  - {note}" for note in part["notes"]]
    lines += ["", "Promises:"]
    lines += [f'  ({part["part"]}) {verdict(check)}' for part in report["parts"] for check in part["checks"]]
    return "\n".join(lines) + "\n"


def markdown(report):
    """The same for docs/performance.md."""
    def row(cells):
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    lines = [row(["", ""]), row(["---", "---"])]
    lines += [row([name, value]) for name, value in report["environment"].items()]
    for part in report["parts"]:
        lines += ["", f'### ({part["part"]}) {part["title"]}', "", row(part["columns"])]
        lines.append(row(["---"] + ["---:"] * (len(part["columns"]) - 1)))
        lines += [row(cells) for cells in part["rows"]]
        lines += [""] + [f"* {note}" for note in part["notes"]]
        if part["checks"]:
            lines += ["", row(["promise", "expected", "found", ""]), row(["---", "---", "---", "---"])]
        for check in part["checks"]:
            word = "holds" if check["holds"] else "**does not hold**"
            lines.append(row([check["name"], check["expected"], check["found"], word]))
    return "\n".join(lines) + "\n"


def number(cell):
    """The number a cell begins with, or None."""
    found = re.match(r"-?\d+(\.\d+)?", cell)
    return float(found.group()) if found else None


def panel(part, columns):
    """Labels and the numbers of these columns; rows without a number are left out."""
    places = [part["columns"].index(column) for column in columns if column in part["columns"]]
    bars = []
    for row in part["rows"]:
        values = [number(row[at]) for at in places if at < len(row)]
        if places and None not in values and len(values) == len(places):
            label = row[0] if part["columns"][0] != "feeds" else f"{row[0]} feeds"
            bars.append((label, values))
    return bars


def picture(report):
    """Bars for the columns that PANELS names, as SVG."""
    width, left, bar, body, y = 900, 330, 14, [], 16
    for letter, title, unit, columns in PANELS:
        part = next((part for part in report["parts"] if part["part"] == letter), None)
        bars = panel(part, columns) if part else []
        if not bars:
            continue
        most = max(max(values) for _, values in bars) or 1
        y += 14
        body.append(f'<text x="10" y="{y}" font-weight="bold">{escape(title)}</text>')
        y += 8
        for label, values in bars:
            body.append(f'<text x="{left - 8}" y="{y + 11}" text-anchor="end">{escape(label[:52])}</text>')
            for value, colour, column in zip(values, COLOURS, columns):
                length = max(1, value / most * (width - left - 130))
                body.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar - 2}" fill="{colour}"/>')
                text = f"{value:g} {unit}" + (f" ({column})" if len(values) > 1 else "")
                body.append(f'<text x="{left + length + 5:.1f}" y="{y + 10}" font-size="10">{escape(text)}</text>')
                y += bar
            y += 4
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y + 10}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, f'<rect width="{width}" height="{y + 10}" fill="#ffffff"/>', *body, "</svg>"]) + "\n"


def with_figures(document, figures):
    """The document with these figures in place of those between its markers."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected the lines '{BEGIN}' and '{END}'")
    return f"{before}{BEGIN}\n\n{figures}\n{END}{after}"


def write(path, text):
    """Writes a file anew."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def main(arguments):
    """Does what the first argument says; returns the exit status."""
    command, target, *rest = arguments
    os.makedirs(target, exist_ok=True)
    if command == "environment":
        write(os.path.join(target, "environment.json"), json.dumps(environment(), indent=1) + "\n")
        return 0
    report = read(target)
    write(os.path.join(target, "report.json"), json.dumps(report, indent=1) + "\n")
    write(os.path.join(target, "report.svg"), picture(report))
    print(terminal(report), end="")
    for path in rest:
        with open(path, encoding="utf-8") as file:
            document = file.read()
        write(path, with_figures(document, markdown(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
