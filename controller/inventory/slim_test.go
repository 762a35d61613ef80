package inventory

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// BenchmarkKeep is what each of 10,000 pods takes, as they come from the API server's
// protobuf.
func BenchmarkKeep(b *testing.B) {
	const pods = 10_000
	wires := make([][]byte, pods)
	for i := range wires {
		pod := signed("best-effort", stamped())
		pod.Name, pod.UID = fmt.Sprintf("telemetry-7d9c5b6f4-%05d", i), "0123456789abcdef0123456789abcdef0123"
		pod.Labels["app.kubernetes.io/name"], pod.Labels["pod-template-hash"] = "telemetry", "7d9c5b6f4"
		pod = sign(pod)
		var err error
		if wires[i], err = pod.Marshal(); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		inv, cache := keyed("enforce"), make([]any, pods)
		for i, wire := range wires {
			var pod corev1.Pod
			if err := pod.Unmarshal(wire); err != nil {
				b.Fatal(err)
			}
			cache[i], _ = slim(&pod)
			inv.setPod("factory/"+pod.Name, cache[i])
		}
		s := inv.Snapshot()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/pods, "kept-B/pod")
		if len(s.Senders) != pods {
			b.Fatalf("%d senders", len(s.Senders))
		}
		runtime.KeepAlive(cache)
	}
}
