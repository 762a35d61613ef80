package workload

import (
	"fmt"
	"net/netip"
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

// Family is a version of IP (RFC 791, RFC 8200); the zero value is either.
type Family uint8

// The families that a probe may ask for.
const (
	AnyFamily Family = 0
	IPv4      Family = 4
	IPv6      Family = 6
)

// Has reports whether addr is of the family.
func (f Family) Has(addr netip.Addr) bool {
	return f == AnyFamily || addr.IsValid() && addr.Unmap().Is4() == (f == IPv4)
}

// Probe says how to measure a critical workload.
type Probe struct {
	Protocol Protocol
	Port     uint16 // 0 for ICMP and Prometheus
	// Family is that of the address to measure at; AnyFamily: the pod's primary one.
	Family Family
}

// String is the annotation value of p.
func (p Probe) String() string {
	text := string(p.Protocol)
	if p.Family != AnyFamily {
		text += strconv.Itoa(int(p.Family))
	}
	if p.Port == 0 || (p.Protocol == STAMP && p.Port == STAMPPort) {
		return text
	}
	return fmt.Sprintf("%s:%d", text, p.Port)
}

// ParseProbe reads "stamp", "stamp:8620", "udp:5201", "tcp:5202", "icmp" or
// "prometheus". All but the last may say by which family of IP, as in "stamp4",
// "tcp6:5202" and "icmp6".
func ParseProbe(text string) (Probe, error) {
	name, portText, hasPort := strings.Cut(text, ":")
	port, err := strconv.ParseUint(portText, 10, 16)
	valid := err == nil && port > 0
	p := Probe{Port: uint16(port)}
	name, p.Family = cutFamily(name)
	p.Protocol = Protocol(name)
	switch p.Protocol {
	case STAMP:
		if !hasPort {
			p.Port, valid = STAMPPort, true
		}
	case UDP, TCP:
	case ICMP:
		valid = !hasPort
	case Prometheus:
		valid = !hasPort && p.Family == AnyFamily
	default:
		valid = false
	}
	if !valid {
		return Probe{}, fmt.Errorf("%q must be stamp, stamp:PORT, udp:PORT, tcp:PORT, icmp or prometheus, with a port from 1 to 65535; a 4 or 6 after the protocol, as in tcp6:PORT, says by which family of IP", text)
	}
	return p, nil
}

// cutFamily takes the family off a protocol's name.
func cutFamily(name string) (string, Family) {
	for _, f := range []Family{IPv4, IPv6} {
		if protocol, ok := strings.CutSuffix(name, strconv.Itoa(int(f))); ok {
			return protocol, f
		}
	}
	return name, AnyFamily
}
