package detnet

bandwidth := object.union(priority, limits)

default priority := {}

priority := {"priority": site_bandwidth.priority} if site_bandwidth.priority

else := {"priority": settings.ciliumPriority} if settings.ciliumPriority

default site_bandwidth := {}

site_bandwidth := data.detnet.site.bandwidth

# Limits exist where the class has bandwidth data.
default limits := {}

limits := object.union(ingress, {
	"initial": initial,
	"egress": egress,
	"min": floor,
	"max": ceiling,
	"weight": weight,
}) if {
	settings.bandwidth
}

# What holds for the class, a site's rules included.
range := object.union(settings.bandwidth, site_bandwidth)

# A pod asks for bounds inside those of its class, so that nobody lifts their
# own throttle.
ceiling := smaller(input.asks.maxBandwidth, range.max) if input.asks.maxBandwidth

else := range.max

floor := smaller(smaller(input.asks.minBandwidth, range.initial), ceiling) if input.asks.minBandwidth

else := smaller(range.min, ceiling)

weight := min({input.asks.weight, range.maxWeight}) if input.asks.weight

else := range.weight

# The limit that "detnet restore" goes back to.
initial := within(input.asks.initial) if input.asks.initial

else := within(input.asks.egress) if input.asks.egress

else := within(range.initial)

# A new pod begins where its running siblings are, so that a rollout does not
# escape the throttle.
egress := within(lowest_sibling) if lowest_sibling

else := initial

lowest_sibling := s.egress if {
	some s in input.siblings
	every other in input.siblings {
		units.parse(s.egress) <= units.parse(other.egress)
	}
}

default ingress := {}

ingress := {"ingress": ingress_rate}

ingress_rate := smaller(input.asks.ingress, range.ingress) if {
	input.asks.ingress
	range.ingress
} else := range.ingress if {
	range.ingress
} else := input.asks.ingress

within(rate) := larger(smaller(rate, ceiling), floor)

smaller(a, b) := a if units.parse(a) <= units.parse(b)

else := b

larger(a, b) := a if units.parse(a) >= units.parse(b)

else := b

warnings contains too_much("min-bandwidth", input.asks.minBandwidth, floor) if {
	limits != {}
	input.asks.minBandwidth != floor
}

warnings contains too_much("max-bandwidth", input.asks.maxBandwidth, ceiling) if {
	limits != {}
	input.asks.maxBandwidth != ceiling
}

warnings contains too_much("weight", input.asks.weight, weight) if {
	limits != {}
	input.asks.weight != weight
}

too_much(name, asked, got) := sprintf("annotation detnet.dev/%s: %v is more than class %s allows; the pod gets %v", [name, asked, class, got])

reasons contains "bandwidth.sibling" if {
	limits != {}
	lowest_sibling
}
