package attack

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/controller/promql"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
)

// What a tenant may write into the query annotation to have the server read all
// that it has; it is refused before anybody is asked.
func TestQueriesThatCostTheServer(t *testing.T) {
	for name, query := range map[string]string{
		"a range of ten years":      `max(rate(x_bucket[10y]))`,
		"a range in hex seconds":    `max(rate(x_bucket[0xfffffff]))`,
		"a subquery of a year":      `max_over_time(x[365d:1s])`,
		"a range that overflows":    `rate(x[99999999999999999999y])`,
		"many series":               strings.Repeat(`x{a="1"} + y + z + u + v + w + `, 1) + `a + b + c + d`,
		"a long regular expression": `x{a=~"` + strings.Repeat(`(a*)*`, 1000) + `"}`,
		"brackets without end":      strings.Repeat("(", 4000) + "x",
		"a string without end":      `x{a="`,
		"no series, all the CPU":    `vector(1)`,
	} {
		if q, err := workload.ParseQuery(query); err == nil {
			t.Errorf("%s: taken, with a range of %v over %q", name, q.Range, q.Selectors)
		}
	}
}

// A server that is no Prometheus, or that a query brought down, answers without end,
// with more than it sends, or never. The controller waits no longer than it was told,
// keeps no more than a little, and says which query has no answer.
func TestPrometheusThatMisbehaves(t *testing.T) {
	var served atomic.Int64
	for name, serve := range map[string]http.HandlerFunc{
		"without end": func(w http.ResponseWriter, r *http.Request) {
			for piece := make([]byte, 64<<10); r.Context().Err() == nil; {
				n, err := w.Write(piece)
				if served.Add(int64(n)); err != nil {
					return
				}
			}
		},
		"a bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.CopyN(z, zeros{}, 64<<20)
			_ = z.Close()
		},
		"a header without end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 20<<20))
		},
		"never":             func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"a letter a second": func(w http.ResponseWriter, r *http.Request) { drip(w, r) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(serve)
			defer server.Close()
			c := promql.DefaultConfig()
			c.URL, c.Timeout, c.Interval = server.URL, 500*time.Millisecond, time.Second
			poller := promql.New(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
			ctx, stop := context.WithCancel(t.Context())
			defer poller.Wait()
			defer stop()
			query, err := workload.ParseQuery("max(x)")
			if err != nil {
				t.Fatal(err)
			}
			poller.Ask(ctx, []promql.Wanted{{Query: query, Namespace: "shop"}})
			await.Success(t, "it is said what is wrong", func() error {
				a := poller.Answer(query.Text, time.Now())
				if len(a.Samples) > 0 {
					t.Fatalf("%v was taken for an answer", a.Samples)
				}
				if !strings.Contains(a.Error, "age of x") {
					return fmt.Errorf("no more than %q", a.Error)
				}
				return nil
			})
			var memory runtime.MemStats
			if runtime.ReadMemStats(&memory); memory.HeapAlloc > 256<<20 {
				t.Errorf("%d MiB in use", memory.HeapAlloc>>20)
			}
		})
	}
	if most := int64(256 << 20); served.Load() > most {
		t.Errorf("%d MiB were read of an answer that is bounded", served.Load()>>20)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func drip(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := w.Write([]byte("{")); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}
