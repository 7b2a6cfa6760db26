"""What the proxy reads out of arguments and prompts for the policy: places, addresses, and traits of text."""

from trionyx_proxy.facts.call import compute
from trionyx_proxy.facts.prompt import prompt_facts

__all__ = ["compute", "prompt_facts"]
