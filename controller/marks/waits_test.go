package marks

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/workload"
)

// A lease that is renewed late costs the marks no pause, and nobody's attention.
func TestALateRenewalPausesNoMarks(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind":"Node","apiVersion":"v1","metadata":{"name":"n1","resourceVersion":"1"},"spec":{"taints":[{"key":"` + workload.TaintCongested + `","effect":"PreferNoSchedule"}]}}`))
	}))
	defer server.Close()
	reading := &rest.Config{Host: server.URL}
	writing := rest.CopyConfig(reading)
	writing.Wrap(new(leader.Held).Guard)
	var told strings.Builder
	m := &Marker{
		Snapshot: func() *inventory.Snapshot {
			return &inventory.Snapshot{Marks: map[string]inventory.Marks{"n1": {Congested: true}}}
		},
		Reasons: func() ([]status.Reason, bool) { return nil, true },
		Nodes:   kubernetes.NewForConfigOrDie(reading).CoreV1().Nodes(), To: writer(kubernetes.NewForConfigOrDie(writing)),
		Config: func() Config { return Config{} }, Log: slog.New(slog.NewTextHandler(&told, nil)),
	}
	m.once(t.Context(), time.Now())
	if !m.again.IsZero() || told.Len() > 0 {
		t.Errorf("nothing is written before %v: %s", m.again, &told)
	}
}

// Nodes whose notes are refused take nobody else's turn.
func TestRefusedNotesTakeNoTurns(t *testing.T) {
	var mu sync.Mutex
	var written []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, name, _ := strings.Cut(r.URL.Path, "/nodes/")
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPatch {
			mu.Lock()
			defer mu.Unlock()
			if name < "n5" {
				w.WriteHeader(http.StatusForbidden)
				_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"not this one"}`))
				return
			}
			written = append(written, name)
		}
		_, _ = w.Write([]byte(`{"kind":"Node","apiVersion":"v1","metadata":{"name":"` + name + `","uid":"` + name + `","resourceVersion":"1"}}`))
	}))
	defer server.Close()
	found := workload.Found{Rate: 95 * mbit, At: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	nodes := map[string]inventory.Marks{}
	for _, name := range []string{"n1", "n2", "n3", "n4", "n5"} {
		nodes[name] = inventory.Marks{Found: found} // to be taken away
	}
	client := kubernetes.NewForConfigOrDie(&rest.Config{Host: server.URL})
	m := &Marker{
		Snapshot: func() *inventory.Snapshot { return &inventory.Snapshot{Marks: nodes} },
		Reasons:  func() ([]status.Reason, bool) { return nil, true },
		Nodes:    client.CoreV1().Nodes(), To: writer(client),
		Config: func() Config { return Config{} }, Log: slog.New(slog.DiscardHandler),
	}
	m.once(t.Context(), time.Now())
	m.once(t.Context(), time.Now())
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(written, []string{"n5"}) {
		t.Errorf("written to %v, want n5 once the others are known to refuse", written)
	}
}
