"""A selector of your own: the answer that at least two samples give, else none. Run: python examples/own_selector.py"""

from collections import Counter

from tamis import Choice, Pool, Problem, Sample, Sampling
from tamis.records import Grade


def agreed(pool: Pool) -> Choice:
    """The first sample of the first cluster with two members; abstains when no two samples agree."""
    sizes = Counter(cluster for cluster in pool.clusters if cluster >= 0)
    for position, cluster in enumerate(pool.clusters):
        if cluster >= 0 and sizes[cluster] >= 2:
            return Choice(pool.problem.id, "agreed", pool.samples[position].index, pool.grades[position].answer)
    return Choice(pool.problem.id, "agreed", None)


def main() -> None:
    answers = ["41", "42", "42"]
    samples = tuple(Sample(f"{i:016x}", "p", i, 0, Sampling(), parts=(f"\\boxed{{{a}}}",)) for i, a in enumerate(answers))
    grades = tuple(Grade(sample.key, answer, None, "no_reference") for sample, answer in zip(samples, answers, strict=True))
    print(agreed(Pool(Problem("p", "What is 6 * 7?"), samples, grades, clusters=(0, 1, 1))))


if __name__ == "__main__":
    main()
