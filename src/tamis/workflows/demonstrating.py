"""The demo: the main job on the embedded model and the built-in problems, to a table and a report."""

from __future__ import annotations

from pathlib import Path

from tamis.config import EMBEDDED, Drawing
from tamis.records import Sampling
from tamis.score import ScoreSettings
from tamis.select import FREE, METHODS
from tamis.summarise import health_warnings, to_json
from tamis.view import write_report
from tamis.workflows.comparing import Compared, compare_pools
from tamis.workflows.drawing import Session

MAX_TOKENS = 160  # the longest worked solution of the built-in problems takes about 100


def demo_config(num_problems: int, n: int, seed: int, run: Path) -> Drawing:
    """The configuration of the demo: temperature 1, all that the model has to say."""
    sampling = Sampling(temperature=1.0, max_tokens=MAX_TOKENS, n=n, seed=seed)
    return Drawing(model=EMBEDDED, dataset="demo", sampling=sampling, limit=num_problems, run=run)


async def demonstrate(session: Session) -> Compared:
    """Draw, score by every method, choose; write summary and report into the run folder."""
    compared = await compare_pools(
        session.pools(), [METHODS[name] for name in FREE], ScoreSettings(), session.config.sampling.seed
    )
    session.folder.write_json("summary.json", to_json(compared.comparison))
    report_on(compared, session.folder.file("report.html"), "Tamis demo", session_facts(session))
    return compared


def session_facts(session: Session) -> dict[str, str]:
    """What the head of a report says of a run."""
    config, sampling = session.config, session.config.sampling
    versions = session.folder.facts["versions"]
    return {
        "model": config.model,
        "problems": f"{session.num_problems} of {config.dataset}",
        "samples a problem": str(sampling.n),
        "temperature": f"{sampling.temperature:g}",
        "max tokens": str(sampling.max_tokens),
        "seed": str(sampling.seed),
        "engine": config.engine,
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
    }


def report_on(compared: Compared, path: Path, title: str, facts: dict[str, str]) -> None:
    """Write the page of a comparison."""
    write_report(
        path,
        title=title,
        facts=facts,
        comparison=compared.comparison,
        pools=compared.shown,
        choices=compared.choices,
        warnings=health_warnings(compared.comparison.health),
    )
