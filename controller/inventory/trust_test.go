package inventory

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/signature"
)

// What admission did not sign is worth nothing, whatever a pod wears.
func TestUnsignedStampsCountForNothing(t *testing.T) {
	critical := map[string]string{workload.AnnotationMaxJitter: "10us", workload.AnnotationProbe: "tcp:80", workload.AnnotationRank: "1000"}
	for name, pod := range map[string]*corev1.Pod{
		"critical":           running("critical", critical),
		"any other class":    running("standard", critical),
		"throttleable":       running("best-effort", stamped()),
		"nonsense":           running("critical", map[string]string{workload.AnnotationMaxJitter: "10us", workload.AnnotationSignature: "abc"}),
		"a target more":      tampered(signed("best-effort", stamped()), workload.AnnotationMaxJitter, "10us"),
		"another bound":      tampered(signed("best-effort", stamped()), workload.AnnotationMinBandwidth, "1G"),
		"a probe more":       tampered(signed("critical", critical), workload.AnnotationProbeFrom, "worker-1"),
		"another class":      reclassed(signed("best-effort", stamped(workload.AnnotationMaxJitter, "1ms"))),
		"another namespace":  moved(signed("critical", critical), "elsewhere"),
		"signed by stranger": byStranger(running("critical", critical)),
	} {
		inv := keyed(workload.Enforce)
		inv.setWebhook("", likeTheChart())
		inv.setNamespace(pod.Namespace, labelled(pod.Namespace))
		inv.setPod(pod.Namespace+"/pod", pod)
		s := inv.Snapshot()
		if len(s.Apps)+len(s.Senders) != 0 {
			t.Errorf("%s: protected %d, throttled %d, want neither", name, len(s.Apps), len(s.Senders))
		}
		if len(s.Unstamped) != 1 || !s.Unstamped[0].Forged {
			t.Errorf("%s: unstamped %+v, want the pod, to be reviewed before others", name, s.Unstamped)
		}
	}
}

func tampered(pod *corev1.Pod, key, value string) *corev1.Pod {
	pod.Annotations[key] = value
	return pod
}

func reclassed(pod *corev1.Pod) *corev1.Pod {
	pod.Labels = map[string]string{workload.LabelClass: "critical"}
	return pod
}

func moved(pod *corev1.Pod, namespace string) *corev1.Pod {
	pod.Namespace = namespace
	return pod
}

func byStranger(pod *corev1.Pod) *corev1.Pod {
	pod.Annotations = map[string]string{workload.AnnotationMaxJitter: "10us"}
	pod.Annotations[workload.AnnotationSignature] = signature.Sign(make(signature.Key, signature.KeyLength), pod.Namespace, pod.Labels, pod.Annotations)
	return pod
}

func labelled(name string, labels ...string) *corev1.Namespace {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelMetadataName: name}}}
	for i := 0; i < len(labels); i += 2 {
		ns.Labels[labels[i]] = labels[i+1]
	}
	return ns
}

// Who slipped past admission is found by the configuration by which the API
// server asks it, and by nothing else.
func TestWhoIsUnstamped(t *testing.T) {
	inv := keyed(workload.Enforce)
	add := func(namespace, name string, labels map[string]string) {
		pod := running("", map[string]string{})
		pod.Namespace, pod.Name, pod.Labels = namespace, name, labels
		inv.setPod(namespace+"/"+name, pod)
	}
	add("batch", "backup", nil)
	add("kube-logging", "shipper", map[string]string{workload.LabelPriority: "best-effort"})
	add("kube-system", "dns", map[string]string{workload.LabelPriority: "critical"})
	add("detnet", "webhook", map[string]string{workload.LabelPriority: "critical"})
	add("shop", "stranger", map[string]string{"app": "x"})
	add("shop", "original", map[string]string{"priority": "critical"})
	inv.setNamespace("batch", labelled("batch", workload.LabelPriority, "best-effort"))
	for _, name := range []string{"kube-logging", "kube-system", "detnet", "shop"} {
		inv.setNamespace(name, labelled(name))
	}
	who := func() (all []string) {
		for _, u := range inv.Snapshot().Unstamped {
			all = append(all, u.Pod.String())
		}
		return all
	}
	if got := who(); got != nil {
		t.Errorf("unstamped %v while nobody is known to be asked", got)
	}
	inv.setWebhook("", likeTheChart())
	if got, want := who(), []string{"batch/backup", "kube-logging/shipper", "shop/original"}; !slices.Equal(got, want) {
		t.Errorf("unstamped %v, want %v", got, want)
	}
	conditional := likeTheChart()
	for i := range conditional.Webhooks {
		conditional.Webhooks[i].MatchConditions = make([]registrationv1.MatchCondition, 1)
	}
	inv.setWebhook("", conditional)
	if got := who(); got != nil {
		t.Errorf("unstamped %v, want none of whom a condition can't be evaluated any more", got)
	}
	every := likeTheChart()
	every.Webhooks = every.Webhooks[:1]
	every.Webhooks[0].ObjectSelector = nil
	inv.setWebhook("", every)
	if got := who(); !slices.Contains(got, "shop/stranger") || slices.Contains(got, "kube-system/dns") {
		t.Errorf("unstamped %v, want every pod but those of exempt namespaces", got)
	}
	u := inv.Snapshot().Unstamped[0]
	inv.Settle(u)
	if slices.Contains(who(), u.Pod.String()) {
		t.Error("a pod that admission gives nothing is asked about again")
	}
	inv.Recheck()
	if !slices.Contains(who(), u.Pod.String()) {
		t.Error("not asked about again after a while")
	}
	inv.setNamespace("kube-logging", labelled("kube-logging", workload.AnnotationMode, "off"))
	if slices.Contains(who(), "kube-logging/shipper") {
		t.Error("a pod in a namespace that is off is asked about")
	}
}

// What the previous key signed counts, and is signed anew before that key goes.
func TestKeysRotate(t *testing.T) {
	inv := keyed(workload.Enforce)
	inv.setWebhook("", likeTheChart())
	inv.setNamespace("factory", labelled("factory"))
	inv.setPod("factory/pod", signed("best-effort", stamped()))
	next := make(signature.Key, signature.KeyLength)
	inv.SetKeys(signature.Keys{Current: next, Previous: key})
	s := inv.Snapshot()
	if len(s.Senders) != 1 || len(s.Unstamped) != 1 || !s.Unstamped[0].Outdated || s.Unstamped[0].Forged {
		t.Errorf("senders %v, unstamped %v; want the pod in both", s.Senders, s.Unstamped)
	}
	inv.SetKeys(signature.Keys{Current: next})
	if s := inv.Snapshot(); len(s.Senders) != 0 || len(s.Unstamped) != 1 || !s.Unstamped[0].Forged {
		t.Errorf("senders %v, unstamped %v; want what a forgotten key signed to count for nothing", s.Senders, s.Unstamped)
	}
}

// One pod of ten thousand changes: the others keep their addresses, and lists
// that it is not in are the same.
func TestOneChangeOfMany(t *testing.T) {
	inv := keyed(workload.Enforce)
	fill(inv, 10_000)
	before := inv.Snapshot()
	inv.setPod("factory/pod-5000", limitedTo(5000, "50M"))
	after := inv.Snapshot()
	if len(after.Senders) != 10_000 {
		t.Fatalf("%d senders", len(after.Senders))
	}
	others := 0
	for i := range after.Senders {
		if after.Senders[i] != before.Senders[i] {
			others++
		}
	}
	if others != 1 || &after.Apps[0] != &before.Apps[0] {
		t.Errorf("%d senders are new, want one; the list of apps is another: %v", others, &after.Apps[0] != &before.Apps[0])
	}
	if !slices.IsSortedFunc(after.Senders, func(a, b *Sender) int { return a.Pod.Compare(b.Pod) }) {
		t.Error("senders are out of order")
	}
}

// Limits are given back where detnet stops enforcing, and only then.
func TestGiveBack(t *testing.T) {
	inv := keyed(workload.Enforce)
	inv.setPod("factory/pod", signed("best-effort", stamped(workload.AnnotationEgressBandwidth, "12M")))
	due := func() int { return len(inv.Snapshot().GiveBack) }
	if due() != 0 {
		t.Error("a limit is given back while detnet enforces")
	}
	for _, mode := range []string{"observe", "off"} {
		inv.setNamespace("factory", inMode("factory", mode))
		if due() != 1 {
			t.Errorf("mode %s: %d limits to give back, want one", mode, due())
		}
	}
	inv.setPod("factory/pod", signed("best-effort", stamped(workload.AnnotationEgressBandwidth, "100M")))
	if due() != 0 {
		t.Error("a limit is given back twice")
	}
	inv.setPod("factory/pod", running("best-effort", stamped(workload.AnnotationEgressBandwidth, "12M")))
	if due() != 0 {
		t.Error("a limit is given back by a forged stamp")
	}
}

// A pod that was admitted in observe counts there as what it would be, and is
// given the rest once detnet enforces.
func TestFromObserveToEnforce(t *testing.T) {
	inv := keyed(workload.Observe)
	inv.setWebhook("", likeTheChart())
	inv.setNamespace("factory", labelled("factory"))
	inv.setPod("factory/pod", signed("best-effort", map[string]string{workload.AnnotationMinBandwidth: "10M", workload.AnnotationMaxBandwidth: "1G", workload.AnnotationRank: "10", workload.AnnotationWould: `{"annotations":{"detnet.dev/initial-bandwidth":"100M","kubernetes.io/egress-bandwidth":"100M"}}`}))
	s := inv.Snapshot()
	if len(s.Senders) != 1 || s.Senders[0].Initial != 100*bitrate.Mbit || s.Senders[0].Limit != 0 || len(s.Unstamped) != 0 {
		t.Fatalf("senders %+v, unstamped %+v; want one that has no limit and would begin with 100M", s.Senders, s.Unstamped)
	}
	inv.SetMode(workload.Enforce)
	s = inv.Snapshot()
	if len(s.Senders) != 1 || s.Senders[0].Mode != workload.Observe || len(s.Unstamped) != 1 || s.Unstamped[0].Outdated {
		t.Errorf("senders %+v, unstamped %+v; want it observed until it is mended", s.Senders, s.Unstamped)
	}
}

// Who wears keys without end has mistyped none: to compare all of them at each change of a pod
// would keep the loop waiting.
func TestKeysWithoutEndAreNotCompared(t *testing.T) {
	pod := &slimPod{}
	pod.Annotations = map[string]string{}
	for i := range 8000 {
		pod.Annotations[fmt.Sprintf("detnet.dev/a%04d", i)] = "1"
	}
	pod.Annotations["detnet.dev/max-jiter"] = "1ms"
	if told := misspelt(pod); len(told) > 0 {
		t.Errorf("8,000 were compared: %v", told)
	}
	pod.Annotations = map[string]string{"detnet.dev/max-jiter": "1ms"}
	if told := misspelt(pod); len(told) != 1 {
		t.Errorf("a single one: %v", told)
	}
}

// Who misspells a key is told which, and what was probably meant.
func TestMisspeltKeys(t *testing.T) {
	inv := keyed(workload.Enforce)
	pod := running("", map[string]string{"detnet.dev/max-latncy": "1ms", "detnet.dev/team": "a", workload.AnnotationWeight: "2"})
	pod.Labels = map[string]string{workload.LabelPriority: "critical", workload.AnnotationMaxJitter: "1ms", "app": "x"}
	inv.setPod("factory/pod", pod)
	problems := inv.Snapshot().Problems
	if len(problems) != 2 || !strings.Contains(problems[0].Text, "label or annotation") ||
		!strings.Contains(problems[1].Text, "detnet.dev/max-latency was probably meant") || problems[1].UID != "u1" {
		t.Errorf("problems %+v, want one of the misplaced and one of the misspelt key", problems)
	}
}

// Who asks for a class that there is not, or that the namespace may not claim, is told, also
// on a pod that was signed as something else; what the namespace itself bounds is no mistake.
func TestUnknownClasses(t *testing.T) {
	for name, tt := range map[string]struct {
		asked, class, decision string
		settle                 bool
		want                   string
	}{
		"signed as the namespace's": {"critcal", "best-effort", "class.namespace-label@1", false, "critical was probably meant"},
		"signed by default":         {"platinum", "standard", "class.default@1", false, "label detnet.dev/priority=platinum counts for nothing"},
		"not granted":               {"critical", "standard", "class.pod-label,trust.downgrade@1", false, "standard was given: label the namespace detnet.dev/allow-critical=true"},
		"bound by the namespace":    {"gold", "best-effort", "class.pod-label,namespace.at-most@1", false, ""},
		"given by the site":         {"whatever", "high", "class.site@1", false, ""},
		"given nothing":             {"hihg", "", "", true, "high was probably meant"},
		"not asked about yet":       {"hihg", "", "", false, ""},
		"opted out":                 {"none", "", "", true, ""},
	} {
		inv := keyed(workload.Enforce)
		inv.setWebhook("", likeTheChart())
		inv.setNamespace("factory", labelled("factory"))
		pod := running(tt.class, nil)
		pod.Labels = map[string]string{workload.LabelPriority: tt.asked}
		if tt.class != "" {
			pod.Labels[workload.LabelClass], pod.Annotations = tt.class, map[string]string{workload.AnnotationDecision: tt.decision, workload.AnnotationRank: "1"}
			pod = sign(pod)
		}
		inv.setPod("factory/pod", pod)
		if s := inv.Snapshot(); tt.settle {
			if len(s.Unstamped) != 1 {
				t.Fatalf("%s: %+v", name, s)
			}
			inv.Settle(s.Unstamped[0])
		}
		text := ""
		for _, p := range inv.Snapshot().Problems {
			text += p.Text
		}
		if tt.want == "" && text != "" || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %q, want %q", name, text, tt.want)
		}
	}
}

func limitedTo(i int, limit string) *corev1.Pod {
	pod := running("best-effort", stamped(workload.AnnotationEgressBandwidth, limit))
	pod.Name = fmt.Sprint("pod-", i)
	return sign(pod)
}

func fill(inv *Inventory, n int) {
	for i := range n {
		inv.setPod(fmt.Sprint("factory/pod-", i), limitedTo(i, "85M"))
	}
	app := running("critical", map[string]string{workload.AnnotationMaxJitter: "1ms"})
	app.Name = "robot"
	inv.setPod("factory/robot", sign(app))
}

// BenchmarkStart is the first snapshot, of all pods there are.
func BenchmarkStart(b *testing.B) {
	for _, n := range []int{10_000, 50_000} {
		b.Run(fmt.Sprintf("pods=%d", n), func(b *testing.B) {
			pods := make([]*corev1.Pod, n)
			for i := range pods {
				pods[i] = limitedTo(i, "85M")
			}
			for b.Loop() {
				inv := keyed(workload.Enforce)
				for _, pod := range pods {
					inv.setPod("factory/"+pod.Name, pod)
				}
				inv.Snapshot()
			}
		})
	}
}

// BenchmarkOneChange is a snapshot after the limit of one pod has changed.
func BenchmarkOneChange(b *testing.B) {
	for _, n := range []int{10_000, 50_000} {
		b.Run(fmt.Sprintf("pods=%d", n), func(b *testing.B) {
			inv := keyed(workload.Enforce)
			fill(inv, n)
			two := []*corev1.Pod{limitedTo(5000, "50M"), limitedTo(5000, "60M")}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				inv.setPod("factory/pod-5000", two[i%2])
				inv.Snapshot()
			}
		})
	}
}

// How long a pod goes on after it was deleted is for it to say: until it has ended
// it is mended and limited as any other.
func TestPodsThatAreToStop(t *testing.T) {
	for name, pod := range map[string]*corev1.Pod{"missed": running("best-effort", stamped()), "admitted": signed("best-effort", stamped())} {
		inv := keyed(workload.Enforce)
		inv.setWebhook("", likeTheChart())
		inv.setNamespace(pod.Namespace, labelled(pod.Namespace))
		pod.DeletionTimestamp = &metav1.Time{Time: time.Now().Add(24 * time.Hour)}
		inv.setPod(pod.Namespace+"/pod", pod)
		if s := inv.Snapshot(); len(s.Unstamped)+len(s.Senders) != 1 {
			t.Errorf("%s: unstamped %+v, senders %+v; want it in one of them", name, s.Unstamped, s.Senders)
		}
		pod.Status.Phase = corev1.PodFailed
		inv.setPod(pod.Namespace+"/pod", pod)
		if s := inv.Snapshot(); len(s.Unstamped)+len(s.Senders) != 0 {
			t.Errorf("%s: has ended, and is in the snapshot", name)
		}
	}
}
