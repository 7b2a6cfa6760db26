"""First proposals for a catalog: guessed from what a server lists, enforced by nothing until a person accepts them."""

from trionyx_policies.proposal.acceptance import Change, accept
from trionyx_policies.proposal.document import SCHEMA, load_proposal, propose, write_proposal

__all__ = ["SCHEMA", "Change", "accept", "load_proposal", "propose", "write_proposal"]
