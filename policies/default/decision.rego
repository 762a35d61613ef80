# The decision: what a pod gets from detnet. docs/reference/policy.md describes
# the input and every field.
#
# To change what happens without editing these files, put rules into package
# detnet.site in a file of your own:
#
#   class, priorityClassName, probe, query, dscp, probeFrom, reflector
#                                       replace what is decided here
#   affinity                            likewise; preferred terms only
#   bandwidth.max, bandwidth.initial …  replace the class's, one by one; "200M" or bit/s
#   slo.maxJitter …                     replace the class's and the pod's
#   labels[k], annotations[k]           are added
#   networkPolicies[name]               is added, or replaces the one of that name
#   warnings, deny, reasons             are added
#
# What a decision leaves out comes from what the pod asks for in its annotations,
# inside the bounds of its class, and from the class's data; so does the Cilium
# policy of its workload. Whether a class is
# protected, and its rank, always do.
package detnet

decision := with_site if {
	data.detnet.site
} else := verdict

with_site := object.union(
	{name: data.detnet.site[name] | some name in ["priorityClassName", "affinity", "bandwidth", "slo", "probe", "query", "dscp", "probeFrom", "reflector", "labels", "annotations"]},
	{
		"class": verdict.class,
		"networkPolicies": [{"name": name, "spec": spec} | some name, spec in data.detnet.site.networkPolicies],
		"warnings": array.concat(verdict.warnings, [m | some m in data.detnet.site.warnings]),
		"deny": array.concat(verdict.deny, [m | some m in data.detnet.site.deny]),
		"reasons": array.concat(verdict.reasons, [r | some r in data.detnet.site.reasons]),
	},
)
