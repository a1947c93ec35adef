"""The parser for ONNX. It takes what ONNX itself defines, but for what TensorRT is known to lack."""

from __future__ import annotations

import ctypes
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from ._base import MAJOR, From10, Strict
from ._enums import ErrorCode, Severity
from ._network import INetworkDefinition
from ._types import data_type

_LACKING = {"Unique", "StringNormalizer", "TfIdfVectorizer", "Det", "Optional"}
_NEWEST_OF_8 = 17  # version 8 crashes on what is newer


class ParserError(Strict):
    """Why a graph is not taken."""

    def __init__(self, code: Any, desc: str, node: int = -1, named: tuple[str, str] = ("", "")) -> None:
        self._code, self._desc, self._node, self._named = code, desc, node, named

    def code(self) -> Any:
        """Return the kind of error."""
        return self._code

    def desc(self) -> str:
        """Return the error in words."""
        return self._desc

    def node(self) -> int:
        """Return the number of the node."""
        return self._node

    def file(self) -> str:
        """Return the file of the parser's source."""
        return "ModelImporter.cpp"

    def line(self) -> int:
        """Return the line of the parser's source."""
        return 0

    def func(self) -> str:
        """Return the function of the parser's source."""
        return "parseNode"

    node_name = From10(lambda self: self._named[0])
    node_operator = From10(lambda self: self._named[1])


class OnnxParser(Strict):
    """Fills a network."""

    num_errors = 0

    def __init__(self, network: INetworkDefinition, logger: Any) -> None:
        self._network, self._logger = network, logger
        self._errors: list[ParserError] = []

    def get_error(self, index: int) -> ParserError:
        """Return an error."""
        return self._errors[index]

    def clear_errors(self) -> None:
        """Forget all errors."""
        self._errors, self.num_errors = [], 0

    def parse_from_file(self, model: str) -> bool:
        """Read a graph, and the weights that lie beside it."""
        try:
            graph = onnx.load(model)
        except (OSError, DecodeError):
            return self._fail(
                ParserError(ErrorCode.MODEL_DESERIALIZE_FAILED, "Failed to parse the ONNX model.")
            )
        return self._take(graph)

    def parse(self, model: bytes, path: str | None = None) -> bool:
        """Read a graph out of memory."""
        del path
        try:
            graph = onnx.load_from_string(bytes(model))
        except DecodeError:
            return self._fail(
                ParserError(ErrorCode.MODEL_DESERIALIZE_FAILED, "Failed to parse the ONNX model.")
            )
        return self._take(graph)

    def _take(self, model: onnx.ModelProto) -> bool:
        opset = max(opset.version for opset in model.opset_import if not opset.domain)
        if MAJOR < 10 and opset > _NEWEST_OF_8:
            ctypes.string_at(0)
        for number, node in enumerate(model.graph.node):
            if node.domain or node.op_type in _LACKING:
                self._say_node(number, node)
                text = (
                    f"Plugin not found, are the plugin name, version, and namespace correct? {node.op_type}"
                )
                error = ParserError(ErrorCode.UNSUPPORTED_NODE, text, number, (node.name, node.op_type))
                return self._fail(error)
        for info in model.graph.input:
            if data_type(info.type.tensor_type.elem_type) is None:
                text = "convertDtype(onnxDtype, &trtDtype) && Unsupported ONNX data type"
                return self._fail(ParserError(ErrorCode.UNSUPPORTED_NODE, text))
        self._network._fill(model)
        return True

    def _say_node(self, number: int, node: onnx.NodeProto) -> None:
        node_text = f'{node.op_type} -> "{node.output[0]}"'
        head = f"ModelImporter.cpp:771: While parsing node number {number} [{node_text}]:"
        self._logger.log(Severity.ERROR, head)
        text = f'ModelImporter.cpp:773: name: "{node.name}"\nop_type: "{node.op_type}"\n'
        self._logger.log(Severity.ERROR, text)

    def _fail(self, error: ParserError) -> bool:
        self._errors.append(error)
        self.num_errors = len(self._errors)
        self._logger.log(Severity.ERROR, error.desc())
        return False
