"""What `export.py` takes of PyTorch, so that its tests need none: tensors that are lists, and an exporter that
runs the model and copies `stub.onnx` of the working directory. A `.pt2` file is the JSON of its example inputs."""

import contextlib
import json
import math
import pathlib
import random
import shutil
import types
import warnings


class Kind:
    def __init__(self, name):
        self.name = name
        self.is_floating_point = name.startswith("float")


float32, int64 = Kind("float32"), Kind("int64")


class Tensor:
    def __init__(self, values, dtype, shape=None):
        self.values, self.dtype = list(values), dtype
        self.shape = [len(self.values)] if shape is None else list(shape)

    def reshape(self, shape):
        return Tensor(self.values, self.dtype, shape)

    def flatten(self):
        return self.reshape([len(self.values)])

    def to(self, dtype):
        return Tensor(self.values, dtype, self.shape)

    def tolist(self):
        return self.values

    def numpy(self):
        return self

    def __bool__(self):
        message = "Converting a tensor to a Python boolean might cause the trace to be incorrect. And more!"
        warnings.warn(message, jit.TracerWarning, stacklevel=2)
        return self.values[0] > 0


class Generator:
    def manual_seed(self, seed):
        self.random = random.Random(seed)
        return self


def tensor(values, dtype):
    return Tensor(values, dtype)


def randn(shape, generator):
    return Tensor([generator.random.gauss(0, 1) for _ in range(math.prod(shape))], float32, shape)


def randint(end, shape, generator):
    return Tensor([generator.random.randrange(end) for _ in range(math.prod(shape))], int64, shape)


class Module:
    def __call__(self, *inputs):
        return self.forward(*inputs)

    def eval(self):
        return self

    def load_state_dict(self, state):
        pass


class Table(Module):
    """A row of one number for each whole number."""

    def __init__(self, rows):
        self.rows = rows

    def forward(self, ids):
        if ids.dtype is not int64:
            raise TypeError(f"ids are {ids.dtype.name}")
        return Tensor([self.rows[row] for row in ids.values], float32, ids.shape)


class Operators:
    def __init__(self, name="ops"):
        self.name = name

    def __getattr__(self, name):
        return Operators(f"{self.name}.{name}")


class Graph:
    """A check of the input is all that it holds."""

    def __init__(self):
        self.nodes = ["ops.aten._assert_scalar.default"]

    def find_nodes(self, op, target):
        return [node for node in self.nodes if node == target.name]

    def erase_node(self, node):
        self.nodes.remove(node)

    def eliminate_dead_code(self):
        pass


class GraphModule(Table):
    def __init__(self, program, graph=None):
        super().__init__(program.rows)
        self.graph = graph or Graph()


class Program:
    """Its table has NaN for what the example does not hold."""

    def __init__(self, path):
        example = json.loads(pathlib.Path(path).read_text())
        tensor = Tensor(sum(example, []), int64, [len(example), len(example[0])])
        self.example_inputs = ((tensor,), {})
        self.rows = [row / 4 if row in tensor.values else math.nan for row in range(max(tensor.values) + 1)]

    def module(self):
        return GraphModule(self)


def load(path, **options):
    raise KeyError(pathlib.Path(path).read_bytes()[0])


def _export(model, inputs, path, **options):
    if isinstance(model, GraphModule) and model.graph.nodes:
        raise TypeError("checks of the input cannot be traced")
    model(*inputs)
    shutil.copy("stub.onnx", path)


class TracerWarning(Warning):
    pass


manual_seed = no_grad = lambda *_: contextlib.nullcontext()
nn = types.SimpleNamespace(Module=Module)
ops = Operators()
fx = types.SimpleNamespace(GraphModule=GraphModule)
jit = types.SimpleNamespace(TracerWarning=TracerWarning)
onnx = types.SimpleNamespace(export=_export)
export = types.SimpleNamespace(load=Program)
backends = types.SimpleNamespace(mha=types.SimpleNamespace(set_fastpath_enabled=lambda on: None))
