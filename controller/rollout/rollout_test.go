package rollout

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/workload"
)

const mbit = bitrate.Mbit

func sender(kind, name string, limit bitrate.Rate, mode workload.ControlMode) *inventory.Sender {
	s := &inventory.Sender{Mode: mode, Workload: inventory.Workload{Kind: kind, Namespace: "default", Name: name}}
	s.Limit, s.Initial = limit, 100*mbit
	return s
}

func TestWanted(t *testing.T) {
	lone := sender("", "", 10*mbit, workload.Enforce)
	lone.Workload = inventory.Workload{}
	got := wanted(&inventory.Snapshot{Senders: []*inventory.Sender{
		sender("Deployment", "a", 80*mbit, workload.Enforce),
		sender("Deployment", "a", 60*mbit, workload.Enforce),
		sender("Deployment", "watched", 60*mbit, workload.Observe),
		sender("Deployment", "unlimited", 0, workload.Enforce),
		sender("StatefulSet", "a", 90*mbit, workload.Enforce),
		lone,
	}})
	want := []template{
		{inventory.Workload{Kind: "Deployment", Namespace: "default", Name: "a"}, 60 * mbit, 100 * mbit, true},
		{inventory.Workload{Kind: "StatefulSet", Namespace: "default", Name: "a"}, 90 * mbit, 100 * mbit, true},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(template{})); diff != "" {
		t.Errorf("wanted (-want +got):\n%s", diff)
	}
}

func TestOnceOnARealAPIServer(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	createEach(t, client)
	kinds := []string{"Deployment", "StatefulSet", "DaemonSet"}
	const limit = 80 * mbit
	known := &fakeInventory{senders: []*inventory.Sender{
		sender("Job", "a", limit, workload.Enforce), sender("Deployment", "gone", limit, workload.Enforce),
	}}
	for _, kind := range kinds {
		known.senders = append(known.senders, sender(kind, "a", limit, workload.Enforce))
	}
	r := &Rollout{Inventory: known, Client: client, To: writer(client), Log: slog.New(slog.DiscardHandler)}
	for _, step := range []struct {
		limit bitrate.Rate
		want  string
	}{
		{100 * mbit, ""}, // what admission gives them without a template's help
		{80 * mbit, "80M"},
		{85 * mbit, "80M"}, // not worth new pods
		{60 * mbit, "60M"},
	} {
		for i := range known.senders {
			known.senders[i].Limit = step.limit
		}
		// One kind that can't be changed does not stop the others.
		if err := r.Once(t.Context()); err == nil || !strings.Contains(err.Error(), "Job default/a") || strings.Contains(err.Error(), "gone") {
			t.Errorf("Once: %v, want an error about the Job alone", err)
		}
		for _, kind := range kinds {
			_, got, err := get(t.Context(), client, inventory.Workload{Kind: kind, Namespace: "default", Name: "a"})
			if err != nil || got[workload.AnnotationEgressBandwidth] != step.want || got["other"] != "kept" || (got[workload.AnnotationInitialBandwidth] == "100M") != (step.want != "") {
				t.Errorf("%s at %v: template has %v, %v; want %s, and 100M at first", kind, step.limit, got, err, step.want)
			}
		}
	}

	changed, err := Find(t.Context(), client, "")
	if err != nil || len(changed) != len(kinds) {
		t.Fatalf("Find: %v, %v", changed, err)
	}
	for _, c := range changed {
		if c.From != "60M" || c.To != "" {
			t.Errorf("%s: %s → %s, want 60M to none", c, c.From, c.To)
		}
		if err := c.Undo(t.Context(), writer(client)); err != nil {
			t.Error(err)
		}
		meta, got, err := get(t.Context(), client, c.Workload)
		if err != nil || len(meta.Annotations) > 1 || meta.Annotations[workload.AnnotationTemplateBefore] != "" || !maps.Equal(got, map[string]string{"other": "kept"}) {
			t.Errorf("%s: %v, template %v, %v", c, meta, got, err)
		}
	}
}

// What was changed is given back when it is switched off, once and in every
// namespace that may be written to, also by a leader that did not change it.
func TestSwitchedOffGivesBack(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	createEach(t, client)
	known := &fakeInventory{modes: map[string]workload.ControlMode{}}
	kinds := []string{"Deployment", "StatefulSet", "DaemonSet"}
	for _, kind := range kinds {
		known.senders = append(known.senders, sender(kind, "a", 80*mbit, workload.Enforce))
	}
	every, now := time.Minute, time.Now()
	leader := func() (*Rollout, *bytes.Buffer) {
		var log bytes.Buffer
		return &Rollout{Inventory: known, Client: client, To: writer(client), Log: slog.New(slog.NewTextHandler(&log, nil)), Every: func() time.Duration { return every }}, &log
	}
	templates := func(want map[string]string) {
		t.Helper()
		for _, kind := range kinds {
			meta, got, err := get(t.Context(), client, inventory.Workload{Kind: kind, Namespace: "default", Name: "a"})
			if err != nil || !maps.Equal(got, want) || (meta.Annotations[workload.AnnotationTemplateBefore] == "") != (len(want) == 1) {
				t.Errorf("%s: template has %v, %v; want %v", kind, got, err, want)
			}
		}
	}
	before := map[string]string{"other": "kept"}
	changed := map[string]string{"other": "kept", workload.AnnotationEgressBandwidth: "80M", workload.AnnotationInitialBandwidth: "100M"}

	r, log := leader()
	r.look(t.Context(), now)
	r.look(t.Context(), now.Add(59*time.Second))
	templates(before) // the interval counts from when a leader begins
	r.look(t.Context(), now.Add(time.Minute))
	templates(changed)

	every = 0
	known.modes["default"] = workload.Observe
	for i := range 9 { // for longer than the pause
		r.look(t.Context(), now.Add(time.Minute+time.Duration(i)*interval))
	}
	templates(changed)
	if n := strings.Count(log.String(), "detnet restore"); n != 1 || strings.Count(log.String(), "mode of its namespace is observe") != 3 {
		t.Errorf("said %d times, want once, what is left of each and why:\n%s", n, log)
	}
	delete(known.modes, "default")
	r, _ = leader()
	r.look(t.Context(), now)
	templates(before)

	every = time.Minute
	r.look(t.Context(), now.Add(time.Hour))
	r.look(t.Context(), now.Add(time.Hour+time.Minute))
	templates(changed)
	every = 0 // a second time
	r.look(t.Context(), now.Add(2*time.Hour))
	templates(before)
	every = time.Minute // by the same leader, whose limits nobody has put back
	r.look(t.Context(), now.Add(3*time.Hour))
	r.look(t.Context(), now.Add(3*time.Hour+time.Minute))
	templates(changed)
}

// Most installs never have the right to look at templates; that is worth a word
// only where it was switched off.
func TestGivingBackWithoutTheRight(t *testing.T) {
	env := apitest.Start(t)
	user, err := env.AddUser(envtest.User{Name: "controller"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(user.Config())
	var log bytes.Buffer
	every := time.Duration(0)
	r := &Rollout{Inventory: &fakeInventory{}, Client: client, To: writer(client), Log: slog.New(slog.NewTextHandler(&log, nil)), Every: func() time.Duration { return every }}
	now := time.Now()
	r.look(t.Context(), now)
	if log.Len() > 0 {
		t.Errorf("a controller that never changed templates says: %s", &log)
	}
	every = time.Minute
	r.look(t.Context(), now)
	log.Reset()
	every = 0
	r.look(t.Context(), now)
	r.look(t.Context(), now.Add(2*pause))
	if n := strings.Count(log.String(), "detnet restore"); n != 1 {
		t.Errorf("switched off, said %d times what helps, want once: %s", n, &log)
	}
}

func writer(client kubernetes.Interface) *write.Writer {
	return write.New(client, nil, nil, slog.New(slog.DiscardHandler))
}

// A tool that applies what is in Git puts the limit back: it is left alone from
// then on, said once, also by the next leader, and what it states is not undone.
func TestStopsWhereSomebodyPutsItBack(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	createEach(t, client)
	w := inventory.Workload{Kind: "Deployment", Namespace: "default", Name: "a"}
	inGit := func() {
		t.Helper()
		body := `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"},"spec":{"template":{"metadata":{"annotations":{"kubernetes.io/egress-bandwidth":"1G"}}}}}`
		force := true
		if _, err := client.AppsV1().Deployments("default").Patch(t.Context(), "a", types.ApplyPatchType, []byte(body), metav1.PatchOptions{FieldManager: "flux", Force: &force}); err != nil {
			t.Fatal(err)
		}
	}
	now := func() (string, int64) {
		t.Helper()
		meta, template, err := get(t.Context(), client, w)
		if err != nil {
			t.Fatal(err)
		}
		return template[workload.AnnotationEgressBandwidth], meta.Generation
	}
	known := &fakeInventory{senders: []*inventory.Sender{sender("Deployment", "a", 50*mbit, workload.Enforce)}}
	var events recorded
	leader := func() *Rollout {
		return &Rollout{Inventory: known, Client: client, To: writer(client), Events: &events, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	}
	once := func(r *Rollout) {
		t.Helper()
		if err := r.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	inGit()
	r := leader()
	once(r)
	if limit, _ := now(); limit != "50M" {
		t.Fatalf("the template has %s, want 50M", limit)
	}
	inGit()
	_, before := now()
	for range 3 {
		once(r)
		inGit()
	}
	once(leader())
	if limit, generation := now(); limit != "1G" || generation != before {
		t.Errorf("the template has %s and changed %d times after it was put back, want 1G and never", limit, generation-before)
	}
	if len(events) != 2 || !strings.Contains(events[0], "RolloutStopped") || !strings.Contains(events[0], "flux") {
		t.Errorf("events %q, want one of each leader that names flux", events)
	}
	// What the Event advises, and whoever leads goes on: once, where the other still states it.
	follow := func() {
		t.Helper()
		body := fmt.Sprintf(`{"metadata":{"annotations":{%q:null}}}`, workload.AnnotationTemplateBefore)
		if _, err := client.AppsV1().Deployments("default").Patch(t.Context(), "a", types.MergePatchType, []byte(body), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(events[0], "delete annotation "+workload.AnnotationTemplateBefore) {
		t.Errorf("event %q, want the advice that is followed here", events[0])
	}
	for range 2 {
		follow()
		once(r)
		if limit, _ := now(); limit != "50M" {
			t.Errorf("after the note was deleted the template has %s, want 50M", limit)
		}
		once(r)
		inGit()
		once(r)
		if limit, _ := now(); limit != "1G" {
			t.Errorf("it was put back once more, and has %s", limit)
		}
	}
	if len(events) != 4 {
		t.Errorf("events %q, want one more each time", events)
	}
	changed, err := Find(t.Context(), client, "")
	if err != nil || len(changed) != 1 {
		t.Fatalf("Find: %v, %v", changed, err)
	}
	if err := changed[0].Undo(t.Context(), writer(client)); err != nil {
		t.Fatal(err)
	}
	if limit, _ := now(); limit != "1G" {
		t.Errorf("after all is given back the template has %q, want what flux says", limit)
	}
}

type recorded []string

func (r *recorded) Eventf(_, _ runtime.Object, _, reason, _, note string, args ...any) {
	*r = append(*r, reason+": "+fmt.Sprintf(note, args...))
}

// fakeInventory knows senders, and the modes of namespaces that are not enforce.
type fakeInventory struct {
	senders []*inventory.Sender
	modes   map[string]workload.ControlMode
}

func (f *fakeInventory) Snapshot() *inventory.Snapshot {
	return &inventory.Snapshot{Senders: f.senders}
}
func (f *fakeInventory) Synced() <-chan struct{} { return nil }
func (f *fakeInventory) Mode(namespace string) workload.ControlMode {
	if mode, ok := f.modes[namespace]; ok {
		return mode
	}
	return workload.Enforce
}

// createEach makes a workload "a" of each kind.
func createEach(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	labels := map[string]string{"app": "a"}
	pod := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{"other": "kept"}}}
	pod.Spec.Containers = []corev1.Container{{Name: "main", Image: "none"}}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	meta := metav1.ObjectMeta{Name: "a"}
	apps := client.AppsV1()
	if _, err := apps.Deployments("default").Create(t.Context(), &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector, Template: pod}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := apps.StatefulSets("default").Create(t.Context(), &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: pod}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := apps.DaemonSets("default").Create(t.Context(), &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: pod}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}
