package detnet

# Cilium policies of the workload, rendered from what the pod declares. They
# need a label that names the workload, so that they select its pods alone.
network_policies := [{"name": name, "spec": spec} | some name, spec in policies_by_name]

policies_by_name := object.union(default_policies, site_policies)

default site_policies := {}

site_policies := data.detnet.site.networkPolicies

default default_policies := {}

default_policies := {policy_name: {
	"endpointSelector": {"matchLabels": {
		sprintf("k8s:%s", [workload_label]): pod_labels[workload_label],
		"k8s:detnet.dev/class": class,
	}},
	# Selecting a pod makes it default-deny unless told otherwise.
	"enableDefaultDeny": {"ingress": strict, "egress": strict},
	"ingress": [{
		"fromEntities": ["cluster"],
		"toPorts": [{"ports": policy_ports}],
	}],
	"egress": [{"toEntities": ["cluster"]}],
	"log": {"value": substring(sprintf("detnet %s", [class]), 0, 32)},
}} if {
	data.defaults.networkPolicies != "off"
	managed
	not input.pod.spec.hostNetwork
	workload_label
	count(policy_ports) > 0
}

# Classes that detnet acts on; the others keep whatever policies they have.
managed if protected

managed if settings.bandwidth

default strict := false

strict if data.defaults.networkPolicies == "strict"

workload_label := "app.kubernetes.io/name" if pod_labels["app.kubernetes.io/name"]

else := "app" if pod_labels.app

else := "k8s-app" if pod_labels["k8s-app"]

# The probe's port and the declared ones.
policy_ports := [{"port": sprintf("%d", [p.port]), "protocol": p.protocol} | some p in all_ports]

# Cilium takes at most 40 ports a rule.
all_ports := array.slice(sort(declared | probed), 0, 40)

declared := {{"port": port.containerPort, "protocol": object.get(port, "protocol", "TCP")} | some port in declared_ports}

probed := {{"port": to_number(part[1]), "protocol": upper(part[0])} |
	part := split(probe, ":")
	part[0] in {"tcp", "udp"}
}

# Two shapes of one workload get a policy each.
policy_name := sprintf("detnet-%s-%s", [base, substring(crypto.sha256(json.marshal([class, pod_labels[workload_label], all_ports])), 0, 8)])

base := trim(substring(regex.replace(lower(pod_labels[workload_label]), "[^a-z0-9]+", "-"), 0, 40), "-")
