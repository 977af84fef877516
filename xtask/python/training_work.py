"""Epochs of PyTorch's for compare_training.py, the last of which counts: NETWORK PACK BATCH THREADS EPOCHS DEVICE."""

import json
import sys
import time

import numpy as np
import torch
import torchvision

import packs


def main(network, pack, batch, threads, epochs, device):
    torch.manual_seed(0)
    torch.set_num_threads(int(threads))
    images, labels = (torch.from_numpy(np.array(array)) for array in packs.read(pack))
    model = torchvision.models.get_model(network, weights=None).train().to(device)
    descent = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9, weight_decay=1e-4)
    order = torch.randperm(len(images))
    steps = order[: len(order) // int(batch) * int(batch)].reshape(-1, int(batch))
    for _ in range(int(epochs)):
        start = time.perf_counter()
        for step in steps:
            loss = torch.nn.functional.cross_entropy(model(images[step].to(device)), labels[step].to(device))
            descent.zero_grad(set_to_none=True)
            loss.backward()
            descent.step()
        if device != "cpu":
            torch.cuda.synchronize()
        taken = time.perf_counter() - start
    print(json.dumps({"images_per_second": steps.numel() / taken}))


if __name__ == "__main__":
    main(*sys.argv[1:])
