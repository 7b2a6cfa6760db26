"""Where a run's values came from, what its results are worth, and what stands for text it must not see."""

from trionyx_proxy.provenance.budget import Budget
from trionyx_proxy.provenance.handles import TOKEN, Handles, Hidden
from trionyx_proxy.provenance.hearsay import Hearsay
from trionyx_proxy.provenance.index import Index, IndexLimits
from trionyx_proxy.provenance.origin import NOWHERE, Leaf, Origin, Source, id_scope
from trionyx_proxy.provenance.reading import Reading, read_result
from trionyx_proxy.provenance.values import conforms, normal
from trionyx_proxy.provenance.words import EMPTY, PromptWords, prompt_implies, prompt_words

__all__ = [
    "EMPTY",
    "NOWHERE",
    "TOKEN",
    "Budget",
    "Handles",
    "Hearsay",
    "Hidden",
    "Index",
    "IndexLimits",
    "Leaf",
    "Origin",
    "PromptWords",
    "Reading",
    "Source",
    "conforms",
    "id_scope",
    "normal",
    "prompt_implies",
    "prompt_words",
    "read_result",
]
