"""Every registered critic keeps the contract, in any thread; one from outside is found by its name."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest

from auditor.errors import BadInput
from auditor.estimators import CLUB, ClubSums, Gaussian, critic, load_critic, make_critic
from auditor.estimators.registry import CRITICS, describe
from auditor.testing import check_critic
from schemas.config import CriticConfig


@pytest.mark.parametrize("name", CRITICS.names())
def test_contract(name: str) -> None:
    shared = {"hidden": 16, "steps": 60, "batch": 64} if CRITICS.find(name).reads else {}
    config = CriticConfig(estimator=name, **shared)
    check_critic(lambda seed: make_critic(config, seed=seed))


@pytest.mark.parametrize("name", ["club", "nwj"])
@pytest.mark.parametrize("early", [False, True])
def test_two_trainings_at_once_are_those_one_after_the_other(name: str, early: bool) -> None:
    """Larger than the contract's: threads inside torch share the work out."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 64)).astype(np.float32)
    y = (x + rng.normal(size=x.shape)).astype(np.float32)
    config = CriticConfig(estimator=name, hidden=96, steps=40, batch=512, early_stopping=early)

    def train(seed: int) -> str:
        return make_critic(config, seed=seed).fit(x, y, groups=np.arange(3000) // 3).digest

    alone = [train(seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(train, range(3))) == alone


def test_a_critic_that_breaks_the_contract() -> None:
    class Drawing(CLUB):
        def fit(self, *args: Any, **kwargs: Any) -> Self:
            np.random.normal()
            return super().fit(*args, **kwargs)

    class Forgetful(Gaussian):
        def sums(self, *args: Any, **kwargs: Any) -> ClubSums:
            sums = super().sums(*args, **kwargs)
            return sums.merge(sums)

    with pytest.raises(AssertionError, match="global generator"):
        check_critic(lambda seed: Drawing(hidden=4, steps=2, seed=seed))
    with pytest.raises(AssertionError, match="counts the rows"):
        check_critic(lambda seed: Forgetful(seed=seed))


def test_one_from_outside_is_one_class(tmp_path: Path) -> None:
    @critic("theirs", sums=ClubSums)
    class Theirs(Gaussian):
        kind: ClassVar[str]

        @classmethod
        def from_config(cls, config: CriticConfig, options: Any, *, seed: int, device: str = "cpu") -> Self:
            return cls(seed=seed)

    made = make_critic(CriticConfig(estimator="theirs"), seed=0)
    assert isinstance(made, Theirs) and describe("theirs") == "Theirs"
    check_critic(lambda seed: Theirs(seed=seed))
    x = np.random.default_rng(0).normal(size=(20, 2))
    made.fit(x, x).save(tmp_path / "critic.safetensors")
    assert isinstance(load_critic(tmp_path / "critic.safetensors"), Theirs)


def test_what_a_config_gets_wrong_is_said() -> None:
    with pytest.raises(BadInput, match=r"critic.estimator: unknown critic 'clib' \(did you mean club\?\)"):
        make_critic(CriticConfig(estimator="clib"), seed=0)
    with pytest.raises(BadInput, match=r"critic.steps: the estimator gaussian does not read it"):
        make_critic(CriticConfig(estimator="gaussian", steps=7), seed=0)
    with pytest.raises(BadInput, match=r"critic.activation: the estimator mine does not read it"):
        make_critic(CriticConfig(estimator="mine", activation="relu"), seed=0)
    with pytest.raises(BadInput, match=r"critic.options of gaussian: unknown setting 'lambda'; it takes"):
        make_critic(CriticConfig(estimator="gaussian", options={"lambda": 3}), seed=0)
    with pytest.raises(BadInput, match=r"critic.options of club: unknown setting 'ridge'"):
        make_critic(CriticConfig(options={"ridge": 3}), seed=0)
    assert describe("club") == "CLUB" and "4,096 rows" in describe("infonce")


def test_torch_is_imported_for_training_alone(tmp_path: Any) -> None:
    """Importing the room, reading critics and summing rows need numpy and safetensors."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype(np.float32)
    for name in ("club", "mine", "gaussian"):
        made = make_critic(
            CriticConfig(estimator=name, **({} if name == "gaussian" else {"steps": 2})), seed=0
        )
        made.fit(x, x).save(tmp_path / f"{name}.safetensors")
    code = (
        "import sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch': raise ImportError(name)\n"
        "sys.meta_path.insert(0, NoTorch())\n"
        "import numpy as np\n"
        "from auditor.estimators import load_critic\n"
        "x = np.zeros((4, 3), np.float32)\n"
        f"for name in ('club', 'mine', 'gaussian'):\n"
        f"    print(load_critic(r'{tmp_path}/' + name + '.safetensors').sums(x, x).value())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and len(done.stdout.split()) == 3, done.stderr
