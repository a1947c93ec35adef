"""Plugin libraries: only the bytes that a request names are loaded, and only from the operator's folder."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.domain.errors import PluginRefused
from tasks.domain.request import Plugin
from tasks.tensorrt.engine import BuiltEngine, EngineJob
from tasks.tensorrt.plugins import PluginFile, plugin_files

# Leaves a mark where it is loaded; with -DASKED it offers TensorRT a list of plugins that is empty, and with
# -DTOLD it registers its plugins when it is told to, and answers that.
SOURCE = """
#include <stdint.h>
#include <stdio.h>
__attribute__((constructor)) static void loaded(void) { fclose(fopen(MARK, "w")); }
#ifdef ASKED
void *getPluginCreators(int32_t *count) { *count = 0; return 0; }
#endif
#ifdef TOLD
_Bool initLibNvInferPlugins(void *logger, const char *space) {
  fclose(fopen(MARK ".told", "w"));
  return TOLD && !logger && !*space;
}
#endif
"""


@pytest.fixture
def library(tmp_path: Path) -> Callable[..., PluginFile]:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (cc)")

    def make(*options: str) -> PluginFile:
        path = tmp_path / "libmark.so"
        (tmp_path / "mark.c").write_text(SOURCE, "utf-8")
        define = f'-DMARK="{tmp_path / "loaded"}"'
        subprocess.run(
            [compiler, "-shared", "-fPIC", define, *options, "-o", path, tmp_path / "mark.c"], check=True
        )
        return PluginFile(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())

    return make


@pytest.fixture
def build_with(
    job: Callable[..., EngineJob], conv_net: Callable[..., Path], build: Callable[[EngineJob], BuiltEngine]
) -> Callable[..., BuiltEngine]:
    return lambda *plugins: build(replace(job(conv_net(1)), plugins=plugins))


def test_the_named_library_is_loaded_where_the_engine_is_built(
    library: Callable[..., PluginFile], build_with: Callable[..., BuiltEngine], tmp_path: Path
) -> None:
    plugin = library()
    built = build_with(plugin)
    assert (tmp_path / "loaded").exists()
    assert built.plugins == (plugin,)


def test_another_library_of_that_name_is_not_loaded(
    library: Callable[..., PluginFile], build_with: Callable[..., BuiltEngine], tmp_path: Path
) -> None:
    plugin = library()
    with plugin.path.open("ab") as file:
        file.write(b"one byte more")
    with pytest.raises(PluginRefused, match=f"SHA-256 {plugin.sha256}; found SHA-256 .* it was not loaded"):
        build_with(plugin)
    assert not (tmp_path / "loaded").exists()


def test_a_library_whose_plugins_tensorrt_does_not_take_is_refused(
    library: Callable[..., PluginFile], build_with: Callable[..., BuiltEngine]
) -> None:
    with pytest.raises(PluginRefused, match=r"TensorRT refuses its plugins"):
        build_with(library("-DASKED"))


def test_a_library_that_waits_for_it_is_told_to_register_its_plugins(
    library: Callable[..., PluginFile], build_with: Callable[..., BuiltEngine], tmp_path: Path
) -> None:
    build_with(library("-DTOLD=1"))
    assert (tmp_path / "loaded.told").exists()
    with pytest.raises(PluginRefused, match=r"TensorRT refuses its plugins"):
        build_with(library("-DTOLD=0"))


def test_what_is_no_library_is_refused(build_with: Callable[..., BuiltEngine], tmp_path: Path) -> None:
    path = tmp_path / "libtext.so"
    path.write_text("not a library", "utf-8")
    plugin = PluginFile(path=path, sha256=hashlib.sha256(b"not a library").hexdigest())
    with pytest.raises(PluginRefused, match=r"libtext\.so: file too short|invalid ELF header"):
        build_with(plugin)
    with pytest.raises(PluginRefused, match="No such file"):
        build_with(replace(plugin, path=tmp_path / "libgone.so"))


def test_only_the_operators_folder_holds_plugins(tmp_path: Path) -> None:
    plugin = Plugin(library="libroi.so", sha256="4" * 64)
    with pytest.raises(PluginRefused, match=r"this host loads no plugins.*ENGINEFARM_PLUGINS"):
        plugin_files((plugin,), None)
    with pytest.raises(PluginRefused, match="no such file in"):
        plugin_files((plugin,), tmp_path)
    (tmp_path / "libroi.so").touch()
    assert plugin_files((plugin,), tmp_path) == (
        PluginFile(path=tmp_path / "libroi.so", sha256=plugin.sha256),
    )
    assert plugin_files((), None) == ()
