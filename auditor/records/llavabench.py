"""LLaVA-Bench, as published with the paper, holds recorded answers of several models under many shifts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from auditor.errors import BadInput, RowError
from auditor.records.limits import DEFAULT_LIMITS
from auditor.records.lines import json_lines, kind, load_json
from auditor.records.rows import Progress, Rows
from auditor.records.screen import Place, screen
from auditor.records.sources import open_source, why
from auditor.records.values import clean
from schemas.record import Image, Quarantined, Reason, Record

ID_SCENARIO = "llava_bench_coco"
_WILD = "llava_bench_in_the_wild"
_WILD_LEVELS = ("easy", "normal", "hard")
_QUESTIONS, _REFERENCES = "qa90_questions.jsonl", "qa90_gpt4_answer.jsonl"
_SPLITS = "wild_split_indices.json"
# The published encoder is CLIP's last hidden state, so of the two published splits it is that one's.
_SPLIT_KEY = "{level}_ood_lst_cd_new"
_SUFFIX = re.compile(r"\s*Please answer in English\.\s*$")
# The wild prompts join the suffix with `;`. After a Greek letter that is the question mark, and stays.
_JOINT = re.compile(r"(?<=[.?!。？！؟।;]);$")
_CORRUPTION = re.compile(r"_((?:defocus_blur|frost)_\d+)")


class _Reply(NamedTuple):
    place: Place
    prompt: str
    text: str


class LlavaBench:
    """A `LlavaBench` reads the published layout under `root`: `qa90_questions.jsonl`,
    `qa90_gpt4_answer.jsonl` (references) and `responses/<scenario>_<model>.jsonl`; optional are
    `wild_split_indices.json` and `images/`.

    Images: `images/<file>` for scenarios whose pictures are clean, `images/<corruption>/<file>` (such as
    `images/frost_3/`) for the others; without the folder, records have no image. `root` is then the media
    root. Raises `BadInput` for a layout that is not this one.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not (self.root / "responses").is_dir():
            raise BadInput(f"{self.root}: not a LLaVA-Bench folder (no `responses` in it); correct its path")
        self._questions = self._by_id(_QUESTIONS)
        self._references = self._by_id(_REFERENCES)
        if self._questions.keys() != self._references.keys():
            raise BadInput(
                f"{self.root}: {_QUESTIONS} and {_REFERENCES} differ in their questions; fetch both"
            )
        self._files = self._list_files()
        self._splits = self._read_splits()

    def scenarios(self) -> list[str]:
        """Return the scenarios by their published names, the ID one first. Where the published split is
        there, each in-the-wild language comes as easy, normal (all of it) and hard; else under its files'
        name."""
        names: list[str] = []
        for name in sorted(self._files):
            if name.startswith(_WILD) and self._splits:
                names.extend(_WILD + f"_{level}" + name.removeprefix(_WILD) for level in _WILD_LEVELS)
            else:
                names.append(name)
        return sorted(names, key=lambda name: (name != ID_SCENARIO, name))

    def models(self) -> list[str]:
        """Return the models with at least one file of answers."""
        return sorted({model for files in self._files.values() for model in files})

    def records(self, scenario: str) -> Rows:
        """Return the scenario's records, all models' answers merged by question. Raises `BadInput` for an
        unknown scenario.

        `record_id` is `<scenario>/<question>`, `base_id` that of the unshifted set, so scenarios pair. The
        query is the prompt that the models saw (the same for all, else the row is quarantined), without
        the request to answer in English. References are the ID set's for every COCO scenario, since their
        content is the same; the wild set has none.
        """
        files, level = self._resolve(scenario)
        progress = Progress()
        return Rows(self._read(scenario, files, self._splits.get(level or ""), progress), progress)

    def _read(
        self, scenario: str, files: dict[str, Path], wanted: frozenset[int] | None, progress: Progress
    ) -> Iterator[Record | Quarantined]:
        coco = scenario.startswith(ID_SCENARIO)
        questions: dict[int, dict[str, _Reply]] = {}
        for model, path in files.items():
            for place, row in _rows(path):
                try:
                    identifier = _identifier(row)
                    if coco and identifier not in self._questions:
                        raise RowError(Reason.MISSING_ID, f"question {identifier} is not in {_QUESTIONS}")
                    replies = questions.setdefault(identifier, {})
                    if model in replies:
                        raise RowError(Reason.DUPLICATE_ID, f"question {identifier} is answered twice")
                    replies[model] = _Reply(place, *_texts(row, "prompt", "text"))
                except RowError as error:
                    yield place.quarantined(error, scenario=scenario, model=model)
        for identifier in sorted(questions.keys() | (self._questions if coco else ())):
            if wanted is not None and identifier not in wanted:
                continue
            yield from self._record(scenario, identifier, questions.get(identifier, {}), progress)

    def _record(
        self, scenario: str, identifier: int, replies: dict[str, _Reply], progress: Progress
    ) -> Iterator[Record | Quarantined]:
        record_id = f"{scenario}/{identifier}"
        if not replies:
            place = progress.advance(_QUESTIONS, identifier)
            error = RowError(Reason.MISSING_INPUT, "no file of answers has this question")
            yield place.quarantined(error, record_id, scenario)
            return
        place = progress.advance(*next(iter(replies.values())).place)
        if len({reply.prompt for reply in replies.values()}) > 1:
            error = RowError(Reason.UNREADABLE_LINE, "the models were not asked the same prompt")
            yield place.quarantined(error, record_id, scenario)
            return
        coco = scenario.startswith(ID_SCENARIO)
        question = self._questions[identifier] if coco else {}
        category, picture = question.get("category"), question.get("image")
        record = Record(
            record_id=record_id,
            base_id=f"{ID_SCENARIO if coco else _WILD}/{identifier}",
            images=self._images(scenario, question),
            query=_without_suffix(next(iter(replies.values())).prompt),
            responses={model: (reply.text,) for model, reply in replies.items()},
            reference=self._references[identifier]["text"] if coco else None,
            tags=(f"category:{category}",) if category else (),
            group=(f"picture:{picture}",) if isinstance(picture, str) else (),
        )
        yield from screen(record, DEFAULT_LIMITS, place, scenario)

    def _images(self, scenario: str, question: dict[str, Any]) -> tuple[Image, ...]:
        name = question.get("image")
        corruption = _CORRUPTION.search(scenario)
        folder = f"images/{corruption[1]}" if corruption else "images"
        if not isinstance(name, str) or not (self.root / folder).is_dir():
            return ()
        return (Image(path=f"{folder}/{name}"),)

    def _resolve(self, scenario: str) -> tuple[dict[str, Path], str | None]:
        if scenario in self._files:
            return self._files[scenario], None
        for level in _WILD_LEVELS if self._splits else ():
            prefix = f"{_WILD}_{level}"
            name = _WILD + scenario.removeprefix(prefix)
            if scenario.startswith(prefix) and name in self._files:
                return self._files[name], level
        raise BadInput(f"{self.root}: no scenario {scenario!r}; it has {', '.join(self.scenarios())[:200]}")

    def _list_files(self) -> dict[str, dict[str, Path]]:
        files: dict[str, dict[str, Path]] = {}
        for path in sorted((self.root / "responses").glob("*.jsonl")):
            scenario, model = _name_parts(path)
            files.setdefault(scenario, {})[model] = path
        if ID_SCENARIO not in files:
            raise BadInput(f"{self.root}/responses: no answers to {ID_SCENARIO}; fetch the data set again")
        return files

    def _by_id(self, name: str) -> dict[int, dict[str, Any]]:
        rows: dict[int, dict[str, Any]] = {}
        for place, row in _rows(self.root / name):
            try:
                identifier = _identifier(row)
                _texts(row, "text")
            except RowError as error:
                raise BadInput(f"{place.source}:{place.row}: {error}; fetch the data set again") from None
            if identifier in rows:
                raise BadInput(
                    f"{place.source}:{place.row}: question {identifier} is there twice; fetch it anew"
                )
            rows[identifier] = row if isinstance(row, dict) else {}
        return rows

    def _read_splits(self) -> dict[str, frozenset[int]]:
        path = self.root / _SPLITS
        if not path.exists():
            return {}
        try:
            splits = load_json(path.read_text("utf-8"))
            keys = {level: _SPLIT_KEY.format(level=level) for level in ("easy", "hard")}
            return {level: frozenset(map(int, splits[key])) for level, key in keys.items()}
        except (RowError, OSError, ValueError, TypeError, KeyError) as error:
            raise BadInput(f"{path}: not the published splits ({why(error)}); fetch or remove it") from None


def _rows(path: Path) -> Iterator[tuple[Place, dict[str, Any] | RowError]]:
    with open_source(str(path)) as stream:
        for number, row in json_lines(stream, DEFAULT_LIMITS.line_bytes):
            yield Place(str(path), number), row


def _identifier(row: dict[str, Any] | RowError) -> int:
    if isinstance(row, RowError):
        raise row
    value = row.get("question_id")
    if isinstance(value, bool) or not isinstance(value, int):
        raise RowError(Reason.MISSING_ID, f"`question_id` is {kind(value)}, not a number")
    return value


def _texts(row: dict[str, Any] | RowError, *names: str) -> list[str]:
    if isinstance(row, RowError):
        raise row
    for name in names:
        if not isinstance(row.get(name), str):
            raise RowError(Reason.UNREADABLE_LINE, f"`{name}` is {kind(row.get(name))}, not a text")
    return [clean(row[name]) for name in names]


def _name_parts(path: Path) -> tuple[str, str]:
    """(scenario, model) of a file's name. Both may have underscores: the rows say what the model is called,
    else it is what follows the last one."""
    first = next((row for _, row in _rows(path)), None)
    model = first.get("model_id") if isinstance(first, dict) else None
    if isinstance(model, str) and model and path.stem.endswith(f"_{model}"):
        return path.stem.removesuffix(f"_{model}"), model
    scenario, _, model = path.stem.rpartition("_")
    return scenario, model


def _without_suffix(prompt: str) -> str:
    query, count = _SUFFIX.subn("", prompt)
    return _JOINT.sub("", query) if count else prompt
