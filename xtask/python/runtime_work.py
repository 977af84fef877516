"""What `compare_runtimes.py` runs in a process of its own: the median of a runtime's own tool, in milliseconds, as the last
line.

Usage: runtime_work.py RUNTIME MODEL THREADS SECONDS [SHAPE]"""

import statistics
import sys
import time


def openvino(model, threads, seconds, shape):
    """benchmark_app as it is, but for its median, which it prints with two decimals. It would feed pictures as bytes and
    convert them within the inference; -ip keeps the type of the file."""
    from openvino.tools.benchmark import benchmark, main

    medians = []
    main_loop = benchmark.Benchmark.main_loop

    def heard(*arguments):
        result = main_loop(*arguments)
        medians.append(result[1])
        return result

    benchmark.Benchmark.main_loop = heard
    sys.argv = ["benchmark_app", "-m", model, "-d", "CPU", "-api", "sync", "-hint", "none", "-nstreams", "1"]
    sys.argv += ["-nthreads", str(threads), "-t", str(seconds), "-infer_precision", "f32", "-ip", "f32"]
    if shape:
        sys.argv += ["-shape", f"[{shape.replace('x', ',')}]"]
    main.main()
    return medians[0] if medians else sys.exit(1)


def ort(model, threads, seconds, shape):
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    types = {"tensor(float)": numpy.float32, "tensor(float16)": numpy.float16, "tensor(int64)": numpy.int64}
    for port in session.get_inputs():
        extents = [int(extent) for extent in shape.split("x")] if shape else port.shape
        noise = numpy.random.default_rng(0).standard_normal(extents)
        binding.bind_cpu_input(port.name, noise.astype(types[port.type]))
    for port in session.get_outputs():
        binding.bind_output(port.name)
    return timed(lambda: session.run_with_iobinding(binding), seconds)


def tflite(model, threads, seconds, _):
    import numpy
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=model, num_threads=threads)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        noise = numpy.random.default_rng(0).standard_normal(detail["shape"])
        interpreter.set_tensor(detail["index"], noise.astype(detail["dtype"]))
    return timed(interpreter.invoke, seconds)


def tvm(model, threads, seconds, _):
    import json
    import struct
    from pathlib import Path

    import numpy
    import tvm
    from tvm import relax

    tvm.get_global_func("runtime.config_threadpool")(1, threads)
    file = Path(model).read_bytes()
    # What `edgefront convert` put there: JSON, its length, and a mark.
    (length,) = struct.unpack("<Q", file[-16:-8])
    record = json.loads(file[-16 - length : -16])
    machine = relax.VirtualMachine(tvm.runtime.load_module(model), tvm.cpu())
    noise = numpy.random.default_rng(0)
    inputs = [tvm.runtime.tensor(noise.standard_normal(port["shape"]).astype(port["type"])) for port in record["inputs"]]
    main = machine["main"]
    return timed(lambda: main(*inputs), seconds)


def timed(work, seconds):
    """After half a second to warm up, as `edgefront bench` has."""
    taken = []
    now = time.perf_counter()
    begin, end = now + 0.5, now + 0.5 + seconds
    while now < end:
        start = now
        work()
        now = time.perf_counter()
        if start >= begin:
            taken.append(1e3 * (now - start))
    return statistics.median(taken)


if __name__ == "__main__":
    runtime, model, threads, seconds, *shape = sys.argv[1:]
    print({"openvino": openvino, "ort": ort, "tflite": tflite, "tvm": tvm}[runtime](model, int(threads), int(seconds), next(iter(shape), None)))
