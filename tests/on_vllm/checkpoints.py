"""Random checkpoints that vLLM takes: heads of 32 numbers and more, a tokenizer of bytes and made-up words."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
END_ID = 2
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(vocab_size: int, special: tuple[str, ...] = SPECIAL, template: str = TEMPLATE) -> PreTrainedTokenizerFast:
    """Special tokens, all bytes, then words that no text is cut into but a random model says."""
    vocab = {token: place for place, token in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    for number in range(vocab_size - len(vocab)):
        vocab[f"Ġw{number}"] = len(vocab)
    backend = Tokenizer(models.BPE(vocab, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        extra_special_tokens=[s for s in special if s not in ("<|im_end|>", "<|endoftext|>")], chat_template=template,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def text_model(folder: Path, *, vocab_size: int = 512, dtype: str = "float32", context: int = 1024) -> Path:
    """A Qwen2 of two layers; its output weights are large enough for choices to differ."""
    config = Qwen2Config(
        vocab_size=vocab_size, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=context, eos_token_id=END_ID, pad_token_id=0, bos_token_id=None,
        tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(4)
        model.lm_head.weight.normal_(std=0.3)
        model.lm_head.weight[END_ID] *= 2
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    tokenizer(vocab_size).save_pretrained(folder)
    return folder


def adapter(folder: Path, base: Path, rank: int = 4) -> Path:
    """A LoRA adapter in PEFT's form, of the attention of a text model."""
    import json

    from safetensors.torch import save_file

    model = AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(1)
    weights = {}
    for name, module in model.named_modules():
        if name.endswith(("q_proj", "v_proj")):
            weights[f"base_model.model.{name}.lora_A.weight"] = torch.randn(rank, module.in_features)
            weights[f"base_model.model.{name}.lora_B.weight"] = torch.randn(module.out_features, rank)
    folder.mkdir(parents=True)
    save_file(weights, folder / "adapter_model.safetensors")
    about = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": str(base), "r": rank}
    about |= {"lora_alpha": 2 * rank, "lora_dropout": 0.0, "bias": "none", "target_modules": ["q_proj", "v_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(about))
    return folder
