from __future__ import annotations

from tamis.identity import sample_keys
from tamis.records import Message, Prompt, Sampling


def test_keys_are_for_ever():
    """A schema is part of what is asked; without one a key is what it was before there were schemas."""
    prompt = Prompt((Message("user", "1 + 1?"),))
    (plain,) = sample_keys("p", prompt, Sampling(), [0])
    assert plain == "132d612ee792a466"
    schemas = [{"type": "object"}, {"type": "array"}, {}]
    others = [sample_keys("p", Prompt(prompt.messages, schema=schema), Sampling(), [0])[0] for schema in schemas]
    assert len({plain, *others}) == 4
