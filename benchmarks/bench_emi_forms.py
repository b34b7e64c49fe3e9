"""Which form of EMI follows the truth, and which bound follows EMID and the true loss?

Three audits of two models each: the lab (true accuracy), MME (real photographs, known answers) and
LLaVA-Bench (recorded answers; its truth is the EMI that the authors published from images and text, over the
synthetic scenarios of LLaVA-1.5). Of each form: Spearman with the truth per model, pooled, and in how many
scenarios the two models are ranked rightly, where their truths differ by more than `--least`. What the
report says of two models (reliable results, adjusted, by both forms) is held against the truth. Of each
bound: Pearson with EMID and with the true drop.

The evaluation data are not part of the project: `--reference FOLDER` holds `mme/` and `llavabench/`. What is
done is kept under `--out` and taken from there the next time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from _shared import machine, options
from scipy import stats

import auditor
from auditor.measures.models import pairs
from schemas.report import Report, Row

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"
ID_TASKS = ("existence", "count", "position", "color")
FORMS: dict[str, Callable[[Row], float | None]] = {
    "published": lambda row: row.emi,
    "references only, in sample": lambda row: row.emi_forms and row.emi_forms.reference_trained,
    "references only, cross-fitted": lambda row: row.emi_forms and row.emi_forms.cross_fitted,
    "style-free, cross-fitted": lambda row: row.emi_forms and row.emi_forms.style_free,
    "cosine": lambda row: row.emi_forms and row.emi_forms.cosine,
}
BOUNDS = ("scaled", "partial", "theorem_4_5", "theorem_4_5_split", "joint", "sound", "sound_label_free")
GAUSSIAN = {"estimator": "gaussian", "options": {"features": 400, "ridge": 30.0}, "seeds": 2}
CLUB = {"estimator": "club", "steps": 1500, "seeds": 3}


def lab_config(arguments: argparse.Namespace) -> dict[str, object]:
    import yaml

    config = yaml.safe_load((Path(__file__).parents[1] / "examples" / "lab.yaml").read_text())
    config["data"]["n"] = 60 if arguments.quick else arguments.rows
    if arguments.quick:
        names = ("blur-3", "typos-3", "german", "hindi")
        config["data"]["scenarios"] = {n: config["data"]["scenarios"][n] for n in names}
    return dict(config)


def mme_config(arguments: argparse.Namespace) -> dict[str, object]:
    """Rows of one image belong together: their base id is the image."""
    folder = arguments.out / "mme-records"
    folder.mkdir(parents=True, exist_ok=True)
    by_task: dict[str, list[str]] = {}
    for line in (arguments.reference / "mme" / "records.jsonl").read_text().splitlines():
        record = json.loads(line)
        task = "id" if record["tags"][0] in ID_TASKS else record["tags"][0]
        by_task.setdefault(task, []).append(json.dumps(record | {"base_id": record["image"]}))
    for task, lines in by_task.items():
        (folder / f"{task}.jsonl").write_text("\n".join(lines) + "\n")
    files = {task: str(folder / f"{task}.jsonl") for task in by_task}
    images = str(arguments.reference / "mme" / "images")
    data = {"reader": "records", "id": files.pop("id"), "scenarios": files, "media_root": images}
    encoders = {"image": "efficientnet-lite0", "text": "minilm"}
    return {"data": data, "encoders": encoders, "models": ["viscot-7b", "viscot-13b"]}


def llavabench_config(arguments: argparse.Namespace) -> dict[str, object]:
    return {
        "data": {"reader": "llavabench", "root": str(arguments.reference / "llavabench")},
        "encoders": {"image": None, "text": "minilm"},
        "models": ["llava-v1.5-13b", "llava-v1.6-vicuna-13b"],
    }


CONFIGS = {"lab": lab_config, "mme": mme_config, "llavabench": llavabench_config}


def audited(name: str, arguments: argparse.Namespace) -> Report:
    from auditor.pipeline.audit import audit
    from auditor.pipeline.progress import Silent
    from schemas.config import AuditConfig

    config = CONFIGS[name](arguments) | {
        "critic": (GAUSSIAN if arguments.critic == "gaussian" or arguments.quick else CLUB)
        | {"pairs": arguments.pairs},
        "workers": {"executor": "serial", "cpu": 1},
        "seed": arguments.seed,
    }
    return audit(AuditConfig.model_validate(config), arguments.out / f"{name}-{arguments.seed}", Silent())


def truth_of(name: str, arguments: argparse.Namespace) -> Callable[[Row], float | None]:
    if name != "llavabench":
        return lambda row: row.accuracy
    path = arguments.reference / "llavabench" / "published"
    emi = json.loads((path / "pairs-SYNTHETIC-ALL-llava-v1.5-13b-CLUB_global.json").read_text())["EMI"]
    return lambda row: emi.get(row.scenario) if row.model == "llava-v1.5-13b" else None


def correlation(kind: str, xs: Iterable[float | None], ys: Iterable[float | None]) -> str:
    known = [(x, y) for x, y in zip(xs, ys, strict=True) if x is not None and y is not None]
    if len(known) < 4:
        return "-"
    measure = stats.spearmanr if kind == "spearman" else stats.pearsonr
    return f"{measure(*np.array(known).T).statistic:.2f}"


def forms_table(report: Report, truth: Callable[[Row], float | None], least: float) -> None:
    models = list(dict.fromkeys(row.model for row in report.scenarios))
    unreliable = [row for row in report.scenarios if row.reliable is False]
    print(f"reliable: {len(report.scenarios) - len(unreliable)} of {len(report.scenarios)} results")
    print(f"| form | Spearman, {' / '.join(map(str, models))} | pooled | pairs ranked rightly |")
    print("|---|---|---|---|")
    for form, value in FORMS.items():
        per_model = [
            correlation("spearman", map(value, rows), map(truth, rows))
            for rows in ([row for row in report.scenarios if row.model == m] for m in models)
        ]
        pooled = correlation("spearman", map(value, report.scenarios), map(truth, report.scenarios))
        right, of = ranked(report.scenarios, models, value, truth, least)
        print(f"| {form} | {' / '.join(per_model)} | {pooled} | {right} of {of} |")
    print()


def ranked(
    rows: Sequence[Row],
    models: Sequence[str | None],
    value: Callable[[Row], float | None],
    truth: Callable[[Row], float | None],
    least: float,
) -> tuple[int, int]:
    right = of = 0
    by_key = {(row.scenario, row.model): row for row in rows}
    for scenario in dict.fromkeys(row.scenario for row in rows):
        a, b = (by_key[scenario, model] for model in models[:2])
        values = [value(a), value(b), truth(a), truth(b)]
        if None in values or abs(values[2] - values[3]) <= least:  # type: ignore[operator]
            continue
        of += 1
        right += (values[0] - values[1]) * (values[2] - values[3]) > 0  # type: ignore[operator]
    return right, of


def claims(report: Report, truth: Callable[[Row], float | None]) -> None:
    """What the report says of two models, held against the truth."""
    by_key = {(row.scenario, row.model): truth(row) for row in report.scenarios}
    for pair in pairs(report):
        said = [row for row in pair.measured if pair.claims(row)]
        verdicts = []
        for row in said:
            a, b = by_key[row.scenario or "", row.new], by_key[row.scenario or "", row.current]
            if a is not None and b is not None:
                verdicts.append((a - b) * (row.corrected or 0.0) > 0)
        compared = f"{len(pair.measured)} of {len(pair.scenarios)} scenarios"
        print(
            f"{pair.mean.new} against {pair.mean.current}: {compared} compared, {len(said)} said to differ, "
            f"{sum(verdicts)} of {len(verdicts)} rightly; mean {pair.mean.corrected}, "
            f"{'said' if pair.claims(pair.mean) else 'nothing said'}; styles: {pair.mean.style or 'alike'}"
        )
    print()


def bounds_table(report: Report, truth: Callable[[Row], float | None], graded: bool) -> None:
    print("| bound | Pearson with EMID | with cross-fitted EMID | with the true drop |")
    print("|---|---|---|---|")
    by_key = {(row.scenario, row.model): row for row in report.scenarios}
    first = report.scenarios[0].scenario
    shifted = [row for row in report.scenarios if row.family != "id"]
    models = list(dict.fromkeys(row.model for row in report.scenarios))

    def drop(row: Row) -> float | None:
        whole, own = truth(by_key[first, row.model]), truth(row)
        return None if whole is None or own is None else whole - own

    def fitted(row: Row) -> float | None:
        whole, own = by_key[first, row.model].emi_forms, row.emi_forms
        if whole is None or own is None or whole.cross_fitted is None or own.cross_fitted is None:
            return None
        return whole.cross_fitted - own.cross_fitted

    for form in (f"{form}{end}" for form in BOUNDS for end in ("", "_null_centred")):
        columns = []
        for measure in (lambda row: row.emid, fitted, drop if graded else lambda row: None):
            columns.append(
                " / ".join(
                    correlation(
                        "pearson",
                        [row.bounds[form].value if form in row.bounds else None for row in rows],
                        map(measure, rows),
                    )
                    for rows in ([row for row in shifted if row.model == m] for m in models)
                )
            )
        print(f"| {form} | {' | '.join(columns)} |")
    print()


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--reference", type=Path, default=REFERENCE, help="folder with mme/ and llavabench/")
    parser.add_argument("--out", type=Path, default=Path("out-emi-forms"), help="where runs are kept")
    parser.add_argument("--data", default="lab,mme,llavabench")
    parser.add_argument(
        "--critic", default="club", choices=("club", "gaussian"), help="of the published form"
    )
    parser.add_argument("--pairs", default="both", choices=("both", "references"))
    parser.add_argument("--rows", type=int, default=400, help="of each scenario of the lab")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--least", type=float, default=0.0, help="truths closer than this count as equal")
    arguments = parser.parse_args()
    print(machine(), f"auditor at {Path(auditor.__file__).parent}\n")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.data.split(","):
        if name != "lab" and not (arguments.reference / name).is_dir():
            print(f"## {name}: no folder {arguments.reference / name}\n")
            continue
        report, truth = audited(name, arguments), truth_of(name, arguments)
        print(f"## {name}, seed {arguments.seed}\n")
        forms_table(report, truth, arguments.least)
        claims(report, truth)
        bounds_table(report, truth, name != "llavabench")


if __name__ == "__main__":
    main()
