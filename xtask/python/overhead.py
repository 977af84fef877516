"""The median latency by `edgefront bench` beside that of a bare loop on the same library and settings, in turns."""

import argparse
import json
import statistics
import subprocess


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="an ONNX file with one input of floats")
    parser.add_argument("--shape", required=True, help="of the input, as in 1x3x64x64")
    parser.add_argument("--library", required=True, help="libonnxruntime.so, for both")
    parser.add_argument("--edgefront", default="target/release/edgefront")
    parser.add_argument("--bare", default="target/release/examples/bare_ort")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    bare, bench = [], []
    for turn in range(arguments.turns):
        both = [lambda: bare.append(by_loop(arguments)), lambda: bench.append(by_bench(arguments))]
        for measure in both if turn % 2 == 0 else reversed(both):
            measure()
        print(f"turn {turn + 1}: bare {bare[-1]:.4f} ms, edgefront {bench[-1]:.4f} ms", flush=True)
    low, middle, high = statistics.quantiles([own / loop for own, loop in zip(bench, bare)], n=4)
    print(f"median P50: bare {statistics.median(bare):.4f} ms, edgefront {statistics.median(bench):.4f} ms")
    print(f"ratio of a turn: median {middle:.4f}, middle half {low:.4f} to {high:.4f}")


def by_loop(arguments):
    command = [arguments.bare, arguments.library, arguments.model, str(arguments.seconds), arguments.shape]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def by_bench(arguments):
    command = [arguments.edgefront, "bench", arguments.model, "--runtime", "ort", "--shape", arguments.shape]
    command += ["--runtime-path", arguments.library, "--min-time", f"{arguments.seconds}s", "--json"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(said)["records"][0]["latency_ms"]["p50"]


if __name__ == "__main__":
    main()
