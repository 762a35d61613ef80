package policies

import (
	"cmp"
	"fmt"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// settle fills in what the policy left open: from what the pod asks for, inside
// the bounds of its class, and from the class's data.
func (c classSpec) settle(d *Decision, a asks, w declared, siblings []Sibling) {
	d.Rank, d.Protected = c.Rank, c.Protected
	d.PriorityClassName = cmp.Or(d.PriorityClassName, c.PriorityClassName)
	d.Affinity = cmp.Or(d.Affinity, c.Affinity)
	d.Bandwidth = c.bandwidth(d.Bandwidth, a, siblings)
	if !c.Protected {
		d.SLO, d.Probe, d.Query, d.DSCP = SLO{}, "", "", ""
		return
	}
	d.SLO.MaxJitter = cmp.Or(d.SLO.MaxJitter, a.text("maxJitter"), c.SLO.MaxJitter)
	d.SLO.MaxLatency = cmp.Or(d.SLO.MaxLatency, a.text("maxLatency"), c.SLO.MaxLatency)
	d.SLO.MaxLoss = cmp.Or(d.SLO.MaxLoss, a.text("maxLoss"), c.SLO.MaxLoss)
	d.settleProbe(a, w)
}

// settleProbe says how a protected pod is measured. To ask Prometheus needs a
// query, and a query needs to be asked for.
func (d *Decision) settleProbe(a asks, w declared) {
	d.DSCP = cmp.Or(d.DSCP, a.text("dscp"))
	if codepoint, err := workload.ParseDSCP(d.DSCP); err == nil {
		d.DSCP = codepoint.String()
	}
	asked := a.text("probe")
	query := cmp.Or(d.Query, a.text("query"))
	if asked == string(workload.Prometheus) && query == "" && d.Probe == "" {
		asked = ""
		d.Warnings = append(d.Warnings, fmt.Sprintf("annotation %s: prometheus needs a query in %s; the pod is measured by %s", workload.ProbeWith, workload.PromQL, handshake(w.ports)))
	}
	d.Probe = cmp.Or(d.Probe, asked, handshake(w.ports))
	if d.Probe == string(workload.Prometheus) {
		d.Query = query
		return
	}
	if a.text("query") != "" {
		d.Warnings = append(d.Warnings, fmt.Sprintf("annotation %s is ignored: %s is %s, not prometheus", workload.PromQL, workload.ProbeWith, d.Probe))
	}
	d.Query = ""
}

// bandwidth settles the limits of a pod for which the policy wants want. A
// class that is not throttleable has none, whatever the policy says, and a
// protected class no policer either.
func (c classSpec) bandwidth(want Bandwidth, a asks, siblings []Sibling) Bandwidth {
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
	floor := min(cmp.Or(a.rate("minBandwidth"), least), max(initial, least), ceiling)
	within := func(r bitrate.Rate) bitrate.Rate { return max(min(r, ceiling), floor) }
	b := Bandwidth{
		Min: floor, Max: ceiling, Priority: priority,
		Initial: within(cmp.Or(a.rate("initial"), a.rate("egress"), initial)),
		Weight:  cmp.Or(want.Weight, min(cmp.Or(a.weight(), c.Bandwidth.Weight), c.Bandwidth.MaxWeight)),
		Ingress: lower(cmp.Or(want.Ingress, bitrate.Rate(c.Bandwidth.Ingress)), a.rate("ingress")),
	}
	// It begins where its running siblings are, so that a rollout or a crash
	// loop does not escape the throttle.
	b.Egress = within(cmp.Or(want.Egress, lowest(siblings), b.Initial))
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

// handshake is the probe of a protected pod that asks for none: a TCP handshake
// with the first port it declares, else ICMP echo.
func handshake(ports []port) string {
	for _, p := range ports {
		if p.protocol == "TCP" {
			return "tcp:" + p.number
		}
	}
	return "icmp"
}
