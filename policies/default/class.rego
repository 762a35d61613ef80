package detnet

# Where the class comes from; the first that says something wins.
claim := {"class": data.detnet.site.class, "by": "site"} if data.detnet.site.class

else := {"class": "", "by": "static-pod"} if static_pod

else := {"class": "", "by": "opt-out"} if pod_priority == "none"

else := {"class": pod_priority, "by": "pod-label"} if data.classes[pod_priority]

else := {"class": plain_priority, "by": "plain-label"} if plain_priority in {"critical", "best-effort"}

else := {"class": namespace_priority, "by": "namespace-label"} if data.classes[namespace_priority]

else := {"class": data.defaults.unlabelled, "by": "default"}

pod_labels := object.get(input.pod.metadata, "labels", {})

pod_priority := pod_labels["detnet.dev/priority"]

# The label of manifests older than detnet.dev.
plain_priority := pod_labels.priority

namespace_priority := input.namespace.labels["detnet.dev/priority"]

# A mirror pod only shows what kubelet already runs: changing it changes nothing.
static_pod if input.pod.metadata.annotations["kubernetes.io/config.mirror"]

# A claim that is not trusted here gives way.
class := data.trust.downgradeTo if {
	untrusted
	data.trust.otherwise == "downgrade"
} else := claim.class

untrusted if {
	claim.class in data.trust.classes
	not claim.by in {"site", "default"}
	not input.namespace.labels["detnet.dev/allow-critical"] == "true"
	data.trust.otherwise != "allow"
}

advice := sprintf("label namespace %s with detnet.dev/allow-critical=true to allow it", [input.namespace.name])

warnings contains message if {
	untrusted
	data.trust.otherwise == "downgrade"
	message := sprintf("class %s may not be claimed here; the pod gets %s: %s", [claim.class, class, advice])
}

deny contains message if {
	untrusted
	data.trust.otherwise == "deny"
	message := sprintf("class %s may not be claimed here: %s", [claim.class, advice])
}

reasons contains "trust.downgrade" if {
	untrusted
	data.trust.otherwise == "downgrade"
}

warnings contains message if {
	pod_priority != "none"
	not data.classes[pod_priority]
	message := sprintf("label detnet.dev/priority=%s is ignored: known classes are %s", [pod_priority, known_classes])
}

warnings contains message if {
	not data.classes[namespace_priority]
	message := sprintf("label detnet.dev/priority=%s of namespace %s is ignored: known classes are %s", [namespace_priority, input.namespace.name, known_classes])
}

known_classes := concat(", ", sort(object.keys(data.classes)))
