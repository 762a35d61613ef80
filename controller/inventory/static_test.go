package inventory

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/targets"
	"github.com/detnet/detnet/workload"
)

func staticTargets(t *testing.T) targets.Targets {
	t.Helper()
	got, err := targets.Parse([]byte(`
critical_apps: [{name: plc, service: 192.0.2.7, port: 5201, max_jitter_ms: 1, priority: 100}]
best_effort_targets: [{deployment: telemetry-upload, namespace: factory, initial_bandwidth: 100}]
control: {min_bandwidth: 20, max_bandwidth: 500}
`))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// ownedBy makes pod one of a ReplicaSet.
func ownedBy(pod *corev1.Pod, replicaSet string) *corev1.Pod {
	yes := true
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: replicaSet, UID: "rs", Controller: &yes}}
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels["pod-template-hash"] = replicaSet[strings.LastIndexByte(replicaSet, '-')+1:]
	return pod
}

func TestStaticTargets(t *testing.T) {
	inv := keyed(workload.Enforce)
	inv.SetStatic(staticTargets(t))
	inv.setPod("factory/pod", ownedBy(running("", nil), "telemetry-upload-5d4f"))
	inv.setPod("factory/other", ownedBy(running("", nil), "telemetry-5d4f"))
	s := inv.Snapshot()
	if len(s.Apps) != 1 || s.Apps[0].IP != "192.0.2.7" || s.Apps[0].Node != "" || s.Apps[0].Rank != 100 {
		t.Errorf("apps = %+v, want the endpoint", s.Apps)
	}
	if len(s.Senders) != 1 {
		t.Fatalf("senders = %+v, want the Deployment's pod", s.Senders)
	}
	got := s.Senders[0]
	if got.Min != 20*bitrate.Mbit || got.Max != 500*bitrate.Mbit || got.Initial != 100*bitrate.Mbit || got.Limit != 0 {
		t.Errorf("sender = %+v, want 20M to 500M, 100M at first, no limit in force", got)
	}

	if got.Before != workload.NoLimit {
		t.Errorf("before the first limit %q, want none", got.Before)
	}
	limited := ownedBy(running("", map[string]string{workload.AnnotationInitialBandwidth: workload.NoLimit, workload.AnnotationEgressBandwidth: "50M"}), "telemetry-upload-5d4f")
	inv.setPod("factory/pod", limited)
	if got := inv.Snapshot().Senders[0]; got.Before != "" || got.Initial != 100*bitrate.Mbit || got.Limit != 50*bitrate.Mbit {
		t.Errorf("sender = %+v, want the limit in force and nothing more to tell the pod", got)
	}

	inv.setPod("factory/pod", signed("best-effort", stamped()))
	if s := inv.Snapshot(); len(s.Senders) != 1 || s.Senders[0].Limit != 85*bitrate.Mbit {
		t.Errorf("senders = %+v, want the pod once, as it was stamped", s.Senders)
	}
	// Nobody leaves it by a class that admission did not give, or moves its bounds.
	forged := ownedBy(running("critical", stamped(workload.AnnotationMinBandwidth, "900M", workload.AnnotationMaxJitter, "10us")), "telemetry-upload-5d4f")
	inv.setPod("factory/pod", forged)
	if s := inv.Snapshot(); len(s.Senders) != 1 || s.Senders[0].Min != 20*bitrate.Mbit || s.Senders[0].Rank != 0 || len(s.Apps) != 1 {
		t.Errorf("apps %+v, senders %+v; want the pod as the administrator has it", s.Apps, s.Senders)
	}
	inv.SetMode(workload.Off)
	if s := inv.Snapshot(); len(s.Apps) != 0 || len(s.Senders) != 0 {
		t.Errorf("off, and still %+v", s)
	}
}

func TestWorkloadOf(t *testing.T) {
	yes := true
	owned := func(kind, name string) *corev1.Pod {
		pod := running("", nil)
		pod.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: name, Controller: &yes}}
		pod.Labels["pod-template-hash"] = "5d4f"
		return pod
	}
	for _, tt := range []struct {
		pod  *corev1.Pod
		want Workload
	}{
		{running("", nil), Workload{}},
		{owned("ReplicaSet", "erp-dashboard-5d4f"), Workload{"Deployment", "factory", "erp-dashboard"}},
		{owned("ReplicaSet", "of-its-own"), Workload{"ReplicaSet", "factory", "of-its-own"}},
		{owned("StatefulSet", "db"), Workload{"StatefulSet", "factory", "db"}},
		{owned("DaemonSet", "log-shipper"), Workload{"DaemonSet", "factory", "log-shipper"}},
	} {
		if got := workloadOf(slimPodOf(tt.pod)); got != tt.want {
			t.Errorf("workloadOf = %+v, want %+v", got, tt.want)
		}
	}
}
