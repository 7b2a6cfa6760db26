"""The story of a run, told from its records: why a call was allowed or not, and a picture of where values went.

Pure: records in, values and text out. Reads no file, verifies nothing, knows no policy but the titles it is given.
Every string of a record may be an attacker's; whatever leaves this package has been through `plaintext`.
"""
