"""Which TensorFlow operations the farm refuses, why, and what to use instead. Data, not behaviour."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class OpRule:
    """A family of operations that is refused.

    Attributes:
        ops: the pattern of the operation's whole name.
        why: what the operation does, to follow "which".
        advice: what the owner of the model can do instead.
    """

    ops: re.Pattern[str]
    why: str
    advice: str


def _rule(ops: str, why: str, advice: str) -> OpRule:
    return OpRule(ops=re.compile(ops), why=why, advice=advice)


NEVER_RUN: tuple[OpRule, ...] = (
    _rule(
        r"EagerPyFunc|PyFunc(Stateless)?",
        "calls Python code that is not in the file",
        "write the step with TensorFlow operations instead of tf.py_function and tf.numpy_function",
    ),
    _rule(
        r"ReadFile|WriteFile|MatchingFiles|ImmutableConst|LoadAndRemapMatrix|GenerateVocabRemapping"
        r"|RecordInput|Skipgram|FixedUnigramCandidateSampler|CalibrationStatisticsSaver|DumpTensor",
        "reads or writes files of the host",
        "read files outside the model and pass their contents as inputs, or keep them as tf.constant",
    ),
    _rule(
        r"(WholeFile|TextLine|FixedLengthRecord|TFRecord|LMDB|Identity)Reader(V2)?|Reader\w+",
        "reads files of the host",
        "read files outside the model and pass their contents as inputs",
    ),
    _rule(
        r"InitializeTableFromTextFile(V2)?",
        "reads a file of the host",
        "make the table with tf.lookup.KeyValueTensorInitializer, or look values up outside the model",
    ),
    _rule(
        r"\w*(Dataset|Iterator)\w*|DistributedSave",
        "belongs to an input pipeline, which reads and writes files of the host",
        "export only the model's forward pass, without its input pipeline",
    ),
    _rule(
        r"Print(V2)?|Debug\w+|CreateSummary\w+|Write\w*Summary|ImportEvent",
        "writes to files of the host or to the network",
        "remove tf.print, tf.summary and debug dumps before the export",
    ),
    _rule(
        r"_?Xla(CallModule|CustomCall\w*|Launch\w*|Run|Compile\w*|HostCompute\w*|\w*Host|Send\w*|Recv\w*)",
        "runs code that XLA compiled, which the file brings",
        "from JAX, convert with native_serialization=False; else export again without jit_compile=True",
    ),
    _rule(
        r"Rpc\w*|RemoteCall|_?(Send|Recv|HostSend|HostRecv)|Collective\w+|FileSystemSetConfiguration",
        "talks to other processes",
        "export the model on one device, outside a distribution strategy",
    ),
)
"""Refused wherever loading, saving or serving the model would run them."""

_NO_CHECKPOINTS = "leave saving and restoring to tf.saved_model.save, out of the model's own functions"

WRITES_CHECKPOINTS: tuple[OpRule, ...] = (
    _rule(r"Save(Slices|V2)?|MergeV2Checkpoints", "writes or deletes files of the host", _NO_CHECKPOINTS),
)
"""Refused except in what the main graph's saver runs to write a checkpoint, which the farm never does."""

READS_CHECKPOINTS: tuple[OpRule, ...] = (
    _rule(r"(DTensor)?Restore(Slice|V2)?", "reads files of the host", _NO_CHECKPOINTS),
)
"""Refused except in what the main graph's saver runs to read or write a checkpoint."""

NOT_IN_AN_ENGINE: tuple[OpRule, ...] = (
    _rule(
        r"(Stateless)?(Random|Multinomial|TruncatedNormal|ParameterizedTruncatedNormal|Sample\w*Box)\w*"
        r"|Stateful(StandardNormal|TruncatedNormal|Uniform|RandomBinomial)\w*|Rng\w+|RandomShuffle",
        "draws random numbers, which no engine can repeat",
        "call random layers with training=False (or leave them out) when exporting, "
        "or make the random values an input",
    ),
    _rule(
        r"Assign\w*|Resource(Scatter|Apply|SparseApply|StridedSliceAssign)\w*"
        r"|Scatter(Nd)?(Update|Add|Sub|Mul|Div|Min|Max)",
        "changes a variable that an output depends on, and an engine has no state",
        "return the new value as an output and take the old one as an input (Keras: no stateful=True)",
    ),
    _rule(
        r"LookupTable\w+|(Mutable|Anonymous|Mutable\w*|Anonymous\w*)?HashTable\w*|StaticHashTable\w*",
        "looks values up in a table of strings, or in one that changes",
        "map strings to numbers before the engine; for numbers use tf.lookup.StaticHashTable",
    ),
    _rule(
        r"Decode(Jpeg|Png|Gif|Bmp|Image|AndCropJpeg|Raw|Base64|Csv|Wav)\w*|Parse\w*Example\w*|String\w+"
        r"|AsString|Regex\w+|UnicodeDecode\w*|StaticRegex\w+",
        "works on strings or encoded files",
        "decode and tokenise before the engine; export a signature that takes numbers",
    ),
    _rule(
        r"TRTEngineOp",
        "holds an engine of TF-TRT already",
        "upload the model as it was before TF-TRT converted it",
    ),
)
"""Refused if the signature needs them."""


TOO_NARROW = {24: "float8_e5m2", 25: "float8_e4m3fn", 29: "int4", 30: "uint4"}
"""Types that neither tf2onnx nor the farm reads, by their number in tensorflow.DataType."""

_NUMBER_TABLES = {"HashTableV2": ("key_dtype", "value_dtype"), "LookupTableFindV2": ("Tin", "Tout")}
_STRING = 7


def is_number_table(node: Any) -> bool:
    """Return whether `node` makes or reads a table without strings, whose content is known after loading."""
    types = _NUMBER_TABLES.get(node.op)
    return types is not None and all(node.attr[name].type != _STRING for name in types)


def first_match(op: str, rules: tuple[OpRule, ...]) -> OpRule | None:
    """Return the rule that refuses `op`; None if none does."""
    return next((rule for rule in rules if rule.ops.fullmatch(op)), None)


_FIXED_SIZES = (
    "give the image a fixed size, as in keras.Input(shape=(224, 224, 3)), "
    "or use tf.image.resize with method='bilinear' or 'nearest' and antialias=False"
)
FIXED_LENGTH = "transform along an axis of fixed length: give fft_length (or the input's shape) as numbers"
"""For Fourier transforms."""
_LINEAR_ALGEBRA = "compute it before the export if it is constant, or outside the engine"
_KNOWN_COUNT = "give the number of indices: minlength=n, maxlength=n; or use tf.reduce_sum(tf.one_hot(...))"
_SEGMENTS = (
    "use tf.math.unsorted_segment_sum (or _max, _mean, ...) with a number of segments that is constant or a "
    "size, as in tf.shape(nodes)[0]: an engine has no tensors whose size depends on values"
)
_RAGGED = "how many values a ragged result has depends on values, and an engine has no such tensors"
_KNOWN_PLACES = (
    "give the TensorArray a size, and write and read it at places, that are numbers; or let a loop write one "
    "row in each turn, as tf.map_fn does, and read rows of array.stack()"
)
_NO_XLA = "export again without jit_compile=True"
_NEAREST: dict[str, str] = {
    "ScaleAndTranslate": _FIXED_SIZES,
    "ResizeArea": _FIXED_SIZES,
    "ResizeBicubic": _FIXED_SIZES,
    "MatrixInverse": f"{_LINEAR_ALGEBRA}; matrices up to 3 by 3 are converted",
    "MatrixDeterminant": f"{_LINEAR_ALGEBRA}; matrices up to 3 by 3 are converted",
    "MatrixSolve": f"{_LINEAR_ALGEBRA}; matrices up to 3 by 3 are converted",
    **dict.fromkeys(
        ("Cholesky", "Svd", "Qr", "SelfAdjointEigV2", "MatrixTriangularSolve", "MatrixLogarithm"),
        _LINEAR_ALGEBRA,
    ),
    **dict.fromkeys(("PartitionedCall", "StatefulPartitionedCall"), _NO_XLA),
    **dict.fromkeys(
        ("FFT", "IFFT", "RFFT", "IRFFT", "FFT2D", "IFFT2D", "RFFT2D", "IRFFT2D", "Complex", "ComplexAbs"),
        FIXED_LENGTH,
    ),
    **dict.fromkeys(("Unique", "UniqueV2"), "compute unique values outside the engine"),
    **dict.fromkeys(("Bincount", "DenseBincount"), _KNOWN_COUNT),
    **{
        f"{which}{kind}{version}": _SEGMENTS
        for which, version in (
            ("Segment", ""),
            ("Segment", "V2"),
            ("UnsortedSegment", ""),
            ("SparseSegment", ""),
        )
        for kind in ("Sum", "Mean", "Prod", "Max", "Min", "SqrtN")
    },
    **dict.fromkeys(
        ("MatrixDiagV2", "MatrixDiagV3", "MatrixSetDiagV2", "MatrixSetDiagV3"),
        "give k as a number: which diagonal it is must not depend on data or on open sizes",
    ),
    "RaggedGather": f"make it dense first, r.to_tensor(shape=[None, LONGEST]), then gather rows: {_RAGGED}",
    "RaggedRange": f"use tf.range(LONGEST) and tf.sequence_mask(lengths, LONGEST): {_RAGGED}",
    "RaggedTensorToTensor": f"give the longest length, r.to_tensor(shape=[None, LONGEST]): {_RAGGED}",
    **dict.fromkeys(
        (f"TensorList{kind}" for kind in ("Stack", "Gather", "GetItem", "ConcatV2", "FromTensor", "Split")),
        _KNOWN_PLACES,
    ),
    "LabelEncoder": "map keys to numbers before the engine",
    "NonMaxSuppressionV5": "use soft_nms_sigma=0, or suppress outside the engine",
    "Cumprod": "multiply along an axis of fixed size",
    "CumulativeLogsumexp": "add up along an axis of fixed size",
    "ImageProjectiveTransformV3": "leave layers that augment images out of the export (training=False)",
    "SparseTensorDenseMatMul": "use tf.matmul on dense tensors (tf.sparse.to_dense before the export)",
    **dict.fromkeys(
        ("_SwitchN", "Case"), "compute all cases and choose by tf.where instead of tf.switch_case"
    ),
    **dict.fromkeys(
        ("CTCBeamSearchDecoder", "CTCGreedyDecoder"), "return the logits and decode outside the engine"
    ),
}


def nearest_fix(op: str) -> str:
    """Return what to do about an operation that has no ONNX form."""
    rule = first_match(op, NOT_IN_AN_ENGINE + NEVER_RUN + READS_CHECKPOINTS + WRITES_CHECKPOINTS)
    if rule is not None:
        return rule.advice
    return _NEAREST.get(op, f"replace {op} by other operations, or compute it outside the engine")
