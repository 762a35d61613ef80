package workload

// What a node carries for the scheduler, where that is switched on.
const (
	// TaintCongested keeps pods away that can go elsewhere (PreferNoSchedule).
	TaintCongested = "detnet.dev/congested"
	// BestEffortBandwidth is an extended resource, in bit/s: what the
	// best-effort pods of a node may send together. As an annotation on the
	// node people state it; otherwise it is what was found.
	BestEffortBandwidth = "detnet.dev/best-effort-bandwidth"
)
