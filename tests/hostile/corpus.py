"""The corpus: for each attack how it is made, how it is refused, and the words that say why."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tasks.domain import errors
from tests.hostile import archives as ar
from tests.hostile import keras_files as ke
from tests.hostile import saved_models as sm

ESCAPE = "\x1b[2J"
LINE = "x\nto fix: run me"


@dataclass(frozen=True, slots=True)
class Attack:
    """One row.

    Attributes:
        make: writes the release's file or folder into the folder that it is given.
        error: the class of the refusal.
        words: what the refusal says.
    """

    make: Callable[[Path], object]
    error: type[errors.FarmError]
    words: tuple[str, ...]


def _row(error: type[errors.FarmError], words: str, make: Callable[..., object], *args: object) -> Attack:
    return Attack(partial(_made, make, args), error, tuple(words.split("|")))


def _made(make: Callable[..., object], args: tuple[object, ...], folder: Path) -> object:
    return make(folder, *args)


_ARCHIVE, _MODEL, _BROKEN = errors.ArchiveRefused, errors.ModelRefused, errors.ModelUnreadable
_SAMPLES, _REQUEST = errors.SamplesInvalid, errors.RequestInvalid
_OUTSIDE = "whose path is not below the archive"
_HUGE = "bytes when unpacked"
_CODE = "layer odd with Python code"

ATTACKS: dict[str, Attack] = {
    "tar: path traversal": _row(_ARCHIVE, f"../evil|{_OUTSIDE}", ar.tar_names, "../evil"),
    "tar: traversal in the middle": _row(_ARCHIVE, _OUTSIDE, ar.tar_names, "m/../../evil"),
    "tar: absolute path": _row(_ARCHIVE, f"/etc/cron.d/evil|{_OUTSIDE}", ar.tar_names, "/etc/cron.d/evil"),
    "tar: backslashes": _row(_ARCHIVE, _OUTSIDE, ar.tar_names, "..\\evil"),
    "tar: symbolic link": _row(_ARCHIVE, "a link to /etc", ar.tar_kind, tarfile.SYMTYPE, "/etc/passwd"),
    "tar: hard link": _row(_ARCHIVE, "a link to /etc", ar.tar_kind, tarfile.LNKTYPE, "/etc/passwd"),
    "tar: file through a link": _row(_ARCHIVE, "variables|a link to", ar.tar_write_through_link),
    "tar: character device": _row(_ARCHIVE, "a device or pipe", ar.tar_kind, tarfile.CHRTYPE),
    "tar: block device": _row(_ARCHIVE, "a device or pipe", ar.tar_kind, tarfile.BLKTYPE),
    "tar: pipe": _row(_ARCHIVE, "a device or pipe", ar.tar_kind, tarfile.FIFOTYPE),
    "tar: one member twice": _row(_ARCHIVE, "twice", ar.tar_names, "a", "./a"),
    "tar: same but for case": _row(_ARCHIVE, "the same but for case", ar.tar_names, "m/A", "m/a"),
    "tar: same but for Unicode form": _row(_ARCHIVE, "same but for", ar.tar_names, "\u00e9", "e\u0301"),
    "tar: below a file": _row(_ARCHIVE, "below a file of that name", ar.tar_names, "a/b", "a"),
    "tar: line feed in a name": _row(_ARCHIVE, _OUTSIDE, ar.tar_names, LINE),
    "tar: ANSI escape in a name": _row(_ARCHIVE, _OUTSIDE, ar.tar_names, ESCAPE),
    "tar: overlong name": _row(_ARCHIVE, _OUTSIDE, ar.tar_names, "\u20ac" * 200),
    "tar: bomb by ratio": _row(_ARCHIVE, _HUGE, ar.tar_ratio),
    "tar: bomb by count": _row(_ARCHIVE, "more than 10000 members", ar.tar_many),
    "tar: bomb in a bomb": _row(_BROKEN, "none", ar.tar_nested),
    "tar: declares 8 GiB": _row(_ARCHIVE, _HUGE, ar.tar_header_lie),
    "tar: header of 8 GiB": _row(_ARCHIVE, "a header that declares", ar.tar_header_lie, tarfile.XHDTYPE),
    "tar: sparse 10 GB": _row(_ARCHIVE, _HUGE, ar.tar_sparse),
    "tar: cut off": _row(_ARCHIVE, "Error", partial(ar.damaged, name="saved_model.tar.gz", keep=0.6)),
    "tar: flipped bit": _row(_ARCHIVE, "CRC", partial(ar.damaged, name="saved_model.tar.gz", flip=True)),
    "zip: path traversal": _row(_ARCHIVE, f"../evil|{_OUTSIDE}", ar.zip_names, "a", "../evil"),
    "zip: absolute path": _row(_ARCHIVE, _OUTSIDE, ar.zip_names, "/etc/cron.d/evil"),
    "zip: symbolic link": _row(_ARCHIVE, "a link", ar.zip_link),
    "zip: device": _row(_ARCHIVE, "a device or pipe", ar.zip_device),
    "zip: one member twice": _row(_ARCHIVE, "'a' twice", ar.zip_names, "a", "a"),
    "zip: same but for case": _row(_ARCHIVE, "the same but for case", ar.zip_names, "A/x", "a/x"),
    "zip: line feed in a name": _row(_ARCHIVE, _OUTSIDE, ar.zip_names, LINE),
    "zip: ANSI escape in a name": _row(_ARCHIVE, _OUTSIDE, ar.zip_names, ESCAPE),
    "zip: bomb by ratio": _row(_ARCHIVE, _HUGE, ar.zip_ratio),
    "zip: bomb by count": _row(_ARCHIVE, "more than 10000 members", ar.zip_many),
    "zip: bomb by overlapping": _row(_ARCHIVE, _HUGE, ar.zip_overlapping),
    "zip: declares less": _row(_ARCHIVE, "CRC", ar.zip_patched, 24, b"\x01\0\0\0"),
    "zip: declares 4 GB": _row(_ARCHIVE, _HUGE, ar.zip_patched, 24, b"\xfe\xff\xff\xff"),
    "zip: encrypted": _row(_ARCHIVE, "encrypted", ar.zip_patched, 8, b"\x01"),
    "zip: other method": _row(_ARCHIVE, "packed with method 14", ar.zip_patched, 10, b"\x0e"),
    "zip: no name": _row(_ARCHIVE, _OUTSIDE, ar.zip_patched, 28, b"\0\0\0\0\x0e\0"),
    "zip: offset before the file": _row(_ARCHIVE, "BadZipFile", ar.zip_patched, 42, b"\xff\xff\xff\x7f"),
    "zip: cut off": _row(_ARCHIVE, "BadZipFile", partial(ar.damaged, name="saved_model.zip", keep=0.8)),
    "folder: link to a file": _row(_ARCHIVE, "a link to /etc/passwd", sm.linked, "assets/x", "/etc/passwd"),
    "folder: link to a folder": _row(_ARCHIVE, "a link to /etc", sm.linked, "variables", "/etc"),
    "folder: link to itself": _row(_ARCHIVE, "a link to loop", sm.linked, "loop", "loop"),
    "folder: pipe": _row(_ARCHIVE, "neither a file nor a folder", sm.with_fifo),
    "graph: missing": _row(_BROKEN, "none", sm.text_only),
    "graph: no message": _row(_BROKEN, "DecodeError", sm.message, b"\xff" * 64),
    "graph: cut off": _row(_BROKEN, "DecodeError", sm.message, b"\x12\xff\x01\x0a"),
    "graph: empty": _row(_BROKEN, "no graph at all", sm.message, b""),
    "graph: nested 5000 deep": _row(_BROKEN, "DecodeError", sm.nested_message),
    "graph: sparse 10 GB": _row(_BROKEN, "10737418240", sm.sparse_file, "saved_model/saved_model.pb"),
    **{
        f"graph: {op}": _row(_MODEL, f"operation {op}|trap in function deeper", sm.with_operation, op)
        for op in ("ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "EagerPyFunc", "PyFuncStateless",
                   "AssignVariableOp", "TextLineReaderV2", "SaveV2", "Send", "CollectiveReduce",
                   "DebugIdentityV3", "DecodeProtoV2", "EncodeProto", "Abort", "XlaCallModule",
                   "XlaCustomCallV2", "XlaLaunch", "ThreadPoolHandle", "FIFOQueueV2", "TPUExecute",
                   "NcclAllReduce", "_XlaRecvAtHost", "CompanyOp")
    },
    **{
        f"graph: {op} while it is loaded": _row(_MODEL, f"operation {op}|in function hidden", sm.on_load, op)
        for op in ("ReadFile", "WriteFile", "PyFunc", "RestoreV2", "InitializeTableFromTextFileV2",
                   "DecodeProtoV2", "Abort", "XlaCallModule", "ThreadPoolHandle", "FIFOQueueV2",
                   "QueueDequeueV2", "Barrier", "Stage", "RandomShuffleQueueV2")
    },
    **{
        f"graph: function called {op}": _row(_MODEL, f"operation {op}|trap", sm.called_like_an_operation, op)
        for op in ("ReadFile", "PyFunc", "XlaCallModule")
    },
    "graph: recursion": _row(_MODEL, "calls itself", sm.recursive),
    "graph: recursion by others": _row(_MODEL, "calls itself", sm.recursive, "and", "again and"),
    "graph: calls that double": _row(_MODEL, "so often", sm.doubling),
    "graph: calls 10000 deep": _row(_MODEL, "deep", sm.deep_calls),
    "graph: a million nodes": _row(_MODEL, "1000003 nodes", sm.many_nodes),
    "graph: ten thousand signatures": _row(_MODEL, "10001 signatures", sm.many_signatures),
    "graph: huge constant": _row(_MODEL, "constant bomb|1000000000000", sm.huge_constant),
    "graph: huge constant in a function": _row(
        _MODEL, "constant bomb", partial(sm.huge_constant, in_function=True)
    ),
    **{
        f"graph: {kind} in the name of {side}": _row(_MODEL, word, sm.named, side, name)
        for side in ("signature", "inputs", "outputs")
        for kind, name, word in (("ANSI escape", ESCAPE, "\\x1b[2J"), ("line feed", LINE, "x\\nto fix"))
    },
    "graph: line feed in the name of a node": _row(
        _MODEL, "x\\nto fix: run me", sm.with_operation, "ReadFile", LINE
    ),
    "graph: asset outside": _row(_MODEL, "../../etc/passwd", sm.asset_outside),
    "keras: Lambda in a model in a model": _row(_MODEL, _CODE, ke.keras, ke.layer(class_name="Lambda")),
    "keras: bytecode": _row(_MODEL, _CODE, ke.keras, ke.layer(class_name="__lambda__")),
    "keras: function of a module": _row(
        _MODEL, "Python code", ke.keras, ke.layer(class_name="function", module="os", config="system")
    ),
    "keras: function of Keras that loads": _row(
        _MODEL, "Python code", ke.keras,
        ke.layer(class_name="function", module="keras.utils", config="get_file"),
    ),
    "keras: pickled module": _row(_MODEL, _CODE, ke.keras, ke.layer(class_name="TorchModuleWrapper")),
    "keras: class of a module": _row(
        _BROKEN, "layer odd of the class Popen", ke.keras, ke.layer(class_name="Popen", module="subprocess")
    ),
    "keras: registered name": _row(
        _BROKEN, "layer odd", ke.keras, ke.layer(module=None, registered_name="evil>Layer")
    ),
    "keras: SavedModel of the host": _row(
        _MODEL, "reads a file of the host", ke.keras, ke.layer(class_name="TFSMLayer")
    ),
    "keras: SavedModel of the host by a name with dots": _row(
        _MODEL, "reads a file of the host", ke.keras, ke.layer(class_name="layers.TFSMLayer", module="keras")
    ),
    "keras: download by a name with dots": _row(
        _MODEL, _CODE, ke.keras, ke.layer(class_name="datasets.mnist.load_data", module="keras")
    ),
    "keras: download in place of an activation": _row(
        _MODEL, _CODE, ke.keras,
        ke.layer(config={"name": "odd", "activation": {"module": "keras.utils", "class_name": "get_file",
                                                       "config": {}}}),
    ),
    "keras: vocabulary of the host": _row(
        _MODEL, "reads a file of the host", ke.keras,
        ke.layer(class_name="StringLookup", config={"name": "odd", "vocabulary": "/etc/passwd"}),
    ),
    **{
        f"{form}: layer that calls tf.{symbol}": _row(
            _MODEL, f"layer odd|calls tf.{symbol}", write,
            ke.layer(class_name="TFOpLambda", config={"name": "odd", "function": symbol}),
        )
        for form, write in (("keras", ke.keras), ("h5", ke.h5))
        for symbol in ("io.gfile.rmtree", "load_op_library", "io.write_file", "compat.v1.py_func")
    },
    "keras: type specification of any class": _row(
        _MODEL, _CODE, ke.keras,
        ke.layer(class_name="__typespec__", spec_name="get_file", module="keras.utils"),
    ),
    "h5: vocabulary of a feature column": _row(
        _MODEL, "reads a file of the host", ke.h5,
        ke.layer(class_name="VocabularyFileCategoricalColumn", config={"vocabulary_file": "/etc/passwd"}),
    ),
    "keras: ANSI escape in the name of a layer": _row(
        _MODEL, "\\x1b[2J", ke.keras, ke.layer(class_name="Lambda", config={"name": ESCAPE})
    ),
    "keras: nested 100000 deep": _row(_BROKEN, "RecursionError", ke.keras, "[" * 100_000),
    "keras: configuration of 40 MB": _row(_MODEL, "a configuration of", ke.keras, b" " * (40 << 20)),
    "keras: member outside": _row(_ARCHIVE, _OUTSIDE, ke.keras_member, "assets/../../evil"),
    "keras: weights never written": _row(_MODEL, "bytes of weights", ke.keras, ke.layer(), ke.unwritten),
    "keras: weights of zeros": _row(_MODEL, "bytes of weights", ke.keras, ke.layer(), ke.compressed),
    "keras: weights of variable length": _row(
        _MODEL, "layers/bomb, of values of variable length", ke.keras, ke.layer(), ke.of_variable_length
    ),
    "keras: attribute of many references": _row(
        _MODEL, "attributes|counted up to /", ke.keras, ke.layer(), ke.many_references
    ),
    "h5: filter of a plugin": _row(_MODEL, "layers/packed|the filter 307", ke.h5, ke.layer(), ke.filtered),
    "keras: a hundred thousand layers": _row(
        _MODEL, "more than 100000 layers", ke.keras,
        ke.layer(config={"name": "odd", "parts": [{"class_name": "Dense", "config": {}}] * 100_000}),
    ),
    "keras: virtual weights": _row(_MODEL, "stolen|another file", ke.keras, ke.layer(), ke.virtual),
    "keras: linked weights": _row(_MODEL, "/etc/other.h5", ke.keras, ke.layer(), ke.external_link),
    "keras: external weights": _row(_MODEL, "another file", ke.keras, ke.layer(), ke.external_storage),
    "keras: sparse 10 GB": _row(_BROKEN, "not a zip file", sm.sparse_file, "model.keras"),
    "h5: Lambda": _row(_MODEL, _CODE, ke.h5, ke.layer(class_name="Lambda")),
    "h5: weights never written": _row(_MODEL, "bytes of weights", ke.h5, ke.layer(), ke.unwritten),
    "h5: external weights": _row(_MODEL, "another file", ke.h5, ke.layer(), ke.external_storage),
    "h5: sparse 10 GB": _row(_BROKEN, "OSError", sm.sparse_file, "model.h5"),
    "samples: pickled objects": _row(_SAMPLES, "allow_pickle", ke.samples, {"x.npy": ke.pickled()}),
    "samples: bomb": _row(_SAMPLES, _HUGE, ke.sample_bomb),
    "samples: header declares 4 TB": _row(
        _SAMPLES, "declares 4000000000128", ke.samples, {"x.npy": ke.npy((10**6, 10**6), b"x" * 64)}
    ),
    "samples: negative shape": _row(_SAMPLES, "(-1, 3)", ke.samples, {"x.npy": ke.npy((-1, 3))}),
    "samples: overlong header": _row(_SAMPLES, "Header info length", ke.sample_overlong_header),
    "samples: ANSI escape in a name": _row(_SAMPLES, "x1b", ke.samples, {f"{ESCAPE}.npy": ke.npy((0,))}),
    "samples: sparse 10 GB": _row(_SAMPLES, "BadZipFile", sm.sparse_file, "samples.npz"),
    "request: aliases of aliases": _row(_REQUEST, "the anchor or alias a0", ke.request, ke.laughs()),
    "request: nested": _row(_REQUEST, "levels of nesting", ke.request, "[" * 20_000),
    "request: key of a megabyte": _row(_REQUEST, "more than 64 KiB", ke.request, f"{'k' * (1 << 20)}: 1"),
    "request: sparse 10 GB": _row(_REQUEST, "more than 64 KiB", sm.sparse_file, "build.yaml"),
    "request: key of 60 kB": _row(_REQUEST, "mapping values", ke.request, f'"{"k" * 60_000}": 1'),
    "request: Python object": _row(_REQUEST, "the tag", ke.request, "a: !!python/object/apply:os.system [x]"),
    "request: line feed in a name": _row(_REQUEST, "control", ke.request, 'signature: "x\\nto fix: run me"'),
    "request: ANSI escape in a key": _row(_REQUEST, "\\x1b", ke.request, '"\\e[2J": 1'),
}  # fmt: skip
"""Every attack that is refused before TensorFlow starts."""

_DATA = "variables.data-00000-of-00001"


def damaged_variables(models: Path) -> dict[str, Attack]:
    """Return what TensorFlow itself finds while it loads: its own checksums are the only ones there are."""
    copy = partial(sm.changed_copy, models=models)
    return {
        "variables: cut off": _row(_BROKEN, "Error", partial(copy, name=_DATA, keep=0.5)),
        "variables: flipped bit": _row(_BROKEN, "Error", partial(copy, name=_DATA, flip=True)),
        "variables: missing index": _row(
            _BROKEN, "no such file", partial(copy, name="variables.index", keep=0)
        ),
    }
