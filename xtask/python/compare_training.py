"""Training of one network by PyTorch and by Edgefront, side by side.

Both train the same torchvision network on the same pictures with the same batch, descent and threads, one epoch in
turns, each in a process of its own. The pictures are read before the clock starts; the first turn of each is not
counted. On a GPU a turn is three epochs, the last of which counts: kernels are compiled in the first.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

WORK = Path(__file__).with_name("training_work.py")


def main():
    arguments = parse()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    model, pictures = out / "model.onnx", out / "train.safetensors"
    size = arguments.size
    run(arguments.edgefront, "pack", arguments.train, "-o", pictures, "--size", size, *preprocess(arguments))
    shape = f"1x3x{size}"
    run(arguments.edgefront, "export", "torch", arguments.network, "-o", model, "--shape", shape, "--python", sys.executable)

    epochs = 1 if arguments.device == "cpu" else 3
    torch = [sys.executable, WORK, arguments.network, pictures, arguments.batch, arguments.threads, epochs]
    torch.append("cpu" if arguments.device == "cpu" else "cuda")
    edgefront = [
        *(arguments.edgefront, "train", model, "-o", out / "trained.onnx", "--train", pictures, "--epochs", epochs),
        *("--batch", arguments.batch, "--threads", arguments.threads, "--json"),
        *(("--device", arguments.device) if arguments.device != "cpu" else ()),
    ]
    speeds = {"pytorch": [], "edgefront": []}
    peaks = {"pytorch": 0.0, "edgefront": 0.0}
    for turn in range(arguments.turns + 1):
        for tool, command in (("pytorch", torch), ("edgefront", edgefront)):
            print(f"turn {turn} of {arguments.turns}: {tool}", file=sys.stderr)
            written, peak = measured(command, out / "log.txt")
            peaks[tool] = max(peaks[tool], peak)
            if turn > 0:
                speeds[tool].append(speed(tool, written))
    show(speeds, peaks)


def parse():
    parser = argparse.ArgumentParser(prog="cargo xtask compare-training", description=__doc__.split("\n", 1)[0])
    parser.add_argument("network", help="name of a torchvision classifier: resnet18, mobilenet_v2")
    parser.add_argument("--train", type=Path, required=True, metavar="DATA", help="labelled pictures, as `edgefront pack` reads them")
    parser.add_argument("--size", default="64x64", metavar="HxW", help="rows and columns of the pictures [64x64]")
    parser.add_argument("--preprocess", metavar="NAME|FILE", help="as `edgefront pack` takes it")
    parser.add_argument("--batch", type=int, default=64, metavar="N", help="pictures of a step [64]")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N", help="threads of both [all]")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda", "wgpu"], help="where both train; PyTorch by CUDA on any GPU [cpu]")
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="counted epochs of each; the median counts [3]")
    parser.add_argument("--edgefront", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.train.exists():
        parser.error(f"{arguments.train} is not there")
    missing = [name for name in ("torch", "torchvision", "numpy") if importlib.util.find_spec(name) is None]
    if missing:
        parser.error(f"{sys.executable} has no {', '.join(missing)}; install them, or name a Python that has by PYTHON=")
    return arguments


def preprocess(arguments):
    return ("--preprocess", arguments.preprocess) if arguments.preprocess else ()


def run(*command):
    subprocess.run([str(part) for part in command], stdout=sys.stderr, check=True)


def measured(command, log):
    """What one process wrote, and its peak resident megabytes."""
    with open(log, "a") as sink:
        child = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=sink)
        written = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"error: {command[0]} failed; its words are in {log}")
    return written, usage.ru_maxrss * 1024 / 1e6


def speed(tool, written):
    """Pictures a second of the epoch."""
    found = json.loads(written)
    return found["images_per_second"] if tool == "pytorch" else found["epochs"][-1]["images_per_second"]


def show(speeds, peaks):
    median = {tool: statistics.median(found) for tool, found in speeds.items()}
    print(f"{'':10}{'pictures/s':>12}{'least':>10}{'most':>10}{'peak MB':>10}")
    for tool, found in speeds.items():
        print(f"{tool:10}{median[tool]:12.0f}{min(found):10.0f}{max(found):10.0f}{peaks[tool]:10.0f}")
    print(f"an epoch takes Edgefront {median['pytorch'] / median['edgefront']:.2f} times as long as PyTorch")


if __name__ == "__main__":
    main()
