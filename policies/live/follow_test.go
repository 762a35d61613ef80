package live

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/detnet/detnet/policies"
)

// mount mimics kubelet: files lie behind ..data, which one rename moves.
type mount struct {
	dir string
	n   int
}

func (m *mount) put(t *testing.T, set policies.Set) {
	t.Helper()
	m.n++
	version := filepath.Join(m.dir, "..version"+string(rune('0'+m.n)))
	if err := os.Mkdir(version, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range set {
		if err := os.WriteFile(filepath.Join(version, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		_ = os.Symlink(filepath.Join("..data", name), filepath.Join(m.dir, name))
	}
	next := filepath.Join(m.dir, "..data_tmp")
	if err := os.Symlink(filepath.Base(version), next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(m.dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

func TestFollowTakesTheGoodAndKeepsTheLast(t *testing.T) {
	defer goleak.VerifyNone(t)
	m := &mount{dir: t.TempDir()}
	unlabelled := func(class string) policies.Set {
		return policies.Set{"site.yaml": "defaults: {unlabelled: " + class + "}\n"}
	}
	m.put(t, unlabelled("standard"))
	site, err := policies.ReadDir(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	active := NewActive(mustLoad(t, site), time.Now(), prometheus.NewRegistry())

	refused := make(chan error, 10)
	done := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		done <- Follow(ctx, m.dir, active, slog.New(slog.DiscardHandler), func(err error) { refused <- err })
	}()
	pod := podInput(t, nil)
	classBecomes := func(class string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			d, err := active.Decide(ctx, pod)
			if err != nil {
				t.Fatal(err)
			}
			if d.Class == class {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("class is %q, want %q", d.Class, class)
			}
		}
	}
	classBecomes("standard")
	m.put(t, unlabelled("best-effort"))
	classBecomes("best-effort")
	good := active.Status().Hash

	m.put(t, policies.Set{"site.yaml": "defaults: {unlabelled: \"\"}\n", "site.rego": "package detnet.site\nclass := oops\n"})
	if err := <-refused; err == nil {
		t.Error("no reason given")
	}
	classBecomes("best-effort")
	if s := active.Status(); s.Hash != good || s.LastError == "" {
		t.Errorf("status %+v, want hash %s and an error", s, good)
	}

	m.put(t, policies.Set{"site.yaml": "defaults: {unlabelled: high}\n", "site.rego": "package detnet.site\n"})
	classBecomes("high")
	if s := active.Status(); s.LastError != "" {
		t.Errorf("the error %q stays after a good reload", s.LastError)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
