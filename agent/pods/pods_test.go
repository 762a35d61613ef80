package pods

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/detnet/detnet/workload"
)

func newWatch(t *testing.T) *Watch {
	t.Helper()
	w, err := New(&rest.Config{}, "n1")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func pod(uid string, change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p-" + uid, UID: types.UID("uid-" + uid), Annotations: map[string]string{
			workload.EgressBandwidth: "10M", "other": "x"}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "fd00::1"}, {IP: "bad"}}},
	}
	if change != nil {
		change(p)
	}
	return p
}

func TestFollows(t *testing.T) {
	w := newWatch(t)
	put := func(p *corev1.Pod) {
		slim, err := strip(read(t, p))
		if err != nil {
			t.Fatal(err)
		}
		w.put(slim)
	}
	put(pod("a", nil))
	want := []Pod{{Namespace: "ns", Name: "p-a", UID: "uid-a", Egress: "10M",
		IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}}}
	if diff := cmp.Diff(want, w.List(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	select {
	case <-w.Changed():
	default:
		t.Error("nobody was told")
	}
	put(pod("a", func(p *corev1.Pod) { delete(p.Annotations, workload.EgressBandwidth) }))
	if got := w.List(); len(got) != 1 || got[0].Egress != "" {
		t.Errorf("annotation removed: %+v", got)
	}
	for name, gone := range map[string]func(*corev1.Pod){
		"succeeded":    func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded },
		"failed":       func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed },
		"host network": func(p *corev1.Pod) { p.Spec.HostNetwork = true },
	} {
		put(pod("a", nil))
		put(pod("a", gone))
		if got := w.List(); len(got) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	put(pod("a", nil))
	w.remove(cache.DeletedFinalStateUnknown{Obj: read(t, pod("a", nil))})
	if got := w.List(); len(got) != 0 {
		t.Errorf("deleted: %+v", got)
	}
}

// What goes over the wire: one node's pods are asked for, and what the API
// server says of them, in the list and afterwards, is followed.
func TestRun(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if r.URL.Path != "/api/v1/pods" || query.Get("fieldSelector") != "spec.nodeName=n1" {
			t.Errorf("asked for %v", r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		switch {
		case query.Get("sendInitialEvents") == "true": // as of a server that can only list
			http.Error(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`, http.StatusUnprocessableEntity)
		case query.Get("watch") == "":
			send(t, w, corev1.PodList{
				TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"},
				Items: []corev1.Pod{*pod("a", nil)}})
		default:
			added := pod("b", func(p *corev1.Pod) {
				p.TypeMeta, p.ResourceVersion = metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}, "2"
			})
			send(t, w, map[string]any{"type": "ADDED", "object": added})
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	w, err := New(&rest.Config{Host: server.URL}, "n1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running errgroup.Group
	running.Go(func() error { return w.Run(ctx) })
	defer func() {
		stop()
		if err := running.Wait(); err != nil {
			t.Error(err)
		}
	}()
	for len(w.List()) < 2 {
		<-w.Changed()
	}
	if got := w.List(); got[0].UID != "uid-a" || got[1].UID != "uid-b" || got[1].Egress != "10M" {
		t.Errorf("List: %+v", got)
	}
}

func send(t *testing.T, w http.ResponseWriter, object any) {
	if err := json.NewEncoder(w).Encode(object); err != nil {
		t.Errorf("answer the watch: %v", err)
	}
}

// read turns a pod into what the API client makes of its JSON.
func read(t *testing.T, p *corev1.Pod) *object {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	o := new(object)
	if err := json.Unmarshal(text, o); err != nil {
		t.Fatal(err)
	}
	return o
}
