package detnet

# Throttleable pods prefer nodes without protected ones. A preference only: it
# never keeps a pod from running.
default affinity := {}

affinity := {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
	"weight": data.defaults.antiAffinity,
	"podAffinityTerm": {
		"topologyKey": "kubernetes.io/hostname",
		"namespaceSelector": {},
		"labelSelector": {"matchExpressions": [{
			"key": "detnet.dev/class",
			"operator": "In",
			"values": protected_classes,
		}]},
	},
}]}} if {
	settings.bandwidth
	data.defaults.antiAffinity > 0
}

protected_classes := sort([name | some name, c in data.classes; c.protected])
