"""Compiles an ONNX model with TVM for Edgefront's runtime `tvm`.

It takes one argument, JSON:
  model    the ONNX file
  output   the shared library that is to be made
  shapes   of the inputs in their order; empty for the model's own
  arch     the processor that it is for: `x86_64`, `aarch64`
  cpu      the level of instructions that the code may need, as LLVM calls it, or `generic`
  untuned  why no search is made for the fastest order of loops, or null
  trials   orders of loops that the search measures
  work     the folder for what the search finds, kept from one run to the next

and prints one line of JSON: why the code is not tuned, or null where it is, and of how many functions the search found
nothing. What the library says of itself stands at
its end: JSON, its length in 8 bytes, and the mark. Standard error ends in `error: ` and the reason where it fails."""

import fcntl
import hashlib
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
    with target, tvm.transform.PassContext(opt_level=3):
        module = prepared(module)
        found, untuned, left = tuned(module, target, order)
        executable = tvm.compile(found, target)
        if untuned is None:
            executable, untuned = faster(tvm.compile(module, target), executable, ports)
            left = left if untuned is None else 0
    record = {
        "tvm": tvm.__version__,
        "cpu": order["cpu"],
        "untuned": untuned,
        "inputs": [port(name, *what) for name, what in ports.items()],
        "outputs": [port(*what) for what in gives],
    }
    write(executable, order["output"], compiler, record)
    print(json.dumps({"untuned": untuned, "left": left}))


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
            written = ", ".join("?" if extent is None else str(extent) for extent in own)
            raise Refusal(f"input `{value.name}` is [{written}], which {shape} does not fit")
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
        mend = f"a compiler for {arch} is needed to link what TVM compiles; install g++-{arch.replace('_', '-')}-linux-gnu"
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        raise Refusal(mend)
    return found


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


def tuned(module, target, order):
    """The module with the fastest order of loops that a search found for its functions, null, and for how many it found
    none; or as it is, and why."""
    if order["untuned"] is not None:
        return module, order["untuned"], 0
    from tvm.s_tir import meta_schedule

    # So that constants may be stored in another order, which is done once, here.
    free = transform.AttachAttrLayoutFreeBuffers()(module)
    try:
        database, left = searched(meta_schedule, free, target, order)
        with database:
            free = transform.MetaScheduleApplyDatabase(enable_warning=False)(free)
        return tvm.transform.Sequential([transform.SplitLayoutRewritePreproc(), transform.FoldConstant()])(free), None, left
    except Exception as error:
        return module, f"the search failed: {one_line(error)}", 0


def faster(plain, found, ports):
    """What the search found, whose best need not be better than what was there before it; or that, and why."""
    try:
        if seconds(plain, ports) < seconds(found, ports):
            return plain, "the search found no faster order of loops"
        return found, None
    except Exception as error:
        return plain, f"what the search found could not be timed: {one_line(error)}"


def seconds(executable, ports):
    """The least time of one inference on this machine, on one thread."""
    tvm.get_global_func("runtime.config_threadpool")(1, 1)
    machine = relax.VirtualMachine(executable, tvm.cpu())
    noise = numpy.random.default_rng(0)
    inputs = [tvm.runtime.tensor((noise.random(shape) * 2).astype(kind)) for kind, shape in ports.values()]
    machine["main"](*inputs)
    timer = machine.time_evaluator("main", tvm.cpu(), number=1, repeat=10, min_repeat_ms=20)
    return min(timer(*inputs).results)


def searched(meta_schedule, module, target, order):
    """The database of a search that an earlier run made, or of a new one, and how many functions it has nothing of."""
    functions = meta_schedule.relax_integration.extract_tasks(module, target, {})
    work = Path(order["work"])
    if not held(work):
        folder = begun(work)
        held(folder)
        try:
            search(meta_schedule, functions, order["trials"], folder)
            os.rename(folder, work)
        except OSError:
            # What another run has found meanwhile serves as well.
            if not held(work):
                raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    database = meta_schedule.database.JSONDatabase(work_dir=str(work))
    names = [(function.dispatched[0], target, function.task_name) for function in functions]
    left = sum(database.query_tuning_record(*name) is None for name in names)
    if left == len(functions):
        raise Refusal("none of the orders of loops that were tried ran")
    return database, left


def held(folder):
    """Whether the folder is there. Until this process ends nobody removes it then, and it counts as used now."""
    try:
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_SH)
        os.utime(folder)
    except FileNotFoundError:
        return False
    return True


def begun(work):
    """A folder for a search that is under way, named after this process. Those of processes that are gone are removed."""
    begin = f"{work.name}.partial-"
    work.parent.mkdir(parents=True, exist_ok=True)
    for left in work.parent.glob(f"{begin}*"):
        process = left.name.removeprefix(begin)
        # In a container a process that is gone may have had this one's number.
        if process == str(os.getpid()) or not Path("/proc", process).exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = work.parent / f"{begin}{os.getpid()}"
    folder.mkdir()
    return str(folder)


def search(meta_schedule, functions, trials, work):
    """Measures random orders of loops, as many for each function. The builder and the runner are in this process: those of
    TVM start processes of their own, of which each build ended at its limit of time where they were tried."""
    from tvm.ir.utils import derived_object
    from tvm.s_tir.meta_schedule import builder, measure_callback, relax_integration, runner
    from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock

    libraries = {}

    @derived_object
    class Builder(builder.PyBuilder):
        def build(self, build_inputs):
            return [self.built(each) for each in build_inputs]

        def built(self, each):
            try:
                loops = RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(each.mod)
                name = str(len(libraries))
                libraries[name] = tvm.tirx.build(loops, target=each.target)
                return builder.BuilderResult(name, None)
            except Exception as error:
                return builder.BuilderResult(None, one_line(error))

    @derived_object
    class Future(runner.PyRunnerFuture):
        def __init__(self, seconds, error):
            super().__init__()
            self.answer = runner.RunnerResult(seconds, error)

        def done(self):
            return True

        def result(self):
            return self.answer

    @derived_object
    class Runner(runner.PyRunner):
        def run(self, runner_inputs):
            return [self.measured(each) for each in runner_inputs]

        def measured(self, each):
            try:
                library = libraries.pop(each.artifact_path)
                noise = numpy.random.default_rng(0)
                tensor = lambda info: tvm.runtime.tensor(
                    (noise.random([int(extent) for extent in info.shape]) * 2).astype(str(info.dtype))
                )
                arguments = [tensor(info) for info in each.args_info]
                timer = library.time_evaluator("main", tvm.cpu(), number=1, repeat=3, min_repeat_ms=5)
                return Future([float(each) for each in timer(*arguments).results], None)
            except Exception as error:
                return Future(None, one_line(error))

    tvm.get_global_func("runtime.config_threadpool")(1, 1)
    each = max(1, trials // len(functions))
    contexts, weights = relax_integration.extracted_tasks_to_tune_contexts(
        functions, work, strategy="replay-trace", num_threads=1, seed=1
    )
    meta_schedule.tune_tasks(
        tasks=contexts,
        task_weights=weights,
        work_dir=work,
        max_trials_global=each * len(functions),
        max_trials_per_task=each,
        num_trials_per_iter=each,
        builder=Builder(),
        runner=Runner(),
        cost_model="random",
        measure_callbacks=[measure_callback.AddToDatabase()],
        task_scheduler="round-robin",
    )


def write(executable, output, compiler, record):
    """The library with what it says of itself, whole or not there."""
    output = Path(output)
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        path = Path(folder) / "library.so"
        executable.export_library(str(path), fcompile=cc.cross_compiler(compiler))
        text = json.dumps(record | {"code": code(path.read_bytes())}).encode()
        with path.open("ab") as file:
            file.write(text + struct.pack("<Q", len(text)) + MARK)
        os.replace(path, output)


def code(image):
    """The SHA-256 of the executable segments of a 64-bit ELF image of the lower bytes first, which is what it is said of."""
    (table,) = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    digest = hashlib.sha256()
    for at in range(table, table + size * count, size):
        kind, flags, offset, _, _, length = struct.unpack_from("<IIQQQQ", image, at)
        if kind == 1 and flags & 1:
            digest.update(image[offset : offset + length])
    return digest.hexdigest()


def one_line(error):
    """The last line of what TVM says is the reason; what precedes it are places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


if __name__ == "__main__":
    try:
        import numpy
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
