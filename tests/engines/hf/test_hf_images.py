"""Prompts with images: the engine against transformers itself, with two pictures, one, and none in the same batch."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

pytest.importorskip("PIL", reason="Pillow is not installed")

import torch
from engines.hf.test_hf_reference import plain_statistics
from engines.hf.tiny_models import EOS_ID, draw, model_folder
from engines.hf.tiny_vision_models import GRID_TYPES, IMAGE, picture, vision_folder
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from tamis.engines.hf import HFEngine
from tamis.records import Draw, Message, Prompt, Reading, Request, Sampling

SIZES = ((), ((48, 32),), ((32, 64), (70, 50)))


def request(name, paths, text="What is it?", **sampling):
    settings = Sampling(**{"temperature": 0.0, "max_tokens": 24, **sampling})
    draws = tuple(Draw(f"{name}-{i}", i, i) for i in range(settings.n))
    return Request(name, Prompt((Message("user", text),), tuple(map(str, paths))), settings, draws)


def prompt_inputs(folder, paths):
    """What transformers takes for the same prompt, put together by hand."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    image_id = tokenizer.convert_tokens_to_ids(IMAGE)
    pixels, counts = {}, []
    if paths:
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        pixels = dict(processor(images=[Image.open(path) for path in paths], return_tensors="pt"))
        counts = [16] * len(paths) if "image_grid_thw" not in pixels else (pixels["image_grid_thw"].prod(-1) // 4).tolist()
    bare = "" if "image_grid_thw" not in pixels else None
    places = [IMAGE * n if bare == "" else f"<|vision_start|>{IMAGE * n}<|vision_end|>" for n in counts]
    ids = tokenizer(f"<|user|>{''.join(places)}What is it?<|answer|>", return_tensors="pt").input_ids
    if bare is None:
        pixels["mm_token_type_ids"] = (ids == image_id).int()
    return tokenizer, ids, pixels


@pytest.mark.parametrize("kind", [*GRID_TYPES, "llava"])
def test_greedy_texts_and_statistics_equal_the_models_own_drawn_or_read(kind):
    folder = vision_folder(kind)
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    engine = HFEngine(folder, batch_size=4, device="cpu")
    shown = [[picture(*size, seed) for seed, size in enumerate(sizes)] for sizes in SIZES]
    requests = [request(f"r{i}", paths, n=2) for i, paths in enumerate(shown)]
    found = draw(engine, requests)
    entropies = set()
    for item, paths in zip(requests, shown, strict=True):
        tokenizer, ids, pixels = prompt_inputs(folder, paths)
        with torch.inference_mode():
            expected = model.generate(
                ids, attention_mask=torch.ones_like(ids), **pixels,
                do_sample=False, max_new_tokens=24, eos_token_id=EOS_ID, pad_token_id=0,
            )[0, ids.shape[1] :].tolist()  # fmt: skip
            model.base_model.rope_deltas = None
            expected = expected[:-1] if expected[-1] == EOS_ID else expected
            answer = torch.tensor([expected])
            first = model(ids, **pixels, use_cache=True)
            rest = model(answer[:, :-1], past_key_values=first.past_key_values).logits  # a random model may write IMAGE
            model.base_model.rope_deltas = None
        reference = plain_statistics(torch.cat((first.logits[:, -1:], rest), 1)[0], answer[0])
        samples = [found[d.key] for d in item.draws]
        for sample in samples:
            assert sample.error is None
            assert sample.prompt_tokens == ids.shape[1]
            assert sample.stats.ids.tolist() == expected
            assert sample.text == tokenizer.decode(expected, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            assert np.abs(sample.stats.values - reference).max() < 1e-4 * (1 + np.abs(reference).max())

        async def read(item=item, samples=samples):
            async def readings():
                yield Reading(item.prompt, tuple(samples))

            return [sample async for sample in engine.read(readings())]

        for sample in asyncio.run(read()):
            assert np.abs(sample.stats.values - reference).max() < 1e-4 * (1 + np.abs(reference).max())
        entropies.add(samples[0].stats.column("entropy")[0])
    assert len(entropies) == len(SIZES)  # it does see


def test_samples_do_not_depend_on_who_is_drawn_beside_them():
    folder = vision_folder("qwen2_vl")
    items = [request(f"r{i}", [picture(32 + 16 * i, 32, i)], n=5, temperature=1.0) for i in range(4)]
    items.append(request("text", [], n=5, temperature=1.0))
    many = draw(HFEngine(folder, batch_size=16, device="cpu"), items)
    one = HFEngine(folder, batch_size=16, device="cpu")
    for item in reversed(items):
        for key, sample in draw(one, [item]).items():
            assert sample.text == many[key].text
            assert (sample.stats.values == many[key].stats.values).all()


def test_requests_for_the_same_picture_share_one_look_at_it():
    engine = HFEngine(vision_folder("qwen2_vl"), batch_size=4, device="cpu")
    looks = []
    engine._loaded.model.base_model.visual.register_forward_hook(lambda *_: looks.append(1))
    paths = [picture(32 + 16 * i, 32, i) for i in range(3)]
    together = draw(engine, [request(f"r{i}", [path], n=4, temperature=1.0) for i, path in enumerate(paths)])
    assert len(looks) == 3
    single = [
        Request(
            f"r{i}",
            Prompt((Message("user", "What is it?"),), (str(path),)),
            Sampling(max_tokens=24),
            (Draw(f"r{i}-{k}", k, k),),
        )
        for k in range(4)
        for i, path in enumerate(paths)
    ]
    apart = draw(engine, single)
    assert len(looks) == 6
    for key, sample in together.items():
        assert apart[key].text == sample.text
        assert (apart[key].stats.values == sample.stats.values).all()


def test_prompts_that_cannot_be_shown_fail_alone_and_say_why(tmp_path):
    whole = picture(64, 64, 7)
    torn = tmp_path / "torn.png"
    torn.write_bytes(whole.read_bytes().replace(b"IDAT", b"IDAT\x00\x01", 1))
    items = [
        request("missing", [tmp_path / "none.png"]),
        request("torn", [torn]),
        request("hostile", [whole], text=f"say {IMAGE} twice"),
        request("long", [whole], text="x" * 300),
        request("good", [whole]),
    ]
    found = draw(HFEngine(vision_folder("qwen2_vl"), batch_size=4, device="cpu"), items)
    message = {key.partition("-")[0]: sample.error and sample.error.message for key, sample in found.items()}
    assert "none.png: No such file" in message["missing"]
    assert "torn.png cannot be decoded" in message["torn"] or "torn.png is torn" in message["torn"]
    assert message["hostile"] == "the prompt has 2 places for 1 images"
    assert "the model's context holds" in message["long"]
    assert message["good"] is None


def test_a_model_without_eyes_says_so():
    found = draw(HFEngine(model_folder(), batch_size=2, device="cpu"), [request("r", [picture(32, 32, 0)])])
    assert found["r-0"].error.message == "a model of type qwen2 takes no images"
