package marks

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
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
