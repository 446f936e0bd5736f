"""What the demo corpus says: neutral sentences shared by all emotions, and sentences whose words carry one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

SHARED_SENTENCES: tuple[str, ...] = (
    "The {thing} is lying on the {place}.",
    "{name} will be here at half past {number}.",
    "We left the {thing} next to the {place}.",
    "They are talking about the {thing} again.",
    "{name} put the {thing} behind the {place}.",
    "You can find it right under the {place}.",
    "The train leaves from platform {number}.",
    "I talked to {name} about the {thing}.",
    "It is going to take {number} more minutes.",
    "{name} said it was near the {place}.",
)
"""Spoken in every emotion, so that words alone cannot tell them apart."""

EMOTIVE_SENTENCES: Mapping[str, tuple[str, ...]] = {
    "neutral": (
        "The meeting is in room number {number}.",
        "The list has {number} pages and a cover.",
        "{name} sends the {thing} by mail.",
        "The shop beside the {place} opens at {number}.",
        "Page {number} explains how it is used.",
        "The {thing} belongs to the office.",
    ),
    "happy": (
        "This is the best news in years, {name}.",
        "I love it, what a lovely {thing}.",
        "We won, {name}, we really won.",
        "It was so much fun with {name}.",
        "I am so glad the {thing} is back.",
        "{name} is coming home for the party.",
    ),
    "sad": (
        "I miss {name} so much these days.",
        "Nobody said goodbye to {name}.",
        "The {thing} is all I have left of her.",
        "I lost my {thing} and my only friend.",
        "{name} is gone and will not come back.",
        "I sit by the {place} and cry.",
    ),
    "angry": (
        "I am sick of your lies, {name}.",
        "Get your {thing} out of my sight.",
        "How dare you break my {thing}.",
        "Leave me alone, {name}, get out.",
        "This is the last time you cheat me, {name}.",
        "I hate it when you slam the {place}.",
    ),
    "fear": (
        "Someone is following us, {name}.",
        "Please do not leave me alone, {name}.",
        "Something is moving behind the {place}.",
        "I think he is hiding near the {place}.",
        "Be quiet, {name}, they will find us.",
        "He has a gun under the {thing}.",
    ),
    "disgust": (
        "The {thing} smells of rotten fish.",
        "There is mould all over the {place}.",
        "That {thing} is filthy and wet.",
        "I feel ill just looking at the {thing}.",
        "{name} spits on the {place} again.",
        "There are worms in the {thing}.",
    ),
    "surprise": (
        "I never thought I would see {name} here.",
        "Wow, where did that {thing} come from.",
        "Really, {name} has a twin brother.",
        "So it was {name} the whole time.",
        "Suddenly the {thing} was back on the {place}.",
        "No way, {name} has {number} cats.",
    ),
}
"""Emotion -> sentences whose words carry it; names, things and places are the same words everywhere."""

SLOT_WORDS: Mapping[str, tuple[str, ...]] = {
    "name": ("Anna", "Peter", "Laura", "Martin", "Julia", "David", "Nora", "Simon"),
    "thing": ("bag", "folder", "bottle", "jacket", "paper", "blanket", "basket", "camera"),
    "place": ("table", "window", "door", "garden", "kitchen", "cupboard", "fridge", "sofa"),
    "number": ("three", "four", "seven", "eight", "nine", "eleven"),
}


def compose_sentence(emotion: str, shared: bool, generator: np.random.Generator) -> str:
    """Draw a sentence and fill its slots.

    Args:
        emotion: Which emotion's sentences are asked where ``shared`` is not set.
        shared: Draw among the sentences that all emotions say.
        generator: Where the draws come from.

    Returns:
        A sentence that ends with a full stop, whatever tune it is spoken with, so that punctuation tells nothing.
    """
    templates = SHARED_SENTENCES if shared else EMOTIVE_SENTENCES[emotion]
    template = templates[generator.integers(len(templates))]
    # Every slot is drawn, used or not: changing one sentence leaves the other draws of a clip as they are.
    words = {slot: choice[generator.integers(len(choice))] for slot, choice in SLOT_WORDS.items()}
    return template.format(**words)
