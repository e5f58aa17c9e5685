"""A score of your own, in best-of-N beside the others. Run: python examples/own_scorer.py"""

from tamis import Pool, Problem, Sample, Sampling, choose
from tamis.records import Grade
from tamis.select import Method
from tamis.select.votes import best_of_n


def brevity(pool: Pool) -> Pool:
    """Adds the score `brevity`: minus the number of characters; None for a sample that failed."""
    values = tuple(None if sample.error else -float(len(sample.text)) for sample in pool.samples)
    return Pool(pool.problem, pool.samples, pool.grades, pool.clusters, {**pool.scores, "brevity": values})


def main() -> None:
    texts = ["Step 1: 6 * 7 = 42. So \\boxed{42}", "\\boxed{42}", "Perhaps \\boxed{41}"]
    samples = tuple(Sample(f"{i:016x}", "p", i, 0, Sampling(), parts=(text,)) for i, text in enumerate(texts))
    grades = tuple(Grade(s.key, answer, answer == "42") for s, answer in zip(samples, ("42", "42", "41"), strict=True))
    pool = Pool(Problem("p", "What is 6 * 7?", answer="42"), samples, grades, clusters=(0, 0, 1))
    shortest = Method("brevity", "brevity", best_of_n, "the shortest answer", "examples/own_scorer.py", curve="best-of-n")
    choice = choose(brevity(pool), shortest)
    print(f"{choice.selector} takes sample {choice.index}: {choice.answer}")


if __name__ == "__main__":
    main()
