package detnet_test

import data.detnet

# The tests fix the data they depend on and leave a site's rules out, so that
# neither breaks them.
classes := {
	"critical": {"rank": 100, "protected": true, "priorityClassName": "detnet-critical", "ciliumPriority": "guaranteed", "slo": {"maxJitter": "1ms"}},
	"standard": {"rank": 50},
	"best-effort": {"rank": 10, "priorityClassName": "detnet-best-effort", "ciliumPriority": "besteffort", "bandwidth": {"initial": "100M", "min": "10M", "max": "1G", "weight": 1, "maxWeight": 10}},
}

defaults := {"unlabelled": "", "networkPolicies": "allow", "antiAffinity": 10}

trust := {"classes": ["critical"], "otherwise": "downgrade", "downgradeTo": "standard"}

pod(labels) := {
	"metadata": {"name": "p", "namespace": "shop", "labels": labels},
	"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 8080}]}]},
}

trusted := {"name": "shop", "labels": {"detnet.dev/allow-critical": "true"}, "annotations": {}}

plain := {"name": "shop", "labels": {}, "annotations": {}}

request(labels, namespace, asks) := {
	"pod": pod(labels), "namespace": namespace, "asks": asks, "siblings": [],
	"operation": "CREATE", "dryRun": false, "user": {"name": "u", "groups": []},
}

decide(req) := d if {
	d := detnet.decision with input as req
		with data.classes as classes
		with data.defaults as defaults
		with data.trust as trust
		with data.detnet.site as {}
}

test_unlabelled_pod_is_left_alone if {
	decide(request({}, plain, {})).class == ""
}

test_pod_label_wins_over_namespace_label if {
	namespace := object.union(plain, {"labels": {"detnet.dev/priority": "best-effort"}})
	decide(request({"detnet.dev/priority": "standard"}, namespace, {})).class == "standard"
	decide(request({}, namespace, {})).class == "best-effort"
	decide(request({"detnet.dev/priority": "none"}, namespace, {})).class == ""
}

test_plain_label if {
	decide(request({"priority": "critical"}, trusted, {})).class == "critical"
	decide(request({"priority": "best-effort"}, plain, {})).class == "best-effort"
	decide(request({"priority": "p1"}, plain, {})).class == ""
}

test_unknown_priority_warns if {
	d := decide(request({"detnet.dev/priority": "crtical"}, trusted, {}))
	d.class == ""
	count(d.warnings) == 1
}

test_untrusted_critical_is_downgraded if {
	d := decide(request({"detnet.dev/priority": "critical"}, plain, {}))
	d.class == "standard"
	count(d.warnings) == 1
}

test_untrusted_critical_is_denied if {
	req := request({"detnet.dev/priority": "critical"}, plain, {})
	d := detnet.decision with input as req
		with data.classes as classes
		with data.defaults as defaults
		with data.trust as object.union(trust, {"otherwise": "deny"})
		with data.detnet.site as {}
	count(d.deny) == 1
}

test_critical_gets_priority_and_no_limit if {
	d := decide(request({"detnet.dev/priority": "critical"}, trusted, {"egress": "50M"}))
	d.bandwidth == {"priority": "guaranteed"}
	d.slo == {"maxJitter": "1ms"}
	d.probe == "tcp:8080"
}

test_best_effort_gets_its_limit if {
	d := decide(request({"detnet.dev/priority": "best-effort"}, plain, {}))
	d.bandwidth == {"priority": "besteffort", "initial": "100M", "egress": "100M", "min": "10M", "max": "1G", "weight": 1}
	d.slo == {}
	d.probe == ""
}

test_bounds_stay_inside_the_class if {
	d := decide(request({"detnet.dev/priority": "best-effort"}, plain, {"minBandwidth": "900M", "maxBandwidth": "2G", "weight": 99}))
	d.bandwidth.min == "100M"
	d.bandwidth.max == "1G"
	d.bandwidth.weight == 10
	count(d.warnings) == 3
}

test_low_ceiling_holds_the_initial_limit if {
	d := decide(request({"detnet.dev/priority": "best-effort"}, plain, {"maxBandwidth": "20M"}))
	d.bandwidth.max == "20M"
	d.bandwidth.initial == "20M"
	count(d.warnings) == 0
}

test_new_pod_begins_where_its_siblings_are if {
	req := object.union(
		request({"detnet.dev/priority": "best-effort"}, plain, {}),
		{"siblings": [{"name": "a", "egress": "85M"}, {"name": "b", "egress": "20M"}]},
	)
	d := decide(req)
	d.bandwidth.egress == "20M"
	d.bandwidth.initial == "100M"
}

test_static_pod_is_left_alone if {
	req := object.union(
		request({"detnet.dev/priority": "best-effort"}, plain, {}),
		{"pod": {"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}},
	)
	decide(req).class == ""
}

test_network_policy_of_a_critical_workload if {
	d := decide(request({"detnet.dev/priority": "critical", "app": "robot-control"}, trusted, {"probe": "udp:5201"}))
	some policy in d.networkPolicies
	policy.spec.endpointSelector.matchLabels == {"k8s:app": "robot-control", "k8s:detnet.dev/class": "critical"}
	policy.spec.enableDefaultDeny == {"ingress": false, "egress": false}
	policy.spec.ingress[0].toPorts[0].ports == [{"port": "5201", "protocol": "UDP"}, {"port": "8080", "protocol": "TCP"}]
}

test_no_network_policy_without_a_workload_label if {
	decide(request({"detnet.dev/priority": "critical"}, trusted, {})).networkPolicies == []
}

test_best_effort_keeps_off_critical_nodes if {
	d := decide(request({"detnet.dev/priority": "best-effort"}, plain, {}))
	some term in d.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution
	term.podAffinityTerm.labelSelector.matchExpressions[0].values == ["critical"]
}

test_site_rules_have_the_last_word if {
	req := request({"detnet.dev/priority": "standard"}, plain, {})
	d := detnet.decision with input as req
		with data.classes as classes
		with data.defaults as defaults
		with data.trust as trust
		with data.detnet.site as {"class": "best-effort", "bandwidth": {"max": "200M"}, "labels": {"team": "x"}, "deny": {"no"}}
	d.class == "best-effort"
	d.bandwidth.max == "200M"
	d.labels == {"team": "x"}
	d.deny == {"no"}
}
