package detnet_test

import data.detnet

# The tests fix the data they depend on and leave a site's rules out, so that
# neither breaks them.
classes := {
	"critical": {"rank": 100, "protected": true},
	"standard": {"rank": 50},
	"best-effort": {"rank": 10, "bandwidth": {"initial": 100000000, "min": 10000000, "max": 1000000000, "weight": 1, "maxWeight": 10}},
}

defaults := {"unlabelled": ""}

trust := {"classes": ["critical"], "otherwise": "downgrade", "downgradeTo": "standard"}

trusted := {"name": "shop", "labels": {"detnet.dev/allow-critical": "true"}, "annotations": {}}

plain := {"name": "shop", "labels": {}, "annotations": {}}

request(labels, namespace) := {
	"pod": {"metadata": {"name": "p", "namespace": "shop", "labels": labels}, "spec": {}},
	"workload": {}, "ports": [],
	"namespace": namespace, "asks": {}, "siblings": [],
	"operation": "CREATE", "dryRun": false, "user": {"name": "u", "groups": []},
}

decide(req) := decide_trusting(req, trust)

decide_trusting(req, rules) := d if {
	d := detnet.decision with input as req
		with data.classes as classes
		with data.defaults as defaults
		with data.trust as rules
		with data.detnet.site as {}
}

test_unlabelled_pod_is_left_alone if {
	decide(request({}, plain)).class == ""
}

test_pod_label_wins_over_namespace_label if {
	namespace := object.union(plain, {"labels": {"detnet.dev/priority": "best-effort"}})
	decide(request({"detnet.dev/priority": "standard"}, namespace)).class == "standard"
	decide(request({}, namespace)).class == "best-effort"
	decide(request({"detnet.dev/priority": "none"}, namespace)).class == ""
}

test_plain_label if {
	decide(request({"priority": "critical"}, trusted)).class == "critical"
	decide(request({"priority": "best-effort"}, plain)).class == "best-effort"
	decide(request({"priority": "p1"}, plain)).class == ""
}

test_unknown_priority_warns if {
	d := decide(request({"detnet.dev/priority": "crtical"}, trusted))
	d.class == ""
	count(d.warnings) == 1
}

test_unknown_priority_of_a_namespace_warns if {
	d := decide(request({}, object.union(plain, {"labels": {"detnet.dev/priority": "gold"}})))
	d.class == ""
	count(d.warnings) == 1
}

test_trusted_critical if {
	d := decide(request({"detnet.dev/priority": "critical"}, trusted))
	d.class == "critical"
	d.warnings == []
	d.reasons == ["class.pod-label"]
}

test_untrusted_critical_is_downgraded if {
	some labels in [{"detnet.dev/priority": "critical"}, {"priority": "critical"}]
	d := decide(request(labels, plain))
	d.class == "standard"
	count(d.warnings) == 1
	"trust.downgrade" in d.reasons
}

test_untrusted_critical_is_denied if {
	req := request({"detnet.dev/priority": "critical"}, plain)
	d := decide_trusting(req, object.union(trust, {"otherwise": "deny"}))
	count(d.deny) == 1
}

test_untrusted_critical_is_allowed if {
	req := request({"detnet.dev/priority": "critical"}, plain)
	d := decide_trusting(req, object.union(trust, {"otherwise": "allow"}))
	d.class == "critical"
}

test_static_pod_is_left_alone if {
	req := object.union(
		request({"detnet.dev/priority": "best-effort"}, plain),
		{"pod": {"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}},
	)
	decide(req).class == ""
}

test_site_rules_have_the_last_word if {
	d := detnet.decision with input as request({"detnet.dev/priority": "standard"}, plain)
		with data.classes as classes
		with data.defaults as defaults
		with data.trust as trust
		with data.detnet.site as {
			"class": "critical",
			"bandwidth": {"max": "200M"},
			"labels": {"team": "x"},
			"deny": {"no"},
			"networkPolicies": {"more": {"egress": []}},
		}
	d.class == "critical"
	d.bandwidth.max == "200M"
	d.labels == {"team": "x"}
	d.deny == ["no"]
	d.networkPolicies == [{"name": "more", "spec": {"egress": []}}]
}

bounded(labels) := object.union(plain, {"labels": labels})

test_namespace_binds_at_most if {
	namespace := bounded({"detnet.dev/priority-at-most": "best-effort", "detnet.dev/allow-critical": "true"})
	every priority in ["none", "standard", "critical", "best-effort"] {
		decide(request({"detnet.dev/priority": priority}, namespace)).class == "best-effort"
	}
	decide(request({}, namespace)).class == "best-effort"
	d := decide(request({"detnet.dev/priority": "none"}, namespace))
	d.reasons == ["class.opt-out", "namespace.at-most"]
	count(d.warnings) == 1
}

test_namespace_binds_at_least if {
	namespace := bounded({"detnet.dev/priority-at-least": "standard"})
	decide(request({"detnet.dev/priority": "best-effort"}, namespace)).class == "standard"
	decide(request({"detnet.dev/priority": "none"}, namespace)).class == ""
}

test_downgraded_pods_are_bound_too if {
	namespace := bounded({"detnet.dev/priority-at-most": "best-effort"})
	decide(request({"detnet.dev/priority": "critical"}, namespace)).class == "best-effort"
}

test_a_bound_is_no_way_to_a_reserved_class if {
	namespace := bounded({"detnet.dev/priority-at-least": "critical"})
	decide(request({"detnet.dev/priority": "standard"}, namespace)).class == "standard"
}

test_misspelt_bound_warns if {
	d := decide(request({"detnet.dev/priority": "standard"}, bounded({"detnet.dev/priority-at-most": "besteffort"})))
	d.class == "standard"
	count(d.warnings) == 1
}

test_mirror_pods_are_not_bound if {
	req := object.union(
		request({}, bounded({"detnet.dev/priority-at-most": "best-effort"})),
		{"pod": {"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}},
	)
	decide(req).class == ""
}
