"""Exports a PyTorch model to ONNX with a reference pair beside it; started by `edgefront export torch`.

The one argument is a JSON object:
  source    name of a torchvision model, `FILE.py:FUNCTION` or `FILE.pt2`
  weights   "none", a name of torchvision's weights, or the path of a state dictionary
  inputs    a list of {"shape": [...], "type": "int64"}, one an input, null for the source's own type; empty for
            what the source itself says
  opset     version of the standard operator set
  model     path of the ONNX file to write
  pairs     path of the .npz file to write: arrays `input_<name>` and `output_<name>`

What fails is said in the last line of standard error. Standard output is JSON: {"fixed_batch": bool, "warnings": [...]}.
"""

import collections
import importlib.util
import json
import math
import pathlib
import sys
import warnings

# More than one, so that what only one picture gets right shows; another one than is traced, so that a batch
# which was built in shows.
TRACED_BATCH, PAIR_BATCH = 2, 3


# What the user should know of an export that goes on, each once.
warned = {}


def fail(message):
    sys.exit(f"error: {message}")


try:
    import torch
    import numpy
except ImportError as error:
    fail(f"{error.name} is not installed for {sys.executable}; {sys.executable} -m pip install torch torchvision numpy")


# An input's shape and element type, and the values that an example has for it, where there is one.
Input = collections.namedtuple("Input", "shape dtype example", defaults=[torch.float32, None])


def of_torchvision(name, weights):
    """A model by name, and the size of the pictures that it was made for."""
    try:
        from torchvision import models
    except ImportError:
        fail(f"torchvision is not installed for {sys.executable}; {sys.executable} -m pip install torchvision")
    if name not in models.list_models(module=models):
        fail(f"torchvision has no classification model `{name}`; give one of its names, FILE.py:FUNCTION or FILE.pt2")
    entries = models.get_model_weights(name)
    is_entry = weights in entries.__members__
    model = models.get_model(name, weights=entries[weights] if is_entry else None)
    if not is_entry:
        load_weights(model, weights)
    side = 224
    for entry in entries:
        side = getattr(entry.transforms(), "crop_size", [side])[0]
    return model, [Input([1, 3, side, side])]


def of_function(path, function, weights):
    """What a function of a Python file returns."""
    path = pathlib.Path(path).resolve()
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    build = getattr(module, function, None)
    if build is None:
        fail(f"{path} has no function `{function}`")
    model = build()
    if not isinstance(model, torch.nn.Module):
        fail(f"{function} of {path} returns {kind(model)}, not a torch.nn.Module")
    load_weights(model, weights)
    return model, [Input([1, 3, 224, 224])]


def of_exported(path, weights):
    """A program of torch.export, with the inputs of its own example."""
    if weights != "none":
        fail("a .pt2 file has its weights; leave out --weights")
    program = torch.export.load(path)
    model = program.module()
    args, kwargs = program.example_inputs or ((), {})
    examples = [*args, *kwargs.values()]
    for example in examples:
        if not isinstance(example, torch.Tensor):
            fail(f"{path} takes {kind(example)}; export it from a module whose inputs are tensors")
    return model, [Input(list(example.shape), example.dtype, example) for example in examples]


def traceable(program):
    """A program without its own checks of the input, which tracing does not follow; no more does it follow
    extents of dynamic axes, unless tensors are asked for them and reshaped by their methods."""
    for method, operator in [("size", torch.ops.aten.sym_size.int), *(
        (name, getattr(torch.ops.aten, name).default) for name in ("view", "reshape", "expand")
    )]:
        for node in program.graph.find_nodes(op="call_function", target=operator):
            node.op, node.target = "call_method", method
    for node in program.graph.find_nodes(op="call_function", target=torch.ops.aten._assert_scalar.default):
        program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    return torch.fx.GraphModule(program, program.graph)


def load_weights(model, weights):
    if weights == "none":
        return
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except OSError as error:
        fail(f"cannot read {weights}: {error.strerror or error}")
    except Exception:
        # What torch says of a file that is something else is one of its internal numbers, or advice to run its code.
        state = None
    for wrapper in ("state_dict", "model"):
        state = state.get(wrapper, state) if isinstance(state, dict) else None
    if state is None:
        fail(f"{weights} is no state dictionary; write one with torch.save(model.state_dict(), FILE)")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        fail(f"{weights} does not fit the model: {' '.join(str(error).split())[:300]}")


def watch_tracing():
    """Keeps the warnings of what tracing builds into the model, of the user's own lines, and no others."""
    warnings.filterwarnings("ignore")
    warnings.filterwarnings("always", category=torch.jit.TracerWarning)
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning, module=r"torch(vision)?(\.|$)")
    warnings.showwarning = told


def told(message, category, file, line, *_):
    path, here = pathlib.Path(file), pathlib.Path.cwd()
    path = path.relative_to(here) if path.is_relative_to(here) else path
    what = first_line(message).split(" might cause")[0].rstrip(".")
    warned[
        f"{path}:{line}: {what}: its value for the sample, or the branch taken for it, is built into the ONNX "
        "model; compute it with tensors, as by torch.where, or see that all inputs take that branch"
    ] = True


def kind(value):
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def load(source, weights):
    if source.endswith(".pt2"):
        return of_exported(source, weights)
    if ".py:" in source:
        path, _, function = source.rpartition(":")
        return of_function(path, function, weights)
    if source.endswith((".pt", ".pth", ".py")):
        fail(f"{source} alone builds no model; give FILE.py:FUNCTION, with --weights for a state dictionary, or a .pt2 file")
    return of_torchvision(source, weights)


def asked(order, inputs):
    """The inputs as the order has them, or the source's own; the order need not tell types."""
    if not order["inputs"]:
        return inputs
    if len(inputs) != len(order["inputs"]):
        inputs = [Input([])] * len(order["inputs"])
    merged = []
    for wanted, own in zip(order["inputs"], inputs):
        dtype = getattr(torch, wanted["type"]) if wanted["type"] else own.dtype
        merged.append(Input(wanted["shape"], dtype, own.example if dtype == own.dtype else None))
    return merged


def samples(inputs, batch, seed):
    """A value for each input, its leading axis set to the batch unless it is None."""
    generator = torch.Generator().manual_seed(seed)
    sized = [shape if batch is None else [batch, *shape[1:]] for shape, _, _ in inputs]
    return tuple(values(shape, own, generator, seed) for shape, own in zip(sized, inputs))


def values(shape, own, generator, seed):
    """Noise. Whole numbers may be ids: they are those of the example, in each row and for each seed turned further,
    and without an example zeros and ones, which every vocabulary has."""
    if own.dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(own.dtype)
    if own.example is None:
        return torch.randint(2, shape, generator=generator).to(own.dtype)
    known, row = own.example.flatten().tolist(), math.prod(shape[1:])
    turned = [known[(index + index // row + seed) % len(known)] for index in range(math.prod(shape))]
    return torch.tensor(turned, dtype=own.dtype).reshape(shape)


def named(outputs):
    """The model's outputs by name, as the exporter flattens them."""
    if isinstance(outputs, torch.Tensor):
        return {"output": outputs}
    if isinstance(outputs, dict):
        return dict(outputs)
    if isinstance(outputs, (tuple, list)) and all(isinstance(output, torch.Tensor) for output in outputs):
        return {f"output_{index}": output for index, output in enumerate(outputs)}
    fail(f"the model returns {kind(outputs)}; tensors are wanted")


def write(model, inputs, order, traced, paired):
    # Other values in the pair than are traced, so that those which were built in show.
    pair = samples(inputs, paired, 1)
    inputs = samples(inputs, traced, 0)
    input_names = ["input"] if len(inputs) == 1 else [f"input_{index}" for index in range(len(inputs))]
    if isinstance(model, torch.fx.GraphModule):
        model = traceable(model)
    with torch.no_grad():
        outputs = named(model(*pair))
    axes = {name: {0: "batch"} for name in [*input_names, *outputs]} if traced is not None else None
    options = {"dynamo": False} if "dynamo" in torch.onnx.export.__code__.co_varnames else {}
    torch.onnx.export(
        model, inputs, order["model"], input_names=input_names, output_names=list(outputs),
        dynamic_axes=axes, opset_version=order["opset"], **options,
    )
    arrays = {f"input_{name}": tensor.numpy() for name, tensor in zip(input_names, pair)}
    arrays |= {f"output_{name}": tensor.numpy() for name, tensor in outputs.items()}
    numpy.savez(order["pairs"], **arrays)


def main():
    order = json.loads(sys.argv[1])
    watch_tracing()
    torch.manual_seed(0)
    # The fused kernel of attention has no ONNX form.
    torch.backends.mha.set_fastpath_enabled(False)
    model, inputs = load(order["source"], order["weights"])
    inputs = asked(order, inputs)
    if not inputs:
        fail(f"{order['source']} does not say its input; give --shape, as in 1x3x224x224")
    # A program has its mode built in.
    if not isinstance(model, torch.fx.GraphModule):
        model.eval()
    fixed = False
    try:
        with torch.no_grad():
            model(*samples(inputs, PAIR_BATCH, 1))
    except Exception:
        fixed = True
    if fixed:
        write(model, inputs, order, None, None)
    else:
        write(model, inputs, order, TRACED_BATCH, PAIR_BATCH)
    print(json.dumps({"fixed_batch": fixed, "warnings": list(warned)}))


try:
    main()
except Exception as error:
    fail(first_line(error))
