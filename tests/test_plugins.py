from __future__ import annotations

import sys
from pathlib import Path

import pytest

import raglift
from raglift import plugins
from raglift.errors import UserError


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kind of plug-in called "toy" whose folder lies outside of the package."""
    folder = tmp_path / "toy_plugins" / "deep"
    folder.mkdir(parents=True)
    monkeypatch.setattr(plugins, "_ROOT", tmp_path)
    monkeypatch.setitem(plugins.FOLDERS, "toy", "toy_plugins/deep")
    monkeypatch.setattr(raglift, "__path__", [*raglift.__path__, str(tmp_path)])
    for name in [name for name in sys.modules if name.startswith("raglift.toy_plugins")]:
        monkeypatch.delitem(sys.modules, name)
    return folder


def test_names_are_the_files_sorted_without_the_private_ones(toys: Path) -> None:
    for name in ("wheel.py", "ball.py", "_base.py", "__init__.py", "notes.md"):
        (toys / name).write_text("raise RuntimeError('imported')")
    assert plugins.names("toy") == ["ball", "wheel"]


def test_a_new_file_is_a_new_plug_in(toys: Path) -> None:
    assert plugins.names("toy") == []
    (toys / "kite.py").write_text("PLUGIN = 'a kite'")
    assert plugins.names("toy") == ["kite"]
    assert plugins.load("toy", "kite") == "a kite"


def test_load_imports_that_one_file(toys: Path) -> None:
    (toys / "drum.py").write_text("PLUGIN = dict(loud=True)")
    (toys / "bad.py").write_text("raise RuntimeError('imported')")
    assert plugins.load("toy", "drum") == {"loud": True}
    with pytest.raises(RuntimeError, match="imported"):
        plugins.load("toy", "bad")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("drun", "did you mean 'drum'?"),
        ("zzzz", "known: ball, drum"),
        ("../drum", "did you mean 'drum'?"),
        ("_base", ""),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(toys: Path, name: str, hint: str) -> None:
    for stem in ("drum", "ball", "_base"):
        (toys / f"{stem}.py").write_text("PLUGIN = 1")
    with pytest.raises(UserError) as caught:
        plugins.load("toy", name)
    assert f"There is no toy called {name!r}." in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize("kind", sorted(plugins.FOLDERS))
def test_every_kind_has_its_folder_in_the_package(kind: str) -> None:
    assert (Path(plugins.__file__).parent / plugins.FOLDERS[kind]).is_dir()
    assert all(name.isidentifier() for name in plugins.names(kind))
