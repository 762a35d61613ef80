package pods

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/kube"
	"github.com/detnet/detnet/workload"
)

// pod is one as the API server has it.
func pod(uid string, change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p-" + uid, UID: types.UID(uid), Annotations: map[string]string{
			workload.AnnotationEgressBandwidth: "10M", "other": "x"}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "fd00::1"}, {IP: "bad"}}},
	}
	if change != nil {
		change(p)
	}
	return p
}

// server is an API server that answers each request when the test does. There
// are no sockets: time may be that of synctest.
type server struct{ requests chan request }

type request struct {
	url    *url.URL
	answer chan<- *http.Response
}

func (s server) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := make(chan *http.Response)
	select {
	case s.requests <- request{r.URL, answer}:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	response := <-answer
	if pipe, ok := response.Body.(*io.PipeReader); ok {
		context.AfterFunc(r.Context(), func() { pipe.CloseWithError(r.Context().Err()) })
	}
	return response, nil
}

// next waits for a request and checks that it is for version; "watch" or "list"
// is what it is to be.
func (s server) next(t *testing.T, kind, version string) request {
	t.Helper()
	r := <-s.requests
	q := r.url.Query()
	if r.url.Path != "/api/v1/pods" || q.Get("fieldSelector") != "spec.nodeName=n1" {
		t.Errorf("asked for %v", r.url)
	}
	if q.Get("resourceVersion") != version || (q.Get("watch") == "true") != (kind == "watch") {
		t.Errorf("asked for %v; want a %s from version %q", r.url, kind, version)
	}
	return r
}

func (r request) refuse(code int) {
	r.answer <- &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(`{"kind":"Status","message":"no"}`))}
}

func (r request) list(version string, pods ...*corev1.Pod) {
	l := corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: version}}
	for _, p := range pods {
		l.Items = append(l.Items, *p)
	}
	text, err := json.Marshal(l)
	if err != nil {
		panic(err)
	}
	r.answer <- &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(text))}
}

// watch returns the writing end of the events.
func (r request) watch() *io.PipeWriter {
	from, to := io.Pipe()
	r.answer <- &http.Response{StatusCode: http.StatusOK, Body: from}
	return to
}

func send(t *testing.T, to io.Writer, typ, version string, object any) {
	t.Helper()
	if p, ok := object.(*corev1.Pod); ok {
		p.ResourceVersion = version
	}
	text, err := json.Marshal(object)
	if err == nil {
		_, err = fmt.Fprintf(to, "{\"type\":%q,\"object\":%s}\n", typ, text)
	}
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// follow runs a watch of node n1 inside a bubble until the test ends.
func follow(t *testing.T, test func(*testing.T, *Watch, server)) {
	synctest.Test(t, func(t *testing.T) {
		s := server{make(chan request)}
		w := New(kube.New("http://api", s, ""), "n1", slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		var running errgroup.Group
		running.Go(func() error { return w.Run(ctx) })
		test(t, w, s)
		stop()
		if err := running.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func uids(w *Watch) string {
	synctest.Wait()
	var all []string
	for _, p := range w.List() {
		all = append(all, p.UID)
	}
	return strings.Join(all, " ")
}

func TestFollows(t *testing.T) {
	follow(t, func(t *testing.T, w *Watch, s server) {
		r := s.next(t, "list", "0")
		if w.Synced() {
			t.Error("synced before the list came")
		}
		r.list("7", pod("a", nil), pod("h", func(p *corev1.Pod) { p.Spec.HostNetwork = true }))
		events := s.next(t, "watch", "7").watch()
		want := []Pod{{Namespace: "ns", Name: "p-a", UID: "a", Egress: "10M",
			IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}}}
		synctest.Wait()
		if diff := cmp.Diff(want, w.List(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || !w.Synced() {
			t.Errorf("List (-want +got):\n%s", diff)
		}
		<-w.Changed()
		send(t, events, "MODIFIED", "8", pod("a", func(p *corev1.Pod) { delete(p.Annotations, workload.AnnotationEgressBandwidth) }))
		<-w.Changed()
		if got := w.List(); len(got) != 1 || got[0].Egress != "" {
			t.Errorf("annotation removed: %+v", got)
		}
		version := 10
		for name, gone := range map[string]func(*corev1.Pod){
			"succeeded": func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded },
			"failed":    func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed },
			"deleted":   nil,
		} {
			version++
			send(t, events, "ADDED", fmt.Sprint(version), pod("b", nil))
			if got := uids(w); got != "a b" {
				t.Errorf("added: %s", got)
			}
			typ := "MODIFIED"
			if gone == nil {
				typ = "DELETED"
			}
			send(t, events, typ, fmt.Sprint(version), pod("b", gone))
			if got := uids(w); got != "a" {
				t.Errorf("%s: %s", name, got)
			}
		}
	})
}

// An address that is given on while its first pod is still being deleted is the other's.
func TestAnAddressIsGivenOn(t *testing.T) {
	follow(t, func(t *testing.T, w *Watch, s server) {
		stopping := func(p *corev1.Pod) {
			p.DeletionTimestamp, p.Finalizers = &metav1.Time{Time: time.Unix(1_800_000_000, 0)}, []string{"tenant.example/stays"}
		}
		s.next(t, "list", "0").list("7", pod("a", stopping))
		events := s.next(t, "watch", "7").watch()
		synctest.Wait()
		if got := w.List(); len(got) != 1 || len(got[0].IPs) != 2 {
			t.Errorf("it keeps what nobody else has: %+v", got)
		}
		send(t, events, "ADDED", "8", pod("b", nil))
		if got := w.List(); len(got) != 2 || len(got[0].IPs) != 0 || len(got[1].IPs) != 2 {
			t.Errorf("both have it, or the wrong one: %+v", got)
		}
	})
}

// A watch is not for ever. Whatever ends it, nothing is forgotten meanwhile, and
// what happened meanwhile is seen in the end.
func TestBeginsAgain(t *testing.T) {
	follow(t, func(t *testing.T, w *Watch, s server) {
		s.next(t, "list", "0").refuse(http.StatusForbidden)
		s.next(t, "list", "0").list("7", pod("a", nil))
		events := s.next(t, "watch", "7").watch()
		send(t, events, "BOOKMARK", "20", pod("", nil))
		// The API server's time is up: go on from where it was.
		time.Sleep(2 * firstWait)
		events.Close()
		events = s.next(t, "watch", "20").watch()
		// A connection that breaks, in the middle of an event.
		_, _ = io.WriteString(events, `{"type":"ADDED","obj`)
		events.Close()
		r := s.next(t, "list", "20")
		if got := uids(w); got != "a" {
			t.Errorf("pods between two lists: %s", got)
		}
		r.list("30", pod("b", nil))
		events = s.next(t, "watch", "30").watch()
		if got := uids(w); got != "b" {
			t.Errorf("after another list: %s", got)
		}
		// The API server has forgotten our version, and the list is of no use.
		send(t, events, "ERROR", "", map[string]any{"kind": "Status", "status": "Failure", "code": 410, "message": "too old"})
		s.next(t, "list", "30").refuse(http.StatusGatewayTimeout)
		s.next(t, "list", "").list("5", pod("c", nil))
		// A watch that ends at once is no watch, and is not begun anew at once.
		s.next(t, "watch", "5").watch().Close()
		s.next(t, "list", "5").list("6")
		events = s.next(t, "watch", "6").watch()
		_, _ = io.WriteString(events, `[]`)
		s.next(t, "list", "6").list("7", pod("d", nil))
		if got := uids(w); got != "d" {
			t.Errorf("in the end: %s", got)
		}
	})
}
