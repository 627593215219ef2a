"""A JAX function as an ONNX graph, from the operations that the networks here are made of.

The function is traced with its weights as constants. Results of constants alone are computed here: a batch
normalization becomes a product and a sum. Loops are unrolled, and calls are inlined. An operation with a form for each
platform becomes the library's form. Arrays stay [N, H, W, C]. Convolutions and pools stand between transpositions,
which runtimes undo. A 1x1 convolution over the last axis is a Conv too, and takes in what scales and shifts channels.
Only `export` needs this module and the package `onnx`.

jax2onnx 0.17.1 does not replace it: it converts none of the three networks that the tests compare. It does not know
`platform_dependent`, loses a reshape's `dimensions` in silence, and needs orbax-checkpoint below 0.12.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from nge_jax.export.onnx_convolution import Convolution, fold, needed

OPSET = 17
# Stands for the batch's size while the function is traced: no other size has it as a factor.
BATCH = 7919
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
BINARY = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min", "pow": "Pow",
    "gt": "Greater", "lt": "Less", "ge": "GreaterOrEqual", "le": "LessOrEqual", "eq": "Equal",
}  # fmt: skip
UNARY = {"exp": "Exp", "log": "Log", "sqrt": "Sqrt", "tanh": "Tanh", "neg": "Neg", "abs": "Abs",
         "floor": "Floor", "logistic": "Sigmoid", "copy": "Identity", "stop_gradient": "Identity"}  # fmt: skip
CALLS = (
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "remat",
    "checkpoint",
    "custom_jvp_call",
    "custom_vjp_call",
)


class NotConvertible(ValueError):
    """Says which operation has no form in ONNX here."""


def convert(
    function: Callable, shape: tuple[int, ...], dtype: Any, *, names: tuple[str, str]
) -> Any:
    """Returns the `onnx.ModelProto` of `function(images) -> logits`, for any number of images.

    Args:
      function: of a batch of images; its weights are its own.
      shape: of an image.
      dtype: of the images.
      names: of the graph's input and of its output.

    Raises:
      NotConvertible: the function has an operation that is not known here.
    """
    images = jax.ShapeDtypeStruct((BATCH, *shape), dtype)
    closed = jax.make_jaxpr(function)(images)
    return _Graph(names).model(closed, (shape, dtype))


class _Graph:
    """Collects nodes and constants. A value is an np.ndarray, which is known, or the name of a tensor."""

    def __init__(self, names):
        import onnx

        self._onnx, self._names = onnx, names
        self._nodes, self._constants, self._numbers = [], {}, itertools.count()
        self._convolutions: dict[str, Convolution] = {}  # keys are the names of results

    def model(self, closed, image):
        helper, shape, dtype = self._onnx.helper, *image
        (out,) = self._run(closed.jaxpr, closed.consts, [self._names[0]])
        self._nodes.append(helper.make_node("Identity", [self._name(out)], [self._names[1]]))
        kind = helper.np_dtype_to_tensor_dtype
        result = closed.out_avals[0]
        sizes = ["batch", *shape], ["batch", *result.shape[1:]]
        values = [
            helper.make_tensor_value_info(name, kind(np.dtype(of_type)), size)
            for name, of_type, size in zip(self._names, (dtype, result.dtype), sizes, strict=True)
        ]
        nodes, used = needed(self._nodes, self._names[1])
        constants = [one for one in self._constants.values() if one.name in used]
        graph = helper.make_graph(nodes, "network", values[:1], values[1:], constants)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="nge_jax")
        self._onnx.checker.check_model(model, full_check=True)
        return model

    def _run(self, jaxpr, constants, arguments):
        """Adds the equations of a jaxpr; returns the values of its outputs."""
        values: dict[Any, Any] = dict(zip(jaxpr.constvars, map(_known, constants), strict=True))
        values.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom):
            return np.asarray(atom.val) if isinstance(atom, Literal) else values[atom]

        for equation in jaxpr.eqns:
            results = self._equation(equation, [read(atom) for atom in equation.invars])
            values.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, equation, inputs):
        name, params = equation.primitive.name, equation.params
        if name in CALLS:
            inner = params.get("jaxpr") or params.get("call_jaxpr") or params.get("fun_jaxpr")
            jaxpr, constants = (
                (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, ())
            )
            return self._run(jaxpr, constants, inputs)
        if name == "platform_index":
            return [np.int32(-1)]  # the last of the forms is the library's
        if name == "cond" and isinstance(inputs[0], np.ndarray | np.generic):
            branches = params["branches"]
            chosen = branches[-1 if inputs[0] < 0 else int(inputs[0])]
            return self._run(chosen.jaxpr, chosen.consts, inputs[1:])
        if name == "scan":
            return self._scan(params, inputs)
        if all(isinstance(value, np.ndarray | np.generic) for value in inputs):
            return self._fold(equation, inputs)
        handler = getattr(self, f"_{name}", None)
        if name in BINARY:
            out = self._binary(name, inputs)
        elif name in UNARY:
            out = self._node(UNARY[name], inputs)
        elif handler is not None:
            out = handler(inputs, params, equation)
        else:
            raise NotConvertible(f"the operation {name} has no form in ONNX here")
        return [out]

    def _fold(self, equation, inputs):
        """Computes the results of constants; an axis of the whole batch with equal entries keeps size 1."""
        if equation.primitive.name == "broadcast_in_dim":
            shape = tuple(1 if size % BATCH == 0 else size for size in equation.params["shape"])
            (value,) = inputs
            own = [1] * len(shape)
            for axis, size in zip(
                equation.params["broadcast_dimensions"], value.shape, strict=True
            ):
                own[axis] = size
            return [np.broadcast_to(value.reshape(own), shape)]
        out = equation.primitive.bind(*map(np.asarray, inputs), **equation.params)
        outputs = out if equation.primitive.multiple_results else [out]
        return [np.asarray(value) for value in outputs]

    def _scan(self, params, inputs):
        """Unrolls a loop over the leading axis of constants; the loop's stacked results must not be used."""
        constants, carries = scan_counts(params)
        fixed, carry, rows = (
            inputs[:constants], inputs[constants : constants + carries], inputs[constants + carries :],
        )  # fmt: skip
        if not all(isinstance(value, np.ndarray) for value in rows):
            raise NotConvertible(
                "a loop over arrays that are no constants has no form in ONNX here"
            )
        order = range(params["length"])
        body = params["jaxpr"]
        for step in reversed(order) if params["reverse"] else order:
            out = self._run(body.jaxpr, body.consts, [*fixed, *carry, *(row[step] for row in rows)])
            carry = out[:carries]
        return [*carry, *[None] * (len(body.out_avals) - carries)]

    def _binary(self, name, inputs):
        """Adds a node, or a convolution with other weights where the operation changes its result by channels."""
        left, right = inputs
        if name == "max" and isinstance(right, np.ndarray | np.generic) and not np.any(right):
            return self._node("Relu", [left])
        known = self._convolutions.get(left) if isinstance(left, str) else None
        folded = fold(name, known, right)
        return self._node(BINARY[name], inputs) if folded is None else self._convolve(folded)

    def _convolve(self, convolution):
        """Adds a convolution between transpositions, and keeps it in mind for what follows."""
        kernel, bias = convolution.kernel, convolution.bias
        x = self._node("Transpose", [convolution.x], perm=TO_NCHW)
        weights = [kernel] if bias is None else [kernel, bias]
        out = self._node("Conv", [x, *weights], **convolution.attributes)
        out = self._node("Transpose", [out], perm=TO_NHWC)
        self._convolutions[out] = convolution
        return out

    def _node(self, operation, inputs, **attributes):
        out = f"t{next(self._numbers)}"
        names = [self._name(value) for value in inputs]
        self._nodes.append(self._onnx.helper.make_node(operation, names, [out], **attributes))
        return out

    def _name(self, value):
        if isinstance(value, str):
            return value
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"c{len(self._constants)}"
            self._constants[key] = self._onnx.numpy_helper.from_array(array, name)
        return self._constants[key].name

    def _convert_element_type(self, inputs, params, equation):
        kind = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(params["new_dtype"]))
        return self._node("Cast", inputs, to=kind)

    def _rsqrt(self, inputs, params, equation):
        return self._node("Reciprocal", [self._node("Sqrt", inputs)])

    def _integer_pow(self, inputs, params, equation):
        dtype = equation.outvars[0].aval.dtype
        return self._node("Pow", [inputs[0], np.array(params["y"], dtype)])

    def _square(self, inputs, params, equation):
        return self._node("Mul", [inputs[0], inputs[0]])

    def _select_n(self, inputs, params, equation):
        which, *cases = inputs
        if len(cases) != 2:
            raise NotConvertible("a choice among more than two has no form in ONNX here")
        return self._node("Where", [which, cases[1], cases[0]])

    def _transpose(self, inputs, params, equation):
        return self._node("Transpose", inputs, perm=params["permutation"])

    def _reshape(self, inputs, params, equation):
        value = inputs[0]
        if params["dimensions"] is not None:
            value = self._node("Transpose", [value], perm=params["dimensions"])
        return self._reshaped(value, params["new_sizes"])

    def _squeeze(self, inputs, params, equation):
        return self._reshaped(inputs[0], equation.outvars[0].aval.shape)

    def _expand_dims(self, inputs, params, equation):
        return self._reshaped(inputs[0], equation.outvars[0].aval.shape)

    def _reshaped(self, value, shape):
        sizes = [-1 if size % BATCH == 0 and size else size for size in shape]
        if sizes.count(-1) > 1:
            raise NotConvertible(f"a reshape to {shape} has no form in ONNX here")
        return self._node("Reshape", [value, np.array(sizes, np.int64)])

    def _broadcast_in_dim(self, inputs, params, equation):
        before, shape = equation.invars[0].aval.shape, params["shape"]
        own = [1] * len(shape)
        for axis, size in zip(params["broadcast_dimensions"], before, strict=True):
            own[axis] = size
        value = self._reshaped(inputs[0], own) if tuple(own) != before else inputs[0]
        # 1 leaves the batch as it is.
        target = [1 if size % BATCH == 0 else size for size in shape]
        return (
            value
            if own == list(shape)
            else self._node("Expand", [value, np.array(target, np.int64)])
        )

    def _concatenate(self, inputs, params, equation):
        return self._node("Concat", inputs, axis=params["dimension"])

    def _slice(self, inputs, params, equation):
        shape = equation.invars[0].aval.shape
        steps = params["strides"] or (1,) * len(shape)
        bounds = zip(params["start_indices"], params["limit_indices"], steps, shape, strict=True)
        cut = [
            (axis, *bound[:3]) for axis, bound in enumerate(bounds) if bound[:3] != (0, bound[3], 1)
        ]
        return self._sliced(inputs[0], cut)

    def _sliced(self, value, cut):
        if not cut:
            return value
        axes, starts, ends, steps = (np.array(part, np.int64) for part in zip(*cut, strict=True))
        return self._node("Slice", [value, starts, ends, axes, steps])

    def _pad(self, inputs, params, equation):
        value, filling = inputs
        config, shape = params["padding_config"], equation.invars[0].aval.shape
        if any(inside for _, _, inside in config):
            raise NotConvertible("a padding between elements has no form in ONNX here")
        cut = [
            (axis, max(0, -low), size + min(0, high), 1)
            for axis, ((low, high, _), size) in enumerate(zip(config, shape, strict=True))
            if low < 0 or high < 0
        ]
        value = self._sliced(value, cut)
        pads = [max(0, low) for low, _, _ in config] + [max(0, high) for _, high, _ in config]
        return self._node("Pad", [value, np.array(pads, np.int64), filling]) if any(pads) else value

    def _reduce_sum(self, inputs, params, equation):
        axes = np.array(params["axes"], np.int64)
        return self._node("ReduceSum", [inputs[0], axes], keepdims=0)

    def _reduce_max(self, inputs, params, equation):
        return self._node("ReduceMax", inputs, axes=params["axes"], keepdims=0)

    def _dot_general(self, inputs, params, equation):
        ((left, right), (left_batch, right_batch)) = params["dimension_numbers"]
        ranks = [len(atom.aval.shape) for atom in equation.invars]
        if (left, right) == ((ranks[0] - 1,), (0,)) and not left_batch and ranks[1] == 2:
            x, weights = inputs
            if ranks[0] == 4 and isinstance(weights, np.ndarray):  # a convolution of 1x1
                return self._convolve(Convolution(x, weights.T[..., None, None], None, {}))
            return self._node("MatMul", inputs)
        letters = iter("abcdefghijklmnopqrstuvwxyz")
        names: list[list[str]] = [[""] * rank for rank in ranks]
        for a, b in (*zip(left_batch, right_batch, strict=True), *zip(left, right, strict=True)):
            names[0][a] = names[1][b] = next(letters)
        free: list[str] = []
        for one in names:
            for axis, name in enumerate(one):
                if not name:
                    one[axis] = next(letters)
                    free.append(one[axis])
        out = [names[0][axis] for axis in left_batch] + free
        equation_text = f"{''.join(names[0])},{''.join(names[1])}->{''.join(out)}"
        return self._node("Einsum", inputs, equation=equation_text)

    def _conv_general_dilated(self, inputs, params, equation):
        x, kernel = inputs
        numbers = params["dimension_numbers"]
        if (numbers.lhs_spec, numbers.out_spec) != (TO_NCHW, TO_NCHW) or set(
            params["lhs_dilation"]
        ) != {1}:
            raise NotConvertible("a convolution of this layout has no form in ONNX here")
        if not isinstance(kernel, np.ndarray):
            raise NotConvertible(
                "a convolution whose kernel is no constant has no form in ONNX here"
            )
        kernel = np.asarray(kernel).transpose(numbers.rhs_spec)
        attributes = {
            "strides": params["window_strides"],
            "pads": _pads(params["padding"]),
            "dilations": params["rhs_dilation"],
            "group": params["feature_group_count"],
        }
        return self._convolve(Convolution(x, kernel, None, attributes))

    def _reduce_window_max(self, inputs, params, equation):
        return self._pool("MaxPool", inputs, params)

    def _reduce_window_sum(self, inputs, params, equation):
        mean = self._pool("AveragePool", inputs, params, count_include_pad=1)
        count = np.prod(params["window_dimensions"])
        return self._node("Mul", [mean, np.array(count, equation.outvars[0].aval.dtype)])

    def _pool(self, operation, inputs, params, **attributes):
        window, strides = params["window_dimensions"], params["window_strides"]
        dilations = {*params["base_dilation"], *params["window_dilation"]}
        if len(window) != 4 or (window[0], window[3]) != (1, 1) or dilations != {1}:
            raise NotConvertible("a pool of this form has no form in ONNX here")
        out = self._node(
            operation,
            [self._node("Transpose", [inputs[0]], perm=TO_NCHW)],
            kernel_shape=window[1:3],
            strides=strides[1:3],
            pads=_pads(params["padding"][1:3]),
            **attributes,
        )
        return self._node("Transpose", [out], perm=TO_NHWC)


def _pads(padding):
    (top, bottom), (left, right) = padding
    if min(top, bottom, left, right) < 0:
        raise NotConvertible("a negative padding has no form in ONNX here")
    return [top, left, bottom, right]


def _known(value):
    return np.asarray(value)


def scan_counts(params: Mapping[str, Any]) -> tuple[int, int]:
    """Counts a scan's constants and carried values; jax 0.12 has trees of them, older versions numbers."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    constants, carried, _ = params["ft_in"].unpack()
    return len(constants.vals), len(carried.vals)
