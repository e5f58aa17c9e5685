"""A trained model in Python: a question, a batch, an evaluation with a metric of our own: python examples/grpo_inference.py

The model is the one that ships with Tamis; `model_path` may be any folder, LoRA adapter or hub name.
"""

from tamis.inference import GRPOInference, InferenceConfig


def is_long_enough(problem: str, response: str, reference: str | None) -> bool | None:
    """Whether a response has more lines than its problem has sentences; None where there is nothing to reach."""
    return None if reference is None else len(response.splitlines()) > problem.count(".")


def main() -> None:
    config = InferenceConfig(model_path="embedded", max_new_tokens=128, temperature=0.0)
    with GRPOInference(config) as inference:
        problem = "解方程：3x + 22 = x + 56。"
        result = inference.generate_response(inference.preprocess_prompt(problem))
        print(f"{problem} -> {result['answer']}")
        print(result["response"])

        problems = [
            "There are 23 shells in Ida's box. Ida gets 10 more. How many shells does Ida have now?",
            "计算：10 * 3 * 7。",
        ]
        for row in inference.batch_inference(problems, batch_size=2):
            print(f"{row['index']}: {row['problem']} -> {row['answer']}")

        found = inference.evaluate_on_dataset("demo", max_samples=20, metric=is_long_enough)
        low, high = found["interval"]
        print(f"accuracy {found['accuracy']:.2f} ({low:.2f} .. {high:.2f}), {found['correct']}/{found['total']}")
        print(f"long enough: {found['metric']['mean']:.2f}")


if __name__ == "__main__":
    main()
