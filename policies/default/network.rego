package detnet

# Cilium policies of the workload, rendered from what the pod declares. They
# need a label that names the workload, so that they select its pods alone. The
# name tells the ports, so that two shapes of one workload get a policy each.
default_network_policies := [{"name": concat("-", ["detnet", input.workload.slug, input.shape]), "spec": {
	"endpointSelector": {"matchLabels": {
		concat(":", ["k8s", input.workload.label]): input.workload.name,
		"k8s:detnet.dev/class": verdict.class,
	}},
	"enableDefaultDeny": default_deny,
	"ingress": [{"fromEntities": ["cluster"], "toPorts": [{"ports": input.ports}]}],
	"egress": [{"toEntities": ["cluster"]}],
	"log": {"value": "detnet"},
}}] if {
	# Selecting a pod makes it default-deny unless told otherwise.
	default_deny := {
		"allow": {"ingress": false, "egress": false},
		"strict": {"ingress": true, "egress": true},
	}[data.classes[verdict.class].networkPolicies]
	input.ports[0]
	not input.pod.spec.hostNetwork
} else := []

# A site's policies come on top, or in the place of the one of the same name.
network_policies := array.concat(
	[p | some p in default_network_policies; not data.detnet.site.networkPolicies[p.name]],
	[{"name": name, "spec": spec} | some name, spec in data.detnet.site.networkPolicies],
)
