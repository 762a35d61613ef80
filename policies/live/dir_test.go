package live

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/policies"
)

// begin starts with a directory.
func begin(t *testing.T, path, keepIn string) (dir *Dir, start Start) {
	t.Helper()
	unhurried(t, func(t *testing.T) {
		var err error
		if dir, err = NewDir(path, keepIn); err != nil {
			t.Fatal(err)
		}
		if start, err = dir.Start(t.Context(), true, quiet); err != nil {
			t.Fatal(err)
		}
	})
	return dir, start
}

// What a directory holds is refused at the start, for whatever it is: what was in force last stands
// in, and where nothing was kept, the default set.
func TestStartWithABrokenDirectory(t *testing.T) {
	kept, good := t.TempDir(), t.TempDir()
	write(t, good, "site.yaml", "classes: {best-effort: {bandwidth: {max: 500M}}}")
	_, first := begin(t, good, kept)
	if first.Instead != "" || first.Why != nil {
		t.Fatalf("%q because of %v", first.Instead, first.Why)
	}
	for why, files := range map[string]policies.Set{
		"site.rego:3":     {"site.rego": "package detnet.site\n\nclass := oops\n"},
		"test_no":         {"site_test.rego": "package site_test\n\ntest_no if false\n"},
		"more than 4 MiB": {"site.yaml": strings.Repeat("#", 4<<20+1)},
		"500Mbit":         {"site.yaml": "classes: {best-effort: {bandwidth: {max: 500Mbit}}}"},
		"no such":         {"site.rego": "package detnet.site\n\nclass := \"no such\"\n"},
	} {
		broken := t.TempDir()
		for name, content := range files {
			write(t, broken, name, content)
		}
		for keepIn, want := range map[string]string{kept: first.Engine.Hash(), t.TempDir(): policies.Default().Hash(), "": policies.Default().Hash()} {
			if _, start := begin(t, broken, keepIn); start.Engine.Hash() != want || start.Why == nil || !strings.Contains(start.Why.Error(), why) {
				t.Errorf("%s: %q stands in because of %v", why, start.Instead, start.Why)
			}
		}
		dir, err := NewDir(broken, "")
		if err != nil {
			t.Fatal(err)
		}
		if start, err := dir.Start(t.Context(), false, quiet); err == nil {
			t.Errorf("%s: without a fallback %q is in force", why, start.Instead)
		}
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What stood in ends with the first set that is good, which is kept from then on. What was refused
// at the start is not told again.
func TestStandInForADirectoryEnds(t *testing.T) {
	m, kept := &mount{dir: t.TempDir()}, t.TempDir()
	m.put(t, policies.Set{"site.rego": "package detnet.site\nclass := oops\n"})
	dir, start := begin(t, m.dir, kept)
	active := NewActive(start.Engine, time.Now(), prometheus.NewRegistry())
	active.StandIn(start.Instead, start.Why)
	again := func(err error) { t.Errorf("told again: %v", err) }
	followOnce(t.Context(), m.dir, active, quiet, again, start.last)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- dir.Follow(ctx, start, active, quiet, again) }()
	m.put(t, policies.Set{"site.rego": "package detnet.site\nclass := \"high\"\n"})
	await.Until(t, "the good set is in force and kept", func() bool {
		_, err := os.Stat(filepath.Join(kept, "files.json"))
		return err == nil && active.Status().Instead == ""
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	m.put(t, policies.Set{"site.rego": "package detnet.site\nclass := oops\n"})
	if _, start := begin(t, m.dir, kept); start.Instead != lastGood || start.Engine.Hash() != active.Status().Hash {
		t.Errorf("%q stands in", start.Instead)
	}
	write(t, kept, "files.json", "{")
	if _, start := begin(t, m.dir, kept); start.Instead != defaultSet || !strings.Contains(start.Why.Error(), "what was kept can't stand in") {
		t.Errorf("%q stands in because of %v", start.Instead, start.Why)
	}
}

// What took too long may be good: it is tried again.
func TestDirectoryThatTookTooLong(t *testing.T) {
	path := t.TempDir()
	write(t, path, "site.rego", endless)
	dir, err := NewDir(path, "")
	if err != nil {
		t.Fatal(err)
	}
	start := Start{Engine: mustLoad(t, nil), Instead: defaultSet} // as after a start that it took too long for
	refused := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		active := NewActive(start.Engine, time.Now(), prometheus.NewRegistry())
		done <- dir.Follow(ctx, start, active, quiet, func(err error) { refused <- err })
	}()
	if err := <-refused; !errors.Is(err, policies.ErrSlow) {
		t.Errorf("refused for %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A flag that names no directory is wrong for whatever the policy is.
func TestNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, filepath.Dir(file), "file", "")
	for _, path := range []string{file, file + "-not"} {
		if _, err := NewDir(path, ""); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
