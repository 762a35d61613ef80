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
	{Name: AnnotationDecision, Stamp: true},
	{Name: AnnotationRank, Stamp: true},
	{Name: AnnotationSignature, Stamp: true},
	{Name: AnnotationWould, Stamp: true},
	{Name: AnnotationInitialBandwidth, Stamp: true},
	{Name: AnnotationMinBandwidth},
	{Name: AnnotationClassMinBandwidth, Stamp: true},
	{Name: AnnotationMaxBandwidth},
	{Name: AnnotationWeight},
	{Name: AnnotationMaxJitter},
	{Name: AnnotationMaxLatency},
	{Name: AnnotationMaxLoss},
	{Name: AnnotationProbe},
	{Name: AnnotationQuery},
	{Name: AnnotationDSCP},
	{Name: AnnotationProbeFrom},
	{Name: AnnotationReflector},
	{Name: AnnotationLimitDecision, Live: true, Stamp: true},
	{Name: AnnotationEgressBandwidth, Live: true, Shared: true},
	{Name: AnnotationIngressBandwidth, Live: true, Shared: true},
	{Name: AnnotationCiliumPriority},
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
