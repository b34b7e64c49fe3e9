"""This module draws small scenes whose content is known: 64 x 64 RGB pictures of two to four objects.

A scene is a pure function of ``(seed, index)`` and of a :class:`SceneLaw`: `draw_scene` decides what is in
the picture, `render` paints it (well under a millisecond).  Fine detail carries meaning on purpose: a digit
is three by five pixels and a stripe two pixels wide, so blur, frost and noise destroy content here as they do
in photographs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

SIZE: Final = 64
"""Width and height of a scene in pixels."""
TILE: Final = SIZE // 2
"""Width and height of a quadrant in pixels; every object keeps to its own."""

SHAPES: Final = ("circle", "square", "triangle", "diamond", "cross", "star")
COLOURS: Final = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
TEXTURES: Final = ("plain", "striped", "dotted")
BACKGROUNDS: Final = ("paper", "slate", "grass", "dusk")
QUADRANTS: Final = ("top left", "top right", "bottom left", "bottom right")

_RGB: Final[dict[str, tuple[int, int, int]]] = {
    "red": (210, 40, 45),
    "orange": (240, 135, 30),
    "yellow": (245, 222, 50),
    "green": (50, 165, 70),
    "blue": (45, 90, 215),
    "purple": (130, 55, 170),
    "pink": (245, 150, 195),
    "white": (245, 245, 245),
}
_GROUND: Final[dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]]] = {
    # Two colours each: the ground runs from the first (top) to the second (bottom).
    "paper": ((205, 200, 190), (180, 176, 170)),
    "slate": ((62, 70, 84), (44, 50, 60)),
    "grass": ((98, 112, 70), (76, 92, 56)),
    "dusk": ((112, 86, 110), (70, 58, 86)),
}
# Each digit as five rows of three pixels, the bit of value 4 on the left.
_DIGIT_ROWS: Final = (
    (7, 5, 5, 5, 7),
    (2, 6, 2, 2, 7),
    (7, 1, 7, 4, 7),
    (7, 1, 3, 1, 7),
    (5, 5, 7, 1, 1),
    (7, 4, 7, 1, 7),
    (7, 4, 7, 5, 7),
    (7, 1, 2, 2, 2),
    (7, 5, 7, 5, 7),
    (7, 5, 7, 1, 7),
)
_GLYPHS: Final = np.array(
    [[[(r >> (2 - c)) & 1 for c in range(3)] for r in rows] for rows in _DIGIT_ROWS], dtype=bool
)
_YX: Final = np.mgrid[0:TILE, 0:TILE].astype(np.float32) + 0.5
_RAMP: Final = np.linspace(0.0, 1.0, SIZE, dtype=np.float32)
_CENTRED: Final = np.linspace(-1.0, 1.0, SIZE, dtype=np.float32)

Image = NDArray[np.uint8]
_K = TypeVar("_K", int, str)


@dataclass(frozen=True)
class Item:
    """An item is one object of a scene; positions and lengths in pixels, rotation in radians."""

    quadrant: int
    shape: str
    colour: str
    texture: str
    digit: int
    x: float
    y: float
    radius: float
    rotation: float

    @property
    def row(self) -> int:
        """Return 0 in the upper half, 1 in the lower."""
        return self.quadrant // 2

    @property
    def column(self) -> int:
        """Return 0 in the left half, 1 in the right."""
        return self.quadrant % 2


@dataclass(frozen=True)
class Look:
    """A look is how the scene is lit and painted: everything that changes the picture and not its content."""

    gain: float = 1.0
    slope_x: float = 0.0
    slope_y: float = 0.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    saturation: float = 1.0
    clutter: float = 0.0
    clutter_angle: float = 0.0
    noise: float = 0.015


@dataclass(frozen=True)
class Scene:
    """A scene is what a picture shows, and how; `render` turns it into pixels."""

    seed: int
    index: int
    items: tuple[Item, ...]
    background: str
    texture: str
    """The texture that this scene's law favoured (its dominant one)."""
    strangeness: float
    look: Look

    @property
    def scene_type(self) -> str:
        """Return the known kind of the scene: how many objects, on what ground, with which texture
        favoured."""
        return f"{len(self.items)}-{self.background}-{self.texture}"


def _even(keys: tuple[_K, ...]) -> dict[_K, float]:
    return {key: 1.0 for key in keys}


@dataclass(frozen=True)
class SceneLaw:
    """A law is the distribution of scenes: weights (any positive scale) of each known type, and how strange
    they look.

    ``strangeness`` is a range inside [0, 1] from which each scene draws uniformly.  0 is the look the models
    were trained on; towards 1 the light fails, colours fade and shift, objects shrink and the ground grows
    busy.
    """

    objects: Mapping[int, float] = field(default_factory=lambda: _even((2, 3, 4)))
    backgrounds: Mapping[str, float] = field(default_factory=lambda: _even(BACKGROUNDS))
    textures: Mapping[str, float] = field(default_factory=lambda: _even(TEXTURES))
    strangeness: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        allowed: dict[str, tuple[object, ...]] = {
            "objects": (2, 3, 4),
            "backgrounds": BACKGROUNDS,
            "textures": TEXTURES,
        }
        for part in fields(self)[:3]:
            weights = getattr(self, part.name)
            unknown = set(weights) - set(allowed[part.name])
            if unknown:
                raise ValueError(
                    f"SceneLaw.{part.name}: unknown keys {sorted(unknown)}, known {allowed[part.name]}"
                )
            if not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0:
                raise ValueError(f"SceneLaw.{part.name}: weights must be non-negative with a positive sum")
        low, high = self.strangeness
        if not 0.0 <= low <= high <= 1.0:
            raise ValueError(f"SceneLaw.strangeness: need 0 <= low <= high <= 1, got {self.strangeness}")


def choose(weights: Mapping[_K, float], u: float) -> _K:
    """Return the key at quantile ``u`` in [0, 1) of a weighted choice, in the mapping's own order."""
    target = u * sum(weights.values())
    chosen = None
    for key, weight in weights.items():
        if weight > 0:
            chosen = key
        target -= weight
        if target < 0 and chosen is not None:
            return chosen
    assert chosen is not None  # SceneLaw refuses weights without a positive one
    return chosen


def _draw_look(rng: np.random.Generator, s: float) -> Look:
    u = rng.random(8).tolist()
    # Even a plain scene varies in light; `s` scales everything the models never saw.
    warm = (u[3] - 0.5) * 0.8 * s
    return Look(
        gain=(0.86 + 0.24 * u[0]) * (1.0 - s * (0.25 + 0.4 * u[7])),
        slope_x=0.24 * (u[1] - 0.5),
        slope_y=0.24 * (u[2] - 0.5),
        tint=(1.0 + warm, 1.0 - 0.2 * abs(warm), 1.0 - warm),
        saturation=1.0 - s * (0.2 + 0.5 * u[4]),
        clutter=0.28 * s * u[5],
        clutter_angle=math.pi * u[6],
        noise=0.015 + 0.06 * s,
    )


def draw_scene(seed: int, index: int, law: SceneLaw | None = None) -> Scene:
    """Draw scene number ``index`` of the stream ``seed`` under ``law`` (default: in-distribution).

    Shapes differ within a scene and at least one colour is unique, so that every kind of question can be
    asked.
    """
    law = law or SceneLaw()
    rng = np.random.default_rng((seed, index))
    u = rng.random(4).tolist()
    count = choose(law.objects, u[0])
    background = choose(law.backgrounds, u[1])
    favoured = choose(law.textures, u[2])
    low, high = law.strangeness
    s = low + (high - low) * u[3]
    quadrants = sorted(rng.permutation(4)[:count].tolist())
    shapes = rng.permutation(len(SHAPES))[:count].tolist()
    colours = rng.integers(0, len(COLOURS), count).tolist()
    if all(colours.count(c) > 1 for c in colours):
        colours[-1] = (colours[-1] + 1 + int(rng.integers(0, len(COLOURS) - 1))) % len(COLOURS)
        if all(colours.count(c) > 1 for c in colours):  # four objects can still pair up
            colours[-1] = next(c for c in range(len(COLOURS)) if c not in colours)
    texture_u = rng.random((count, 2)).tolist()
    digits = rng.integers(0, 10, count).tolist()
    body = rng.random((count, 4)).tolist()
    shrink = 1.0 - 0.3 * s * rng.random()
    items = []
    for k, q in enumerate(quadrants):
        texture = favoured if texture_u[k][0] < 0.4 else TEXTURES[int(texture_u[k][1] * 3)]
        bx, by, br, bt = body[k]
        items.append(
            Item(
                quadrant=q,
                shape=SHAPES[shapes[k]],
                colour=COLOURS[colours[k]],
                texture=texture,
                digit=digits[k],
                x=TILE * (q % 2) + TILE / 2 + 6.0 * (bx - 0.5),
                y=TILE * (q // 2) + TILE / 2 + 6.0 * (by - 0.5),
                radius=(10.6 + 2.0 * br) * shrink,
                rotation=0.3 * (bt - 0.5),
            )
        )
    return Scene(seed, index, tuple(items), background, favoured, s, _draw_look(rng, s))


def _distance(shape: str, x: NDArray[np.float32], y: NDArray[np.float32], r: float) -> NDArray[Any]:
    """Return about the signed distance (pixels, negative inside) to a shape of circumradius ``r`` at the
    origin."""
    ax, ay = np.abs(x), np.abs(y)
    if shape == "circle":
        return np.hypot(x, y) - 0.95 * r
    if shape == "square":
        return np.maximum(ax, ay) - 0.85 * r
    if shape == "diamond":
        return np.float32(0.7071) * (ax + ay) - 0.80 * r
    if shape == "triangle":
        return np.maximum(np.float32(0.866) * ax - np.float32(0.5) * (y - 0.1 * r), y - 0.1 * r) - 0.58 * r
    if shape == "cross":
        narrow = 0.4 * r
        return np.minimum(np.maximum(ax - narrow, ay - r), np.maximum(ax - r, ay - narrow))
    # A five-pointed star: the radius of the outline swings linearly in angle between a tip and a notch.
    turn = np.arctan2(x, -y) * np.float32(5.0 / (2.0 * math.pi))
    from_tip = 2.0 * np.abs(turn - np.round(turn))
    return np.float32(0.8) * (np.hypot(x, y) - r * (1.12 - 0.6 * from_tip))


def _paint(canvas: NDArray[np.float32], item: Item) -> None:
    left, top = TILE * item.column, TILE * item.row
    tile = canvas[top : top + TILE, left : left + TILE]
    cx, cy = item.x - left, item.y - top
    dx, dy = _YX[1] - np.float32(cx), _YX[0] - np.float32(cy)
    cos, sin = np.float32(math.cos(item.rotation)), np.float32(math.sin(item.rotation))
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    d = _distance(item.shape, x, y, item.radius)
    alpha = np.clip(0.5 - d, 0.0, 1.0)
    shade = np.ones_like(d)
    if item.texture == "striped":
        shade = np.where(np.sin(np.float32(math.pi / 2.0) * (x + y) * np.float32(0.8)) > 0, 1.0, 0.5)
    elif item.texture == "dotted":
        dots = np.cos(np.float32(2 * math.pi / 4.6) * x) + np.cos(np.float32(2 * math.pi / 4.6) * y)
        shade = np.where(dots > 0.75, 0.45, 1.0)
    shade = np.where(d > -1.1, np.float32(0.35), shade).astype(np.float32)
    rgb = np.array(_RGB[item.colour], dtype=np.float32) / 255.0
    tile += alpha[..., None] * (shade[..., None] * rgb - tile)
    # The plate sits on whole pixels: three by five pixels hold a digit only when they are not smeared.
    px, py = round(cx), round(cy)
    plate = tile[py - 3 : py + 4, px - 2 : px + 3]
    plate[:] = 0.95
    plate[1:6, 1:4][_GLYPHS[item.digit]] = 0.05


def render(scene: Scene) -> Image:
    """Render the picture of a scene: (64, 64, 3) uint8, the same bytes for the same scene."""
    look = scene.look
    first, last = (np.array(c, dtype=np.float32) / 255.0 for c in _GROUND[scene.background])
    canvas = np.empty((SIZE, SIZE, 3), dtype=np.float32)
    canvas[:] = (first + _RAMP[:, None] * (last - first))[:, None, :]
    if look.clutter > 0:
        a = look.clutter_angle
        wave = np.sin(12.0 * (math.cos(a) * _CENTRED[None, :] + math.sin(a) * _CENTRED[:, None]))
        wave = wave + np.sin(19.0 * (math.sin(a) * _CENTRED[None, :] - math.cos(a) * _CENTRED[:, None]))
        canvas += np.float32(look.clutter) * wave[..., None].astype(np.float32)
    for item in scene.items:
        _paint(canvas, item)
    light = np.float32(look.gain) * (
        1.0 + np.float32(look.slope_x) * _CENTRED[None, :] + np.float32(look.slope_y) * _CENTRED[:, None]
    )
    canvas *= light[..., None]
    if look.saturation < 1.0:
        grey = canvas.mean(axis=2, keepdims=True)
        canvas = grey + np.float32(look.saturation) * (canvas - grey)
    if look.tint != (1.0, 1.0, 1.0):
        canvas *= np.array(look.tint, dtype=np.float32)
    # A stream of its own, so that the noise of a scene does not depend on how its content was drawn.
    rng = np.random.default_rng((scene.seed, scene.index, 1))
    canvas += np.float32(look.noise) * rng.standard_normal((SIZE, SIZE, 3), dtype=np.float32)
    return (np.clip(canvas, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
