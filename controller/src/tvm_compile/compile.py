"""Compiles an ONNX model with TVM for Edgefront's runtime `tvm`.

It takes one argument, JSON:
  model    the ONNX file
  output   the shared library that is to be made
  shapes   of the inputs in their order; empty for the model's own
  arch     the processor that it is for: `x86_64`, `aarch64`
  cpu      the level of instructions that the code may need, as LLVM calls it, or `generic`
  trials   orders of loops to measure in search of the fastest, or 0
  work     a folder for what is found by the search, kept from one run to the next

and prints one line of JSON: why the code is not tuned, or null where it is. What the library says of itself stands at
its end: JSON, its length in 8 bytes, and the mark. Standard error ends in `error: ` and the reason where it fails."""

import json
import os
import shutil
import struct
import sys
import tempfile
from pathlib import Path

MARK = b"EDGE:TVM"
TRIPLES = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu"}


def main():
    order = json.loads(sys.argv[1])
    model = onnx.load(order["model"])
    ports = inputs(model, order["shapes"])
    target = target_of(order)
    compiler = compiler_of(order["arch"])
    module = relax.frontend.onnx.from_onnx(
        model, shape_dict={name: shape for name, (_, shape) in ports.items()}, keep_params_in_input=False, sanitize_input_names=False
    )
    taken = [parameter.name for parameter in module["main"].params]
    if taken != list(ports):
        raise Refusal(f"TVM takes the inputs {', '.join(taken)}, and the model has {', '.join(ports)}")
    gives = outputs(model, module["main"].ret_ty)
    executable = built(module, target)
    untuned = "no budget of trials was given" if order["trials"] == 0 else "not tuned"
    record = {
        "tvm": tvm.__version__,
        "cpu": order["cpu"],
        "untuned": untuned,
        "inputs": [port(name, *what) for name, what in ports.items()],
        "outputs": [port(*what) for what in gives],
    }
    write(executable, order["output"], compiler, record)
    print(json.dumps({"untuned": untuned, "tvm": tvm.__version__}))


class Refusal(Exception):
    """A reason in one line."""


def inputs(model, shapes):
    """Type and shape of each input by its name."""
    constants = {tensor.name for tensor in model.graph.initializer}
    ports = {}
    wanted = [value for value in model.graph.input if value.name not in constants]
    if shapes and len(shapes) != len(wanted):
        raise Refusal(f"{len(shapes)} input shapes are given and the model has {len(wanted)} inputs")
    for index, value in enumerate(wanted):
        own = [dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim]
        # An open batch is 1.
        shape = shapes[index] if shapes else [1 if extent is None and axis == 0 else extent for axis, extent in enumerate(own)]
        if None in shape:
            raise Refusal(f"input `{value.name}` has open axes; give its shape")
        if len(shape) != len(own) or any(extent not in (None, given) for extent, given in zip(own, shape)):
            raise Refusal(f"input `{value.name}` is {own}, which {shape} does not fit")
        ports[value.name] = (type_of(value), shape)
    return ports


def type_of(value):
    return str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def outputs(model, returned):
    """Name, type and shape of each output, as TVM infers them."""
    fields = list(returned.fields) if hasattr(returned, "fields") else [returned]
    found = []
    for value, field in zip(model.graph.output, fields, strict=True):
        try:
            shape = [int(extent) for extent in field.shape]
        except (TypeError, ValueError) as error:
            raise Refusal(f"TVM does not know the shape of output `{value.name}`") from error
        found.append((value.name, str(field.dtype), shape))
    return found


def port(name, kind, shape):
    return {"name": name, "type": kind, "shape": shape}


def target_of(order):
    """One core, for the thread pool divides loops as it runs."""
    target = {"kind": "llvm", "mtriple": TRIPLES[order["arch"]], "num-cores": 1}
    if order["cpu"] != "generic":
        target["mcpu"] = order["cpu"]
    return tvm.target.Target(target)


def compiler_of(arch):
    """What links: the machine's own compiler, or one for the other processor."""
    if arch == os.uname().machine:
        names = ["g++", "c++", "clang++", "gcc", "cc", "clang"]
        mend = "a C compiler is needed to link what TVM compiles; install g++"
    else:
        names = [f"{arch}-linux-gnu-g++", f"{arch}-linux-gnu-gcc"]
        mend = f"a compiler for {arch} is needed to link what TVM compiles; install g++-{arch}-linux-gnu"
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        raise Refusal(mend)
    return found


def built(module, target):
    with target, tvm.transform.PassContext(opt_level=3):
        module = prepared(module)
        return tvm.compile(module, target)


def prepared(module):
    """Operators as loops, fused."""
    passes = [
        transform.DecomposeOpsForInference(),
        transform.CanonicalizeBindings(),
        transform.LegalizeOps(),
        transform.AnnotateTIROpPattern(),
        transform.FoldConstant(),
        transform.FuseOps(),
        transform.FuseTIR(),
    ]
    return tvm.transform.Sequential(passes)(module)


def write(executable, output, compiler, record):
    """The library with what it says of itself, whole or not there."""
    output = Path(output)
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        path = Path(folder) / "library.so"
        executable.export_library(str(path), fcompile=cc.cross_compiler(compiler))
        text = json.dumps(record).encode()
        with path.open("ab") as file:
            file.write(text + struct.pack("<Q", len(text)) + MARK)
        os.replace(path, output)


def one_line(error):
    """The last line of what TVM says is the reason; what precedes it are places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


if __name__ == "__main__":
    try:
        import onnx
        import tvm
        from tvm import relax
        from tvm.relax import transform
        from tvm.relax.frontend import onnx as _
        from tvm.support import cc

        main()
    except Refusal as refusal:
        sys.exit(f"error: {refusal}")
    except Exception as error:
        sys.exit(f"error: TVM: {one_line(error)}")
