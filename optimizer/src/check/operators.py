"""Writes operators.txt: every version of the operators in shape/registry.rs, from the schemas of the Python package `onnx`.

  python operators.py > operators.txt
"""

import pathlib
import re

import onnx
from onnx import defs

HERE = pathlib.Path(__file__).parent
OLDEST, NEWEST = 7, 23
KINDS = {
    "INT": "int", "INTS": "ints", "FLOAT": "float", "FLOATS": "floats", "STRING": "string", "STRINGS": "strings",
    "TENSOR": "tensor", "SPARSE_TENSOR": "sparse", "GRAPH": "graph", "TYPE_PROTO": "type",
}
MANY = 2**31 - 1


def span(least, most):
    return f"{least}-{'' if most >= MANY else most}"


def line(schema):
    if schema.deprecated:
        return f"{schema.name} {schema.since_version} deprecated"
    attributes = [
        f"{name}:{KINDS[attribute.type.name]}{'!' if attribute.required else ''}"
        for name, attribute in sorted(schema.attributes.items())
    ]
    inputs, outputs = span(schema.min_input, schema.max_input), span(schema.min_output, schema.max_output)
    return " ".join([f"{schema.name} {schema.since_version} {inputs} {outputs}", *attributes])


names = set(re.findall(r'op\("(\w+)"', (HERE / "../shape/registry.rs").read_text()))
schemas = [s for s in defs.get_all_schemas_with_history() if s.domain == "" and s.name in names]
kept = []
for name in sorted(names):
    versions = sorted((s for s in schemas if s.name == name), key=lambda s: s.since_version)
    # The one in force at the oldest opset, and all later ones.
    first = max((s.since_version for s in versions if s.since_version <= OLDEST), default=0)
    lines = [line(s) for s in versions if first <= s.since_version <= NEWEST]
    # A version that changes types alone is none for this table.
    kept += [new for old, new in zip([""] + lines, lines) if new.split()[2:] != old.split()[2:]]
print(f"# Made by operators.py from onnx {onnx.__version__}: name, since which opset, inputs, outputs, attributes (! required).")
print("\n".join(kept))
