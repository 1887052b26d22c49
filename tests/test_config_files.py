"""How the files of a configuration are read and merged."""

from __future__ import annotations

from pathlib import Path

import pytest

from raglift.config import PluginSpec, load_config
from raglift.errors import UserError
from tests.test_config import VALID, mistakes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a\n- b\n", "a.yaml:1: the file must hold a mapping of sections"),
        ("just text\n", "a.yaml:1: the file must hold a mapping of sections"),
        (VALID + "llm:\n\tepochs: 2\n", "a.yaml:3: a tab cannot indent YAML: use spaces"),
        (VALID + "llm: {epochs: 2\n", "a.yaml:3: this is not valid YAML"),
        (VALID + "run: a: b\n", "a.yaml:2: this is not valid YAML: a second ': '"),
        (VALID + "run: 'a\n", "a.yaml:3: this is not valid YAML"),
        (VALID + "seed: 1\nseed: 2\n", "a.yaml:3: the key 'seed' is given twice (first at a.yaml:2)"),
        (VALID + "3: 2\n", "a.yaml:2: a key must be text, not 3: put it in quotes"),
        (VALID + "[a]: 2\n", "a.yaml:2: a key must be text, not a collection"),
        (VALID + "run: !!python/name:os.system x\n", "a.yaml:2: cannot read this value"),
        (VALID + "llm: !!python/object:os.x {a: 1}\n", "a.yaml:2: the tag 'tag:yaml.org,2002:python/object:os.x'"),
        (VALID + f"seed: {'9' * 5000}\n", "a.yaml:2: cannot read this value"),
        (VALID + "---\nseed: 1\n", "a.yaml:2: this is not valid YAML"),
        (VALID + "llm: &a {x: *a}\n", "a.yaml: is nested too deeply, or an anchor refers to itself"),
        (VALID + "llm: " + "[" * 3000 + "\n", "a.yaml: is nested too deeply"),
        ((VALID + "run: caf\u00e9\n").encode("latin-1"), "a.yaml:2: is not UTF-8 text"),
        (VALID + "seed: 1\nrun: a\x00b\n", "a.yaml:3: holds a character that YAML does not allow"),
    ],
)
def test_what_is_not_such_yaml(text: str | bytes, expected: str, tmp_path: Path) -> None:
    assert expected in mistakes(text, tmp_path)


def test_anchors_cannot_unfold_without_end(tmp_path: Path) -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12))
    assert "a.yaml: is nested too deeply" in mistakes(f"l0: &l0 [x]\n{levels}\n", tmp_path)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text(VALID)
    with pytest.raises(UserError, match=r"quikstart\.yaml: there is no such file \(did you mean '.*quickstart\.yaml'"):
        load_config([tmp_path / "quikstart.yaml"])
    with pytest.raises(UserError, match=r": cannot be read: Is a directory"):
        load_config([tmp_path])
    with pytest.raises(UserError, match=r"a problem:\n.*no such file"):
        load_config([tmp_path / "none" / "x.yaml"])


def test_later_files_win_and_overrides_win_over_all(tmp_path: Path) -> None:
    one, two = tmp_path / "1.yaml", tmp_path / "2.yaml"
    one.write_text(VALID + "seed: 1\nllm:\n  epochs: 2\n  batch_size: 4\n  strategies: [full, l2_sp]\nretrieval:\n")
    two.write_text("llm:\n  epochs: 3\n  strategies: [lora]\nrun: two\nsynthesis: {kinds: {keyword: 5}}\n")
    config = load_config(
        [one, str(two)], ["llm.batch_size=16", "run=three", "embedding.strategies=[{lora: {rank: 2}}]"]
    )
    assert (config.seed, config.run) == (1, "three")
    assert (config.llm.epochs, config.llm.batch_size) == (3, 16)
    assert config.llm.strategies == [PluginSpec(name="lora")]
    assert config.embedding.strategies == [PluginSpec(name="lora", settings={"rank": 2})]
    assert config.synthesis.kinds == {"keyword": 5}


def test_an_override_can_take_a_value_back(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("data: {documents: d}\nllm: {max_examples: 5}\n")
    config = load_config([path], ["data.documents=", "data.beir=b", "llm.max_examples=null"])
    assert (config.data.documents, config.data.beir, config.llm.max_examples) == (None, "b", None)


def test_an_empty_section_changes_nothing(tmp_path: Path) -> None:
    one, two, three = tmp_path / "1.yaml", tmp_path / "2.yaml", tmp_path / "3.yaml"
    one.write_text(VALID + "llm:\n  epochs: 2\n")
    two.write_text("llm:\n  # epochs: 3\n")
    three.write_text("# nothing\n")
    assert load_config([one, two, three]).llm.epochs == 2


def test_files_may_be_left_out() -> None:
    assert load_config([], ["data.beir=b"]).data.beir == "b"
    with pytest.raises(UserError, match=r"command line: data\.documents is missing"):
        load_config([])


@pytest.mark.parametrize("name", ["2024", "2024-01-02", "on", "no", "007", "12_30", "0x1f", "1.0.2"])
def test_names_read_as_text(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(VALID + f"run: {name}\n")
    assert load_config([path]).run == name


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + VALID.encode())
    assert load_config([path]).data.documents == "d"
