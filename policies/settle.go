package policies

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// settle fills in what the policy left open: from what the pod asks for, inside
// the bounds of its class, and from the class's data.
func (c classSpec) settle(d *Decision, a asks, w declared, in Input) {
	d.Rank, d.Protected = c.Rank, c.Protected
	d.PriorityClassName = cmp.Or(d.PriorityClassName, c.PriorityClassName)
	d.Affinity = cmp.Or(d.Affinity, c.Affinity)
	d.Bandwidth = c.bandwidth(d.Bandwidth, a, in)
	if !c.Protected {
		for _, f := range textFields {
			*f.of(d) = ""
		}
		return
	}
	asked := SLO{a.text("maxJitter"), a.text("maxLatency"), a.text("maxLoss")}
	asked = c.SLO.bounded(asked, d)
	d.SLO.MaxJitter = cmp.Or(d.SLO.MaxJitter, asked.MaxJitter, c.SLO.MaxJitter)
	d.SLO.MaxLatency = cmp.Or(d.SLO.MaxLatency, asked.MaxLatency, c.SLO.MaxLatency)
	d.SLO.MaxLoss = cmp.Or(d.SLO.MaxLoss, asked.MaxLoss, c.SLO.MaxLoss)
	d.SLO = d.SLO.normal()
	d.settleProbe(a, w)
}

// settleProbe says how a protected pod is measured. Unless something else is
// asked for, that costs it nothing: the agent beside it answers, behind the same
// uplink. What a pod asks for must be a port of its own.
func (d *Decision) settleProbe(a asks, w declared) {
	d.DSCP = cmp.Or(d.DSCP, a.text("dscp"))
	if codepoint, err := workload.ParseDSCP(d.DSCP); err == nil {
		d.DSCP = codepoint.String()
	}
	d.ProbeFrom = cmp.Or(d.ProbeFrom, a.text("probeFrom"))
	family := familyOf(cmp.Or(d.Probe, a.text("probe")))
	asked, query := a.text("probe"), cmp.Or(d.Query, a.text("query"))
	beside := cmp.Or(d.Reflector, a.text("reflector")) == workload.ReflectorNode
	if d.Probe == "" && !beside {
		if why := w.unfit(asked, query); why != "" {
			asked = ""
			d.Warnings = append(d.Warnings, fmt.Sprintf("annotation %s: %s; the agent beside the pod answers in its place", workload.AnnotationProbe, why))
		}
	}
	d.Probe = cmp.Or(d.Probe, asked)
	if d.Probe == "" || beside && d.Probe != string(workload.Prometheus) {
		d.Probe = workload.Probe{Protocol: workload.STAMP, Port: workload.STAMPPort, Family: family}.String()
		d.Reflector = workload.ReflectorNode
	} else {
		d.Reflector = ""
	}
	if d.Probe == string(workload.Prometheus) {
		d.Query = query
		return
	}
	if a.text("query") != "" {
		d.Warnings = append(d.Warnings, fmt.Sprintf("annotation %s is ignored: %s is %s, not prometheus", workload.AnnotationQuery, workload.AnnotationProbe, d.Probe))
	}
	d.Query = ""
}

// familyOf is the family of IP that a probe asks for; what can't be read asks for
// none.
func familyOf(probe string) workload.Family {
	p, _ := workload.ParseProbe(probe)
	return p.Family
}

// unfit says why a pod can't be measured as it asks, "" if it can: a probe goes
// to a port that its containers declare, and Prometheus needs a query.
func (w declared) unfit(asked, query string) string {
	p, err := workload.ParseProbe(asked)
	if err != nil {
		return "" // nothing is asked for
	}
	protocol := strings.ToUpper(string(p.Protocol))
	switch p.Protocol {
	case workload.ICMP:
		return ""
	case workload.Prometheus:
		if query == "" {
			return "prometheus needs a query in " + workload.AnnotationQuery
		}
		return ""
	case workload.STAMP:
		protocol = "UDP"
	}
	if slices.Contains(w.ports, port{strconv.Itoa(int(p.Port)), protocol}) {
		return ""
	}
	return fmt.Sprintf("%s is no port of the pod: declare containerPort %d with protocol %s", p, p.Port, protocol)
}

// bandwidth settles the limits of a pod for which the policy wants want. A
// class that is not throttleable has none, whatever the policy says, and a
// protected class no policer either.
func (c classSpec) bandwidth(want Bandwidth, a asks, in Input) Bandwidth {
	priority := cmp.Or(want.Priority, c.CiliumPriority)
	if c.Protected {
		return Bandwidth{Priority: priority}
	}
	if c.Bandwidth == nil {
		b := Bandwidth{Priority: priority}
		if want.Ingress != 0 {
			b.Ingress = lower(want.Ingress, a.rate("ingress"))
		}
		return b
	}
	most := cmp.Or(want.Max, bitrate.Rate(c.Bandwidth.Max))
	initial := cmp.Or(want.Initial, bitrate.Rate(c.Bandwidth.Initial))
	least := cmp.Or(want.Min, bitrate.Rate(c.Bandwidth.Min))

	// A pod asks for bounds inside those of its class, so that nobody lifts
	// their own throttle. What somebody limited already is never raised.
	ceiling := lower(most, a.rate("maxBandwidth"), a.limit())
	// A floor is taken from everybody else: above the class's, what the namespace is
	// granted for all its pods is the most for one.
	granted, _ := workload.FloorsAtMost(in.Namespace.Labels)
	floor := min(cmp.Or(a.rate("minBandwidth"), least), max(initial, least), least+granted, ceiling)
	within := func(r bitrate.Rate) bitrate.Rate { return max(min(r, ceiling), floor) }
	b := Bandwidth{
		Min: floor, Max: ceiling, Priority: priority,
		Initial: within(cmp.Or(a.rate("initial"), a.rate("egress"), initial)),
		Weight:  cmp.Or(want.Weight, min(cmp.Or(a.weight(), c.Bandwidth.Weight), c.Bandwidth.MaxWeight)),
		Ingress: lower(cmp.Or(want.Ingress, bitrate.Rate(c.Bandwidth.Ingress)), a.rate("ingress")),
	}
	if floor > least {
		b.ClassMin = least
	}
	// It begins where its running siblings are, so that a rollout or a crash
	// loop does not escape the throttle.
	b.Egress = within(cmp.Or(want.Egress, lowest(in.Siblings), b.Initial))
	return b
}

// lowest is the lowest limit among the siblings, 0 if there are none. An idle
// sibling's high limit must not be a way out.
func lowest(siblings []Sibling) bitrate.Rate {
	var low bitrate.Rate
	for _, s := range siblings {
		if low == 0 || s.Egress < low {
			low = s.Egress
		}
	}
	return low
}
