"""Static INT8 quantization of one model by ONNX Runtime's own tools and by Edgefront, side by side.

Both read the same file of floats, quantize on the same library, and take turns; each run is a process of its own,
whose wall-clock time and peak memory the system tells. This driver imports nothing heavy: a child's peak is at
least what its parent had when it was started.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

WORK = Path(__file__).with_name("quantizer_work.py")
METHODS = ("minmax", "entropy", "percentile", "mse")
EDGEFRONTS_OWN = ("mse",)
"""Methods that ONNX Runtime's quantizer does not know."""


def main():
    arguments = parse()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    model = Path(shutil.copy(arguments.model, out / "fp32.onnx"))
    arguments.size = arguments.size or work("size", model).strip()
    calib, val = (export(arguments, name) for name in ("calib", "val"))

    candidates = quantizations(arguments, model, calib)
    passes = []
    for turn in range(arguments.turns):
        passes.append(json.loads(work("forward", model, calib, arguments.samples)))
        for name, candidate in candidates.items():
            note(f"turn {turn + 1} of {arguments.turns}: {name}")
            candidate["runs"].append(measured(candidate["command"], out / "log.txt"))

    note("accuracy and latency")
    candidates = {"FP32": {"file": model}, **candidates}
    forward = {**passes[0], "seconds": statistics.median(taken["seconds"] for taken in passes)}
    files = [candidate["file"] for candidate in candidates.values()]
    figures = json.loads(work("evaluate", val, arguments.rounds, arguments.threads, *files))
    rows = [row(name, candidate, found) for (name, candidate), found in zip(candidates.items(), figures)]
    report = {"model": str(arguments.model), "samples": arguments.samples, "forward": forward, "rows": rows}
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    show(report, arguments)


def parse():
    parser = argparse.ArgumentParser(prog="cargo xtask compare-quantizers", description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", type=Path, help="an FP32 ONNX classifier with one input of pictures")
    parser.add_argument("--calib", type=Path, required=True, metavar="DATA", help="pictures, as `edgefront pack` reads them")
    parser.add_argument("--val", type=Path, required=True, metavar="DATA", help="the same, with labels")
    parser.add_argument("--size", metavar="HxW", help="rows and columns of the pictures, where the model takes any")
    parser.add_argument("--preprocess", metavar="NAME|FILE", help="as `edgefront pack` takes it")
    parser.add_argument("--methods", type=methods, default=METHODS, metavar="LIST", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--min-sqnr", type=float, metavar="DB", help="one more run of Edgefront, with this floor")
    parser.add_argument("--samples", type=int, default=200, metavar="N", help="pictures to calibrate on [200]")
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="times each tool quantizes; the median counts [3]")
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="interleaved rounds of 20 timed runs [30]")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of the timed runs [1]")
    parser.add_argument("--edgefront", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for path in (arguments.model, arguments.calib, arguments.val):
        if not path.exists():
            parser.error(f"{path} is not there")
    return arguments


def methods(text):
    names = text.split(",")
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown method {unknown[0]}; it is one of {', '.join(METHODS)}")
    return names


def export(arguments, name):
    """The data set as floats in an `.npz`, which both tools read."""
    pack, floats = arguments.out / f"{name}.safetensors", arguments.out / f"{name}.npz"
    command = [arguments.edgefront, "pack", getattr(arguments, name), "-o", pack]
    for flag in ("size", "preprocess"):
        if getattr(arguments, flag):
            command += [f"--{flag}", getattr(arguments, flag)]
    run(command)
    work("export", pack, floats)
    return floats


def quantizations(arguments, model, calib):
    """What is compared: a file and the command that makes it, by name."""
    found = {}

    def add(name, line, method, *options):
        file = arguments.out / f"{name.replace(' ', '-')}.onnx"
        command = line(arguments, model, calib, file, method)
        found[name] = {"file": file, "command": [*command, *options], "runs": []}

    for method in arguments.methods:
        if method not in EDGEFRONTS_OWN:
            add(f"onnxruntime {method}", onnxruntime, method)
        add(f"edgefront {method}", edgefront, method)
    if arguments.min_sqnr is not None:
        add(f"edgefront mse, {arguments.min_sqnr:g} dB", edgefront, "mse", "--min-sqnr", arguments.min_sqnr)
    return found


def onnxruntime(arguments, model, calib, output, method):
    return [sys.executable, WORK, "quantize", model, calib, output, method, arguments.samples]


def edgefront(arguments, model, calib, output, method):
    return [
        *(arguments.edgefront, "quantize", model, "-o", output, "--calib", calib, "--preprocess", "none"),
        *("--method", method, "--samples", arguments.samples, "--per-channel", "true", "--activations", "u8"),
        *("--runtime-path", library()),
    ]


def library():
    """The folder of the venv's ONNX Runtime library, so that both tools run the same one."""
    folders = Path(sys.prefix).glob("lib/python*/site-packages/onnxruntime/capi")
    return next(folders, None) or sys.exit(f"error: {sys.prefix} holds no onnxruntime")


def measured(command, log):
    """Seconds and peak resident megabytes of one process."""
    with open(log, "a") as sink:
        start = time.perf_counter()
        child = subprocess.Popen([str(part) for part in command], stdout=sink, stderr=sink)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"error: {command[0]} failed; its words are in {log}")
    return {"seconds": seconds, "peak_mb": usage.ru_maxrss * 1024 / 1e6}


def row(name, candidate, found):
    runs = candidate.get("runs")
    cost = {key: statistics.median(run[key] for run in runs) for key in runs[0]} if runs else {}
    return {"name": name, **cost, **found, "mb": candidate["file"].stat().st_size / 1e6}


def show(report, arguments):
    heads = ("", "seconds", "peak MB", "top-1", "SQNR dB", "P50 ms", "of FP32", "MB")
    fp32 = report["rows"][0]["p50_ms"]
    table = [heads]
    for entry in report["rows"]:
        table.append(
            (
                entry["name"],
                text(entry.get("seconds"), 2),
                text(entry.get("peak_mb"), 0),
                text(entry["top1"], 4),
                text(entry["sqnr_db"], 2),
                text(entry["p50_ms"], 3),
                f"{fp32 / entry['p50_ms']:.2f}x",
                text(entry["mb"], 1),
            )
        )
    widths = [max(len(line[column]) for line in table) for column in range(len(heads))]
    for line in table:
        cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        print("  ".join(cells))
    forward = report["forward"]
    print(
        f"\nThe bare forward passes of {forward['samples']} samples take {forward['seconds']:.2f} s. Seconds and peaks are "
        f"medians of {arguments.turns} turns, processes whole; latencies of {arguments.rounds} interleaved rounds, batch 1, "
        f"{arguments.threads} thread(s)."
    )


def text(value, digits):
    return "" if value is None else f"{value:.{digits}f}"


def work(*arguments):
    return run([sys.executable, WORK, *arguments])


def run(command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"error: {command[0]} failed")
    return done.stdout


def note(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
