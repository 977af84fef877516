"""Trains the demonstration's network and writes `shapes.onnx`.

    cargo run --release -p edgefront --example demo_data -- /tmp/demo-data
    pip install torch onnx                  # made with torch 2.8 on a CPU, onnx 1.23
    python controller/assets/demo/train.py /tmp/demo-data controller/assets/demo/shapes.onnx

Training is seeded, but another version of torch or another processor ends at other weights of about the same
accuracy, which is printed for the validation pictures.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional

EPOCHS, BATCH, RATE = 10, 64, 0.005


class Block(nn.Module):
    """Two convolutions and a shortcut, as in ResNet."""

    def __init__(self, channels, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        inner = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class Shapes(nn.Module):
    """A residual network for 3x32x32 pictures of ten classes."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(Block(16, 32, 2), Block(32, 64, 2), Block(64, 96, 2))
        self.head = nn.Linear(96, 10)

    def forward(self, x):
        x = self.blocks(self.stem(x))
        return self.head(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))


def load(path):
    """The pictures of a pack as float32 [N, C, H, W] in -1..1, and their labels."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]

    def tensor(name, kind):
        start, end = header[name]["data_offsets"]
        return torch.from_numpy(np.frombuffer(body[start:end], kind).reshape(header[name]["shape"]).copy())

    images = tensor("images", np.uint8).permute(0, 3, 1, 2).float()
    return (images / 255 - 0.5) / 0.5, tensor("labels", np.int64)


def top1(network, images, labels):
    network.eval()
    with torch.no_grad():
        predictions = torch.cat([network(batch).argmax(1) for batch in images.split(250)])
    return (predictions == labels).float().mean().item()


def train(network, images, labels, report):
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.2)
    for epoch in range(EPOCHS):
        network.train()
        for picked in torch.randperm(len(images))[: steps // EPOCHS * BATCH].split(BATCH):
            batch = images[picked]
            # A mirrored or turned shape is of the same class.
            batch = batch.flip(3) if torch.rand(()) < 0.5 else batch
            batch = batch.rot90(int(torch.randint(4, ())), (2, 3)).contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(network(batch), labels[picked])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, top-1 {report():.3f}", flush=True)


def export(network, path):
    """Opset 17, dynamic batch, BatchNorm kept apart so that Edgefront's folding has something to do."""
    buffer = io.BytesIO()
    torch.onnx.export(
        network.eval(),
        torch.zeros(2, 3, 32, 32),
        buffer,
        input_names=["input"],
        output_names=["output"],
        opset_version=17,
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        dynamo=False,
    )
    model = onnx.load_from_string(buffer.getvalue())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main(folder, out):
    torch.manual_seed(1)
    torch.set_num_threads(1)
    images, labels = load(Path(folder) / "training.safetensors")
    validation = load(Path(folder) / "validation.safetensors")
    network = Shapes().to(memory_format=torch.channels_last)
    train(network, images, labels, lambda: top1(network, *validation))
    export(network, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
