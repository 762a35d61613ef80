// Package promtest starts a real Prometheus server for tests, and something for
// it to scrape.
package promtest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/detnet/detnet/internal/freeport"
)

// Exporter serves metrics until the test ends.
type Exporter struct {
	Addr string      // host:port
	Down atomic.Bool // answers with an error
}

// Export serves c, after a call of observe each time.
func Export(t *testing.T, c prometheus.Collector, observe func()) *Exporter {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	metrics := promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	e := &Exporter{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.Down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		observe()
		metrics.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	e.Addr = strings.TrimPrefix(server.URL, "http://")
	return e
}

// Start starts a server that scrapes target, "host:port", each second, stopped
// when the test ends, and returns its URL. Without the program prometheus in
// the PATH (Debian's package has that name) the test is skipped; where CI is set
// that is a failure.
func Start(t *testing.T, target string) string {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal("prometheus is not in the PATH, and CI must not skip the test")
	}
	if err != nil {
		t.Skip("prometheus is not in the PATH: the test needs a real one")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: robot\n  static_configs: [{targets: [%q]}]\n", target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeport.Addr(t)
	var log bytes.Buffer
	server := exec.CommandContext(t.Context(), program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	server.Stdout, server.Stderr = &log, &log
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	t.Cleanup(func() {
		_ = server.Wait() // the test's context is over, and so is the server
		if t.Failed() {
			t.Logf("prometheus said:\n%s", log.Bytes())
		}
	})
	url := "http://" + addr
	for deadline := time.Now().Add(time.Minute); !ready(t, url); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("prometheus is not ready within a minute")
		}
	}
	return url
}

func ready(t *testing.T, url string) bool {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/-/ready", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}
