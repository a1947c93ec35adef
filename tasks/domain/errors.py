"""Every way in which the farm fails, each a class with an exit code.

An error says what was wanted and found, what to do, and whether a retry can help. Runs on Python 3.10, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from tasks.domain.printable import printable, without_secrets


class FarmError(Exception):
    """The base class of all errors that the farm raises on purpose.

    Attributes:
        exit_code: the exit code of a command that ends with this error.
        retryable: whether a retry of the same call can succeed without a change by a person.
        about_request: whether the request has to change, because every host would fail in the same way.
    """

    exit_code: int = 1
    retryable: bool = False
    about_request: bool = False

    def __init__(self, *, wanted: str, found: str, fix: str) -> None:
        self.wanted, self.found, self.fix = (
            without_secrets(printable(text)) for text in (wanted, found, fix)
        )
        super().__init__(f"wanted {self.wanted}; found {self.found}. To fix: {self.fix}")

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), wanted=self.wanted, found=self.found, fix=self.fix), (), self.__dict__

    @property
    def class_name(self) -> str:
        """The name of its class, even if this version does not have the class."""
        return type(self).__name__

    def texts(self) -> dict[str, str]:
        """Return the name of its class and its three texts."""
        return {"class": self.class_name, "wanted": self.wanted, "found": self.found, "fix": self.fix}

    def to_document(self) -> dict[str, Any]:
        """Return a JSON-ready document with texts, exit code and flags, for readers without the class."""
        flags = {"retryable": self.retryable, "about_request": self.about_request}
        return {**self.texts(), "exit_code": self.exit_code, **flags}


# What the user provides.


class RequestInvalid(FarmError):
    """`build.yaml` or an option has a wrong key or value."""

    exit_code = 10
    about_request = True


class ReleaseIncomplete(FarmError):
    """The release has no model, several, or no `build.yaml`."""

    exit_code = 11
    about_request = True


class ArchiveRefused(FarmError):
    """An archive is broken, would write outside its folder, or is far larger than it claims."""

    exit_code = 12
    about_request = True


class ModelRefused(FarmError):
    """The model contains something that the farm never runs, or that no engine can contain."""

    exit_code = 13
    about_request = True


class ModelUnreadable(FarmError):
    """The model's files are damaged, or need code that is not in them."""

    exit_code = 14
    about_request = True


class SignatureUnknown(FarmError):
    """The model does not have the signature that the request names."""

    exit_code = 15
    about_request = True


class OperationUnsupported(FarmError):
    """An operation of the model has no ONNX form, or TensorFlow does not compute it on CPUs."""

    exit_code = 16
    about_request = True


class SamplesInvalid(FarmError):
    """The sample file does not fit the model's inputs, or the model takes none of the values."""

    exit_code = 17
    about_request = True


class InputInvalid(FarmError):
    """An input does not fit the engine, or `Engine` was used incorrectly."""

    exit_code = 18
    about_request = True


class LocationRefused(FarmError):
    """A request names a place in S3 that the operator does not allow."""

    exit_code = 19
    about_request = True


# Storage.


class StoreUnreachable(FarmError):
    """S3 does not answer."""

    exit_code = 20
    retryable = True


class StoreDenied(FarmError):
    """S3 refuses the credentials, or there are none."""

    exit_code = 21


class StoreUnsafe(FarmError):
    """The S3 server ignores conditional writes: two builders could overwrite each other."""

    exit_code = 22


class DigestMismatch(FarmError):
    """Stored bytes are not the bytes that were stored."""

    exit_code = 23


class NotStored(FarmError):
    """There is no such release, record or blob."""

    exit_code = 24


class RecordInvalid(FarmError):
    """A record is not in a form that this version reads."""

    exit_code = 25
    newer: bool = False
    """Whether a newer version of enginefarm wrote it: the record is right, and this host is out of date."""


class DiskFull(FarmError):
    """The local disk is full."""

    exit_code = 26


class NameAmbiguous(FarmError):
    """A short name fits several records."""

    exit_code = 27


# Child processes.


class ChildCrashed(FarmError):
    """A child process was ended by a signal."""

    exit_code = 30


class ChildFailed(FarmError):
    """A child process ended with an error that the farm has no name for."""

    exit_code = 31


class ChildOutOfMemory(FarmError):
    """A child process reached its memory limit."""

    exit_code = 32


class ChildTimedOut(FarmError):
    """A child process reached its time limit."""

    exit_code = 33


class ChildKilled(FarmError):
    """A child process was killed from outside: by the kernel for lack of memory, or by a person."""

    exit_code = 34
    retryable = True


# Signatures.


class KeyUnusable(FarmError):
    """A key that signs, or the file of trusted keys, cannot be used."""

    exit_code = 35


class SignatureRefused(FarmError):
    """Something is not signed by a trusted key, or the signature is of something else."""

    exit_code = 36


# Engines.


class TargetUnavailable(FarmError):
    """No toolchain here can build for the requested targets."""

    exit_code = 40


class ToolchainBroken(FarmError):
    """A toolchain does not start, or is of an unknown TensorRT family."""

    exit_code = 41


class BuildRefused(FarmError):
    """TensorRT could not parse the graph or found no implementation for it."""

    exit_code = 42


class GpuUnavailable(FarmError):
    """The build needs a GPU that is missing, busy or out of memory."""

    exit_code = 43
    retryable = True


class CellsFailed(FarmError):
    """Several cells of a release failed, each with its own error; the other engines are stored."""

    exit_code = 44

    def __init__(self, *, cells: Mapping[str, FarmError] = MappingProxyType({}), **texts: str) -> None:
        super().__init__(**texts)
        self.cells = dict(cells)  # by the cell's name for people

    def to_document(self) -> dict[str, Any]:
        """Return the error as `FarmError` does, with the errors of its cells."""
        cells = {cell: error.to_document() for cell, error in self.cells.items()}
        return {**super().to_document(), "cells": cells}


class RunnerMissing(FarmError):
    """The toolchain can build, but has nothing to run an engine with."""

    exit_code = 45


class PluginRefused(FarmError):
    """A library with TensorRT plugins is not on this host, or is not the requested one."""

    exit_code = 46


class TimingCacheMiss(FarmError):
    """A reproducible build needs timings that its cache does not have."""

    exit_code = 47


class RunFailed(FarmError):
    """TensorRT or CUDA stopped with an error while an engine ran."""

    exit_code = 48


class PlanLacksOption(FarmError):
    """TensorRT built a plan without something that the request asks for, such as hardware compatibility."""

    exit_code = 49


class GateError(FarmError):
    """The base class of verdicts of the accuracy gate; `verification` is the `Verification`, if any."""

    about_request = True
    verification: object = None


class VerificationFailed(GateError):
    """The result differs from TensorFlow's by more than the tolerance."""

    exit_code = 50


class VerificationInconclusive(GateError):
    """TensorFlow's own rounding noise is too high for a verdict, or no finite value could be compared."""

    exit_code = 51


# Consumers and channels.


class NoEngineFits(FarmError):
    """No stored engine runs on the host; the error says why, engine by engine."""

    exit_code = 52


class ChannelRefused(FarmError):
    """A release lacks something that the policy of the channel demands."""

    exit_code = 53


class ChannelMoved(FarmError):
    """Somebody else moved the channel at the same time."""

    exit_code = 54


# Hosts, Prefect's server and runs.


class ServerUnreachable(FarmError):
    """Prefect's server does not answer, or no server is configured."""

    exit_code = 55
    retryable = True


class ServerUnsafe(FarmError):
    """Prefect's server is open to everybody, or the password would be sent in plain text."""

    exit_code = 56


class ServerDenied(FarmError):
    """Prefect's server refuses the password or key."""

    exit_code = 57


class NotDeployed(FarmError):
    """The farm's flows or pools are not registered on Prefect's server."""

    exit_code = 58


class RunUnknown(FarmError):
    """There is no such flow run, or the name fits several runs."""

    exit_code = 59


class RunUnsuccessful(FarmError):
    """A flow run ended in another state than completed."""

    exit_code = 60


class PoolUnsafe(FarmError):
    """A work pool lets its runs name commands, so no agent takes runs from it."""

    exit_code = 61


class AgentRunning(FarmError):
    """An agent of the same name already runs on this host."""

    exit_code = 62


class Interrupted(FarmError):
    """The user or the system interrupted the work."""

    exit_code = 130
    retryable = True
