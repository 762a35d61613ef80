package detnet

# Where the class comes from; the first that says something wins.
claim := {"class": data.detnet.site.class, "by": "class.site"} if {
	data.detnet.site.class
} else := {"class": "", "by": "class.static-pod"} if {
	# A mirror pod only shows what kubelet already runs: changing it changes nothing.
	input.pod.metadata.annotations["kubernetes.io/config.mirror"]
} else := {"class": "", "by": "class.opt-out"} if {
	pod_priority == "none"
} else := {"class": pod_priority, "by": "class.pod-label"} if {
	data.classes[pod_priority]
} else := {"class": plain_priority, "by": "class.plain-label"} if {
	plain_priority in {"critical", "best-effort"}
} else := {"class": namespace_priority, "by": "class.namespace-label"} if {
	data.classes[namespace_priority]
} else := {"class": data.defaults.unlabelled, "by": "class.default"}

pod_priority := input.pod.metadata.labels["detnet.dev/priority"]

# The label of manifests older than detnet.dev.
plain_priority := input.pod.metadata.labels.priority

namespace_priority := input.namespace.labels["detnet.dev/priority"]

# Whether the claim is trusted here: one that is not gives way, or the pod is
# refused.
trusted := {"class": data.trust.downgradeTo, "reasons": [claim.by, "trust.downgrade"], "deny": [], "warnings": [message]} if {
	untrusted
	data.trust.otherwise == "downgrade"
	message := sprintf("class %s may not be claimed here; the pod gets %s: %s", [claim.class, data.trust.downgradeTo, advice])
} else := {"class": claim.class, "reasons": [claim.by], "deny": [message], "warnings": []} if {
	untrusted
	data.trust.otherwise == "deny"
	message := sprintf("class %s may not be claimed here: %s", [claim.class, advice])
} else := {"class": claim.class, "reasons": [claim.by], "deny": [], "warnings": []}

untrusted if {
	claim.by in {"class.pod-label", "class.plain-label", "class.namespace-label"}
	reserved(claim.class)
}

# Classes that the namespace's pods may not have by somebody's claim.
reserved(class) if {
	class in data.trust.classes
	not input.namespace.labels["detnet.dev/allow-critical"] == "true"
	data.trust.otherwise != "allow"
}

# The verdict: the trusted class, but within the bounds of the namespace.
verdict := {"class": bound.class, "reasons": array.concat(trusted.reasons, [bound.by]), "deny": trusted.deny, "warnings": array.concat(warnings, [message])} if {
	message := sprintf("namespace %s gives its pods %s", [input.namespace.name, bound.says])
} else := object.union(trusted, {"warnings": warnings})

# A pod without a class counts as one of the class that others fall back to. The
# site's own rules and mirror pods are not bound.
bound := {"class": at_most, "by": "namespace.at-most", "says": sprintf("at most class %s", [at_most])} if {
	bindable
	rank > data.classes[at_most].rank
} else := {"class": at_least, "by": "namespace.at-least", "says": sprintf("at least class %s", [at_least])} if {
	bindable
	not reserved(at_least)
	rank < data.classes[at_least].rank
}

bindable if not claim.by in {"class.site", "class.static-pod"}

rank := data.classes[trusted.class].rank if {
	trusted.class != ""
} else := data.classes[data.trust.downgradeTo].rank

at_most := input.namespace.labels["detnet.dev/priority-at-most"]

at_least := input.namespace.labels["detnet.dev/priority-at-least"]

warnings := array.concat(trusted.warnings, notes)

# What nobody knows is said: a misspelt bound binds nobody.
notes := array.concat(ignored, [message |
	some label in ["detnet.dev/priority-at-most", "detnet.dev/priority-at-least"]
	value := input.namespace.labels[label]
	not data.classes[value]
	message := sprintf("label %s=%s of namespace %s is ignored: known classes are %s", [label, value, input.namespace.name, known_classes])
])

ignored := [message] if {
	unknown(pod_priority)
	message := sprintf("label detnet.dev/priority=%s is ignored: known classes are %s", [pod_priority, known_classes])
} else := [message] if {
	unknown(namespace_priority)
	message := sprintf("label detnet.dev/priority=%s of namespace %s is ignored: known classes are %s", [namespace_priority, input.namespace.name, known_classes])
} else := []

unknown(priority) if {
	not data.classes[priority]
	priority != "none"
}

advice := sprintf("label namespace %s with detnet.dev/allow-critical=true to allow it", [input.namespace.name])

known_classes := concat(", ", sort(object.keys(data.classes)))

class := verdict.class
