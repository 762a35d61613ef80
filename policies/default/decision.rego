# The decision: what a pod gets from detnet. See docs/reference/policy.md for
# the input and for every field.
#
# To change what happens without editing these files, put rules into package
# detnet.site in a file of your own:
#
#   class, priorityClassName, probe     replace what is decided here
#   bandwidth.max, bandwidth.initial …  likewise, one by one
#   slo.maxJitter …                     likewise
#   labels[k], annotations[k]           are added
#   networkPolicies[name]               is added, or replaces one of that name
#   warnings, deny, reasons             are added
package detnet

decision := {
	"class": "",
	"warnings": warnings,
	"deny": deny,
	"reasons": reasons,
} if {
	class == ""
}

decision := {
	"class": class,
	"rank": settings.rank,
	"protected": protected,
	"priorityClassName": priority_class_name,
	"bandwidth": bandwidth,
	"slo": slo,
	"probe": probe,
	"networkPolicies": network_policies,
	"labels": labels,
	"annotations": annotations,
	"affinity": affinity,
	"warnings": warnings,
	"deny": deny,
	"reasons": reasons,
} if {
	class != ""
}

settings := data.classes[class]

protected if settings.protected

default protected := false

default priority_class_name := ""

priority_class_name := data.detnet.site.priorityClassName if data.detnet.site.priorityClassName

else := settings.priorityClassName if settings.priorityClassName

default labels := {}

labels := data.detnet.site.labels

default annotations := {}

annotations := data.detnet.site.annotations

warnings contains message if some message in data.detnet.site.warnings

deny contains message if some message in data.detnet.site.deny

reasons contains reason if some reason in data.detnet.site.reasons

reasons contains sprintf("class.%s", [claim.by]) if class != ""
