package trionyx.policy.paths_test

import data.trionyx.policy.paths
import data.trionyx.testing

denied(call) := ids if {
	ids := {entry.id | some entry in paths.deny} with input as call with data.trionyx.paths as testing.paths
}

labels(call) := found if {
	found := {entry | some entry in paths.label} with input as call with data.trionyx.paths as testing.paths
}

test_a_path_below_a_root_is_fine if denied(testing.touch("read", {"path": "/data/notes/a"})) == set()

test_the_root_itself_is_fine if denied(testing.touch("read", {"path": "/data"})) == set()

test_a_path_elsewhere_is_denied if {
	denied(testing.touch("read", {"path": "/etc/passwd"})) == {"PATH-001"}
	denied(testing.touch("read", {"path": "/datashop"})) == {"PATH-001"}
}

test_a_path_that_the_host_finds_outside_is_denied if {
	denied(testing.touch("read", {"path": "/data/link", "inside": false})) == {"PATH-001"}
}

test_a_server_without_roots_reaches_nothing if {
	elsewhere := object.union(testing.touch("read", {"path": "/data/a"}), {"tool": {"catalog": "other"}})
	denied(elsewhere) == {"PATH-001"}
}

test_a_hidden_file_is_denied if {
	denied(testing.touch("read", {"path": "/data/.env", "hidden": true})) == {"PATH-002"}
}

test_control_characters_are_denied if {
	denied(testing.touch("read", {"path": "/data/a\nb", "control": true})) == {"PATH-003"}
}

test_a_zone_labels_what_is_read_there if {
	labels(testing.touch("read", {"path": "/data/secrets/key"})) == {{"id": "PATH-100", "label": testing.secret}}
}

test_a_zone_is_met_however_a_file_system_spells_it if {
	every path in ["/DATA/Secrets/key", "/data/ſecrets/key", "/data/secrets"] {
		labels(testing.touch("read", {"path": path})) != set()
	}
}

test_letters_beyond_ascii_below_plain_folders_carry_no_label if {
	labels(testing.touch("read", {"path": "/data/notes/é"})) == set()
}

test_other_places_carry_no_label if labels(testing.touch("read", {"path": "/data/notes/a"})) == set()

test_the_whole_tree_can_be_a_root if {
	found := {entry.id | some entry in paths.deny} with input as testing.touch("read", {"path": "/any/where"})
		with data.trionyx.paths as {"files": {"roots": ["/"], "zones": []}}
	found == set()
}

test_a_directory_carries_the_labels_of_what_lies_below_it if {
	every path in ["/data", "/DATA", "/"] {
		{"id": "PATH-100", "label": testing.secret} in labels(testing.touch("read", {"path": path}))
	}
}
