package inventory

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// running is a scheduled, ready pod.
func running(class string, annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "factory", Name: "pod", UID: "u1",
			Labels: map[string]string{workload.LabelClass: class}, Annotations: annotations,
		},
		Spec: corev1.PodSpec{NodeName: "worker-1"},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.0.1.5",
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
}

func stamped(change ...string) map[string]string {
	a := map[string]string{
		workload.AnnotationInitialBandwidth: "100M", workload.AnnotationEgressBandwidth: "85M",
		workload.AnnotationMinBandwidth: "20M", workload.AnnotationMaxBandwidth: "500M", workload.AnnotationWeight: "2", workload.AnnotationRank: "10",
	}
	for i := 0; i < len(change); i += 2 {
		a[change[i]] = change[i+1]
	}
	return a
}

func TestParseSender(t *testing.T) {
	good := Sender{
		Sender: plan.Sender{
			Pod: plan.PodID{Namespace: "factory", Name: "pod"}, Node: "worker-1",
			Rank: 10, Weight: 2, Min: 20 * bitrate.Mbit, Max: 500 * bitrate.Mbit, Limit: 85 * bitrate.Mbit,
		},
		UID: "u1", Initial: 100 * bitrate.Mbit, Annotation: "85M", Restore: "100M",
	}
	for _, tt := range []struct {
		name        string
		annotations map[string]string
		change      func(*Sender)
		problem     string // what the only problem speaks of; "": none
	}{
		{"as stamped", stamped(), func(*Sender) {}, ""},
		{"no limit in force", stamped(workload.AnnotationEgressBandwidth, ""), func(s *Sender) { s.Limit, s.Annotation = 0, "" }, ""},
		// The CNI takes these for "no limit", so the law must, too.
		{"zero limit", stamped(workload.AnnotationEgressBandwidth, "0"), func(s *Sender) { s.Limit, s.Annotation = 0, "0" }, "egress-bandwidth"},
		{"unreadable limit", stamped(workload.AnnotationEgressBandwidth, "fast"), func(s *Sender) { s.Limit, s.Annotation = 0, "fast" }, "egress-bandwidth"},
		{"unreadable floor", stamped(workload.AnnotationMinBandwidth, "-1"), func(s *Sender) { s.Min = 10 * bitrate.Mbit }, "min-bandwidth"},
		{"unreadable ceiling", stamped(workload.AnnotationMaxBandwidth, "1Mbit"), func(s *Sender) { s.Max = bitrate.Gbit }, "max-bandwidth"},
		{"floor above ceiling", stamped(workload.AnnotationMinBandwidth, "600M"), func(s *Sender) { s.Min, s.Max = 10*bitrate.Mbit, bitrate.Gbit }, "min-bandwidth"},
		{"ceiling below the default floor", map[string]string{workload.AnnotationInitialBandwidth: "5M", workload.AnnotationEgressBandwidth: "5M", workload.AnnotationMaxBandwidth: "5M"}, func(s *Sender) {
			s.Rank, s.Weight, s.Min, s.Max, s.Limit, s.Initial, s.Annotation, s.Restore = 0, 1, 5*bitrate.Mbit, 5*bitrate.Mbit, 5*bitrate.Mbit, 5*bitrate.Mbit, "5M", "5M"
		}, ""},
		{"unreadable weight", stamped(workload.AnnotationWeight, "heavy"), func(s *Sender) { s.Weight = 1 }, "weight"},
		{"unreadable rank", stamped(workload.AnnotationRank, "top"), func(s *Sender) { s.Rank = 0 }, "rank"},
		{"unreadable initial", stamped(workload.AnnotationInitialBandwidth, "x"), func(s *Sender) { s.Initial, s.Restore = 0, "x" }, "initial-bandwidth"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := good
			tt.change(&want)
			got := parse(slimPodOf(running("best-effort", tt.annotations)))
			if got.app != nil || got.sender == nil {
				t.Fatalf("parse = %+v, want a sender", got)
			}
			if diff := cmp.Diff(want, *got.sender); diff != "" {
				t.Errorf("sender (-want +got):\n%s", diff)
			}
			checkProblem(t, got.problems, tt.problem)
		})
	}
}

func TestParseApp(t *testing.T) {
	asked := func(change ...string) map[string]string {
		a := map[string]string{workload.AnnotationMaxJitter: "1ms", workload.AnnotationProbe: "udp:5201", workload.AnnotationRank: "100"}
		for i := 0; i < len(change); i += 2 {
			if a[change[i]] = change[i+1]; change[i+1] == "" {
				delete(a, change[i])
			}
		}
		return a
	}
	good := App{
		App: plan.App{
			Pod: plan.PodID{Namespace: "factory", Name: "pod"}, Node: "worker-1", Rank: 100,
			Protocol: workload.UDP, SLO: workload.SLO{Jitter: time.Millisecond},
		},
		UID: "u1", IP: "10.0.1.5", Probe: workload.Probe{Protocol: workload.UDP, Port: 5201},
	}
	beside := func(a *App) {
		a.Probe, a.Protocol, a.NodeReflects = workload.Probe{Protocol: workload.STAMP, Port: 862}, workload.STAMP, true
	}
	for _, tt := range []struct {
		name        string
		annotations map[string]string
		change      func(*App)
		problem     string
	}{
		{"as stamped", asked(), func(*App) {}, ""},
		{"one unreadable target of two", asked(workload.AnnotationMaxLatency, "soon"), func(*App) {}, "max-latency"},
		{"no probe", asked(workload.AnnotationProbe, ""), beside, ""},
		{"unreadable probe", asked(workload.AnnotationProbe, "sctp:1"), beside, "probe"},
		{"stamp on the pod", asked(workload.AnnotationProbe, "stamp"), func(a *App) {
			a.Probe, a.Protocol = workload.Probe{Protocol: workload.STAMP, Port: 862}, workload.STAMP
		}, ""},
		{"stamp beside the pod", asked(workload.AnnotationProbe, "stamp", workload.AnnotationReflector, "node"), beside, ""},
		{"the second family", asked(workload.AnnotationProbe, "udp6:5201"), func(a *App) { a.Probe.Family, a.IP = workload.IPv6, "fd00::5" }, ""},
		{"the primary family by name", asked(workload.AnnotationProbe, "udp4:5201"), func(a *App) { a.Probe.Family = workload.IPv4 }, ""},
		{"the second family beside the pod", asked(workload.AnnotationProbe, "stamp6", workload.AnnotationReflector, "node"), func(a *App) {
			beside(a)
			a.Probe.Family, a.IP = workload.IPv6, "fd00::5"
		}, ""},
		{"unreadable reflector", asked(workload.AnnotationReflector, "moon"), func(*App) {}, "reflector"},
		{"codepoint", asked(workload.AnnotationDSCP, "EF"), func(a *App) { a.DSCP = 46 }, ""},
		{"unreadable codepoint", asked(workload.AnnotationDSCP, "64"), func(*App) {}, "dscp"},
		{"query", asked(workload.AnnotationProbe, "prometheus", workload.AnnotationQuery, "max(x[1m])"), func(a *App) {
			a.Probe, a.Protocol = workload.Probe{Protocol: workload.Prometheus}, workload.Prometheus
			a.Query = workload.Query{Text: "max(x[1m])", Range: time.Minute, Selectors: []string{"x"}}
		}, ""},
		{"query missing", asked(workload.AnnotationProbe, "prometheus"), beside, "query"},
		{"unreadable query", asked(workload.AnnotationProbe, "prometheus", workload.AnnotationQuery, "max(x[1m]"), beside, "query"},
		{"query out of place", asked(workload.AnnotationQuery, "max(x[1m]"), func(*App) {}, ""},
		{"pinned", asked(workload.AnnotationProbeFrom, " worker-2,, worker-3 "), func(a *App) { a.Pinned = []string{"worker-2", "worker-3"} }, ""},
		{"pinned to its own node", asked(workload.AnnotationProbeFrom, "worker-1,worker-2"), func(a *App) { a.Pinned = []string{"worker-2"} }, "own node"},
		{"pinned to its own node alone", asked(workload.AnnotationProbeFrom, "worker-1"), func(*App) {}, "own node"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := good
			tt.change(&want)
			pod := running(workload.ClassCritical, tt.annotations)
			pod.Status.PodIPs = []corev1.PodIP{{IP: "10.0.1.5"}, {IP: "fd00::5"}}
			got := parse(slimPodOf(pod))
			if got.app == nil || got.sender != nil {
				t.Fatalf("parse = %+v, want an app", got)
			}
			if diff := cmp.Diff(want, *got.app); diff != "" {
				t.Errorf("app (-want +got):\n%s", diff)
			}
			checkProblem(t, got.problems, tt.problem)
		})
	}
}

// A pod that has not the family that is asked for is measured all the same, and that
// is said.
func TestFamilyThatIsNotThere(t *testing.T) {
	asks := map[string]string{workload.AnnotationMaxJitter: "1ms", workload.AnnotationProbe: "tcp6:80"}
	got := parse(slimPodOf(running(workload.ClassCritical, asks)))
	if got.app == nil || got.app.IP != "10.0.1.5" {
		t.Errorf("app = %+v, want it measured at its only address", got.app)
	}
	checkProblem(t, got.problems, "no IPv6 address")
}

// A critical pod is never limited, whatever is written on it.
func TestCriticalIsNeverASender(t *testing.T) {
	got := parse(slimPodOf(running(workload.ClassCritical, stamped(workload.AnnotationMaxJitter, "1ms"))))
	if got.sender != nil || got.app == nil {
		t.Errorf("parse = %+v, want an app and no sender", got)
	}
}

func TestParseIgnores(t *testing.T) {
	jitter := map[string]string{workload.AnnotationMaxJitter: "1ms", workload.AnnotationProbe: "udp:5201"}
	for _, tt := range []struct {
		name    string
		pod     *corev1.Pod
		change  func(*corev1.Pod)
		problem string
	}{
		{"asks for nothing", running(workload.ClassCritical, nil), func(*corev1.Pod) {}, ""},
		{"asks for nothing readable", running(workload.ClassCritical, map[string]string{workload.AnnotationMaxJitter: "x"}), func(*corev1.Pod) {}, "max-jitter"},
		{"unscheduled", running("best-effort", stamped()), func(p *corev1.Pod) { p.Spec.NodeName = "" }, ""},
		{"ended", running("best-effort", stamped()), func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, ""},
		{"host network", running("best-effort", stamped()), func(p *corev1.Pod) { p.Spec.HostNetwork = true }, "host network"},
		{"not ready", running(workload.ClassCritical, jitter), func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }, ""},
		{"not ready, asks for handshakes", running(workload.ClassCritical, map[string]string{workload.AnnotationMaxJitter: "1ms", workload.AnnotationProbe: "tcp:3306"}),
			func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }, ""},
		{"stopping", running(workload.ClassCritical, jitter), func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }, ""},
		{"no address", running(workload.ClassCritical, jitter), func(p *corev1.Pod) { p.Status.PodIP = "" }, ""},
	} {
		tt.change(tt.pod)
		got := parse(slimPodOf(tt.pod))
		if got.app != nil || got.sender != nil {
			t.Errorf("%s: parse = %+v", tt.name, got)
		}
		checkProblem(t, got.problems, tt.problem)
	}
}

// A pod that is stopping still sends.
func TestStoppingSenderStays(t *testing.T) {
	pod := running("best-effort", stamped())
	pod.DeletionTimestamp = &metav1.Time{}
	if got := parse(slimPodOf(pod)); got.sender == nil {
		t.Error("a stopping sender is forgotten while it still sends")
	}
}

// whole is a pod with all of its labels and annotations.
func whole(pod *corev1.Pod) *slimPod {
	out := slimPodOf(pod)
	out.ObjectMeta = pod.ObjectMeta
	return out
}

// What slim drops, parse does not miss; and what is slim stays as it is.
func TestSlimKeepsWhatParseReads(t *testing.T) {
	pods := []*corev1.Pod{
		running("best-effort", stamped()),
		running(workload.ClassCritical, map[string]string{workload.AnnotationMaxJitter: "1ms", workload.AnnotationProbe: "udp:5201", workload.AnnotationProbeFrom: "a"}),
	}
	for _, pod := range pods {
		thin, err := slim(pod.DeepCopy())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(parse(whole(pod)), parse(thin.(*slimPod)), cmp.AllowUnexported(meaning{})); diff != "" {
			t.Errorf("parse after slim (-before +after):\n%s", diff)
		}
		if again, err := slim(thin); again != thin || err != nil {
			t.Errorf("slim of what is slim = %v, %v; want the same", again, err)
		}
	}
	agent := agentPod()
	thin, err := slim(agent.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	before, _ := parseAgent(whole(agent))
	if after, absent := parseAgent(thin.(*slimPod)); absent != (Absent{}) || after != before {
		t.Errorf("parseAgent after slim = %+v, %v; want %+v", after, absent, before)
	}
}

func agentPod() *corev1.Pod {
	pod := running("", nil)
	pod.Labels = map[string]string{labelName: "detnet", labelComponent: "agent-probe"}
	pod.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{
		{Name: "grpc", ContainerPort: 9443}, {Name: "reflector", ContainerPort: 862},
	}}}
	return pod
}

func TestParseAgent(t *testing.T) {
	got, absent := parseAgent(slimPodOf(agentPod()))
	want := Agent{
		Pod: plan.PodID{Namespace: "factory", Name: "pod"}, UID: "u1", Role: api.Role_ROLE_PROBE,
		Node: "worker-1", Addr: "10.0.1.5:9443", IP: "10.0.1.5", STAMP: 862,
	}
	if absent != (Absent{}) || got != want {
		t.Errorf("parseAgent = %+v, %v; want %+v", got, absent, want)
	}
	for name, change := range map[string]func(*corev1.Pod){
		"another component": func(p *corev1.Pod) { p.Labels[labelComponent] = "webhook" },
		"no grpc port":      func(p *corev1.Pod) { p.Spec.Containers = nil },
		"no address":        func(p *corev1.Pod) { p.Status.PodIP = "" },
		"pending":           func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending },
		"stopping":          func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} },
	} {
		pod := agentPod()
		change(pod)
		got, absent := parseAgent(slimPodOf(pod))
		if got != (Agent{}) || (absent.Why == "") != (name == "another component") {
			t.Errorf("%s: parseAgent = %+v, %+v; want it named with why it can't be reached", name, got, absent)
		}
	}
}

func checkProblem(t *testing.T, problems []string, about string) {
	t.Helper()
	if about == "" && len(problems) > 0 {
		t.Errorf("problems = %q, want none", problems)
	}
	if about != "" && (len(problems) != 1 || !strings.Contains(problems[0], about)) {
		t.Errorf("problems = %q, want one about %s", problems, about)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("100M", "10M", "1G", "1ms", "udp:5201", "5", "EF", "max(x)")
	f.Fuzz(func(t *testing.T, limit, lo, hi, jitter, probe, rank, dscp, query string) {
		a := stamped(workload.AnnotationEgressBandwidth, limit, workload.AnnotationMinBandwidth, lo, workload.AnnotationMaxBandwidth, hi, workload.AnnotationRank, rank)
		if s := parse(slimPodOf(running("best-effort", a))).sender; s == nil || s.Min < bitrate.Min || s.Max < s.Min || s.Limit < 0 {
			t.Errorf("unsafe sender %+v", s)
		}
		a = map[string]string{workload.AnnotationMaxJitter: jitter, workload.AnnotationProbe: probe, workload.AnnotationDSCP: dscp, workload.AnnotationQuery: query}
		if app := parse(slimPodOf(running(workload.ClassCritical, a))).app; app != nil &&
			(app.SLO.IsZero() || app.Protocol == "" || app.DSCP > workload.MaxDSCP || app.Protocol == workload.Prometheus && app.Query.Text == "") {
			t.Errorf("unmeasurable app %+v", app)
		}
	})
}
