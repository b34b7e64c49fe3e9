"""This module fits what measures need of the reference rows alone: fitted once, it serves everything that is
compared with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from auditor.measures.divergences import ReferenceFit
from auditor.measures.label_free import LabelledReference
from auditor.profiles.profile import Profile


@dataclass(frozen=True, eq=False)
class Fitted:
    """This value holds spectra, neighbours and codebooks of the reference rows P."""

    divergences: ReferenceFit
    labelled: LabelledReference | None
    """None where too few rows have a query, a response and a reference."""

    @classmethod
    def fit(cls, p: Profile, seed: int) -> Fitted:
        """Fit a profile with usable rows; `seed` is that of the codebooks."""
        return cls(ReferenceFit.fit(p), LabelledReference.fit(p, seed))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, for npz (never pickle), without P's rows."""
        labelled = {} if self.labelled is None else self.labelled.to_arrays()
        return {
            **{f"divergences.{name}": a for name, a in self.divergences.to_arrays().items()},
            **{f"labelled.{name}": a for name, a in labelled.items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], p: Profile) -> Fitted:
        """Read what `to_arrays` gave, with the P that it was fitted on. ValueError or KeyError where it
        cannot have been."""

        def under(prefix: str) -> dict[str, NDArray[Any]]:
            return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}

        labelled = under("labelled.")
        return cls(
            ReferenceFit.from_arrays(under("divergences."), p),
            LabelledReference.from_arrays(labelled, p) if labelled else None,
        )
