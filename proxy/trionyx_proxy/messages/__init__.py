"""What runs may tell each other: who may talk to whom, in which form, at which label, and how many bits.

Nothing here decides on a call (that is the policy's matter), and nothing lowers a label.
"""
