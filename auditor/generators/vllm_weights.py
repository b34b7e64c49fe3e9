"""This module gives saved models the names that vLLM looks for.

vLLM's vision towers of CLIP's and SigLIP's kind want the names of published checkpoints
(`vision_tower.vision_model.encoder...`); transformers 5 saves them without the middle part.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
from pathlib import Path
from typing import Any

from auditor.errors import BadInput

INDEX = "model.safetensors.index.json"
_TOWERS = ("clip_vision_model", "siglip_vision_model", "siglip2_vision_model")
_UNPUBLISHED = re.compile(r"^((?:model\.)?vision_tower\.)(?!vision_model\.)")
_HEADER_BYTES = 100 * 2**20  # as safetensors itself allows


def published_names(directory: Path, into: Path) -> Path:
    """Return the directory to load from: `directory` where every tensor has the name that vLLM wants, else
    `into`, filled with links to its files and with copies of those that hold tensors of other names.

    Only the headers of safetensors files are rewritten, so memory stays flat: one copy of a file's bytes on
    disk for each file that holds a part of the vision tower.

    Raises:
        BadInput: there are no safetensors files, or one of them is not such a file.
    """
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise BadInput(f"{directory} holds no *.safetensors; vLLM is given nothing else to load")
    config = json.loads((directory / "config.json").read_text())
    if (config.get("vision_config") or {}).get("model_type") not in _TOWERS:
        return directory
    renamed = [file for file in files if any(_UNPUBLISHED.match(name) for name in _header(file)[0])]
    if not renamed:
        return directory
    for path in directory.iterdir():
        if path in renamed:
            _rewrite_file(path, into / path.name)
        elif path.name == INDEX:
            index = json.loads(path.read_text())
            index["weight_map"] = _published_name(index["weight_map"])
            (into / INDEX).write_text(json.dumps(index))
        else:
            (into / path.name).symlink_to(path.resolve())
    return into


def _published_name(named: dict[str, Any]) -> dict[str, Any]:
    return {_UNPUBLISHED.sub(r"\1vision_model.", name): value for name, value in named.items()}


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """Read the header of a safetensors file, and where its data begin."""
    with file.open("rb") as stream:
        try:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > _HEADER_BYTES:
                raise ValueError("its header is too long")
            return json.loads(stream.read(length)), 8 + length
        except (struct.error, ValueError) as error:
            raise BadInput(f"{file} is no safetensors file ({error})") from None


def _rewrite_file(source: Path, target: Path) -> None:
    header, start = _header(source)
    text = json.dumps(_published_name(header), separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # data stay aligned
    with source.open("rb") as data, target.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        data.seek(start)
        shutil.copyfileobj(data, out, 2**24)
