"""How good the best of four candidates is under each strategy of `tamis reject`, in worlds where the truth is known.

    python benchmarks/bench_strategies.py [--images 100] [--worlds 30]

No model: the score of a candidate is 60 plus effects of its prompt, temperature, top_p and top_k (standard deviation 6 each),
of just this combination (3), of the image (20) and noise (12), cut to 0 to 100. Each image gets four candidates; its result is
the best of them. `best arm` is told the truth. Figures: benchmarks/results/strategies.txt.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import product

import numpy as np

from tamis.config import Arm
from tamis.sample.strategies import Planner

GRIDS = {
    "4 x 5 x 3 x 4": list(product("abcd", (0.3, 0.5, 0.7, 0.9, 1.2), (0.5, 0.7, 0.9), (20, 40, 60, 80))),
    "4 x 5": list(product("abcd", (0.3, 0.5, 0.7, 0.9, 1.2), (0.9,), (0,))),
    "1 x 4": list(product("a", (0.3, 0.5, 0.7, 0.9), (0.9,), (0,))),
}
NUM_CANDIDATES, THRESHOLD = 4, 80.0


def world(grid: list[Arm], rng: np.random.Generator) -> dict[Arm, float]:
    """What each arm is worth."""
    effects: dict[tuple[str, object], float] = {}
    names = ("prompt_key", "temperature", "top_p", "top_k")
    parts = [sum(effects.setdefault((n, getattr(arm, n)), rng.normal(0, 6)) for n in names) for arm in grid]
    return {arm: 60 + part + rng.normal(0, 3) for arm, part in zip(grid, parts, strict=True)}


def run(
    plan: Callable[[str], list[Arm]], see: Callable[..., None], worth: dict[Arm, float], seed: int, images: int
) -> list[float]:
    """The best score of each image."""
    rng, best = np.random.default_rng(seed), []
    for number in range(images):
        arms = plan(f"{number}.png")
        scores = np.clip(
            np.array([worth[arm] for arm in arms]) + rng.normal(0, 20) + rng.normal(0, 12, len(arms)), 0, 100
        ).tolist()
        see(list(zip(arms, scores, strict=True)))
        best.append(max(scores))
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--worlds", type=int, default=30)
    options = parser.parse_args()
    for name, cells in GRIDS.items():
        grid = [Arm(*cell) for cell in cells]
        print(f"grid {name}, {options.images} images, {options.worlds} worlds: mean of the best of four; share from 80 on")
        rows: dict[str, list[list[float]]] = {}
        for seed in range(options.worlds):
            worth = world(grid, np.random.default_rng(seed))
            for strategy in ("random", "grid", "adaptive"):
                planner = Planner(strategy, grid, NUM_CANDIDATES, seed)

                def plan(image: str, planner: Planner = planner) -> list[Arm]:
                    return [turn.arm for turn in planner.plan(image)]

                rows.setdefault(strategy, []).append(run(plan, planner.see, worth, seed, options.images))
            best = max(worth, key=worth.__getitem__)
            known = run(lambda _, best=best: [best] * NUM_CANDIDATES, lambda _: None, worth, seed, options.images)
            rows.setdefault("best arm", []).append(known)
        for strategy, found in rows.items():
            scores = np.array(found)  # (worlds, images)
            means = scores.mean(1)
            half = 1.96 * means.std(ddof=1) / len(means) ** 0.5
            print(f"  {strategy:9}{means.mean():6.1f} +- {half:.1f}   {(scores >= THRESHOLD).mean():.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
