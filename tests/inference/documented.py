"""The configuration file of source document s2, its keys and values as they stand there."""

YAML = """\
model:
  model_path: "./outputs/grpo_fix_final_model"  # 训练好的模型路径
  base_model: "Qwen/Qwen2-1.5B-Instruct"
  use_lora: true
  lora:
    r: 16
    alpha: 32
    dropout: 0.05

inference:
  max_length: 1024
  max_new_tokens: 512
  temperature: 0.8
  top_p: 0.9
  top_k: 50
  num_return_sequences: 1
  device: "cuda"

evaluation:
  dataset_name: "HuggingFaceH4/MATH-500"
  split: "test"
  max_samples: 100

output:
  results_path: "./inference_results.json"
  save_detailed_log: true
  log_path: "./inference_log.txt"

optimization:
  batch_size: 4
  gradient_checkpointing: false
  fp16: true
"""
