package webhook

import (
	"fmt"
	"runtime"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/detnet/detnet/workload"
)

// BenchmarkCached is what the webhook's cache takes, a pod of 20 alike, and what asking it
// for the siblings of one costs; as client-go keeps them, with the webhook's index.
func BenchmarkCached(b *testing.B) {
	for _, pods := range []int{10_000, 50_000} {
		b.Run(fmt.Sprintf("pods=%d", pods), func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			i := &Informers{}
			kept := toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, toolscache.Indexers{byWorkload: func(o any) ([]string, error) {
				return []string{i.workload(o.(*metav1.PartialObjectMetadata))}, nil
			}})
			for n := range pods {
				pod := cachedPod(b, n)
				if err := kept.Add(pod); err != nil {
					b.Fatal(err)
				}
				i.note(nil, pod)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			id := i.workload(cachedPod(b, pods/2))
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				found, err := kept.ByIndex(byWorkload, id)
				if err != nil || len(found) != 20 {
					b.Fatalf("%d siblings, %v", len(found), err)
				}
				for _, o := range found {
					if _, ok := siblingOf(o.(*metav1.PartialObjectMetadata)); !ok {
						b.Fatal("no limit")
					}
				}
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(pods), "octets/pod")
			runtime.KeepAlive(kept)
		})
	}
}

// cachedPod is that of the n-th pod, decoded as it comes from the API server.
func cachedPod(b *testing.B, n int) *metav1.PartialObjectMetadata {
	b.Helper()
	yes := true
	from := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "factory", Name: fmt.Sprintf("telemetry-%d-7d9c5b6f4-%05d", n/20, n), UID: types.UID(fmt.Sprintf("0123456789abcdef0123456789abcd%06d", n)), ResourceVersion: "123456789",
		GenerateName:    fmt.Sprintf("telemetry-%d-7d9c5b6f4-", n/20),
		Labels:          map[string]string{"app.kubernetes.io/name": "telemetry", "pod-template-hash": "7d9c5b6f4", workload.LabelClass: "best-effort", workload.LabelPriority: "best-effort"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: fmt.Sprintf("telemetry-%d-7d9c5b6f4", n/20), UID: "0123456789abcdef0123456789abcdef0123", Controller: &yes, BlockOwnerDeletion: &yes}},
		Annotations: map[string]string{
			workload.AnnotationEgressBandwidth: "85M", workload.AnnotationInitialBandwidth: "100M", workload.AnnotationRank: "1",
			workload.AnnotationLimitDecision: "1880329465921543.42 85M", workload.AnnotationDecision: "0123456789abcdef0123456789abcdef0123456789abcdef",
		},
	}}
	wire, err := from.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	var is metav1.PartialObjectMetadata
	if err := is.Unmarshal(wire); err != nil {
		b.Fatal(err)
	}
	return &is
}
