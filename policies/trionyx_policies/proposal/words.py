"""What words in the names of tools and arguments suggest; the more dangerous reading wins.

A name is the server's own, and a hostile server picks it: whoever accepts a proposal decides, not these lists.
"""

from __future__ import annotations

import re
from typing import Final

DANGER: Final = ("read", "fetch", "local", "egress", "book", "money", "authz", "destroy")
"""Effects, the least dangerous first."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


VERBS: Final[dict[str, frozenset[str]]] = {
    "read": _set(
        "count check compare describe diff explain export filter find get head info inspect is list "
        "lookup log read query resolve retrieve scan search show stat status summarize tail tree validate "
        "view"
    ),
    "fetch": _set("browse crawl download fetch navigate request scrape visit"),
    "local": _set(
        "add annotate append archive commit copy create draft edit generate insert label make mark modify "
        "open pin put record register rename save set snooze stage star store tag touch update upsert "
        "write"
    ),
    "egress": _set(
        "announce broadcast comment dispatch email forward fork mail message notify ping post publish "
        "push react reply respond send share submit sync tweet upload"
    ),
    "book": _set("accept appoint book confirm reserve rsvp schedule"),
    "money": _set(
        "bill buy charge deposit donate invoice order pay purchase refund sell subscribe transfer withdraw"
    ),
    "authz": _set(
        "activate allow assign authenticate authorize authorise block collaborator connect disable enable "
        "grant invite login logout password permission permissions permit promote role roles sudo token "
        "unblock"
    ),
    "destroy": _set(
        "abort apply cancel checkout clean clear close delete deploy destroy disconnect drop empty erase eval "
        "execute expire install kill merge migrate move overwrite prune purge rebase remove replace reset "
        "restart restore revert revoke rollback run shutdown sql stop terminate truncate uninstall unlink "
        "wipe"
    ),
}
"""Verbs, and nouns that stand for one, by effect."""

THINGS: Final = _set(
    "bill comment commit copy draft email invoice label mail message note order password permission permissions "
    "post record release request role roles sql star store tag token transfer"
)
"""Verbs that name a thing where a verb of reading stands before them: `list_email_labels`."""

SUBJECTS: Final[dict[str, frozenset[str]]] = {
    "egress": _set("issue pull reaction repository repo gist page wiki channel thread review discussion"),
    "book": _set("appointment booking calendar event events meeting meetings reservation"),
    "authz": _set(
        "account accounts collaborator filter key keys member policy rule secret user users webhook"
    ),
    "destroy": _set("database query schema table tables"),
}
"""What makes changing something more dangerous, by the least effect of changing it."""

STATEMENTS: Final = _set("sql statement script code command cmd shell expression")
"""Arguments that hold a program, which can do anything."""

RELAYS: Final = _set("bounce forward redirect relay")
"""Verbs of passing on what others wrote, by its id, so that no argument holds the text."""

EMAILS: Final = _set("to email emails mail recipient recipients cc bcc attendee attendees sender mailto")
LINKS: Final = _set("url urls uri uris link links href website webhook endpoint")
PLACES: Final = _set(
    "path paths file files filepath dir directory directories folder source destination dest root cwd"
)
HOSTS: Final = _set("host hostname domain server ip")
ACCOUNTS: Final = _set("iban")
PHONES: Final = _set("phone telephone tel mobile fax msisdn")
TIMES: Final = _set(
    "date time datetime timestamp since until before after start end deadline due when day from_date to_date"
)
SUMS: Final = _set("amount price sum total cost fee balance quantity qty")
REVISIONS: Final = _set("revision rev branch ref commit sha tag base head commitish treeish")
IDENTIFIERS: Final = _set("id ids uuid guid key number hash cursor ts ticket issue isbn sku")
NAMES: Final = _set(
    "name names user users username login owner repo repository team group org organisation organization "
    "channel label labels account project assignee assignees reviewer reviewers workspace mailbox bucket "
    "table database nickname"
)
PROSE: Final = _set(
    "body content contents text message messages description comment comments note notes html markdown "
    "subject summary data value values caption reason details instructions prompt"
)
TITLES: Final = _set("title heading subject summary filename")
QUERIES: Final = _set(
    "query q search filter filters pattern regex sql where expression criteria jql cql script code "
    "command cmd"
)
SETTINGS: Final = _set(
    "limit offset page per_page size count max min maximum minimum depth order sort direction format "
    "encoding lang language locale timezone timeout verbose recursive fields width height cursor after "
    "before top"
)
SECRETS: Final = _set(
    "password passwd passphrase secret token credential credentials apikey api_key pin otp auth authorization"
)
RECEIVERS: Final = _set(
    "to cc bcc recipient recipients destination dest target attendee attendees assignee assignees "
    "reviewer reviewers channel channels account owner repo repository base calendar mailbox bucket table "
    "project org organization organisation user users reply_to forward invitee invitees group team room "
    "chat"
)
"""Arguments that say whom or what a call acts upon."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def words_of(name: str) -> tuple[str, ...]:
    """Take a name apart: `sendEmail`, `send_email` and `send-email` are `send`, `email`."""
    return tuple(word.lower() for word in _WORD.findall(name))


def worse(one: str, other: str) -> str:
    """Return the more dangerous of two effects."""
    return max(one, other, key=DANGER.index)
