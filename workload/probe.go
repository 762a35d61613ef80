package workload

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Protocol is a way to measure a path.
type Protocol string

// The protocols of the probe annotation.
const (
	STAMP Protocol = "stamp" // RFC 8762 session-reflector, port 862 by default
	UDP   Protocol = "udp"   // any UDP echo
	TCP   Protocol = "tcp"   // handshake; needs no cooperation
	ICMP  Protocol = "icmp"  // echo

	// Prometheus takes what others measured, by the PromQL annotation's query.
	Prometheus Protocol = "prometheus"
)

// Who answers probes: the pod, or the agent on its node.
const (
	ReflectorPod  = "pod"
	ReflectorNode = "node"
)

// ParseReflector reads "pod" or "node".
func ParseReflector(text string) (string, error) {
	if text != ReflectorPod && text != ReflectorNode {
		return "", fmt.Errorf("%q must be %s or %s", text, ReflectorPod, ReflectorNode)
	}
	return text, nil
}

// maxProbeFrom is how many nodes may be named.
const maxProbeFrom = 16

// ParseProbeFrom reads names of nodes, separated by commas, and returns them so
// without spaces.
func ParseProbeFrom(text string) (string, error) {
	nodes := strings.Split(text, ",")
	for i, node := range nodes {
		nodes[i] = strings.TrimSpace(node)
		if msgs := validation.IsDNS1123Subdomain(nodes[i]); len(msgs) > 0 {
			return "", fmt.Errorf("%q must be names of nodes, separated by commas", text)
		}
	}
	if len(nodes) > maxProbeFrom {
		return "", fmt.Errorf("%d nodes are named; at most %d are", len(nodes), maxProbeFrom)
	}
	return strings.Join(nodes, ","), nil
}

// STAMPPort is the session-reflector's well-known port (RFC 8762 §4.1).
const STAMPPort = 862

// Probe says how to measure a critical workload.
type Probe struct {
	Protocol Protocol
	Port     uint16 // 0 for ICMP and Prometheus
}

// String is the annotation value of p.
func (p Probe) String() string {
	if p.Port == 0 || (p.Protocol == STAMP && p.Port == STAMPPort) {
		return string(p.Protocol)
	}
	return fmt.Sprintf("%s:%d", p.Protocol, p.Port)
}

// ParseProbe reads "stamp", "stamp:8620", "udp:5201", "tcp:5202", "icmp" or
// "prometheus".
func ParseProbe(text string) (Probe, error) {
	name, portText, hasPort := strings.Cut(text, ":")
	port, err := strconv.ParseUint(portText, 10, 16)
	valid := err == nil && port > 0
	p := Probe{Protocol: Protocol(name), Port: uint16(port)}
	switch p.Protocol {
	case STAMP:
		if !hasPort {
			p.Port, valid = STAMPPort, true
		}
	case UDP, TCP:
	case ICMP, Prometheus:
		valid = !hasPort
	default:
		valid = false
	}
	if !valid {
		return Probe{}, fmt.Errorf("%q must be stamp, stamp:PORT, udp:PORT, tcp:PORT, icmp or prometheus, with a port from 1 to 65535", text)
	}
	return p, nil
}
