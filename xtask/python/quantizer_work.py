"""The heavy steps of compare_quantizers.py, each a process of its own."""

import json
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

import packs

RUNS = 20
"""Timed runs of one model in one round."""
LEAD_IN = 3
"""Untimed runs before them: the caches hold another model."""
BATCH = 50
"""Pictures at once where only outputs count; fewer where the model fixes its batch."""


def size(model):
    """Rows and columns of the model's input, where they are fixed."""
    shape = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).get_inputs()[0].shape
    if all(isinstance(extent, int) for extent in shape[2:]):
        print("x".join(map(str, shape[2:])))


def export(pack, npz):
    """The floats of a pack in a file that both tools read."""
    images, labels = packs.read(pack)
    np.savez(npz, images=images, **({} if labels is None else {"labels": labels}))


def quantize(model, npz, output, method, samples):
    """ONNX Runtime's best setting: pre-processed, QDQ, per channel, U8 activations, S8 weights."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self, name, images):
            self.feeds = ({name: image[None]} for image in images)

        def get_next(self):
            return next(self.feeds, None)

    images = np.load(npz)["images"][: int(samples)]
    name = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).get_inputs()[0].name
    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    # It writes files beside its input, in which two runs would collide.
    with tempfile.TemporaryDirectory() as folder:
        prepared = str(Path(folder, "prepared.onnx"))
        quant_pre_process(model, prepared)
        quantize_static(
            prepared,
            output,
            Reader(name, images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=methods[method],
        )


def forward(model, npz, samples):
    """The seconds of the forward passes alone, on as many threads as the quantizers take, one picture at a time."""
    images = np.load(npz)["images"][: int(samples)]
    session, name = open_session(model, 0)
    session.run(None, {name: images[:1]})
    start = time.perf_counter()
    for image in images:
        session.run(None, {name: image[None]})
    print(json.dumps({"samples": len(images), "seconds": time.perf_counter() - start}))


def evaluate(npz, rounds, threads, *models):
    """Top-1, logit SQNR against the first model, and the median latency of each model."""
    data = np.load(npz)
    images, labels = data["images"], data["labels"]
    sessions = [open_session(model, int(threads)) for model in models]
    logits = [outputs(session, name, images) for session, name in sessions]
    times = latencies(sessions, images[:1], int(rounds))
    print(
        json.dumps(
            [
                {
                    "top1": float((found.argmax(1) == labels).mean()),
                    "sqnr_db": None if found is logits[0] else sqnr_db(logits[0], found),
                    "p50_ms": float(np.median(taken)) * 1e3,
                }
                for found, taken in zip(logits, times)
            ]
        )
    )


def open_session(model, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session, session.get_inputs()[0].name


def outputs(session, name, images):
    fixed = session.get_inputs()[0].shape[0]
    batch = fixed if isinstance(fixed, int) else BATCH
    parts = [session.run(None, {name: images[at : at + batch]})[0] for at in range(0, len(images), batch)]
    return np.concatenate(parts).astype(np.float64)


def sqnr_db(reference, found):
    """Signal to quantization noise, in decibels."""
    noise = ((reference - found) ** 2).sum()
    return float(10 * np.log10((reference**2).sum() / noise)) if noise > 0 else None


def latencies(sessions, image, rounds):
    """Seconds of each timed run; in a round every model runs, in an order shuffled anew, so that a drift of the
    machine falls on all alike."""
    order, times = list(range(len(sessions))), [[] for _ in sessions]
    shuffle = random.Random(1).shuffle
    for _ in range(rounds):
        shuffle(order)
        for index in order:
            session, name = sessions[index]
            feed = {name: image}
            for _ in range(LEAD_IN):
                session.run(None, feed)
            for _ in range(RUNS):
                start = time.perf_counter()
                session.run(None, feed)
                times[index].append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    steps = {step.__name__: step for step in (size, export, quantize, forward, evaluate)}
    steps[sys.argv[1]](*sys.argv[2:])
