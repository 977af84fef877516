"""A model in ONNX Runtime and the TFLite file that Edgefront makes of it in LiteRT's interpreter, on the same inputs."""

import argparse
import json
import subprocess
import time
from pathlib import Path

import numpy as np
import onnxruntime
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

import tflite_operators


def main():
    arguments = parse()
    arguments.out.mkdir(parents=True, exist_ok=True)
    suffix = ".fp16.tflite" if arguments.half else ".tflite"
    path = arguments.out / (arguments.model.stem + suffix)
    subprocess.run([arguments.edgefront, "convert", arguments.model, "-o", path], check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
    interpreter, axes = opened(path), axes_of(path)
    wanted, given = [], []
    for feeds in samples(session, arguments):
        wanted.append([value.ravel() for value in session.run(None, feeds)])
        given.append([value.ravel() for value in outputs(interpreter, axes, feeds)])
    for index, port in enumerate(axes["outputs"]):
        report(port["name"], *(np.stack([row[index] for row in rows]) for rows in (wanted, given)))
    if arguments.operators:
        tflite_operators.report(arguments.model, path, samples(session, arguments))
    print("kernels:", ", ".join(f"{name} {count}" for name, count in sorted(kernels(path).items())))
    latencies([path, *arguments.beside], arguments.rounds)


def parse():
    parser = argparse.ArgumentParser(prog="cargo xtask compare-tflite", description=__doc__)
    parser.add_argument("model", type=Path, help="an ONNX model, float32, fp16 or quantized by `edgefront quantize`")
    parser.add_argument("--inputs", type=Path, metavar="NPZ", help="an array for each input, samples first [noise]")
    parser.add_argument("--samples", type=int, default=20, metavar="N", help="of noise, or the most of NPZ [20]")
    parser.add_argument("--operators", action="store_true", help="hold each operator's integers to ONNX Runtime's")
    parser.add_argument("--half", action="store_true", help="store weights in half precision")
    parser.add_argument("--beside", type=Path, nargs="*", default=[], metavar="TFLITE", help="files to time in turns with it")
    parser.add_argument("--rounds", type=int, default=200, metavar="N", help="of three runs of each file [200]")
    parser.add_argument("--edgefront", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def opened(path):
    """The interpreter as it comes, with XNNPACK, on one thread."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def axes_of(path):
    """How the axes of inputs and outputs lie, which the file says itself."""
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == b"edgefront.axes":
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    raise SystemExit(f"{path} does not say how its axes lie")


def samples(session, arguments):
    """Inputs of one sample each, by name."""
    if arguments.inputs:
        arrays = np.load(arguments.inputs)
        count = min(arguments.samples, *(len(arrays[port.name]) for port in session.get_inputs()))
        for index in range(count):
            yield {port.name: arrays[port.name][index : index + 1] for port in session.get_inputs()}
        return
    noise = np.random.default_rng(0)
    for _ in range(arguments.samples):
        yield {
            port.name: noise.standard_normal([1 if isinstance(extent, str) else extent for extent in port.shape], np.float32)
            for port in session.get_inputs()
        }


def outputs(interpreter, axes, feeds):
    """The outputs with their axes as in the ONNX model."""
    for detail, port in zip(interpreter.get_input_details(), axes["inputs"]):
        interpreter.set_tensor(detail["index"], np.ascontiguousarray(feeds[port["name"]].transpose(port["axes"])))
    interpreter.invoke()
    details = zip(interpreter.get_output_details(), axes["outputs"])
    return [interpreter.get_tensor(detail["index"]).transpose(np.argsort(port["axes"])) for detail, port in details]


def report(name, wanted, given):
    difference = np.abs(wanted - given)
    step = (wanted.max() - wanted.min()) / 255
    print(
        f"{name}: largest difference {difference.max():.3g} of outputs up to {np.abs(wanted).max():.3g}, "
        f"{100 * (difference <= step).mean():.2f} % within 1/255 of their range, "
        f"same largest output in {(wanted.argmax(1) == given.argmax(1)).sum()} of {len(wanted)}"
    )


def kernels(path):
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    counts = {}
    for index in range(graph.OperatorsLength()):
        name = names[model.OperatorCodes(graph.Operators(index).OpcodeIndex()).BuiltinCode()]
        counts[name] = counts.get(name, 0) + 1
    return counts


def latencies(paths, rounds):
    """Milliseconds of one run, the files in turns."""
    interpreters = [opened(path) for path in paths]
    for interpreter in interpreters:
        for detail in interpreter.get_input_details():
            noise = np.random.default_rng(0).standard_normal(detail["shape"])
            interpreter.set_tensor(detail["index"], noise.astype(detail["dtype"]))
        for _ in range(20):
            interpreter.invoke()
    taken = [[] for _ in paths]
    for _ in range(rounds):
        for interpreter, times in zip(interpreters, taken):
            for _ in range(3):
                start = time.perf_counter()
                interpreter.invoke()
                times.append(1e3 * (time.perf_counter() - start))
    for path, times in zip(paths, taken):
        print(f"{path}: median {np.median(times):.3f} ms, tenth {np.quantile(times, 0.1):.3f} ms")


if __name__ == "__main__":
    main()
