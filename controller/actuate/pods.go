package actuate

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/write"
)

// Pods is an Annotator for pods. Whoever calls it has paid for the write.
type Pods struct{ *write.Writer }

// Annotate changes metadata.annotations alone, of the pod with this UID: a
// namesake refuses it. A patch, unlike apply, can't create.
func (p Pods) Annotate(ctx context.Context, pod plan.PodID, uid types.UID, annotations map[string]string) error {
	return p.Send(ctx, write.Change{Target: target(pod, uid), Annotations: annotations})
}

// Try is Annotate on dry run.
func (p Pods) Try(ctx context.Context, pod plan.PodID, uid types.UID, annotations map[string]string) error {
	return p.Send(ctx, write.Change{Target: target(pod, uid), Annotations: annotations, DryRun: true})
}

func target(pod plan.PodID, uid types.UID) write.Target {
	return write.Target{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: uid}
}
