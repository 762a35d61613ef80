// Package workload is what people and detnet say about a pod in its labels and
// annotations: the keys, and the typed values behind them. The webhook stamps
// them, the controller reads them back; nothing else carries state.
package workload

import "time"

// Labels. Priority is the one label most users ever set; Class is what the
// policy made of it.
const (
	LabelPriority = "detnet.dev/priority"
	LabelClass    = "detnet.dev/class" // "critical": what the policy made of the pod
)

// Labels of a namespace, which its owner sets and tenants can't.
const (
	LabelAllowCritical = "detnet.dev/allow-critical" // "true": its pods may claim the trusted classes
	// The classes between which those of the
	// namespace's pods lie, whatever the pods say.
	LabelPriorityAtMost  = "detnet.dev/priority-at-most"
	LabelPriorityAtLeast = "detnet.dev/priority-at-least"
	// "200M": how far the floors of the namespace's pods may lie above those of their
	// classes, all pods together. Without it none does.
	LabelFloorsAtMost = "detnet.dev/floors-at-most"
)

// Annotations set by people, on a pod template or on a namespace as the
// default for its pods.
const (
	AnnotationMaxJitter    = "detnet.dev/max-jitter"    // "1ms": bound on packet delay variation
	AnnotationMaxLatency   = "detnet.dev/max-latency"   // "10ms": bound on the round trip
	AnnotationMaxLoss      = "detnet.dev/max-loss"      // "0.1%": bound on lost probes
	AnnotationProbe        = "detnet.dev/probe"         // "stamp", "udp:5201", "tcp:5202", "icmp", "prometheus"
	AnnotationQuery        = "detnet.dev/query"         // what Prometheus is asked, for that probe
	AnnotationDSCP         = "detnet.dev/dscp"          // "EF": the codepoint of the probes' packets
	AnnotationMinBandwidth = "detnet.dev/min-bandwidth" // "10M": floor of a throttleable pod
	AnnotationMaxBandwidth = "detnet.dev/max-bandwidth" // "1G": ceiling of a throttleable pod
	AnnotationWeight       = "detnet.dev/weight"        // "2": share within its class
	AnnotationMode         = "detnet.dev/mode"          // on a namespace: enforce, observe or off
)

// Annotations that say from where and by whom a pod is measured. A namespace or
// the policy says so, and not the pod: who chose where it is measured from could have
// others cut.
const (
	AnnotationProbeFrom = "detnet.dev/probe-from" // "worker-1,worker-2": nodes to measure from
	AnnotationReflector = "detnet.dev/reflector"  // "node": the agent beside the pod reflects, not the pod
)

// Annotations stamped by the webhook and, for the limits, kept by the
// controller on the live pod.
const (
	// Rule ids and policy hash: equal inputs give equal text.
	AnnotationDecision = "detnet.dev/decision"
	// The order of classes: pods of the lowest rank are cut first. A decimal integer.
	AnnotationRank = "detnet.dev/rank"
	// Proof that admission wrote the stamps; package signature makes
	// and checks it.
	AnnotationSignature = "detnet.dev/signature"
	// On a pod that was admitted while detnet only observes: a JSON
	// object with what it would have got; see type Withheld.
	AnnotationWould = "detnet.dev/would"
	// On a pod whose floor is above that of its class: the floor
	// without what the namespace is granted.
	AnnotationClassMinBandwidth = "detnet.dev/class-min-bandwidth"
	// The egress limit given at admission; "detnet restore"
	// puts it back. Its presence makes a pod throttleable.
	AnnotationInitialBandwidth = "detnet.dev/initial-bandwidth"
	// On a Deployment, StatefulSet or DaemonSet whose template
	// was given a limit: the annotations that the template had before, as a
	// JSON object with null for those it had not.
	AnnotationTemplateBefore = "detnet.dev/template-before"

	// Beside an egress limit that the controller wrote where the
	// node agent enforces: which decision it is the record of; see DecidedOrder.
	AnnotationLimitDecision = "detnet.dev/limit-decision"

	AnnotationEgressBandwidth  = "kubernetes.io/egress-bandwidth"  // "85M": the egress limit in force, which the controller moves
	AnnotationIngressBandwidth = "kubernetes.io/ingress-bandwidth" // "100M": the ingress limit, given once
	AnnotationCiliumPriority   = "bandwidth.cilium.io/priority"    // "10": the band of fq in which Cilium queues the pod's packets
)

// NamingLabels name the workload that a pod belongs to; the first that a pod has
// counts.
var NamingLabels = []string{"app.kubernetes.io/name", "app", "k8s-app"}

// AnnotationYields is on every CiliumNetworkPolicy that detnet made: "true" where it
// may open nothing that another policy closes.
const AnnotationYields = "detnet.dev/yields"

// UnusedFor is how long a CiliumNetworkPolicy of detnet's outlives the last pod
// that needed it.
const UnusedFor = 20 * time.Minute

// NoLimit stands in AnnotationInitialBandwidth for a pod that nobody stamped and that had
// no limit before it was given the first.
const NoLimit = "none"

// ClassCritical is the class that is measured and never limited.
const ClassCritical = "critical"
