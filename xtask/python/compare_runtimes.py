"""`edgefront bench` beside each runtime's own tool: the same file, library, threads and precision, in turns.

OpenVINO's tool is its benchmark_app, ONNX Runtime's a Python session with bound inputs and outputs, LiteRT's its Python
interpreter, TVM's its virtual machine in Python. A ratio above 1 says that Edgefront measures longer latencies."""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

WORK = Path(__file__).with_name("runtime_work.py")
# The folder of each library in the venv, so that both run the same one.
LIBRARIES = {"openvino": "openvino/libs", "ort": "onnxruntime/capi", "tflite": "ai_edge_litert", "tvm": "tvm/lib"}


def main():
    arguments = parse()
    arguments.out.mkdir(parents=True, exist_ok=True)
    found = []
    for model in arguments.models:
        for threads in arguments.threads:
            found += compared(arguments, model, threads)
    show(found)
    (arguments.out / "runtimes.json").write_text(json.dumps(found, indent=2))


def parse():
    parser = argparse.ArgumentParser(prog="cargo xtask compare-runtimes", description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="ONNX, TensorFlow Lite in a file that ends in .tflite, or TVM's code in one that ends in .so")
    parser.add_argument("--runtimes", nargs="+", metavar="NAME", choices=LIBRARIES, default=list(LIBRARIES), help="of openvino, ort, tflite, tvm [all]")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], metavar="N", help="within one inference [1]")
    parser.add_argument("--shape", metavar="SHAPE", help="of the input, batch included, as in 1x3x64x64; for ONNX models")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="turns of each [9]")
    parser.add_argument("--seconds", type=int, default=2, metavar="N", help="that a turn measures [2]")
    parser.add_argument("--edgefront", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def compared(arguments, model, threads):
    """One row a runtime that takes the file."""
    takes = {".tflite": ["tflite"], ".so": ["tvm"]}.get(model.suffix, ["openvino", "ort"])
    rows = []
    for runtime in (name for name in takes if name in arguments.runtimes):
        turns = {"edgefront": [], "own": []}
        ways = [("edgefront", edgefront), ("own", own)]
        for turn in range(arguments.rounds):
            # Neither is always the one that comes after a pause.
            for name, way in ways if turn % 2 == 0 else reversed(ways):
                turns[name].append(way(arguments, runtime, model, threads))
            note(f"{model.name} {runtime}, {threads} thread(s): {turns['edgefront'][-1]:.4f} ms and {turns['own'][-1]:.4f} ms")
        rows.append({"model": model.name, "runtime": runtime, "threads": threads, **turns})
    return rows


def edgefront(arguments, runtime, model, threads):
    command = [arguments.edgefront, "bench", model, "--runtime", runtime, "--threads", threads, "--json"]
    command += ["--min-time", f"{arguments.seconds}s", "--runtime-path", library(runtime), *shape(arguments)]
    report = json.loads(run(command))
    if report["failed"]:
        sys.exit(f"error: edgefront: {report['failed'][0]['error']}")
    return report["records"][0]["latency_ms"]["p50"]


def own(arguments, runtime, model, threads):
    shapes = [arguments.shape] if arguments.shape else []
    said = run([sys.executable, WORK, runtime, model, threads, arguments.seconds, *shapes])
    return float(said.splitlines()[-1])


def shape(arguments):
    return ["--shape", arguments.shape] if arguments.shape else []


def library(runtime):
    folders = Path(sys.prefix).glob(f"lib/python*/site-packages/{LIBRARIES[runtime]}")
    return next(folders, None) or sys.exit(f"error: {sys.prefix} holds no {LIBRARIES[runtime]}")


def run(command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(str(part) for part in command)} failed: {done.stderr or done.stdout}")
    return done.stdout


def show(rows):
    print(f"{'model':32} {'runtime':9} threads  edgefront ms    own ms   ratio   ratios of the turns, from the middle half")
    for row in rows:
        ours, theirs = statistics.median(row["edgefront"]), statistics.median(row["own"])
        ratios = sorted(a / b for a, b in zip(row["edgefront"], row["own"]))
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        print(f"{row['model']:32} {row['runtime']:9} {row['threads']:7}  {ours:12.4f} {theirs:9.4f}  {ours / theirs:6.3f}   {low:.3f} to {high:.3f}")


def note(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
