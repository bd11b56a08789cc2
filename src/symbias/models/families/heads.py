"""What reads the last norm of a decoder: the layer that the model's own class runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from symbias.checkpoints import shown
from symbias.models.claims import Model


@dataclass(frozen=True)
class Output:
    """``reader`` is the linear layer after the last norm; empty, with the reason ``why``, where it
    is not known. ``ignored`` is a layer that is stored, but that a tied config does not run."""

    reader: str
    why: str = ""
    tied: bool = False
    ignored: str = ""


def output_of(
    model: Model, root: str, bodies: tuple[str, ...], heads: Mapping[str, str], *, tied: bool
) -> Output:
    """The layer that reads the last norm of the body whose names begin with ``root``.

    ``bodies`` are what a class with a head calls its body, ``heads`` maps endings of the config's
    ``architectures`` to the names of heads, the first of which may be tied to the embedding; so it
    is by default if ``tied``. Wrappers put a prefix of their own before both.
    """
    around = [root.removesuffix(body) for body in bodies if f".{root}".endswith(f".{body}")]
    if not around:
        return Output("", "the names are those of a body alone, whose output is that of its norm")
    known = tuple(f"{around[0]}{h}." for h in heads.values())
    others = [n for n in (*model.shapes, *model.unmeasured) if not n.startswith((root, *known))]
    if others:
        return Output("", f"array {shown(others[0])!r} may read it too")
    kind = model.architecture
    causal = next(iter(heads.values()))
    stored = [h for h in dict.fromkeys(heads.values()) if f"{around[0]}{h}.weight" in model]
    if kind:
        head = next((h for ending, h in heads.items() if kind.endswith(ending)), "")
        if not head:
            return Output("", f"what a {shown(kind)} computes of the last norm is not known")
    elif len(stored) > 1:
        return Output("", f"several layers may read the last norm: {shown(stored)}")
    else:
        head = stored[0] if stored else causal
    reader = f"{around[0]}{head}"
    if head == causal and model.flag("tie_word_embeddings", default=tied):
        ignored = reader if f"{reader}.weight" in model else ""
        return Output("", "its reader is the embedding, which writes as well", True, ignored)
    if f"{reader}.weight" not in model:
        return Output("", f"{reader}.weight, which reads the last norm, is not in the file")
    return Output(reader)
