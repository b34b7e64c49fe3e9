"""A baseline is all that is learned once from the in-distribution records, in a folder.

    baseline.json                what made it, and which files belong to it
    profile-DIGEST.npz           the profile of its rows: sums, and the row sample with references and answers
    fitted-DIGEST.npz            what is made of these rows alone, for everything that is compared with them
    windows-DIGEST.npz           how each of its windows looks, where it was cut into windows
    critic-I-DIGEST.safetensors  MI critics

Files are named by their content and `baseline.json` is written last: a reader sees the old baseline whole or
the new one whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, model_validator

from auditor.errors import AuditError, BadInput
from auditor.profiles.profile import CONTENTS, Profile, having, read_profile, write_profile
from auditor.scenarios.windows import cut
from auditor.storage.npz import write_arrays
from auditor.storage.run_dir import digest, write_bytes
from schemas.config import BaselineConfig
from schemas.report import Graded

FORMAT_VERSION = 3
_NAME = "baseline.json"
_OURS = ("sketches-*.npz", "profile-*.npz", "fitted-*.npz", "windows-*.npz", "critic-*.safetensors")


class BaselineCensus(BaseModel):
    """What came when a baseline was built, and what of it could not be used."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows_in: NonNegativeInt = Field(description="Rows that came, usable or not.")
    left_out: dict[str, NonNegativeInt] = Field(
        description="Reason -> rows that could not be used, but for repeats."
    )
    repeats: NonNegativeInt
    windows: dict[str, dict[str, NonNegativeInt]] = Field(
        description="Window -> what it holds (`auditor.measures.census.window_counts`); empty: not cut."
    )


class Manifest(BaseModel):
    """The manifest is what `baseline.json` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT_VERSION
    created: str
    versions: dict[str, str]
    config: BaselineConfig = Field(description="The whole config: encoders, critic, shards, seed.")
    config_hash: str
    rows: str = Field(description="Digest of every row that went in.")
    encoders: dict[str, str] = Field(description="Modality -> identity; no image where no record had one.")
    model: str | None = Field(description="Whose responses; null where the records hold none.")
    n: int
    coverage: dict[str, dict[str, int]] = Field(
        description="all, sample -> how many rows have an image, a text, a response, a reference; labelled: "
        "a response and a reference."
    )
    descriptors: dict[str, float | None]
    grader: Graded | None = Field(None, description="What answers were graded by; null: nothing.")
    accuracy: float | None = Field(None, description="Mean score of the graded answers, 0 to 1.")
    quarantine: dict[str, int]
    census: BaselineCensus | None = Field(None, description="Null in a baseline of an earlier version.")
    chars_per_token: float | None = Field(
        description="Of the queries, by the text encoder; null where it cannot tell (a multilingual encoder)."
    )
    groups: str = Field(description="What ties rows together, and where that was taken from.")
    pairs: int = Field(description="Pairs that the critics were trained on.")
    no_critic: str | None = Field(None, description="Why there is no critic.")
    profile: str = ""
    fitted: str = ""
    windows: str = Field("", description="File of its windows; empty: it was not cut into windows.")
    critics: tuple[str, ...] = ()
    digests: dict[str, str] = Field(default_factory=dict, description="File -> SHA-256 (hex).")

    @model_validator(mode="after")
    def _windows_of_time(self) -> Self:
        clock, _ = cut(self.config)
        if clock is not None and self.census is not None:
            for name in self.census.windows:
                if clock.named(name).name != name:
                    raise ValueError(f"census.windows: {name[:40]} is no window of {self.config.window}")
        return self

    @property
    def identity(self) -> str:
        """Return the digest of all that a comparison with this baseline depends on (not of when it was
        made)."""
        return digest(
            json.dumps([self.rows, self.config_hash, self.encoders, self.model, sorted(self.digests.items())])
        )


@dataclass(frozen=True)
class Baseline:
    """This value is a baseline as it was read."""

    folder: Path
    manifest: Manifest
    profile: Profile

    @classmethod
    def load(cls, folder: str | Path) -> Baseline:
        """Read the baseline in `folder`. See `load`."""
        return load(Path(folder))

    def __repr__(self) -> str:
        encoders = ", ".join(self.manifest.encoders)
        whose = f" of {self.manifest.model}" if self.manifest.model else ""
        return f"<Baseline{whose}: {self.manifest.n:,} rows ({encoders}) in {self.folder}>"

    @property
    def profile_file(self) -> Path:
        """Return the path of the profile; the name is made of its content."""
        return self.folder / self.manifest.profile

    @property
    def fitted_file(self) -> Path:
        """Return the path of what was fitted on its rows (`auditor.measures.reference.Fitted`)."""
        return self.folder / self.manifest.fitted

    @property
    def windows_file(self) -> Path | None:
        """Return the path of its windows (`auditor.measures.window_means.BaselineWindows`), if it has any."""
        return self.folder / self.manifest.windows if self.manifest.windows else None

    @property
    def critics(self) -> tuple[tuple[Path, ...], ...]:
        """Return the files of each critic: one, or one a fold."""
        paths = [self.folder / name for name in self.manifest.critics]
        size = self.manifest.config.critic.cross_fit or 1
        return tuple(tuple(paths[i : i + size]) for i in range(0, len(paths), size))


def coverage(profile: Profile) -> dict[str, dict[str, int]]:
    """Count the rows that have each content, of all and in the row sample (`Manifest.coverage`)."""
    labelled = having(profile.sample, "response", "reference")
    sampled = {name: int(having(profile.sample, name).sum()) for name in CONTENTS}
    counts = {name: profile.sketches[name].n for name in CONTENTS}
    sums = profile.critic_sums.get("emi_model", ())
    whole = {"labelled": round(float(sums[0].n.sum()))} if sums else {}
    return {
        "all": {"rows": profile.sample.seen, **counts, **whole},
        "sample": {"rows": len(profile.sample), **sampled, "labelled": int(labelled.sum())},
    }


def save(
    folder: Path,
    manifest: Manifest,
    profile: Profile,
    fitted: Mapping[str, NDArray[Any]],
    critics: Sequence[Sequence[Path]],
    windows: Mapping[str, NDArray[Any]] | None = None,
) -> Baseline:
    """Write a baseline into `folder`, in place of the one that is there; `fitted` are the arrays of what was
    fitted on its rows, `windows` those of its windows, `critics` are copied."""
    digests: dict[str, str] = {}

    def rename(draft: Path, name: str) -> str:
        """Name the file by its content, once it is written."""
        mark = _sha256(draft)
        file_name = f"{name}-{mark[:16]}.npz"
        draft.replace(folder / file_name)
        digests[file_name] = mark
        return file_name

    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_profile(folder / "profile-new.npz", profile)
        of_profile = rename(folder / "profile-new.npz", "profile")
        write_arrays(folder / "fitted-new.npz", fitted)
        of_fitted = rename(folder / "fitted-new.npz", "fitted")
        of_windows = ""
        if windows is not None:
            write_arrays(folder / "windows-new.npz", windows)
            of_windows = rename(folder / "windows-new.npz", "windows")
        names = []
        for i, path in enumerate(path for of_seed in critics for path in of_seed):
            data = path.read_bytes()
            mark = sha256(data).hexdigest()
            names.append(f"critic-{i}-{mark[:16]}.safetensors")
            write_bytes(folder / names[-1], data)
            digests[names[-1]] = mark
        full = manifest.model_copy(
            update={
                "profile": of_profile,
                "fitted": of_fitted,
                "windows": of_windows,
                "critics": tuple(names),
                "digests": digests,
            }
        )
        write_bytes(folder / _NAME, (full.model_dump_json(indent=1) + "\n").encode())
        for pattern in _OURS:
            for file in folder.glob(pattern):
                if file.name not in digests:
                    file.unlink()
    except OSError as error:
        raise AuditError(f"{folder}: the baseline cannot be written ({error.strerror or error})") from error
    return Baseline(folder, full, profile)


def load(folder: Path) -> Baseline:
    """Read the baseline in `folder`. Raises `BadInput` where there is none, a newer program wrote it, or it
    is damaged."""
    path = folder / _NAME
    way_out = f"build it again: auditor baseline build --records FILE --out {folder}"
    if not path.is_file():
        raise BadInput(f"{folder}: is no baseline (no {_NAME} in it); {way_out}")
    try:
        tree: Any = json.loads(path.read_text(encoding="utf-8"))
        version = tree["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: not readable ({_line(error)}); {way_out}") from error
    if version != FORMAT_VERSION:
        raise BadInput(
            f"{path}: has format {version}, this program reads format {FORMAT_VERSION}; "
            f"use the version that wrote it, or {way_out}"
        )
    try:
        manifest = Manifest.model_validate(tree)
    except ValidationError as error:
        raise BadInput(f"{path}: not a baseline of format {version} ({_line(error)}); {way_out}") from error
    files = {manifest.profile, manifest.fitted, *manifest.critics, *filter(None, [manifest.windows])}
    if files != set(manifest.digests):
        raise BadInput(f"{path}: its list of files is not whole; {way_out}")
    for name, mark in manifest.digests.items():
        file = folder / name
        if Path(name).name != name or not file.is_file() or _sha256(file) != mark:
            raise BadInput(f"{file}: missing or damaged; {way_out}")
    try:
        return Baseline(folder, manifest, read_profile(folder / manifest.profile))
    except AuditError as error:
        raise BadInput(f"{error}; {way_out}") from error


def _sha256(path: Path) -> str:
    state = sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            state.update(block)
    return state.hexdigest()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
