"""The demo with pictures: diagrams are drawn, the embedded vision model reads them, a rule judges, the best are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tamis.config import EMBEDDED_VISION, Arm, ModelSettings, Rejecting
from tamis.demo import VISION_PROMPTS
from tamis.demo.diagrams import write_diagrams
from tamis.demo.netlist_judge import TEMPLATE
from tamis.records import Problem
from tamis.sources import BadRow
from tamis.sources.images import read_images
from tamis.summarise.acceptance import Acceptance, acceptance
from tamis.workflows.models import NETLIST
from tamis.workflows.reject_results import Outcome, Results
from tamis.workflows.rejecting import Rejection

PROMPT = "arrows"
TEMPERATURES = (0.3, 1.0, 1.5)
MAX_TOKENS = 48  # the longest netlist of four boxes takes about 25


def vision_config(num_candidates: int, seed: int, run: Path) -> Rejecting:
    """The configuration of the demo: so many candidates of each picture at each temperature."""
    arms = tuple(Arm(PROMPT, temperature, 1.0, 0) for temperature in TEMPERATURES)
    return Rejecting(
        generator=ModelSettings(model=EMBEDDED_VISION),
        judge=ModelSettings(model="edge-f1", engine=NETLIST),
        prompts={PROMPT: VISION_PROMPTS[PROMPT]},
        grading_template=TEMPLATE,
        arms=arms,
        num_candidates=num_candidates * len(arms),
        output_dir=run / "results",
        strategy="grid",
        max_tokens=MAX_TOKENS,
        seed=seed,
    )


class VisionDemo:
    """One run of the demo: `images/` holds the pictures, each beside its netlist, `results/` what `tamis reject` writes.

    Attributes:
        rejection: The run of rejection sampling.
        config: Its settings.
        bad_rows: Pictures that could not be read.
    """

    def __init__(self, num_images: int, num_candidates: int, seed: int, run: Path) -> None:
        """Draw the pictures and open the run.

        Raises:
            TamisError: Of the folder, the models or the drawing.
        """
        self.config = vision_config(num_candidates, seed, run)
        self.bad_rows: list[BadRow] = []
        self._num_images = num_images
        self._folder = run / "images" / f"seed-{seed}"
        write_diagrams(self._folder, num_images, seed)
        self._facts = {"image_dir": str(self._folder.resolve()), "recursive": False, "samples": num_images}
        self.rejection = Rejection(self.config, self._problems, self._facts)

    async def run(self) -> Outcome:
        """Draw, judge and keep every picture: the files that `tamis reject` writes."""
        return await Results(self.rejection, self.config, self._facts, self.bad_rows).run()

    def acceptance(self, sizes: tuple[int, ...]) -> list[Acceptance]:
        """How often a picture is accepted, at each temperature and for each number of candidates."""
        return acceptance(self.rejection.finished(), self.config.threshold, sizes)

    def _problems(self) -> Iterator[Problem]:
        return read_images(self._folder, limit=self._num_images, bad_rows=[])
