"""Every runtime of this machine on the same networks: one table of accuracy, latency, throughput, size and energy."""

import argparse
import datetime
import json
import platform
import subprocess
import sys
from pathlib import Path

HEAD = "| configuration | version | threads | top-1 | P50 ms | P99 ms | pictures/s | file MB | memory MB | mJ a picture |"


def main():
    arguments = parse()
    edgefront = arguments.edgefront
    runtimes = arguments.runtimes or ",".join(installed(edgefront))
    tables = []
    for model in arguments.models:
        out = arguments.out / model.stem
        command = [edgefront, "optimize", model, "--val", arguments.val, "--calib", arguments.calib, "--out", out]
        command += ["--fresh", "--runtimes", runtimes, "--variants", arguments.variants, "--threads", arguments.threads]
        command += ["--tvm-trials", str(arguments.tvm_trials)]
        code = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
        # 3: some jobs failed, and the results name them.
        if code not in (0, 3):
            sys.exit(f"`{' '.join(map(str, command))}` ended with {code}")
        tables.append(table(model.stem, json.loads((out / "results.json").read_text())))
    text = "\n\n".join([heading(runtimes), *tables]) + "\n"
    print(text)
    if arguments.save:
        save(arguments.save, text)


def parse():
    parser = argparse.ArgumentParser(prog="cargo xtask runtimes-table", description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="ONNX classifiers")
    parser.add_argument("--val", type=Path, required=True, metavar="DATA", help="labelled pictures to score on")
    parser.add_argument("--calib", type=Path, required=True, metavar="DATA", help="pictures to calibrate on")
    parser.add_argument("--runtimes", metavar="LIST", help="[all that are installed]")
    parser.add_argument("--variants", default="fp32,ptq-int8-pc", metavar="LIST", help="[fp32,ptq-int8-pc]")
    parser.add_argument("--threads", default="1", metavar="LIST", help="[1]")
    parser.add_argument("--tvm-trials", type=int, default=500, metavar="N", help="that TVM may measure for each file [500]")
    parser.add_argument("--save", type=Path, metavar="FILE", help="put the table in a document, between its marks")
    parser.add_argument("--edgefront", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def installed(edgefront):
    listed = subprocess.run([edgefront, "runtimes", "--json"], check=True, capture_output=True, text=True).stdout
    rows = [row for row in json.loads(listed) if row["ready"] and row["name"] != "null"]
    written = [row["name"] if provider == "cpu" else f"{row['name']}:{provider}" for row in rows for provider in row["providers"]]
    # That is what `tvm` is called where its search fails.
    return [name for name in written if name != "tvm:untuned"]


def heading(runtimes):
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = f"{len(names)} cores of {names[0]}" if names else platform.machine()
    return f"{datetime.date.today()}, {processor}, {platform.system()} {platform.release()}. Runtimes: {runtimes}."


def table(name, results):
    rows = [HEAD, "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    records = sorted(results["records"], key=lambda record: (record["latency_ms"]["p50"], record["variant"]))
    rows += [row(record) for record in records]
    for failed in results["failed"]:
        rows.append(f"| {failed['variant']} / {failed['runtime']} | {failed['error']} |" + " |" * 8)
    return f"### {name}\n\n" + "\n".join(rows)


def row(record):
    latency, accuracy, energy = record["latency_ms"], record["accuracy"], record["energy"]
    number = lambda value, digits: "-" if value is None else f"{value:.{digits}f}"
    cells = [
        f"{record['variant']} / {record['runtime']} / {record['provider']}",
        record["runtime_version"],
        record["threads"],
        number(accuracy and accuracy["top1"], 3),
        number(latency["p50"], 3),
        number(latency["p99"], 3),
        number(record["throughput_ips"], 0),
        number(record["artifact"]["bytes"] / 1e6, 2),
        number(record["memory"]["peak_rss_mb"], 0),
        number(energy and energy["mj_per_inference"], 2),
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def save(path, text):
    """Between the marks that the document has, or at its end."""
    begin, end = "<!-- runtimes -->\n", "<!-- /runtimes -->\n"
    document = path.read_text() if path.exists() else ""
    before, _, rest = document.partition(begin)
    if rest and end not in rest:
        sys.exit(f"{path}: `{begin.strip()}` stands there without `{end.strip()}`")
    after = rest.partition(end)[2]
    path.write_text(before + begin + text + end + after)


main()
