package workload

// Key is a label or an annotation of pods that detnet manages: what a decision
// does not give, admission takes away, and on a live pod only the trusted
// change it.
type Key struct {
	Name  string
	Label bool // a label; otherwise an annotation
	// Live keys are moved on live pods by the controller, so no signature
	// covers them.
	Live bool
	// Shared keys are also written by people for reasons of their own, under
	// Kubernetes' name: they stay where no decision says otherwise.
	Shared bool
	// Stamp keys say what only detnet can know: nobody asks for anything by
	// them, and a pod for which nothing could be decided loses them too.
	Stamp bool
}

// Managed are all of them, in the order of the reference.
var Managed = []Key{
	{Name: LabelClass, Label: true, Stamp: true},
	{Name: Decision, Stamp: true},
	{Name: Rank, Stamp: true},
	{Name: Signature, Stamp: true},
	{Name: Would, Stamp: true},
	{Name: InitialBandwidth, Stamp: true},
	{Name: MinBandwidth},
	{Name: MaxBandwidth},
	{Name: Weight},
	{Name: MaxJitter},
	{Name: MaxLatency},
	{Name: MaxLoss},
	{Name: ProbeWith},
	{Name: PromQL},
	{Name: ProbeDSCP},
	{Name: ProbeFrom},
	{Name: Reflector},
	{Name: LimitDecision, Live: true, Stamp: true},
	{Name: EgressBandwidth, Live: true, Shared: true},
	{Name: IngressBandwidth, Live: true, Shared: true},
	{Name: CiliumPriority},
}

// ManagedLabels and ManagedAnnotations are the names of the managed keys.
var (
	ManagedLabels      = namesOf(func(k Key) bool { return k.Label })
	ManagedAnnotations = namesOf(func(k Key) bool { return !k.Label })
)

func namesOf(which func(Key) bool) []string {
	var out []string
	for _, k := range Managed {
		if which(k) {
			out = append(out, k.Name)
		}
	}
	return out
}
