# METADATA
# title: A world for the rules' tests
# description: Calls and data that do not change when a security team edits `data/`.
package trionyx.testing

call(changes) := object.union(base, changes)

fetch(url) := call({
	"tool": {"id": "web__fetch", "server": "web", "catalog": "web", "name": "fetch", "effect": "fetch"},
	"facts": {"urls": [object.union(page, url)]},
})

send(recipients, changes) := object.union(
	call({
		"tool": {"id": "mail__send", "server": "mail", "catalog": "mail", "name": "send", "effect": "egress"},
		"facts": {"recipients": [recipient |
			some index, address in recipients
			recipient := {"arg": sprintf("/to/%d", [index]), "address": address, "domain": split(address, "@")[1]}
		]},
	}),
	changes,
)

touch(effect, path) := call({
	"tool": {"id": "files__touch", "server": "files", "catalog": "files", "name": "touch", "effect": effect},
	"facts": {"paths": [object.union({"arg": "/path", "inside": true, "hidden": false, "control": false}, path)]},
})

# A call of an effect with one argument of a role, and its origin.
act(effect, role, origin) := acting(effect, [object.union({"role": role}, origin)])

acting(effect, origins) := call({
	"tool": {"id": "x__act", "server": "x", "catalog": "x", "name": "act", "effect": effect},
	"facts": {"origins": [object.union(named, origin) | some origin in origins]},
})

named := {"arg": "/a", "role": "target", "type": "name", "integrity": "user", "handle": false, "sources": []}

labelled(call, label) := object.union(call, {"label": label})

page := {
	"arg": "/url",
	"scheme": "https",
	"host": "www.other.example",
	"port": 443,
	"ip": false,
	"private": false,
	"userinfo": false,
	"query_bytes": 0,
	"path": "/",
}

text := {"arg": "/body", "bytes": 5, "control": false, "bidi": false, "invisible": false, "urls": []}

public := {"categories": [], "integrity": "public", "level": "public", "readers": "*"}

internal := {"categories": [], "integrity": "public", "level": "internal", "readers": "*"}

secret := {"categories": [], "integrity": "public", "level": "secret", "readers": "*"}

base := {
	"schema": "trionyx.input/v1",
	"point": "tool.call",
	"run": {
		"id": "01J00000000000000000000000",
		"agent": "inbox",
		"user": "emma",
		"tenant": "acme",
		"registered": true,
		"calls": 0,
		"denied": 0,
		"in_flight": 0,
		"by_effect": {},
		"same_call": 0,
	},
	"prompt": {
		"sha256": "",
		"registered": true,
		"emails": ["named@other.example"],
		"hosts": ["named.example"],
		"paths": [],
		"implies": [],
	},
	"label": {"categories": [], "integrity": "user", "level": "public", "readers": "*"},
	"tool": {
		"id": "mail__read",
		"server": "mail",
		"catalog": "mail",
		"name": "read",
		"effect": "read",
		"descriptor_sha256": "",
	},
	"args": {},
	"args_meta": {"bytes": 2, "sha256": ""},
	"facts": {"paths": [], "urls": [], "recipients": [], "text": [], "invalid": [], "origins": []},
	"approvals": [],
	"time": {"ms": 0, "hour": 0, "weekday": 4},
}

catalog := {"servers": {"mail": {"tools": {
	"read": {"effect": "read", "args": {}, "result": public, "clearance": secret},
	"send": {
		"effect": "egress",
		"args": {"/urgent": {"role": "plain", "type": "boolean"}, "/tags/*": {"role": "plain", "type": "text"}},
		"result": public,
		"clearance": secret,
	},
}}}}

clearances := {
	"default": internal,
	"domains": {"corp.example": secret, "press.corp.example": public, "partner.example": internal},
	"addresses": {"lawyer@partner.example": secret},
	"hosts": {"api.partner.example": secret},
}

egress := {
	"organisation": ["corp.example"],
	"hosts": ["listed.example"],
	"blocked": ["blocked.example"],
	"ports": [443],
	"allow_loopback": false,
	"max_recipients": 2,
	"address_characters": "abcdefghijklmnopqrstuvwxyz@.",
}

flow := {
	"untainted_effects": ["money"],
	"approval_effects": ["destroy"],
	"hide_text": true,
	"hide_text_effects": ["read", "fetch"],
	"hide_text_except": {"own": ["reveal"]},
	"implied_by": {},
}

none := {
	"target": "public",
	"selector": "public",
	"secret": "public",
	"when": "public",
	"amount": "public",
	"title": "public",
	"content": "public",
	"link": "public",
}

provenance := {
	"requirements": {
		"read": none,
		"fetch": object.union(none, {"target": "org"}),
		"egress": object.union(none, {"target": "org", "selector": "org", "secret": "user", "link": "org"}),
		"book": object.union(none, {"target": "org", "when": "user", "title": "org", "link": "org"}),
		"money": object.union(none, {"target": "org", "amount": "system", "content": "org"}),
		"destroy": object.union(none, {"target": "org", "selector": "org"}),
	},
	"same_origin": {"fetch": true, "links": true},
	"once_tainted": {"title": "org", "amount": "all"},
	"any_hour": true,
	"anchored_effects": ["egress", "authz"],
	"selection_effects": ["book", "destroy"],
	"control_flow_effects": ["destroy"],
}

strict := object.union(provenance, {"same_origin": {"fetch": false, "links": false}, "any_hour": false})

classics := {
	"sink_levels": {"read": "secret", "egress": "public", "money": "internal"},
	"readers": {
		"default": {"integrity": "public", "level": "secret"},
		"agents": {"clerk": {"integrity": "org", "level": "internal"}},
	},
}

risk := {
	"table": {
		"low": {"low": {"low": "low", "high": "moderate"}, "high": {"low": "moderate", "high": "high"}},
		"high": {"low": {"low": "moderate", "high": "high"}, "high": {"low": "high", "high": "critical"}},
	},
	"taint": {"user": "low", "public": "high"},
	"sensitivity": {"public": "low", "secret": "high"},
	"capability": {"read": "low", "egress": "high"},
	"agents": {"clerk": "high"},
	"kill_at": "critical",
}

rules := {"AA-001": "off", "AA-002": "ask", "AA-003": "deny", "AA-004": "odd"}

limits := {
	"max_calls": 10,
	"max_same_call": 3,
	"max_denied": 5,
	"max_in_flight": 2,
	"max_by_effect": {"read": 4},
	"max_result_bytes": {"fetch": 1000},
}

paths := {"files": {
	"roots": ["/data"],
	"zones": [
		{"prefix": "/data/secrets", "label": secret},
		{
			"prefix": "/data/shared",
			"label": internal,
			"write": {"categories": "*", "integrity": "org", "level": "internal", "readers": []},
		},
	],
}}
