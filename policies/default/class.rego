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

# What becomes of the claim: one that is not trusted here gives way, and one
# that nobody knows is told so.
verdict := {"class": data.trust.downgradeTo, "reasons": [claim.by, "trust.downgrade"], "deny": [], "warnings": [message]} if {
	untrusted
	data.trust.otherwise == "downgrade"
	message := sprintf("class %s may not be claimed here; the pod gets %s: %s", [claim.class, data.trust.downgradeTo, advice])
} else := {"class": claim.class, "reasons": [claim.by], "deny": [message], "warnings": []} if {
	untrusted
	data.trust.otherwise == "deny"
	message := sprintf("class %s may not be claimed here: %s", [claim.class, advice])
} else := {"class": claim.class, "reasons": [claim.by], "deny": [], "warnings": [message]} if {
	unknown(pod_priority)
	message := sprintf("label detnet.dev/priority=%s is ignored: known classes are %s", [pod_priority, known_classes])
} else := {"class": claim.class, "reasons": [claim.by], "deny": [], "warnings": [message]} if {
	unknown(namespace_priority)
	message := sprintf("label detnet.dev/priority=%s of namespace %s is ignored: known classes are %s", [namespace_priority, input.namespace.name, known_classes])
} else := {"class": claim.class, "reasons": [claim.by], "deny": [], "warnings": []}

untrusted if {
	claim.class in data.trust.classes
	claim.by in {"class.pod-label", "class.plain-label", "class.namespace-label"}
	not input.namespace.labels["detnet.dev/allow-critical"] == "true"
	data.trust.otherwise != "allow"
}

unknown(priority) if {
	not data.classes[priority]
	priority != "none"
}

advice := sprintf("label namespace %s with detnet.dev/allow-critical=true to allow it", [input.namespace.name])

known_classes := concat(", ", sort(object.keys(data.classes)))

class := verdict.class
