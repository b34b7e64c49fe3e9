"""This module runs a folded EfficientNet in ONNX Runtime, which on a CPU is faster than torch.

The graph is built in memory from the torch network; no file is written and nothing is traced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from auditor.encoders.precision import Precision
from auditor.errors import BadInput, needed_for

if TYPE_CHECKING:
    from torch import Tensor

Runtime = Literal["torch", "onnx"]

OPSET = 17
IR_VERSION = 8
"""The versions of the format that the graph is written in: all that it needs is in them."""


def check_onnx(owner: str, device: str, precision: Precision) -> None:
    """Raise `BadInput` where `runtime: onnx` cannot be had: on another device than the CPU, in another
    precision than float32, or without the extra `onnx`. `owner` begins the line ("encoders.image")."""
    if device.partition(":")[0] != "cpu":
        raise BadInput(
            f"{owner}: runtime onnx computes on the CPU only, and here it may be given a GPU; "
            "set workers.gpu to 0 or runtime to torch"
        )
    if precision not in ("auto", "float32"):
        raise BadInput(f"{owner}: runtime onnx computes in float32 only; precision {precision} needs torch")
    runtime_name(owner)


def runtime_name(owner: str) -> str:
    """Return the runtime and its version, as an identity says it ("onnxruntime 1.32.0"). Raises
    `MissingPackage`, whose line `owner` begins."""
    with needed_for(f"{owner}: runtime onnx"):
        import onnx  # noqa: F401
        import onnxruntime
    return f"onnxruntime {onnxruntime.__version__}"


def onnx_forward(network: Any, side: int, threads: int) -> Callable[[Tensor], Tensor]:
    """Return the function (1, 3, side, side) -> (1, dim) float32 that `network.extract_features` and the mean
    over positions are, computed by ONNX Runtime with exactly `threads` threads.

    `network`: an EfficientNet of the package efficientnet-lite-pytorch, its normalisations folded into its
    convolutions. The function takes one image at a time, so that its bits depend on no other image; it raises
    what ONNX Runtime does for another shape.
    """
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others compute on these cores
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(_model(network, side), options, ["CPUExecutionProvider"])

    def forward(pixels: Tensor) -> Tensor:
        (rows,) = session.run(None, {"pixels": pixels.numpy()})
        return torch.from_numpy(rows)

    return forward


def _model(network: Any, side: int) -> bytes:
    """The graph and its weights, in ONNX's own format."""
    from onnx import TensorProto, checker, helper

    graph = _Graph()
    x = graph.convolution("pixels", network._conv_stem, clip=True)
    for block in network._blocks:
        before = x
        if hasattr(block, "_expand_conv"):
            x = graph.convolution(x, block._expand_conv, clip=True)
        x = graph.convolution(x, block._depthwise_conv, clip=True)
        x = graph.convolution(x, block._project_conv, clip=False)
        kept = block._block_args.input_filters == block._block_args.output_filters
        if block.id_skip and block._block_args.stride == 1 and kept:
            x = graph.node("Add", [x, before])
    x = graph.convolution(x, network._conv_head, clip=True)
    graph.node("Flatten", [graph.node("GlobalAveragePool", [x])], output="vectors")

    float32, dim = TensorProto.FLOAT, network._conv_head.out_channels
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "features",
            [helper.make_tensor_value_info("pixels", float32, [1, 3, side, side])],
            [helper.make_tensor_value_info("vectors", float32, [1, dim])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    checker.check_model(model)
    serialized: bytes = model.SerializeToString()
    return serialized


class _Graph:
    """Nodes in the order in which they are computed, and the constants that they take."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._limits = [self._constant(np.float32(0)), self._constant(np.float32(6))]

    def node(self, kind: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        from onnx import helper

        name = output or f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def convolution(self, x: str, conv: Any, *, clip: bool) -> str:
        """Add a convolution with bias, and ReLU6 where `clip` is true."""
        left, right, top, bottom = getattr(conv.static_padding, "padding", (0, 0, 0, 0))
        high, wide = conv.padding
        y = self.node(
            "Conv",
            [x, self._constant(conv.weight.detach().numpy()), self._constant(conv.bias.detach().numpy())],
            strides=list(conv.stride),
            pads=[top + high, left + wide, bottom + high, right + wide],
            group=conv.groups,
        )
        return self.node("Clip", [y, *self._limits]) if clip else y

    def _constant(self, value: Any) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name
