"""Word lists that validation uses: refusals, other languages, vague words, subjects, style terms.

All in lower case. Source: ours, except the words that MegaStyle++ (arXiv 2609.01423) bans from
textures.
"""

import re

ABSENT = {"", "n/a", "na", "none", "no", "null", "not applicable", "not visible", "unknown"}
REFUSAL = re.compile(
    r"\b(?:I(?:'m| am) (?:sorry|unable|not able)|I (?:can(?:'t|not| not)|won't|do not|don't)"
    r"|as an AI|sorry,|unable to (?:assist|help|describe|process|view|see)"
    r"|(?:cannot|can't) (?:assist|help|comply|fulfil|see|view))",
    re.IGNORECASE,
)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


SMALL_WORDS = _set(
    "a an and are as at by for from in into is it its of off on onto or over that the their to"
    " under up with without while down near next beside behind above below against between"
)
FOREIGN_WORDS = _set(
    "der die das und mit ist ein eine einer im auf von le la les des une un dans avec sur et du"
    " el los las una con en del por il lo gli che di della con sul os um uma com na em"
)
PRAISE = _set(
    "nice beautiful gorgeous stunning amazing lovely pretty wonderful elegant striking captivating"
    " interesting unique aesthetic pleasing magical dreamy moody evocative ethereal"
)
VAGUE_WORDS = PRAISE | _set(
    "warm soft cool ornate intricate detailed various general typical standard normal cozy serene"
)
TOO_COMMON = {
    "identity": ("digital art", "painting", "illustration", "art", "artwork", "drawing", "photo"),
    "light": ("diffused", "natural", "ambient", "even", "bright", "dramatic", "diffused lighting"),
    "surface": ("texture", "textured"),
    "brushwork": ("brushstrokes", "brush strokes", "visible brushstrokes", "strokes"),
    "medium": ("digital rendering", "digital art", "digital", "art", "image", "picture", "artwork"),
}
# Nouns that cannot describe a style; materials and motifs, which can, are left out.
SUBJECTS = _set(
    "man woman men women boy girl child children people person baby crowd face cat dog horse cow"
    " bird fish lion tiger bear elephant rabbit fox frog animal car truck bus train bicycle boat"
    " ship airplane street road house building castle church bridge city village mountain beach"
    " forest river lake ocean sea sky cloud tree table chair bed sofa kitchen apple pizza cake"
)
HUES = _set(
    "white black grey gray red blue green yellow orange purple brown pink teal gold golden silver"
    " violet turquoise beige cream"
)
STYLE_WORDS = _set(
    "painting painted drawing sketch sketched illustration illustrated artwork render rendering"
    " photo photograph photography photorealistic watercolor watercolour gouache impasto acrylic"
    " brushwork brushstroke brushstrokes palette monochrome monochromatic pastel vibrant anime"
    " cartoon style styled stylized stylised aesthetic artistic impressionist cubist minimalist"
    " surreal abstract lighting texture textured hue hues tones pixelated depicts depicting"
)
# Words that can describe both a subject and a style.
FORM_WORDS = HUES | _set(
    "paper wood wooden metal glass stone brick leather fabric cloth clay sand water light shadow"
    " line shape pattern flower floral leaf dark bright pale vivid large small tiny huge round"
    " square oval flat tall wide long short narrow broad thick thin heavy deep rough smooth sharp"
    " soft curly straight vertical horizontal diagonal open dense sparse fine loose rich simple"
    " left right side center edge front back background foreground surface another several many"
    " other wave dust smoke grain ribbon stripe dot spot star circle ring window ornament"
)
