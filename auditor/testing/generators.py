"""This module is the contract of a generator."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.protocols import Generator
from auditor.testing.contents import NO_IMAGE, encoded, pictures
from auditor.testing.contracts import check_identity, require
from schemas.record import Turn
from schemas.response import Answer, Prompt


def check_generator(
    generator: Generator, prompts: Sequence[Prompt] | None = None, *, greedy: bool = True
) -> None:
    """Check that `generator` can be used in an audit: an answer a prompt, in order; the same texts for the
    same prompts and seed; where it is `greedy`, the same texts for a prompt whoever comes with it; a prompt
    that fails has its error, and stops no other.

    `prompts`: two or more that it can answer (default: questions with a picture, and with an earlier turn).

    Raises:
        AssertionError: a contract is broken; the message says which.
    """
    who = f"generator {type(generator).__name__}"
    require(isinstance(generator, Generator), f"{who}: no Generator (identity, generate)")
    check_identity(who, generator.identity, generator.identity)
    asked = list(prompts or _prompts())
    answers = _answers(generator, asked, 0, who)
    for i, answer in enumerate(answers):
        require(answer.error is None, f"{who}: prompt {i} has an error: {answer.error}")
    again = _answers(generator, asked, 0, who)
    require(_texts(again) == _texts(answers), f"{who}: the same prompts and seed have other answers again")
    if greedy:
        turned = _answers(generator, asked[::-1], 0, who)[::-1]
        require(_texts(turned) == _texts(answers), f"{who}: an answer depends on its prompt's place")
        for i, prompt in enumerate(asked):
            (alone,) = _answers(generator, [prompt], 0, who)
            message = f"{who}: prompt {i} has another answer alone than among others"
            require(alone.texts == answers[i].texts, message)
    require(_answers(generator, [], 0, who) == [], f"{who}: no prompts have answers")
    bad = Prompt(images=(NO_IMAGE,), text="What is it?")
    mixed = _answers(generator, [asked[0], bad, asked[1]], 0, who)
    require(
        mixed[1].error is not None or not bad.images, f"{who}: an image that does not decode has no error"
    )
    message = f"{who}: a prompt that fails takes others with it"
    require(mixed[0].error is None and mixed[2].error is None, message)
    check_identity(who, generator.identity, generator.identity)


def _prompts() -> list[Prompt]:
    first, second, *_ = map(encoded, pictures())
    return [
        Prompt((first,), "What colour is the square?"),
        Prompt((second,), "How many objects are there?"),
        Prompt((first,), "And the circle?", (Turn("user", "Hello"), Turn("assistant", "Hello!"))),
    ]


def _texts(answers: Sequence[Answer]) -> list[tuple[str, ...]]:
    return [answer.texts for answer in answers]


def _answers(generator: Generator, prompts: Sequence[Prompt], seed: int, who: str) -> list[Answer]:
    try:
        answers = generator.generate(prompts, seed)
    except Exception as error:
        raise AssertionError(f"{who}: raises for its prompts ({error!r})") from error
    require(
        isinstance(answers, list) and all(isinstance(a, Answer) for a in answers),
        f"{who}: generate gives no list of Answer",
    )
    require(len(answers) == len(prompts), f"{who}: {len(answers)} answers to {len(prompts)} prompts")
    for answer in answers:
        n = len(answer.texts)
        message = f"{who}: logprobs and tokens must have one entry a text, or none"
        require(len(answer.logprobs) in (0, n) and len(answer.tokens) in (0, n), message)
        require(all(isinstance(t, str) for t in answer.texts), f"{who}: an answer's texts are no strings")
        require(bool(answer.texts) or answer.error is not None, f"{who}: neither texts nor an error")
        require(all(p <= 1e-6 for p in answer.logprobs), f"{who}: a log-probability above 0")
    return answers
