"""This module holds the lab's words and sentences in seven languages, as data.

Each language lists the grammatical forms its templates need; a template is a ``str.format`` string over
``{a.FORM}`` and ``{b.FORM}`` (shapes), ``{c.FORM}`` (a colour, or a group of objects by colour or texture),
``{where}`` (a quadrant) and ``{rel}`` (a relation).  Answers are always English.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Final

from auditor.lab.scene import COLOURS, QUADRANTS, SHAPES, TEXTURES

RELATIONS: Final = ("left of", "right of", "above", "below")
KINDS: Final = (
    "colour",
    "shape",
    "count",
    "count_of",
    "digit",
    "texture",
    "relation",
    "position",
    "describe",
)
LANGUAGES: Final = ("en", "de", "zh", "ko", "el", "ar", "hi")
LANGUAGE_NAMES: Final = {
    "en": "English",
    "de": "German",
    "zh": "Chinese",
    "ko": "Korean",
    "el": "Greek",
    "ar": "Arabic",
    "hi": "Hindi",
}


@dataclass(frozen=True)
class Lexicon:
    """A lexicon is one language: words by English name (each a namespace of forms) and templates by kind of
    question."""

    shapes: dict[str, SimpleNamespace]
    groups: dict[str, SimpleNamespace]
    """Colours and textures, as they qualify an object (``one``) or objects (``many``)."""
    quadrants: dict[str, str]
    relations: dict[str, str]
    templates: dict[str, tuple[str, ...]]


def _forms(names: tuple[str, ...], **columns: str) -> dict[str, SimpleNamespace]:
    """Make words from columns of forms, each a string separated by ``|`` in the order of ``names``."""
    split = {form: words.split("|") for form, words in columns.items()}
    for form, words in split.items():
        if len(words) != len(names):
            raise ValueError(f"form {form!r}: {len(words)} words for {len(names)} names")
    return {name: SimpleNamespace(**{f: w[i] for f, w in split.items()}) for i, name in enumerate(names)}


def _list(names: tuple[str, ...], words: str) -> dict[str, str]:
    return dict(zip(names, words.split("|"), strict=True))


_GROUPS: Final = COLOURS + TEXTURES

_EN = Lexicon(
    shapes=_forms(SHAPES, w="|".join(SHAPES)),
    groups=_forms(_GROUPS, one="|".join(_GROUPS), many="|".join(_GROUPS)),
    quadrants={q: q for q in QUADRANTS},
    relations=dict(zip(RELATIONS, ("to the left of", "to the right of", "above", "below"), strict=True)),
    templates={
        "colour": (
            "What colour is the {a.w}?",
            "Which colour does the {a.w} have?",
            "What is the colour of the {a.w}?",
            "Tell me the colour of the {a.w}.",
        ),
        "shape": (
            "What shape is the {c.one} object?",
            "Which shape does the {c.one} object have?",
            "What is the shape of the {c.one} object?",
            "Name the shape of the {c.one} object.",
        ),
        "count": (
            "How many objects are there?",
            "How many objects do you see?",
            "Count the objects.",
            "What is the number of objects?",
        ),
        "count_of": (
            "How many {c.many} objects are there?",
            "How many {c.many} objects do you see?",
            "Count the {c.many} objects.",
            "What is the number of {c.many} objects?",
        ),
        "digit": (
            "What digit is on the {a.w}?",
            "Which digit does the {a.w} carry?",
            "Read the digit on the {a.w}.",
            "Which number is written on the {a.w}?",
        ),
        "texture": (
            "What texture does the {a.w} have?",
            "What is the texture of the {a.w}?",
            "Which pattern does the {a.w} have?",
            "Is the {a.w} plain, striped or dotted?",
        ),
        "relation": (
            "Is the {a.w} {rel} the {b.w}?",
            "Do you see the {a.w} {rel} the {b.w}?",
            "Is it true that the {a.w} is {rel} the {b.w}?",
        ),
        "position": (
            "What is at the {where}?",
            "Which object is at the {where}?",
            "Name the colour and shape at the {where}.",
            "What do you see at the {where}?",
        ),
        "describe": (
            "Describe the picture.",
            "Describe what you see.",
            "What does the picture show?",
            "Tell me all about the objects.",
        ),
    },
)

_DE = Lexicon(
    shapes=_forms(
        SHAPES,
        nom="der Kreis|das Quadrat|das Dreieck|die Raute|das Kreuz|der Stern",
        dat="dem Kreis|dem Quadrat|dem Dreieck|der Raute|dem Kreuz|dem Stern",
        acc="den Kreis|das Quadrat|das Dreieck|die Raute|das Kreuz|den Stern",
    ),
    groups=_forms(
        _GROUPS,
        one="rote|orangefarbene|gelbe|grüne|blaue|violette|rosafarbene|weiße|einfarbige|gestreifte|gepunktete",
        many="rote|orangefarbene|gelbe|grüne|blaue|violette|rosafarbene|weiße|einfarbige|gestreifte|gepunktete",
    ),
    quadrants=_list(QUADRANTS, "oben links|oben rechts|unten links|unten rechts"),
    relations=_list(RELATIONS, "links von|rechts von|über|unter"),
    templates={
        "colour": (
            "Welche Farbe hat {a.nom}?",
            "Sag mir, welche Farbe {a.nom} hat.",
            "In welcher Farbe siehst du {a.acc}?",
        ),
        "shape": (
            "Welche Form hat das {c.one} Objekt?",
            "Was für eine Form hat das {c.one} Objekt?",
            "Nenne die Form, die das {c.one} Objekt hat.",
        ),
        "count": (
            "Wie viele Objekte gibt es?",
            "Wie viele Objekte siehst du?",
            "Nenne die Anzahl der Objekte.",
        ),
        "count_of": (
            "Wie viele {c.many} Objekte gibt es?",
            "Wie viele {c.many} Objekte siehst du?",
            "Wie viele {c.many} Objekte sind zu sehen?",
        ),
        "digit": (
            "Welche Ziffer steht auf {a.dat}?",
            "Welche Zahl trägt {a.nom}?",
            "Lies die Ziffer auf {a.dat} vor.",
        ),
        "texture": (
            "Welches Muster hat {a.nom}?",
            "Ist {a.nom} einfarbig, gestreift oder gepunktet?",
            "Welches Muster siehst du auf {a.dat}?",
        ),
        "relation": (
            "Ist {a.nom} {rel} {b.dat}?",
            "Befindet sich {a.nom} {rel} {b.dat}?",
            "Stimmt es, dass {a.nom} {rel} {b.dat} ist?",
        ),
        "position": (
            "Was ist {where}?",
            "Welches Objekt befindet sich {where}?",
            "Nenne Farbe und Form des Objekts {where}.",
        ),
        "describe": (
            "Beschreibe das Bild.",
            "Beschreibe, was du siehst.",
            "Was zeigt das Bild?",
        ),
    },
)

_ZH = Lexicon(
    shapes=_forms(SHAPES, w="圆形|正方形|三角形|菱形|十字形|五角星"),
    groups=_forms(
        _GROUPS,
        one="红色|橙色|黄色|绿色|蓝色|紫色|粉色|白色|纯色|条纹|圆点",
        many="红色的|橙色的|黄色的|绿色的|蓝色的|紫色的|粉色的|白色的|纯色的|带条纹的|带圆点的",
    ),
    quadrants=_list(QUADRANTS, "左上角|右上角|左下角|右下角"),
    relations=_list(RELATIONS, "左边|右边|上方|下方"),
    templates={
        "colour": ("{a.w}是什么颜色？", "图中的{a.w}是什么颜色的？", "请说出{a.w}的颜色。"),
        "shape": ("{c.one}的物体是什么形状？", "{c.one}物体的形状是什么？", "请说出{c.one}物体的形状。"),
        "count": ("图中有几个物体？", "一共有多少个物体？", "请数一数物体的数量。"),
        "count_of": ("图中有几个{c.many}物体？", "一共有多少个{c.many}物体？", "请数一数{c.many}物体。"),
        "digit": ("{a.w}上的数字是几？", "{a.w}上写着什么数字？", "请读出{a.w}上的数字。"),
        "texture": ("{a.w}的图案是什么？", "{a.w}是纯色、条纹还是圆点？", "{a.w}是什么样的图案？"),
        "relation": ("{a.w}在{b.w}的{rel}吗？", "{a.w}是不是在{b.w}的{rel}？", "{a.w}是否位于{b.w}的{rel}？"),
        "position": ("{where}是什么？", "{where}有什么物体？", "请说出{where}物体的颜色和形状。"),
        "describe": (
            "请描述这张图片。",
            "图片里有什么？",
            "请描述图中所有的物体。",
        ),
    },
)

_KO = Lexicon(
    # `topic` carries 은/는 and `subject` 이/가, which depend on the last letter of the noun.
    shapes=_forms(
        SHAPES,
        w="원|정사각형|삼각형|마름모|십자가|별",
        topic="원은|정사각형은|삼각형은|마름모는|십자가는|별은",
        subject="원이|정사각형이|삼각형이|마름모가|십자가가|별이",
    ),
    groups=_forms(
        _GROUPS,
        one="빨간색|주황색|노란색|초록색|파란색|보라색|분홍색|흰색|단색|줄무늬|물방울무늬",
        many="빨간색|주황색|노란색|초록색|파란색|보라색|분홍색|흰색|단색|줄무늬|물방울무늬",
    ),
    quadrants=_list(QUADRANTS, "왼쪽 위|오른쪽 위|왼쪽 아래|오른쪽 아래"),
    relations=_list(RELATIONS, "왼쪽|오른쪽|위쪽|아래쪽"),
    templates={
        "colour": ("{a.topic} 무슨 색인가요?", "{a.w}의 색은 무엇인가요?", "{a.w}의 색을 말해 주세요."),
        "shape": (
            "{c.one} 물체는 어떤 모양인가요?",
            "{c.one} 물체의 모양은 무엇인가요?",
            "{c.one} 물체의 모양을 말해 주세요.",
        ),
        "count": ("물체가 몇 개 있나요?", "물체는 모두 몇 개인가요?", "물체의 개수를 세어 주세요."),
        "count_of": (
            "{c.many} 물체가 몇 개 있나요?",
            "{c.many} 물체는 모두 몇 개인가요?",
            "{c.many} 물체의 개수를 세어 주세요.",
        ),
        "digit": (
            "{a.w}에 적힌 숫자는 무엇인가요?",
            "{a.w} 위에 있는 숫자는 몇인가요?",
            "{a.w}에 적힌 숫자를 읽어 주세요.",
        ),
        "texture": (
            "{a.w}의 무늬는 무엇인가요?",
            "{a.topic} 단색인가요, 줄무늬인가요, 물방울무늬인가요?",
            "{a.w}에는 어떤 무늬가 있나요?",
        ),
        "relation": (
            "{a.topic} {b.w}의 {rel}에 있나요?",
            "{a.subject} {b.w}의 {rel}에 있습니까?",
            "{a.subject} {b.w}의 {rel}에 있는 것이 맞나요?",
        ),
        "position": (
            "{where}에 무엇이 있나요?",
            "{where}에 어떤 물체가 있나요?",
            "{where}에 있는 물체의 색과 모양은 무엇인가요?",
        ),
        "describe": (
            "그림을 설명해 주세요.",
            "그림에 무엇이 보이나요?",
            "그림 속 물체를 모두 설명해 주세요.",
        ),
    },
)

_EL = Lexicon(
    shapes=_forms(
        SHAPES,
        nom="ο κύκλος|το τετράγωνο|το τρίγωνο|ο ρόμβος|ο σταυρός|το αστέρι",
        acc="τον κύκλο|το τετράγωνο|το τρίγωνο|τον ρόμβο|τον σταυρό|το αστέρι",
        gen="του κύκλου|του τετραγώνου|του τριγώνου|του ρόμβου|του σταυρού|του αστεριού",
        on="στον κύκλο|στο τετράγωνο|στο τρίγωνο|στον ρόμβο|στον σταυρό|στο αστέρι",
    ),
    groups=_forms(
        _GROUPS,
        one="κόκκινο|πορτοκαλί|κίτρινο|πράσινο|μπλε|μωβ|ροζ|λευκό|μονόχρωμο|ριγέ|πουά",
        many="κόκκινα|πορτοκαλί|κίτρινα|πράσινα|μπλε|μωβ|ροζ|λευκά|μονόχρωμα|ριγέ|πουά",
    ),
    quadrants=_list(QUADRANTS, "πάνω αριστερά|πάνω δεξιά|κάτω αριστερά|κάτω δεξιά"),
    relations=_list(RELATIONS, "αριστερά από|δεξιά από|πάνω από|κάτω από"),
    templates={
        "colour": ("Τι χρώμα έχει {a.nom};", "Τι χρώμα είναι {a.nom};", "Ποιο είναι το χρώμα {a.gen};"),
        "shape": (
            "Τι σχήμα έχει το {c.one} αντικείμενο;",
            "Ποιο σχήμα έχει το {c.one} αντικείμενο;",
            "Πες μου τι σχήμα έχει το {c.one} αντικείμενο.",
        ),
        "count": ("Πόσα αντικείμενα υπάρχουν;", "Πόσα αντικείμενα βλέπεις;", "Μέτρησε τα αντικείμενα."),
        "count_of": (
            "Πόσα {c.many} αντικείμενα υπάρχουν;",
            "Πόσα {c.many} αντικείμενα βλέπεις;",
            "Μέτρησε τα {c.many} αντικείμενα.",
        ),
        "digit": (
            "Ποιο ψηφίο υπάρχει {a.on};",
            "Ποιος αριθμός είναι γραμμένος {a.on};",
            "Διάβασε το ψηφίο που υπάρχει {a.on}.",
        ),
        "texture": (
            "Τι μοτίβο έχει {a.nom};",
            "Ποιο είναι το μοτίβο {a.gen};",
            "Ποιο μοτίβο βλέπεις {a.on};",
        ),
        "relation": (
            "Είναι {a.nom} {rel} {b.acc};",
            "Βρίσκεται {a.nom} {rel} {b.acc};",
            "Είναι αλήθεια ότι {a.nom} βρίσκεται {rel} {b.acc};",
        ),
        "position": (
            "Τι υπάρχει {where};",
            "Ποιο αντικείμενο βρίσκεται {where};",
            "Τι χρώμα και σχήμα έχει το αντικείμενο {where};",
        ),
        "describe": (
            "Περίγραψε την εικόνα.",
            "Τι δείχνει η εικόνα;",
            "Περίγραψε όλα τα αντικείμενα.",
        ),
    },
)

_AR = Lexicon(
    # The verb agrees with the shape: feminine تقع/توجد for الدائرة and النجمة.
    shapes=_forms(
        SHAPES,
        w="الدائرة|المربع|المثلث|المعين|الصليب|النجمة",
        lies="تقع|يقع|يقع|يقع|يقع|تقع",
        found="توجد|يوجد|يوجد|يوجد|يوجد|توجد",
    ),
    groups=_forms(
        _GROUPS,
        one="الأحمر|البرتقالي|الأصفر|الأخضر|الأزرق|البنفسجي|الوردي|الأبيض|السادة|المخطط|المنقط",
        many="ذات اللون الأحمر|ذات اللون البرتقالي|ذات اللون الأصفر|ذات اللون الأخضر|ذات اللون الأزرق"
        "|ذات اللون البنفسجي|ذات اللون الوردي|ذات اللون الأبيض|السادة|المخططة|المنقطة",
    ),
    quadrants=_list(QUADRANTS, "أعلى اليسار|أعلى اليمين|أسفل اليسار|أسفل اليمين"),
    relations=_list(RELATIONS, "على يسار|على يمين|فوق|تحت"),
    templates={
        "colour": ("ما لون {a.w}؟", "ما هو لون {a.w}؟", "اذكر لون {a.w}."),
        "shape": ("ما شكل الجسم {c.one}؟", "ما هو شكل الجسم {c.one}؟", "اذكر شكل الجسم {c.one}."),
        "count": ("كم عدد الأجسام؟", "كم جسمًا يوجد في الصورة؟", "ما هو عدد الأجسام؟"),
        "count_of": (
            "كم عدد الأجسام {c.many}؟",
            "ما هو عدد الأجسام {c.many}؟",
            "اذكر عدد الأجسام {c.many}.",
        ),
        "digit": ("ما الرقم المكتوب على {a.w}؟", "أي رقم يظهر على {a.w}؟", "اقرأ الرقم المكتوب على {a.w}."),
        "texture": ("ما نقش {a.w}؟", "ما هو نقش {a.w}؟", "اذكر نقش {a.w}."),
        "relation": (
            "هل {a.lies} {a.w} {rel} {b.w}؟",
            "هل {a.found} {a.w} {rel} {b.w}؟",
            "هل صحيح أن {a.w} {a.lies} {rel} {b.w}؟",
        ),
        "position": (
            "ماذا يوجد في {where}؟",
            "ما الجسم الموجود في {where}؟",
            "ما لون وشكل الجسم الموجود في {where}؟",
        ),
        "describe": (
            "صف الصورة.",
            "ماذا تُظهر الصورة؟",
            "صف جميع الأجسام في الصورة.",
        ),
    },
)

_HI = Lexicon(
    shapes=_forms(
        SHAPES,
        dir="वृत्त|वर्ग|त्रिभुज|समचतुर्भुज|क्रॉस|तारा",
        obl="वृत्त|वर्ग|त्रिभुज|समचतुर्भुज|क्रॉस|तारे",
    ),
    groups=_forms(
        _GROUPS,
        one="लाल|नारंगी|पीली|हरी|नीली|बैंगनी|गुलाबी|सफ़ेद|सादी|धारीदार|बिंदीदार",
        many="लाल|नारंगी|पीली|हरी|नीली|बैंगनी|गुलाबी|सफ़ेद|सादी|धारीदार|बिंदीदार",
    ),
    quadrants=_list(QUADRANTS, "ऊपर बाईं ओर|ऊपर दाईं ओर|नीचे बाईं ओर|नीचे दाईं ओर"),
    relations=_list(RELATIONS, "के बाईं ओर|के दाईं ओर|के ऊपर|के नीचे"),
    templates={
        "colour": ("{a.obl} का रंग क्या है?", "{a.dir} किस रंग का है?", "{a.obl} का रंग बताइए।"),
        "shape": (
            "{c.one} वस्तु का आकार क्या है?",
            "{c.one} वस्तु किस आकार की है?",
            "{c.one} वस्तु का आकार बताइए।",
        ),
        "count": ("कितनी वस्तुएँ हैं?", "चित्र में कितनी वस्तुएँ हैं?", "वस्तुओं की संख्या बताइए।"),
        "count_of": (
            "कितनी {c.many} वस्तुएँ हैं?",
            "चित्र में कितनी {c.many} वस्तुएँ हैं?",
            "{c.many} वस्तुओं की संख्या बताइए।",
        ),
        "digit": (
            "{a.obl} पर कौन सा अंक है?",
            "{a.obl} पर कौन सा अंक लिखा है?",
            "{a.obl} पर लिखा अंक पढ़िए।",
        ),
        "texture": (
            "{a.obl} का पैटर्न क्या है?",
            "{a.obl} पर कैसा पैटर्न है?",
            "क्या {a.dir} सादा, धारीदार या बिंदीदार है?",
        ),
        "relation": (
            "क्या {a.dir} {b.obl} {rel} है?",
            "क्या {a.dir} {b.obl} {rel} स्थित है?",
            "क्या यह सच है कि {a.dir} {b.obl} {rel} है?",
        ),
        "position": (
            "{where} क्या है?",
            "{where} कौन सी वस्तु है?",
            "{where} वाली वस्तु का रंग और आकार बताइए।",
        ),
        "describe": (
            "चित्र का वर्णन कीजिए।",
            "चित्र में क्या दिखता है?",
            "चित्र की सभी वस्तुओं का वर्णन कीजिए।",
        ),
    },
)

LEXICA: Final[dict[str, Lexicon]] = {
    "en": _EN,
    "de": _DE,
    "zh": _ZH,
    "ko": _KO,
    "el": _EL,
    "ar": _AR,
    "hi": _HI,
}
