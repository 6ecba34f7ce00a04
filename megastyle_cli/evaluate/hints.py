"""What a summary does not tell for want of something, and what would give it, one sentence each."""

from collections.abc import Iterator

from megastyle_cli.core.record import Record
from megastyle_cli.evaluate.scored_set import Gathered


def lacking(summary: Record, gathered: Gathered, *, leakage: bool) -> Iterator[str]:
    """Baselines and measures that the summary of `gathered` lacks; `leakage` says it was wanted."""
    if "style_score" in summary and "random_style_score" not in summary:
        yield f"no random style score and no CSLS: {_strangers(gathered)}"
    if "text_score" in summary and "random_text_score" not in summary:
        yield f"no random text score: {_prompts(gathered)}"
    if "content_leakage" in summary:
        return
    if leakage:
        has_any = "content_similarity" in summary
        why = _strangers(gathered) if has_any else "no picture has a reference to take content from"
        yield f"no content leakage: {why}"
    elif "content_similarity" in summary:
        yield "no content leakage: --leakage, and the --text-model there was, give it again"


def _strangers(gathered: Gathered) -> str:
    """What would give pictures references that are none of theirs."""
    if gathered.references.facts:
        return "--others, pictures of other styles, gives them"
    if gathered.facts.get("reference_set"):
        return "--reference and --others, as they were, give them"
    return "there are no references of other styles"


def _prompts(gathered: Gathered) -> str:
    """What would give pictures prompts that are none of theirs."""
    if gathered.models.text is None:
        return "--text-model, as it was, gives it"
    return "there are no prompts of other pictures"
