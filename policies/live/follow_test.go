package live

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/detnet/detnet/internal/await"
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
	dir, start := begin(t, m.dir, "")
	active := NewActive(start.Engine, time.Now(), prometheus.NewRegistry())

	refused := make(chan error, 10)
	done := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		done <- dir.Follow(ctx, start, active, quiet, func(err error) { refused <- err })
	}()
	pod := podInput(t, nil)
	classBecomes := func(class string) {
		t.Helper()
		await.Success(t, "the class becomes "+class, func() error {
			if d, err := active.Decide(ctx, pod); err != nil || d.Class != class {
				return fmt.Errorf("it is %q, %w", d.Class, err)
			}
			return nil
		})
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

// slowAtFirst is a taker on a machine that has no time the first time.
type slowAtFirst struct {
	tries int
	taken chan string
}

func (s *slowAtFirst) take(_ context.Context, set policies.Set, _ *slog.Logger, _ func(error), _ string) string {
	if s.tries++; s.tries == 1 {
		return untried
	}
	s.taken <- set.Hash()
	return set.Hash()
}

// A set that took too long is tried again, though nothing in the directory changes.
func TestFollowTriesAgain(t *testing.T) {
	to := &slowAtFirst{taken: make(chan string)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- followDir(ctx, t.TempDir(), "before", to, quiet, func(error) {}) }()
	if got := <-to.taken; got != (policies.Set{}).Hash() {
		t.Errorf("took %s", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Who ends while a set is tried says nothing against the set.
func TestFollowEndsMeanwhile(t *testing.T) {
	active := NewActive(mustLoad(t, nil), time.Now(), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	refused := func(err error) { t.Errorf("refused for %v", err) }
	set := policies.Set{"site.rego": endless}
	active.take(ctx, set, quiet, refused, "")
	NewShadow(prometheus.NewRegistry()).take(ctx, set, quiet, refused, "")
	if s := active.Status(); s.LastError != "" {
		t.Errorf("status %+v", s)
	}
}
