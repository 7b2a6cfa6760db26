"""What the proxy reads out of arguments and prompts for the policy: places, addresses, and traits of text."""

from trionyx_proxy.facts.call import compute
from trionyx_proxy.facts.prompt import embedded_urls, prompt_facts

__all__ = ["compute", "embedded_urls", "prompt_facts"]
