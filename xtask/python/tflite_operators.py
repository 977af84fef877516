"""Whether the operators of an INT8 TFLite file have the integers of the ONNX model that it was made of.

One integer that is rounded otherwise becomes many in the layers behind it, so the outputs alone do not tell a wrong
scale from a tie. Here each operator gets the integers that ONNX Runtime has at its inputs, is computed in double
precision from the file's weights, scales and zero points, and its result is held to ONNX Runtime's.
"""

import numpy as np
import onnx
import onnxruntime
from ai_edge_litert import schema_py_generated as schema

ELEMENTS = {0: np.float32, 2: np.int32, 3: np.uint8, 4: np.int64, 9: np.int8}
RELU, RELU6 = schema.ActivationFunctionType.RELU, schema.ActivationFunctionType.RELU6


def report(model, path, samples):
    """Prints, for each kind of operator, how many integers differ, for inputs of one sample each, by name."""
    session, file = stored_values(model), File(path)
    counts = {}
    for feeds in samples:
        integers = dict(zip([port.name for port in session.get_outputs()], session.run(None, feeds)))
        for kind, difference in file.differences(integers):
            row = counts.setdefault(kind, [0, 0, 0])
            row[0] += np.count_nonzero(difference)
            row[1] += difference.size
            row[2] = max(row[2], np.abs(difference).max())
    for kind, (wrong, size, largest) in sorted(counts.items()):
        print(f"{kind}: {wrong} of {size} integers differ ({100 * wrong / size:.4f} %), by at most {largest}")


def stored_values(model):
    """The model without ONNX Runtime's rewriting, with all integers that it stores as outputs."""
    graph = onnx.load(model)
    stored = [node.output[0] for node in graph.graph.node if node.op_type == "QuantizeLinear"]
    graph.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in stored)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


class File:
    """A TFLite file whose operators can be computed one by one."""

    def __init__(self, path):
        self.model = schema.Model.GetRootAs(path.read_bytes(), 0)
        self.graph = self.model.Subgraphs(0)
        self.tensors = [self.graph.Tensors(index) for index in range(self.graph.TensorsLength())]
        self.kinds = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}

    def differences(self, integers):
        """Kind and difference to ONNX Runtime's of each operator's integers whose inputs ONNX Runtime has, too."""
        values = {index: self.constant(index) for index in range(len(self.tensors))}
        for number in range(self.graph.OperatorsLength()):
            operator = self.graph.Operators(number)
            inputs = [operator.Inputs(index) for index in range(operator.InputsLength())]
            kind = self.kinds[self.model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()]
            output = operator.Outputs(0)
            wanted = integers.get(self.tensors[output].Name().decode())
            known = all(index < 0 or values[index] is not None for index in inputs)
            result = self.compute(kind, operator, inputs, values) if known else None
            if wanted is None or self.tensors[output].Type() != 9:
                values[output] = result
                continue
            wanted = wanted.astype(int) - (128 if wanted.dtype == np.uint8 else 0)
            shape = self.tensors[output].ShapeAsNumpy()
            wanted = (wanted.transpose(0, 2, 3, 1) if wanted.ndim == 4 else wanted).reshape(shape)
            if result is not None:
                yield kind, result.astype(int).reshape(shape) - wanted
            values[output] = wanted.astype(np.int8)

    def constant(self, index):
        tensor = self.tensors[index]
        buffer = self.model.Buffers(tensor.Buffer())
        if not buffer.DataLength():
            return None
        elements = np.frombuffer(buffer.DataAsNumpy().tobytes(), ELEMENTS[tensor.Type()])
        return elements.reshape(tensor.ShapeAsNumpy() if tensor.ShapeLength() else ())

    def scales(self, index):
        """Scale and zero point, which broadcast over the tensor; `None` of floats."""
        found = self.tensors[index].Quantization()
        if self.tensors[index].Type() == 0 or found is None or not found.ScaleLength():
            return None
        shape = [1] * self.tensors[index].ShapeLength()
        if found.ScaleLength() > 1:
            shape[found.QuantizedDimension()] = -1
        return [part.astype(float).reshape(shape) for part in (found.ScaleAsNumpy(), found.ZeroPointAsNumpy())]

    def compute(self, kind, operator, inputs, values):
        """The operator's output; `None` of kinds that are not computed here."""

        def real(position):
            index = inputs[position]
            scales = self.scales(index)
            return values[index].astype(float) if scales is None else (values[index] - scales[1]) * scales[0]

        def options(of):
            found = of()
            found.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
            return found

        if kind in ("ADD", "MUL"):
            result = real(0) + real(1) if kind == "ADD" else real(0) * real(1)
            result = activated(result, options(schema.AddOptions if kind == "ADD" else schema.MulOptions))
        elif kind == "CONV_2D":
            chosen = options(schema.Conv2DOptions)
            result = convolved(real(0), real(1), real(2), chosen, lambda window, kernel: window @ kernel.T)
        elif kind == "DEPTHWISE_CONV_2D":
            chosen = options(schema.DepthwiseConv2DOptions)
            result = convolved(real(0), real(1), real(2), chosen, lambda window, kernel: window * kernel[0])
        elif kind == "MEAN":
            axes = tuple(np.atleast_1d(values[inputs[1]]).tolist())
            result = real(0).mean(axis=axes, keepdims=options(schema.ReducerOptions).KeepDims())
        elif kind in ("QUANTIZE", "DEQUANTIZE"):
            result = real(0)
        elif kind == "PAD":
            zero = self.scales(inputs[0])[1].item() if self.scales(inputs[0]) else 0
            return np.pad(values[inputs[0]], values[inputs[1]], constant_values=np.asarray(zero, values[inputs[0]].dtype))
        elif kind == "RESHAPE":
            return values[inputs[0]].reshape(self.tensors[operator.Outputs(0)].ShapeAsNumpy())
        else:
            return None
        scales = self.scales(operator.Outputs(0))
        return result if scales is None else np.clip(np.rint(result / scales[0] + scales[1]), -128, 127)


def activated(result, options):
    function = options.FusedActivationFunction()
    return np.clip(result, 0 if function in (RELU, RELU6) else None, 6 if function == RELU6 else None)


def convolved(pictures, weights, bias, options, product):
    """A convolution in `[N, H, W, C]`, whose `product` is of one position of the kernel."""
    strides = options.StrideH(), options.StrideW()
    dilations = options.DilationHFactor(), options.DilationWFactor()
    spans = [(weights.shape[1 + axis] - 1) * dilations[axis] + 1 for axis in (0, 1)]
    extents, pads = [], [(0, 0)]
    for axis, (span, stride) in enumerate(zip(spans, strides)):
        extent = pictures.shape[1 + axis]
        same = options.Padding() == schema.Padding.SAME
        extents.append(-(-extent // stride) if same else (extent - span) // stride + 1)
        missing = max((extents[-1] - 1) * stride + span - extent, 0) if same else 0
        pads.append((missing // 2, missing - missing // 2))
    padded = np.pad(pictures, [*pads, (0, 0)])
    result = bias
    for row in range(weights.shape[1]):
        for column in range(weights.shape[2]):
            down, right = row * dilations[0], column * dilations[1]
            ends = down + (extents[0] - 1) * strides[0] + 1, right + (extents[1] - 1) * strides[1] + 1
            window = padded[:, down : ends[0] : strides[0], right : ends[1] : strides[1]]
            result = result + product(window, weights[:, row, column])
    return activated(result, options)
