"""The page on which people vote between two pictures, without knowing which system made them.

One HTML file that fetches nothing: pictures are embedded without metadata, and nothing in it names
a system. Votes stay in the voter's browser until they are saved as a file.
"""

import json
from collections.abc import Sequence
from typing import Any

from megastyle_cli.report.html import markup, part, policy, render


def preference_html(
    *, title: str, page: str, items: Sequence[dict[str, Any]], pictures: dict[str, str]
) -> str:
    """The page as HTML; `page` is its hash, which the votes repeat.

    `pictures` are WebP in base64 by their ids; items name them under `reference` and `pictures`.
    """
    style = part("look.css") + part("preference.css")
    script = part("preference.js")
    data = {"page": page, "items": items, "pictures": pictures}
    return render(
        "preference.html",
        policy=policy(style=style, script=script),
        style=markup(style),
        script=markup(script),
        title=title,
        data=markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")),
        num_items=len(items),
    )
