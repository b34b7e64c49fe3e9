"""Model directories of strangers: nothing in them runs, whatever loads them."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from auditor.encoders import make_encoder
from auditor.errors import BadInput
from auditor.estimators import CLUB
from auditor.generators import make_generator

CODE = """
from pathlib import Path
Path({mark!r}).touch()
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
class Foreign(PretrainedConfig):
    model_type = "foreign"
class ForeignModel(PreTrainedModel):
    config_class = Foreign
class ForeignTokenizer(PreTrainedTokenizerFast):
    pass
"""


class Ran:
    """What a hostile pickle does when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self._mark,)


LOADERS: dict[str, Callable[[Path], object]] = {
    "text": lambda d: make_encoder({"name": str(d)}, "text"),
    "image": lambda d: make_encoder({"name": str(d)}, "image"),
    "generator": lambda d: make_generator({"generator": "transformers", "model": str(d)}),
}


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.timeout(60)  # with the question "do you wish to run the custom code?" unasked
def test_code_beside_a_model_does_not_run(loader: str, tmp_path: Path) -> None:
    directory, mark = tmp_path / "model", tmp_path / "ran"
    directory.mkdir()
    (directory / "foreign.py").write_text(CODE.format(mark=str(mark)))
    maps = {
        "AutoConfig": "foreign.Foreign",
        "AutoModel": "foreign.ForeignModel",
        "AutoModelForCausalLM": "foreign.ForeignModel",
        "AutoTokenizer": ["foreign.ForeignTokenizer", "foreign.ForeignTokenizer"],
        "AutoProcessor": "foreign.ForeignTokenizer",
        "AutoImageProcessor": "foreign.ForeignTokenizer",
    }
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        (directory / name).write_text(json.dumps({"model_type": "foreign", "auto_map": maps}))
    with pytest.raises(BadInput):
        LOADERS[loader](directory)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_pickled_weights_are_not_loaded(name: str, xlmr: Path, tmp_path: Path) -> None:
    directory, mark = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(xlmr, directory)
    (directory / "model.safetensors").unlink()
    torch.save({"embeddings.weight": Ran(mark)}, directory / name)
    with pytest.raises(BadInput, match="does not load"):
        LOADERS["text"](directory)
    assert not mark.exists()


def test_pickled_weights_of_open_clip_are_not_loaded(clips: tuple[Path, Path], tmp_path: Path) -> None:
    directory, mark = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(clips[0], directory)
    (directory / "open_clip_model.safetensors").unlink()
    for name in ("open_clip_pytorch_model.bin", "open_clip_model.pt", "pytorch_model.bin"):
        torch.save({"visual.proj": Ran(mark)}, directory / name)
    with pytest.raises(BadInput):
        LOADERS["image"](directory)
    assert not mark.exists()


@pytest.mark.parametrize("raw", [True, False])
def test_a_pickled_critic_is_not_loaded(raw: bool, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for name in ("critic.pt", "critic.safetensors"):
        if raw:
            (tmp_path / name).write_bytes(pickle.dumps({"p_mu.0.weight": Ran(mark)}))
        else:
            torch.save({"p_mu.0.weight": Ran(mark)}, tmp_path / name)
        with pytest.raises(ValueError, match="critic"):
            CLUB.load(tmp_path / name)
    assert not mark.exists()


def test_the_pickle_would_have_run(tmp_path: Path) -> None:
    """Else the tests above say nothing."""
    mark = tmp_path / "ran"
    torch.save({"x": Ran(mark)}, tmp_path / "x.pt")
    torch.load(tmp_path / "x.pt", weights_only=False)
    assert mark.exists()
