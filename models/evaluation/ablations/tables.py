"""The tables of docs/ablations.md, from results alone: nothing measured, nothing shown."""

from collections.abc import Callable, Sequence

from models.evaluation.ablations.authors import FVD, GAMMAS
from models.evaluation.ablations.results import Results
from models.evaluation.ablations.study import FULL

NOT_RUN = "Not run yet."
SCORES = ("color", "background", "shape", "motion", "joint")


def sections(results: Results | None) -> dict[str, str]:
    """Every generated part of the page by its marker's name."""
    return {
        "state": state(results),
        "authors": authors_table(),
        "noise-prior": noise_prior_table(results),
        "noise-prior-differences": difference_table(results),
        "noise-prior-scores": score_table(results),
        "paths": path_table(results),
        "ruler": ruler_table(results),
    }


def grid(results: Results) -> list[Results]:
    """The cells of the lambda and gamma grid."""
    gammas = results["study"]["gammas"]
    return [cell for cell in results["cells"] if cell["path"] == FULL and cell["gamma"] in gammas]


def path_rows(results: Results | None) -> list[Results]:
    """One cell for each path, in the study's order."""
    if results is None:
        return []
    study = results["study"]
    return [
        cell
        for path in study["paths"]
        for cell in results["cells"]
        if (cell["path"], cell["lambda"], cell["gamma"]) == (path, study["path_lambda"], study["path_gamma"])
    ]


def state(results: Results | None) -> str:
    """How far the study is."""
    if results is None:
        return f"**{NOT_RUN}** No figure of ours stands in a table or a plot."
    study = results["study"]
    return (
        f"**{len(results['trials'])} of {results['planned_trials']} trainings and {len(results['cells'])} of "
        f"{results['planned_cells']} cells are measured.** Each training: {study['steps']:,} steps from "
        f"stage 1 of the weights `{results['start'][:12]}`. Each cell: {study['prompts'] * study['seeds']} "
        f"films, {study['prompts']} held-out prompts with {study['seeds']} sampling seeds."
    )


def authors_table() -> str:
    """FVD by lambda and gamma, as read off the authors' plot."""
    rows = [[f"{weight:g}", *(f"{value:g}" for value in values)] for weight, values in FVD.items()]
    return _table(["lambda \\ gamma", *(f"{gamma:g}" for gamma in GAMMAS)], rows)


def noise_prior_table(results: Results | None) -> str:
    """Our distance by lambda and gamma."""
    return _grid_table(results, lambda cell: _spread(cell["distance"]))


def difference_table(results: Results | None) -> str:
    """How far each cell lies from the one without any prior."""
    return _grid_table(results, lambda cell: _difference(cell["from_plain"]))


def score_table(results: Results | None) -> str:
    """Shares of films with the motion that was asked, and right in all four respects."""
    return _grid_table(
        results,
        lambda cell: f"{cell['scores']['motion']['share']:.0%} / {cell['scores']['joint']['share']:.0%}",
    )


def path_table(results: Results | None) -> str:
    """What each path costs and what comes of it."""
    rows = path_rows(results)
    if results is None or not rows:
        return NOT_RUN
    trials = {(trial["path"], trial["appearance_weight"]): trial for trial in results["trials"]}
    lines = []
    for row in rows:
        trial = trials[row["path"], row["lambda"]]
        psnr = row["centre_psnr_db"]
        lines.append(
            [
                row["path"],
                f"{trial['parameters'] / 1e6:.2f} M",
                f"{trial['trained_parameters'] / 1e6:.2f} M",
                f"{60 * trial['minutes'] / trial['steps']:.2f} s",
                "too short" if trial["loss"] is None else f"{trial['loss']:.4f}",
                _spread(row["distance"]),
                _difference(row["from_full"]),
                *(f"{row['scores'][name]['share']:.0%}" for name in SCORES),
                "-" if psnr is None else f"{psnr['mean']:.1f} dB",
            ]
        )
    seen = ["colour", *SCORES[1:]]
    head = ["path", "parameters", "trained", "a step", "loss", "distance", "from full", *seen, "centre frame"]
    return _table(head, lines)


def ruler_table(results: Results | None) -> str:
    """Distances of clips whose fault is known."""
    if results is None:
        return NOT_RUN
    return _table(["clips", "distance"], [[name, _spread(value)] for name, value in results["ruler"].items()])


def _grid_table(results: Results | None, words: Callable[[Results], str]) -> str:
    if results is None or not grid(results):
        return NOT_RUN
    study = results["study"]
    known = {(cell["lambda"], cell["gamma"]): words(cell) for cell in grid(results)}
    rows = [
        [f"{weight:g}", *(known.get((weight, gamma), "not run") for gamma in study["gammas"])]
        for weight in study["lambdas"]
    ]
    return _table(["lambda \\ gamma", *(f"{gamma:g}" for gamma in study["gammas"])], rows)


def _spread(value: dict[str, float]) -> str:
    return f"{value['value']:.2f} ± {value['reach']:.2f}"


def _difference(value: dict[str, float] | None) -> str:
    if value is None:
        return "not run"
    if value["reach"] == 0.0 and value["value"] == 0.0:
        return "-"  # from itself
    return f"{value['value']:+.2f} ± {value['reach']:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
