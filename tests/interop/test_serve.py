#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_serve.py BUILD: a served pool asked by OpenAI's own client, as it comes."""

import sys

import openai

from served_pool import served_pool


def refused(kind, call):
    try:
        call()
    except kind:
        return
    raise AssertionError(f"not refused by {kind.__name__}")


def completions(client):
    whole = client.completions.create(model="fusion", prompt="R:abcde=", temperature=0, logprobs=3)
    choice = whole.choices[0]
    assert choice.text == "edcba" and choice.finish_reason == "stop", whole
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert choice.logprobs.tokens[:5] == list("edcba") and len(choice.logprobs.top_logprobs[0]) == 3
    assert client.completions.create(model="fusion", prompt="K:abc=", temperature=0).choices[0].text == "def"
    assert client.completions.create(model="fusion", prompt=["K:abc="], temperature=0).choices[0].text == "def"
    draw = {"model": "fusion", "prompt": "free", "seed": 5, "max_tokens": 24, "stop": ["q"]}
    text = client.completions.create(**draw).choices[0].text
    events = list(client.completions.create(stream=True, stream_options={"include_usage": True}, **draw))
    assert "".join(e.choices[0].text for e in events if e.choices) == text
    assert events[-1].usage.completion_tokens > 0


def chat(client):
    messages = [{"role": "user", "content": "hijk"}]
    ask = {"model": "fusion", "messages": messages, "temperature": 0}
    whole = client.chat.completions.create(logprobs=True, top_logprobs=2, **ask)
    assert whole.choices[0].message.content == "kjih", whole
    assert [t.token for t in whole.choices[0].logprobs.content[:4]] == list("kjih")
    free = client.chat.completions.create(response_format={"type": "text"}, tools=[], **ask)
    assert free.choices[0].message.content == "kjih"
    for more in ({"response_format": {"type": "json_object"}}, {"tools": [{"type": "function", "function": {"name": "f"}}]}):
        refused(openai.BadRequestError, lambda more=more: client.chat.completions.create(**more, **ask))
    pieces = [e.choices[0].delta.content or "" for e in client.chat.completions.create(stream=True, **ask)]
    assert "".join(pieces) == "kjih" and len(pieces) > 1


def main():
    with served_pool(sys.argv[1], "--keys", "keys") as (server, port, _):
        base = f"http://127.0.0.1:{port}/v1"
        client = openai.OpenAI(base_url=base, api_key="sk-of-the-only-client", max_retries=0)
        assert [m.id for m in client.models.list()] == ["fusion"]
        assert client.models.retrieve("fusion").id == "fusion"
        completions(client)
        chat(client)
        refused(openai.NotFoundError, lambda: client.completions.create(model="gpt", prompt="a"))
        refused(openai.BadRequestError, lambda: client.completions.create(model="fusion", prompt="a", n=2))
        stranger = openai.OpenAI(base_url=base, api_key="sk-of-somebody-else-1", max_retries=0)
        refused(openai.AuthenticationError, stranger.models.list)
        server.terminate()
        assert server.wait() == 0
    print("a served pool answers OpenAI's client", openai.__version__)


if __name__ == "__main__":
    main()
